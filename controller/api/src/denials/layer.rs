//! Noticing them: around all services, so that none can forget to tell.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic::codegen::{Bytes, StdError, http};
use tonic::{Code, Status};
use tonic_types::{ErrorInfo, StatusExt as _};
use tower::{Layer, Service};
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

    fn look(&self, call: &Call, headers: &http::HeaderMap) {
        let Some((reason, policy)) = Status::from_header_map(headers).as_ref().and_then(reason) else {
            return;
        };
        // Whoever calls has an address: connections come with it.
        let Some(peer) = &call.peer else { return };
        let denial = Denial::of(peer, &call.rpc, &reason, self.ambient.now());
        let about = call.noted.about();
        self.denials.note(Denial {
            policy,
            about,
            ..denial
        });
    }
}

/// A call, as far as it is known before it is served.
struct Call {
    peer: Option<PeerInfo>,
    rpc: String,
    /// What those who serve it know.
    noted: Noted,
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
        let call = Call {
            peer: request.extensions().get::<PeerInfo>().cloned(),
            rpc: path.get(..RPC_BYTES).unwrap_or(path).to_owned(),
            noted: Noted::default(),
        };
        request.extensions_mut().insert(call.noted.clone());
        let (layer, answer) = (self.layer.clone(), self.inner.call(request));
        Box::pin(async move {
            let answer = answer.await?;
            // A refusal at once is an answer without a body: its status is in the headers. That of a stream comes last.
            layer.look(&call, answer.headers());
            Ok(answer.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    if let Some(trailers) = frame.trailers_ref() {
                        layer.look(&call, trailers);
                    }
                    frame
                }))
            }))
        })
    }
}
