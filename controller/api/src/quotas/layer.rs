//! Keeping them: around all services, so that no call goes without.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::{Bytes, http};
use tower::{Layer, Service};
use verger_transport::PeerInfo;

use super::{OpenCall, Quotas};

/// Refuses calls over a quota.
#[derive(Clone, Debug, Default)]
pub struct QuotasLayer(Quotas);

impl<S> Layer<S> for QuotasLayer {
    type Service = KeepQuotas<S>;

    fn layer(&self, inner: S) -> KeepQuotas<S> {
        let Self(quotas) = self.clone();
        KeepQuotas { inner, quotas }
    }
}

/// Services behind quotas.
#[derive(Clone, Debug)]
pub struct KeepQuotas<S> {
    inner: S,
    quotas: Quotas,
}

/// The answer, and the call that is open until all of it was sent, or nobody wants it.
fn held<A>(answer: http::Response<A>, call: OpenCall) -> http::Response<Body>
where
    A: tonic::codegen::Body<Data = Bytes> + Send + 'static,
    A::Error: Into<tonic::codegen::StdError>,
{
    answer.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _open = &call;
            frame
        }))
    })
}

impl<S, Q, A> Service<http::Request<Q>> for KeepQuotas<S>
where
    S: Service<http::Request<Q>, Response = http::Response<A>>,
    S::Future: Send + 'static,
    A: tonic::codegen::Body<Data = Bytes> + Send + 'static,
    A::Error: Into<tonic::codegen::StdError>,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        // Whoever calls has an address: connections come with it.
        let call = match request.extensions().get::<PeerInfo>() {
            Some(peer) => match self.quotas.begin(peer, Instant::now()) {
                Ok(call) => Some(call),
                Err(status) => return Box::pin(async move { Ok(status.into_http()) }),
            },
            None => None,
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            Ok(match call {
                Some(call) => held(answer, call),
                None => answer.map(Body::new),
            })
        })
    }
}
