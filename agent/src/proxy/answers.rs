//! What callers are answered.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::{Response, StatusCode};
use verger_agent_proxy::{NEWEST, Refusal};

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

/// Why not, as the CLI of Docker shows it.
pub(super) fn refused(refusal: &Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::FORBIDDEN);
    let body = serde_json::json!({ "message": refusal.message }).to_string();
    document(status, body.into())
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
