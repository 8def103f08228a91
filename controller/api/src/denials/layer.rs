//! Noticing them: around all services, so that none can forget to tell.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::codegen::http;
use tonic::{Code, Status};
use tonic_types::{ErrorInfo, StatusExt as _};
use tower::{Layer, Service};
use verger_transport::PeerInfo;

use super::{Denial, Denials};
use crate::ports::Ambient;
use crate::status::cut_name;

/// What the log refuses is in the audit already, in the row of the command.
const ON_RECORD: &[&str] = &["SEAL_REFUSED"];
/// Of what there is too much of, only that is the caller's own.
const OVER_QUOTA: &[&str] = &["TOO_MANY_CALLS", "TOO_OFTEN"];
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

    fn look(&self, peer: Option<&PeerInfo>, rpc: &str, headers: &http::HeaderMap) {
        let Some((reason, policy)) = Status::from_header_map(headers).as_ref().and_then(reason) else {
            return;
        };
        // Whoever calls has an address: connections come with it.
        let Some(peer) = peer else { return };
        let denial = Denial::of(peer, rpc, &reason, self.ambient.now());
        self.denials.note(Denial { policy, ..denial });
    }
}

/// Why a call was refused for what the caller is or has taken, and the rule that decided; `None` of every other answer.
fn reason(status: &Status) -> Option<(String, Option<String>)> {
    let word = match status.code() {
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::Unauthenticated => "UNAUTHENTICATED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        _ => return None,
    };
    let info = status.get_details_error_info();
    let quota = |info: &ErrorInfo| OVER_QUOTA.contains(&info.reason.as_str());
    if status.code() == Code::ResourceExhausted && !info.as_ref().is_some_and(quota) {
        return None;
    }
    let rule = info.as_ref().and_then(|info| info.metadata.get("rule"));
    let rule = rule.map(|rule| cut_name(rule));
    let reason = info.map_or_else(|| word.to_owned(), |info| info.reason);
    (!ON_RECORD.contains(&reason.as_str())).then_some((reason, rule))
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
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        let peer = request.extensions().get::<PeerInfo>().cloned();
        let path = request.uri().path().trim_start_matches('/');
        let rpc = path.get(..RPC_BYTES).unwrap_or(path).to_owned();
        let (layer, answer) = (self.layer.clone(), self.inner.call(request));
        Box::pin(async move {
            let answer = answer.await?;
            // A refusal is an answer without a body: its status is in the headers.
            layer.look(peer.as_ref(), &rpc, answer.headers());
            Ok(answer)
        })
    }
}
