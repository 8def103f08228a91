//! Sending an answer: a large one from a place, piece by piece, and not for ever. What a slow reader has not taken by then is let go of.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::task::AbortHandle;
use tonic::codegen::{Body as _, Bytes, http::HeaderMap};
use tonic::{Code, Status};

use super::OpenCall;
use super::places::{LARGE, Turn};
use crate::status::with_reason;

/// An answer that is not taken by then is not sent to its end.
pub(super) const SENT: Duration = Duration::from_secs(30);
/// Bytes that are given to a connection at once: it keeps them until its peer takes them.
const PIECE: usize = LARGE;

type Frame = http_body::Frame<Bytes>;
type Body = tonic::body::Body;

/// The body of one message's answer. The call is open as long as it is.
pub(super) struct Sending {
    rest: Rest,
    turn: Turn,
    waiting: Option<BoxFuture<'static, Result<(), Status>>>,
    /// Lets go of the rest in time.
    limit: Option<AbortHandle>,
    is_over: bool,
    _open: OpenCall,
}

/// What is not sent yet; nothing once it took too long.
#[derive(Clone)]
struct Rest(Arc<Mutex<Option<Unsent>>>);

struct Unsent {
    body: Body,
    /// Of a large message.
    pieces: Bytes,
}

impl Rest {
    fn unsent(&self) -> MutexGuard<'_, Option<Unsent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sending {
    pub(super) fn new(body: Body, turn: Turn, open: OpenCall) -> Self {
        let pieces = Bytes::new();
        let mut sending = Self {
            rest: Rest(Arc::new(Mutex::new(Some(Unsent { body, pieces })))),
            turn,
            waiting: None,
            limit: None,
            is_over: false,
            _open: open,
        };
        // Nobody asks for a piece before there is room for it on the connection, which may be never.
        if sending.turn.has_place() {
            sending.begin();
        }
        sending
    }

    /// From now on it may take so long.
    fn begin(&mut self) {
        let (rest, turn) = (self.rest.clone(), self.turn.clone());
        let limit = tokio::spawn(async move {
            tokio::time::sleep(SENT).await;
            drop(rest.unsent().take());
            turn.leave();
        });
        self.limit = Some(limit.abort_handle());
    }

    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame, Status>>> {
        self.is_over = true;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(
            status
                .add_header(&mut trailers)
                .map(|()| Frame::trailers(trailers)),
        ))
    }

    /// The next piece of what is there, or the next frame; `None` where that is a large message, which is kept.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Option<Result<Frame, Status>>>> {
        let mut rest = self.rest.unsent();
        let Some(Unsent { body, pieces }) = &mut *rest else {
            drop(rest);
            let slow = with_reason(
                Code::DeadlineExceeded,
                "TOO_SLOW",
                format!("the answer was not taken within {SENT:?}"),
            );
            return self.end(&slow).map(Some);
        };
        if !pieces.is_empty() {
            let piece = pieces.split_to(PIECE.min(pieces.len()));
            return Poll::Ready(Some(Some(Ok(Frame::data(piece)))));
        }
        let next = match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.len() > LARGE => {
                    *pieces = data;
                    return Poll::Ready(None);
                }
                Ok(data) => Some(Ok(Frame::data(data))),
                Err(frame) => Some(Ok(frame)),
            },
            other => other,
        };
        Poll::Ready(Some(next))
    }
}

impl tonic::codegen::Body for Sending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Status>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        loop {
            if let Some(waiting) = &mut this.waiting {
                let taken = ready!(waiting.as_mut().poll(cx));
                this.waiting = None;
                match taken {
                    Ok(()) if this.limit.is_none() => this.begin(),
                    Ok(()) => {}
                    Err(status) => return this.end(&status),
                }
            }
            match ready!(this.next(cx)) {
                Some(next) => return Poll::Ready(next),
                None => this.waiting = Some(Box::pin(this.turn.clone().take_place())),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let rest = self.rest.unsent();
        let is_sent = |unsent: &Unsent| unsent.pieces.is_empty() && unsent.body.is_end_stream();
        self.is_over || (self.waiting.is_none() && rest.as_ref().is_some_and(is_sent))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(limit) = &self.limit {
            limit.abort();
        }
    }
}
