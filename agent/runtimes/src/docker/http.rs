//! Reads documents from the daemon as bytes, over its unix socket.
//!
//! Bytes and not typed models: the pure parsers take what the daemon said word for word, an unknown enum value of a
//! newer daemon fails nothing, and every answer is bounded while it is read.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;
use verger_agent_core::runtime::RuntimeProblem;

use super::version::ApiVersion;

/// The header of the mark. Names are written in small letters here, and in Docker's own form by Docker.
pub(super) const MARK: HeaderName = HeaderName::from_static(verger_tripwire_protocol::MARK_HEADER_SENT);
/// Of an error answer, so much is read.
const ERROR_LIMIT: usize = 64 << 10;
/// Of what the daemon says in an error, so many characters are passed on.
const MESSAGE_LIMIT: usize = 300;

/// Takes an answer piece by piece.
type Sink<'a> = &'a mut (dyn FnMut(&[u8]) -> Result<(), RuntimeProblem> + Send);

/// A client that makes one connection per request: a unix socket costs about 0.1 ms to connect, and a connection
/// that is not kept cannot be stale after the daemon's restart.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) socket: PathBuf,
    /// The file of the mark by which the tripwire knows the agent.
    pub(super) mark: Option<PathBuf>,
    /// For a whole request, from connecting to the last byte.
    pub(super) timeout: Duration,
}

impl Client {
    /// The mark, as the tripwire left it last. Without it the daemon denies what is asked, and says so.
    pub(super) fn mark(&self) -> Option<HeaderValue> {
        let path = self.mark.as_ref()?;
        let read = verger_tripwire_protocol::mark(path)
            .and_then(|mark| HeaderValue::try_from(mark).map_err(std::io::Error::other));
        read.map_err(
            |error| tracing::warn!(%error, path = %path.display(), "the tripwire's mark cannot be read"),
        )
        .ok()
    }

    /// The version to speak, from `/_ping`: cheap everywhere, while `/version` takes seconds on some daemons.
    pub(super) async fn negotiate(&self) -> Result<ApiVersion, RuntimeProblem> {
        let offered = self
            .exchange("/_ping", async |answer: Response<Incoming>| {
                Ok(answer
                    .headers()
                    .get("api-version")
                    .and_then(|v| v.to_str().ok())
                    .unwrap_or("")
                    .to_owned())
            })
            .await?;
        ApiVersion::settle(&offered)
    }

    /// One document of at most `limit` bytes.
    pub(super) async fn get(&self, path: &str, limit: usize) -> Result<Vec<u8>, RuntimeProblem> {
        let mut document = Vec::new();
        self.get_pieces(path, &mut |piece| {
            if document.len() + piece.len() > limit {
                return Err(RuntimeProblem::TooBig {
                    request: path.to_owned(),
                    limit,
                });
            }
            document.extend_from_slice(piece);
            Ok(())
        })
        .await?;
        Ok(document)
    }

    /// One document, given to `sink` piece by piece; the sink bounds it.
    pub(super) async fn get_pieces(&self, path: &str, sink: Sink<'_>) -> Result<(), RuntimeProblem> {
        self.exchange(path, async move |mut answer: Response<Incoming>| {
            let status = answer.status();
            if status != StatusCode::OK {
                return Err(refusal(path, answer).await);
            }
            while let Some(frame) = answer.frame().await {
                if let Ok(piece) = frame.map_err(|e| broken(&e))?.into_data() {
                    sink(&piece)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Asks for something to be done. That it was done before is no error.
    pub(super) async fn post(&self, path: &str) -> Result<(), RuntimeProblem> {
        self.send(
            Method::POST,
            path,
            async |answer: Response<Incoming>| match answer.status() {
                StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Ok(()),
                _ => Err(refusal(path, answer).await),
            },
        )
        .await
    }

    async fn exchange<T, R>(&self, path: &str, read: R) -> Result<T, RuntimeProblem>
    where
        R: AsyncFnOnce(Response<Incoming>) -> Result<T, RuntimeProblem>,
    {
        self.send(Method::GET, path, read).await
    }

    async fn send<T, R>(&self, method: Method, path: &str, read: R) -> Result<T, RuntimeProblem>
    where
        R: AsyncFnOnce(Response<Incoming>) -> Result<T, RuntimeProblem>,
    {
        let whole = async {
            let stream = UnixStream::connect(&self.socket).await.map_err(|e| broken(&e))?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(|e| broken(&e))?;
            let mut request = Request::builder()
                .method(method)
                .uri(path)
                .header(HOST, "docker")
                .header(CONNECTION, "close")
                .body(Empty::<Bytes>::new())
                .expect("paths are made of constants and hex digits");
            if let Some(mark) = self.mark() {
                request.headers_mut().insert(MARK, mark);
            }
            let mut conversation = pin!(async move {
                let answer = sender.send_request(request).await.map_err(|e| broken(&e))?;
                read(answer).await
            });
            // The connection may end before the conversation does: what it received is still to be read.
            tokio::select! {
                biased;
                result = &mut conversation => result,
                _ = connection => conversation.await,
            }
        };
        tokio::time::timeout(self.timeout, whole)
            .await
            .unwrap_or_else(|_| Err(RuntimeProblem::TimedOut(self.timeout.as_secs())))
    }
}

fn broken(error: &dyn std::error::Error) -> RuntimeProblem {
    let source = error.source().map(|s| format!(": {s}")).unwrap_or_default();
    RuntimeProblem::Unreachable(format!("{error}{source}"))
}

async fn refusal(path: &str, mut answer: Response<Incoming>) -> RuntimeProblem {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }

    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while let Some(Ok(frame)) = answer.frame().await {
        if let Ok(piece) = frame.into_data() {
            let room = ERROR_LIMIT - body.len();
            body.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.len() >= room {
                break;
            }
        }
    }
    let said = serde_json::from_slice::<Said>(&body).map_or_else(
        |_| String::from_utf8_lossy(&body).into_owned(),
        |said| said.message,
    );
    RuntimeProblem::Refused {
        request: path.to_owned(),
        status,
        message: printable(&said),
    }
}

/// Cuts what came from outside, and escapes what a terminal could obey.
pub(super) fn printable(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(MESSAGE_LIMIT)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(MESSAGE_LIMIT).is_some() {
        out.push('…');
    }
    out
}
