//! Asking it: around all services, so that none can forget to.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Bytes, StdError, http};
use tower::{Layer, Service};
use verger_policy::digest::Digest;
use verger_transport::{Peer, PeerCertificate, PeerInfo};

use super::Standing;
use crate::ports::{Replicated, read};
use crate::status::unavailable;

/// Refuses people whose login gave way to another, was revoked, is over, or was never given.
#[derive(Clone)]
pub struct LoginsLayer(Arc<dyn Replicated>);

impl LoginsLayer {
    /// By the replicated state.
    pub fn new(replicated: Arc<dyn Replicated>) -> Self {
        Self(replicated)
    }
}

impl<S> Layer<S> for LoginsLayer {
    type Service = CheckLogins<S>;

    fn layer(&self, inner: S) -> CheckLogins<S> {
        CheckLogins {
            inner,
            replicated: Arc::clone(&self.0),
        }
    }
}

/// Services behind that question.
#[derive(Clone)]
pub struct CheckLogins<S> {
    inner: S,
    replicated: Arc<dyn Replicated>,
}

/// The person who calls, by a connection's certificate.
fn person<B>(request: &http::Request<B>) -> Option<(String, Digest)> {
    match request.extensions().get::<PeerInfo>()?.certificate.as_ref()? {
        PeerCertificate {
            peer: Peer::Person(name),
            key,
            not_after: _,
        } => Some((name.to_string(), Digest::from_bytes(*key))),
        _ => None,
    }
}

fn standing(replicated: &dyn Replicated, (name, key): &(String, Digest)) -> Result<(), Status> {
    read(replicated, |state| Standing::of(state, name, key).map(drop))
}

impl<S, Q, A> Service<http::Request<Q>> for CheckLogins<S>
where
    S: Service<http::Request<Q>, Response = http::Response<A>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    Q: Send + 'static,
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
        let person = person(&request);
        let refused = person.filter(|person| standing(&*self.replicated, person).is_err());
        let Some(person) = refused else {
            let answer = self.inner.call(request);
            return Box::pin(async move { Ok(answer.await?.map(Body::new)) });
        };
        // Another member may have given the login a moment ago. The service that is ready is this one: its copy is kept for the next call.
        let spare = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, spare);
        let replicated = Arc::clone(&self.replicated);
        Box::pin(async move {
            let caught_up = replicated.catch_up().await.map_err(|error| unavailable(&error));
            match caught_up.and_then(|()| standing(&*replicated, &person)) {
                Ok(()) => Ok(inner.call(request).await?.map(Body::new)),
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}
