//! Reading what a caller sends: of a large message not before the call has a place, and of none for ever.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep};
use tonic::codegen::{Body, Bytes, StdError};
use tonic::{Code, Status};

use super::places::{LARGE, Turn};
use crate::status::with_reason;

/// A message that is not there by then is waited for no longer: within it, 24 MiB come at 7 Mbit/s.
pub(super) const RECEIVED: Duration = Duration::from_secs(30);
/// Before a message in gRPC: whether it is compressed, and its length.
pub(super) const PREFIX: usize = 5;

type Frame = http_body::Frame<Bytes>;

/// A body that holds one message.
pub(super) struct Reading<Q> {
    body: Pin<Box<Q>>,
    turn: Turn,
    /// The first bytes.
    prefix: Vec<u8>,
    /// Bytes of data so far.
    taken: usize,
    /// What was read, and is given once there is a place.
    held: Option<Frame>,
    waiting: Option<BoxFuture<'static, Result<(), Status>>>,
    limit: Pin<Box<Sleep>>,
    is_over: bool,
}

impl<Q> Reading<Q> {
    pub(super) fn new(body: Q, turn: Turn) -> Self {
        Self {
            body: Box::pin(body),
            turn,
            prefix: Vec::with_capacity(PREFIX),
            taken: 0,
            held: None,
            waiting: None,
            limit: Box::pin(sleep(RECEIVED)),
            is_over: false,
        }
    }

    fn note(&mut self, data: &[u8]) {
        self.taken = self.taken.saturating_add(data.len());
        let wanting = PREFIX.saturating_sub(self.prefix.len()).min(data.len());
        self.prefix.extend_from_slice(&data[..wanting]);
    }

    /// By what it says, or by what came.
    fn is_large(&self) -> bool {
        let said = match self.prefix.as_slice() {
            &[_, a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
            _ => 0,
        };
        usize::try_from(said).is_ok_and(|said| said > LARGE) || self.taken > LARGE + PREFIX
    }

    fn end(&mut self, status: Status) -> Poll<Option<Result<Frame, Status>>> {
        self.is_over = true;
        self.held = None;
        Poll::Ready(Some(Err(status)))
    }
}

impl<Q> Body for Reading<Q>
where
    Q: Body<Data = Bytes>,
    Q::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, Status>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        if let Some(waiting) = &mut this.waiting {
            let taken = ready!(waiting.as_mut().poll(cx));
            this.waiting = None;
            if let Err(status) = taken {
                return this.end(status);
            }
            // Who had to wait has not been slow.
            this.limit.as_mut().reset(Instant::now() + RECEIVED);
        }
        if let Some(frame) = this.held.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match this.body.as_mut().poll_frame(cx) {
            Poll::Pending => {
                ready!(this.limit.as_mut().poll(cx));
                this.end(with_reason(
                    Code::DeadlineExceeded,
                    "TOO_SLOW",
                    format!("the request was not there within {RECEIVED:?}"),
                ))
            }
            Poll::Ready(None) => {
                this.is_over = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => this.end(Status::from_error(error.into())),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    this.note(data);
                }
                if !this.is_large() || this.turn.has_place() {
                    return Poll::Ready(Some(Ok(frame)));
                }
                this.held = Some(frame);
                this.waiting = Some(Box::pin(this.turn.clone().take_place()));
                self.poll_frame(cx)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || (self.held.is_none() && self.waiting.is_none() && self.body.is_end_stream())
    }
}
