//! Keeping them: around all services, so that no call goes without.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::{Bytes, StdError, http};
use tower::{Layer, Service};
use verger_proto::{Shape, rpcs};
use verger_transport::PeerInfo;

use super::places::{Places, Turn};
use super::reading::Reading;
use super::sending::Sending;
use super::{OpenCall, Quotas, Serves};

/// Refuses calls over a quota.
#[derive(Clone, Debug)]
pub struct QuotasLayer {
    quotas: Quotas,
    places: Places,
}

impl QuotasLayer {
    /// For peers of whom this says whether they are served.
    pub fn new(serves: Arc<Serves>) -> Self {
        Self {
            quotas: Quotas::new(serves),
            places: Places::default(),
        }
    }
}

impl<S> Layer<S> for QuotasLayer {
    type Service = KeepQuotas<S>;

    fn layer(&self, inner: S) -> KeepQuotas<S> {
        KeepQuotas {
            inner,
            layer: self.clone(),
        }
    }
}

/// Services behind quotas.
#[derive(Clone, Debug)]
pub struct KeepQuotas<S> {
    inner: S,
    layer: QuotasLayer,
}

/// The answer, and the call that is open until all of it was sent, or nobody wants it.
fn held<A>(answer: http::Response<A>, shape: Shape, open: OpenCall, turn: Turn) -> http::Response<Body>
where
    A: tonic::codegen::Body<Data = Bytes> + Send + 'static,
    A::Error: Into<StdError>,
{
    match shape {
        Shape::Unary => answer.map(|body| Body::new(Sending::new(Body::new(body), turn, open))),
        // It may go on for days, a little at a time.
        Shape::Answers | Shape::Talk => {
            turn.leave();
            answer.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    let _open = &open;
                    frame
                }))
            })
        }
    }
}

impl<S, Q, A> Service<http::Request<Q>> for KeepQuotas<S>
where
    S: Service<http::Request<Body>, Response = http::Response<A>>,
    S::Future: Send + 'static,
    Q: tonic::codegen::Body<Data = Bytes> + Send + 'static,
    Q::Error: Into<StdError>,
    A: tonic::codegen::Body<Data = Bytes> + Send + 'static,
    A::Error: Into<StdError>,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Q>) -> Self::Future {
        // Whoever calls has an address: connections come with it.
        let Some(peer) = request.extensions().get::<PeerInfo>() else {
            let answer = self.inner.call(request.map(Body::new));
            return Box::pin(async move { Ok(answer.await?.map(Body::new)) });
        };
        let QuotasLayer { quotas, places } = &self.layer;
        let open = match quotas.begin(peer, Instant::now()) {
            Ok(open) => open,
            Err(status) => return Box::pin(async move { Ok(status.into_http()) }),
        };
        // Of services that are not of these protos nothing is known, and their messages are small.
        let rpc = request.uri().path().trim_start_matches('/');
        let shape = rpcs().get(rpc).copied().unwrap_or(Shape::Talk);
        let turn = Turn::new(places, open.key.clone());
        let mut request = request.map(|body| match shape {
            Shape::Unary | Shape::Answers => Body::new(Reading::new(body, turn.clone())),
            Shape::Talk => Body::new(body),
        });
        request.extensions_mut().insert(turn.clone());
        let answer = self.inner.call(request);
        Box::pin(async move { Ok(held(answer.await?, shape, open, turn)) })
    }
}
