//! Noticing them: around all services, so that none can forget to tell.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::BodyExt as _;
use tokio::task::JoinError;
use tonic::body::Body;
use tonic::codegen::{Bytes, StdError, http};
use tonic::{Code, Status};
use tonic_types::{ErrorInfo, StatusExt as _};
use tower::{Layer, Service};
use verger_controller_state::About;
use verger_transport::PeerInfo;

use super::{Denial, Denials, Noted};
use crate::ports::Ambient;
use crate::status::cut_name;

/// What by its code is no want of a right, and belongs on record all the same: somebody tried what nobody may.
const ATTEMPTS: &[&str] = &[
    "FORGED_FINDING",
    "FORGED_HEAD",
    "NOBODY_LEFT",
    "NO_SUCH_ROLE",
    "REQUEST_ID_REUSED",
    "ROLES",
    "TRUST_ROOT_REFUSED",
];
/// Of what there is too much of, only that is the caller's own.
const OVER_QUOTA: &[&str] = &["TOO_MANY_CALLS", "TOO_OFTEN", "TOO_MANY_LARGE_CALLS"];
/// The longest name of an rpc that is kept, bytes.
const RPC_BYTES: usize = 128;

/// Notes calls that the services within refuse.
#[derive(Clone)]
pub struct DenialsLayer {
    denials: Arc<Denials>,
    ambient: Arc<dyn Ambient>,
}

impl DenialsLayer {
    /// Notes them there.
    pub fn new(denials: Arc<Denials>, ambient: Arc<dyn Ambient>) -> Self {
        Self { denials, ambient }
    }
}

/// A call, as far as it is known before it is served.
pub(super) struct Call {
    layer: DenialsLayer,
    peer: Option<PeerInfo>,
    rpc: String,
}

impl Call {
    /// What is noted of a call that ends so; `None` where it is not refused.
    pub(super) fn denial(&self, status: &Status, about: About) -> Option<Denial> {
        let (reason, policy) = reason(status)?;
        // Whoever calls has an address: connections come with it.
        let denial = Denial::of(self.peer.as_ref()?, &self.rpc, &reason, self.layer.ambient.now());
        Some(Denial {
            policy,
            about,
            ..denial
        })
    }

    pub(super) fn note(&self, denial: Denial) {
        self.layer.denials.note(denial);
    }
}

/// Looks at what a call is answered with.
fn look(noted: &Noted, headers: &http::HeaderMap) {
    if let Some(status) = Status::from_header_map(headers) {
        noted.ends(&status);
    }
}

/// Why a call was refused for what the caller is, tried or has taken, and the rule that decided; `None` of every other answer.
fn reason(status: &Status) -> Option<(String, Option<String>)> {
    let info = status.get_details_error_info();
    let one_of = |reasons: &[&str]| {
        let listed = |info: &ErrorInfo| reasons.contains(&info.reason.as_str());
        info.as_ref().is_some_and(listed)
    };
    let word = match status.code() {
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::Unauthenticated => "UNAUTHENTICATED",
        Code::ResourceExhausted if one_of(OVER_QUOTA) => "RESOURCE_EXHAUSTED",
        _ if one_of(ATTEMPTS) => "REFUSED",
        _ => return None,
    };
    let rule = info.as_ref().and_then(|info| info.metadata.get("rule"));
    let rule = rule.map(|rule| cut_name(rule));
    let reason = info.map_or_else(|| word.to_owned(), |info| info.reason);
    Some((reason, rule))
}

impl<S> Layer<S> for DenialsLayer {
    type Service = NoteDenials<S>;

    fn layer(&self, inner: S) -> NoteDenials<S> {
        NoteDenials {
            inner,
            layer: self.clone(),
        }
    }
}

/// Services whose refusals are noted.
#[derive(Clone)]
pub struct NoteDenials<S> {
    inner: S,
    layer: DenialsLayer,
}

impl<S, Q, A> Service<http::Request<Q>> for NoteDenials<S>
where
    S: Service<http::Request<Q>, Response = http::Response<A>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    A: tonic::codegen::Body<Data = Bytes> + Send + 'static,
    A::Error: Into<StdError>,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Q>) -> Self::Future {
        let path = request.uri().path().trim_start_matches('/');
        let noted = Noted::of_call(Call {
            layer: self.layer.clone(),
            peer: request.extensions().get::<PeerInfo>().cloned(),
            rpc: path.get(..RPC_BYTES).unwrap_or(path).to_owned(),
        });
        request.extensions_mut().insert(noted.clone());
        let answer = self.inner.call(request);
        // Whoever hangs up, or lets a deadline pass, drops the call, and takes nothing back of what is on its way into the log: it
        // is served to its end, and what it was refused is on record.
        let served = tokio::spawn(async move {
            let answer = answer.await?;
            // A refusal at once is an answer without a body: its status is in the headers. That of a stream comes last.
            look(&noted, answer.headers());
            Ok(answer.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    if let Some(trailers) = frame.trailers_ref() {
                        look(&noted, trailers);
                    }
                    frame
                }))
            }))
        });
        Box::pin(async move {
            match served.await.map_err(JoinError::try_into_panic) {
                Ok(answer) => answer,
                Err(Ok(panic)) => std::panic::resume_unwind(panic),
                // Nobody ends it but the runtime, when it ends itself.
                Err(Err(_)) => std::future::pending().await,
            }
        })
    }
}
