//! What callers are answered.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::{Method, Response, StatusCode};
use verger_agent_proxy::{Engine, NEWEST, Refusal};

use super::daemon::{Body, nothing};

/// Headers of an answer that are about this connection alone (RFC 9110, 7.6.1).
const HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const API_VERSION: &str = "api-version";

pub(super) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Why not, as the CLIs of Docker and Podman show it.
pub(super) fn refused(refusal: &Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::FORBIDDEN);
    let body = serde_json::json!({
        "message": refusal.message,
        "cause": refusal.message,
        "response": status.as_u16(),
    });
    let body = body.to_string();
    document(status, body.into())
}

/// How a client shows its user why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// By a document.
    Document,
    /// By the reason in the status line alone: what is answered to HEAD has no body.
    Reason,
    /// By a frame of the stream that Podman's CLI reads whatever the status is.
    Frame,
}

impl Telling {
    /// How it is of this request.
    pub(super) fn of(engine: Engine, method: &Method, path: &str) -> Self {
        let is_libpod = engine == Engine::Podman && path.contains("/libpod/");
        match *method {
            Method::HEAD => Self::Reason,
            Method::GET if is_libpod && path.ends_with("/logs") => Self::Frame,
            _ => Self::Document,
        }
    }

    /// Why not, so.
    pub(super) fn refused(self, refusal: &Refusal) -> Response<Body> {
        let mut response = refused(refusal);
        match self {
            Self::Document => {}
            Self::Reason => {
                if let Ok(reason) = ReasonPhrase::try_from(refusal.message.as_bytes()) {
                    response.extensions_mut().insert(reason);
                }
            }
            Self::Frame => {
                *response.body_mut() = full(frame(ERRORS, refusal.message.as_bytes()));
                response.headers_mut().insert(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/vnd.docker.raw-stream"),
                );
            }
        }
        response
    }
}

/// The channel of a stream on which a service says that it failed (Podman, pkg/bindings/containers).
const ERRORS: u8 = 3;

/// Bytes of one channel of a stream, as Docker's API has them: the channel, three zeros, and how many there are.
fn frame(channel: u8, bytes: &[u8]) -> Bytes {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = vec![channel, 0, 0, 0];
    frame.extend_from_slice(&length);
    frame.extend_from_slice(bytes);
    frame.into()
}

pub(super) fn document(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer as it comes, without what was about the connection that it came over.
pub(super) fn passed<B>(response: Response<B>) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut response = response.map(|body| body.map_err(Into::into).boxed_unsync());
    for name in HOP {
        response.headers_mut().remove(name);
    }
    response
}

/// A daemon that knows more of the API than the table does is spoken to as one that does not.
pub(super) fn capped(mut response: Response<Body>) -> Response<Body> {
    let told = response
        .headers()
        .get(API_VERSION)
        .and_then(|value| value.to_str().ok());
    let minor = told.and_then(|told| told.strip_prefix("1.")?.parse::<u32>().ok());
    if minor.is_some_and(|minor| minor > NEWEST)
        && let Ok(value) = HeaderValue::from_str(&format!("1.{NEWEST}"))
    {
        response.headers_mut().insert(API_VERSION, value);
    }
    response
}

pub(super) fn switched(response: &Response<Incoming>, protocol: &'static str) -> Response<Body> {
    let mut switched = Response::new(nothing());
    *switched.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = switched.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(protocol));
    if let Some(content_type) = response.headers().get(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, content_type.clone());
    }
    switched
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_client_is_told_why_not_in_the_way_that_it_shows() {
        let refusal = Refusal::denied("verger: local/1 may not logs a container");
        let telling = |method: Method, path: &str| Telling::of(Engine::Podman, &method, path);
        let head = telling(Method::HEAD, "/v4.3.1/libpod/containers/a/archive");
        assert_eq!(head, Telling::Reason);
        let response = head.refused(&refusal);
        let reason = response.extensions().get::<ReasonPhrase>().unwrap();
        assert_eq!(reason.as_bytes(), refusal.message.as_bytes());
        // No line of somebody's own begins in it.
        let broken = Refusal::denied("verger: a\r\nX: y");
        assert!(head.refused(&broken).extensions().get::<ReasonPhrase>().is_none());

        assert_eq!(
            telling(Method::GET, "/v4.3.1/libpod/containers/a/logs"),
            Telling::Frame
        );
        assert_eq!(
            telling(Method::GET, "/v1.41/containers/a/logs"),
            Telling::Document
        );
        assert_eq!(
            Telling::of(Engine::Docker, &Method::GET, "/libpod/containers/a/logs"),
            Telling::Document
        );
        assert_eq!(
            telling(Method::POST, "/v4.3.1/libpod/containers/a/kill"),
            Telling::Document
        );
        assert_eq!(frame(3, b"no"), Bytes::from_static(b"\x03\0\0\0\0\0\0\x02no"));
    }
}
