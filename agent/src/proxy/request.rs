//! What a request says of itself, before anything is decided.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderMap, HeaderName, UPGRADE};
use verger_agent_proxy::{Answer, Body as Wanted, Call, Engine, JSON_BYTES, Refusal};

use super::Place;

/// How long a document may take to come.
const DOCUMENT_LIMIT: Duration = Duration::from_secs(30);
/// So many bytes of a body are read of which nothing is wanted.
const DRAINED: usize = 256 << 20;

/// Reads the head of a request.
pub(super) fn read(engine: Engine, request: &Request<Option<Incoming>>) -> Result<Call, Refusal> {
    let uri = request.uri();
    let target = match (uri.authority(), uri.path_and_query()) {
        (None, Some(target)) => target.as_str(),
        _ => "*",
    };
    let call = Call::read(engine, request.method().as_str(), target)?;
    let has_body = request.body().as_ref().is_some_and(|body| !body.is_end_stream());
    if call.route.body == Wanted::None && has_body {
        return Err(Refusal {
            status: 400,
            message: "verger: this call takes no body".to_owned(),
        });
    }
    Ok(call)
}

/// The protocol to change to, if one is asked for.
pub(super) fn upgrade(call: &Call, headers: &HeaderMap) -> Result<Option<&'static str>, Refusal> {
    let wanted = match one(headers, &UPGRADE)? {
        None => return Ok(None),
        Some(wanted) => wanted.to_ascii_lowercase(),
    };
    match (call.route.answer, wanted.as_str()) {
        (Answer::Hijack, "tcp") => Ok(Some("tcp")),
        (Answer::Session, "h2c") => Ok(Some("h2c")),
        _ => Err(Refusal::denied(format!(
            "verger: this call does not change the protocol to `{}`",
            verger_policy::model::printable_within(&wanted, 40)
        ))),
    }
}

/// The value of a header that is given once at most.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let unclear = || Refusal {
        status: 400,
        message: format!("verger: the header `{name}` is given twice, or is no text"),
    };
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| unclear()),
        (Some(_), Some(_)) => Err(unclear()),
    }
}

/// A document, whole.
pub(super) async fn whole(body: &mut Incoming) -> Result<Bytes, Refusal> {
    let stopped = |status, message: &str| Refusal {
        status,
        message: format!("verger: {message}"),
    };
    let collected = Limited::new(body, JSON_BYTES).collect();
    match tokio::time::timeout(DOCUMENT_LIMIT, collected).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(stopped(
            413,
            &format!("a document of more than {JSON_BYTES} bytes is refused"),
        )),
        Ok(Err(_)) => Err(stopped(400, "the document did not come whole")),
        Err(_) => Err(stopped(408, "the document did not come in time")),
    }
}

/// Reads what still comes of a request that was refused, within bounds: who is in the middle of sending it would not hear why otherwise.
pub(super) async fn drain(mut body: Incoming, place: Arc<Place>) {
    let all = async {
        let mut left = DRAINED;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Whoever takes longer hears nothing.
    let _ = tokio::time::timeout(DOCUMENT_LIMIT, all).await;
    drop(place);
}
