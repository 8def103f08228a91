//! The runtime, asked over its own socket.
//!
//! Whoever waits for an answer drives the connection himself, also while a stream goes on: bytes then come in as many pieces as there are,
//! and go on together, instead of one by one through another task.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
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
    link: Link,
    mark: Option<HeaderValue>,
}

/// The connection. None: it has ended, or goes on by itself.
struct Link(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Link {
    fn poll(&mut self, context: &mut Context<'_>) {
        if let Some(connection) = &mut self.0
            && connection.as_mut().poll(context).is_ready()
        {
            self.0 = None;
        }
    }

    /// Waits for something that the connection brings about.
    async fn drive<T>(&mut self, wanted: impl Future<Output = T>) -> T {
        let mut wanted = pin!(wanted);
        poll_fn(|context| {
            // What is wanted may begin something, and what came may be what is wanted.
            if let Poll::Ready(ready) = wanted.as_mut().poll(context) {
                return Poll::Ready(ready);
            }
            self.poll(context);
            wanted.as_mut().poll(context)
        })
        .await
    }
}

/// An answer as it comes, with the connection that it comes over.
struct Streamed {
    link: Link,
    body: Incoming,
}

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.link.poll(context);
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
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
        let connection = async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%engine, %error, "a connection to the runtime ended");
            }
        };
        Ok(Self {
            engine,
            sender,
            link: Link(Some(Box::pin(connection))),
            mark,
        })
    }

    /// Sends a request, and gives what comes back as it comes.
    pub(super) async fn send(&mut self, mut request: Request<Body>) -> Result<Response<Incoming>, String> {
        // Whatever a caller says of it was not sent on.
        if let Some(mark) = &self.mark {
            request.headers_mut().insert(MARK, mark.clone());
        }
        let engine = self.engine;
        let failed = |error: hyper::Error| format!("{engine} does not answer: {error}");
        let Self { sender, link, .. } = self;
        let sent = async {
            sender.ready().await.map_err(failed)?;
            sender.send_request(request).await.map_err(failed)
        };
        link.drive(sent).await
    }

    /// From here on the connection goes on by itself: it becomes a stream both ways.
    pub(super) fn let_go(&mut self) {
        if let Some(connection) = self.link.0.take() {
            tokio::spawn(connection);
        }
    }

    /// The body of an answer, as it comes.
    pub(super) fn streamed(self, answer: Response<Incoming>) -> Response<Body> {
        let link = self.link;
        answer.map(|body| Streamed { link, body }.map_err(Into::into).boxed_unsync())
    }

    /// The whole body of an answer.
    ///
    /// # Errors
    /// When it is longer than so many bytes, or does not come whole.
    pub(super) async fn whole(&mut self, body: Incoming, limit: usize) -> Result<Bytes, String> {
        let engine = self.engine;
        let collected = self.link.drive(Limited::new(body, limit).collect()).await;
        collected
            .map(|body| body.to_bytes())
            .map_err(|error| format!("{engine}'s answer could not be read: {error}"))
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
            Ok(Told {
                status: head.status,
                body: self.whole(body, ANSWER).await?,
            })
        };
        tokio::time::timeout(LIMIT, told)
            .await
            .map_err(|_| format!("{engine} has not answered for {} s", LIMIT.as_secs()))?
    }
}
