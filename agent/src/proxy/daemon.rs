//! The runtime, asked over its own socket.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use verger_agent_proxy::Engine;

use super::socket::Real;

/// A body in either direction.
pub(super) type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The header of the mark.
const MARK: HeaderName = HeaderName::from_static(verger_tripwire_protocol::MARK_HEADER_SENT);
/// The longest answer that is read for itself, bytes.
const ANSWER: usize = 4 << 20;
/// How long such an answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A body of nothing.
pub(super) fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// One connection, for one caller's request and what is asked on its behalf.
pub(super) struct Daemon {
    engine: Engine,
    sender: http1::SendRequest<Body>,
    mark: Option<HeaderValue>,
}

/// An answer that was read.
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Daemon {
    pub(super) async fn connect(real: &Real) -> Result<Self, String> {
        let engine = real.engine();
        let mark = real.mark()?;
        let stream = real.connect().await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("{engine} does not answer: {error}"))?;
        // Ends with the sender, or with the bytes that follow an upgrade.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%engine, %error, "a connection to the runtime ended");
            }
        });
        Ok(Self { engine, sender, mark })
    }

    /// Sends a request, and gives what comes back as it comes.
    pub(super) async fn send(&mut self, mut request: Request<Body>) -> Result<Response<Incoming>, String> {
        // Whatever a caller says of it was not sent on.
        if let Some(mark) = &self.mark {
            request.headers_mut().insert(MARK, mark.clone());
        }
        let engine = self.engine;
        let failed = |error: hyper::Error| format!("{engine} does not answer: {error}");
        self.sender.ready().await.map_err(failed)?;
        self.sender.send_request(request).await.map_err(failed)
    }

    /// Asks for a document.
    pub(super) async fn ask(&mut self, method: &str, path: &str) -> Result<Told, String> {
        let engine = self.engine;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "docker")
            .body(nothing())
            .map_err(|error| error.to_string())?;
        let told = async {
            let (head, body) = self.send(request).await?.into_parts();
            let body = Limited::new(body, ANSWER)
                .collect()
                .await
                .map_err(|error| format!("{engine}'s answer could not be read: {error}"))?;
            Ok(Told {
                status: head.status,
                body: body.to_bytes(),
            })
        };
        tokio::time::timeout(LIMIT, told)
            .await
            .map_err(|_| format!("{engine} has not answered for {} s", LIMIT.as_secs()))?
    }
}
