//! One link to a controller, as both drivers hold one: opened after a wait, then messages both ways until it is lost.

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Response, Status, Streaming};
use tonic_types::StatusExt as _;

/// Messages that wait for a slow connection; the windows of the state machines are smaller.
const OUTGOING: usize = 16;
/// The longest time a controller can ask an agent to stay away, milliseconds. As long as the agent's own longest wait: a
/// controller that has been taken over silences nobody for longer than one that is down.
const LONGEST_RETRY: u64 = 60_000;
/// The reason of a controller that has no space for what it is told, or whose disk fails. Another member may have some.
const CANNOT_WRITE: &str = "CANNOT_WRITE";

type Opening<Out, In> = Pin<Box<dyn Future<Output = Result<Connection<Out, In>, Lost>> + Send>>;

/// What a controller opened, and where it is called.
pub(crate) struct Opened<In> {
    pub(crate) address: String,
    pub(crate) answer: Response<Streaming<In>>,
}

/// A stream each way.
pub(crate) struct Connection<Out, In> {
    /// Whose it is.
    address: String,
    send: mpsc::Sender<Out>,
    incoming: Streaming<In>,
}

/// The link. What it is doing is given up with it.
pub(crate) enum Link<Out, In> {
    Down,
    Opening(Opening<Out, In>),
    Up(Box<Connection<Out, In>>),
}

/// What a link tells its driver.
#[derive(Debug)]
pub(crate) enum Heard<In> {
    Connected,
    Message(In),
    Lost(Lost),
}

/// A link that could not be opened, or ended.
#[derive(Debug)]
pub(crate) struct Lost {
    /// The code and words of the controller, or what stood in the way of reaching one.
    why: String,
    /// How long the controller asks the agent to stay away at least, milliseconds.
    pub(crate) retry_after: Option<u64>,
    /// What came last was no message, or too long for one.
    pub(crate) unreadable: bool,
    /// Where it is called who answered and does not serve: another is to be asked first.
    pub(crate) unserved: Option<String>,
}

impl Lost {
    /// For what the controller has no part in.
    pub(crate) fn because(why: impl fmt::Display) -> Self {
        Self {
            why: why.to_string(),
            retry_after: None,
            unreadable: false,
            unserved: None,
        }
    }

    /// For a stream that a controller did not open, whatever it says.
    pub(crate) fn refused(address: String, status: Status) -> Self {
        Self {
            unserved: Some(address),
            ..status.into()
        }
    }

    /// For a stream that a controller ended. Who leads nobody refuses the next one; who stops is back soon; who cannot write opens the next
    /// one, too, and ends it again.
    fn ended(address: String, status: Status) -> Self {
        let unserved = cannot_write(&status).then_some(address);
        Self {
            unserved,
            ..status.into()
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<Status> for Lost {
    fn from(status: Status) -> Self {
        Self {
            why: said(&status),
            retry_after: retry_after(&status),
            unreadable: is_unreadable(&status),
            unserved: None,
        }
    }
}

/// Whether a status was made here, of bytes that could not be taken in. tonic says so in its message alone; a controller that
/// says the same of itself is believed.
fn is_unreadable(status: &Status) -> bool {
    let said = |words| status.message().contains(words);
    match status.code() {
        Code::OutOfRange => said("decoded message length too large"),
        Code::Internal => said("failed to decode Protobuf message") || said("invalid compression flag"),
        _ => false,
    }
}

/// Whether a controller says that it cannot write.
fn cannot_write(status: &Status) -> bool {
    let info = status.get_details_error_info();
    status.code() == Code::Unavailable && info.is_some_and(|info| info.reason == CANNOT_WRITE)
}

fn said(status: &Status) -> String {
    match (status.code(), status.message()) {
        (code, "") => format!("{code:?}"),
        (Code::Unknown, message) => message.to_owned(),
        (code, message) => format!("{code:?}: {message}"),
    }
}

/// What `google.rpc.RetryInfo` among a status' details asks for, in milliseconds and at most [`LONGEST_RETRY`]; `None` where
/// it is absent, or the details cannot be read.
fn retry_after(status: &Status) -> Option<u64> {
    let asked: Duration = status.get_details_retry_info()?.retry_delay?;
    Some(u64::try_from(asked.as_millis()).map_or(LONGEST_RETRY, |millis| millis.min(LONGEST_RETRY)))
}

impl<Out, In> Link<Out, In>
where
    Out: Send + 'static,
    In: Send + 'static,
{
    /// Begins to open it after `after` milliseconds: `call` is given what is to be sent, and gives what comes in.
    pub(crate) fn open<F>(after: u64, call: impl FnOnce(ReceiverStream<Out>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Opened<In>, Lost>> + Send,
    {
        Self::Opening(Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(after)).await;
            let (send, queue) = mpsc::channel(OUTGOING);
            let Opened { address, answer } = call(ReceiverStream::new(queue)).await?;
            let incoming = answer.into_inner();
            Ok(Connection {
                address,
                send,
                incoming,
            })
        }))
    }

    /// Sends, if it is up.
    pub(crate) fn send(&self, message: impl FnOnce() -> Out) {
        if let Self::Up(connection) = self {
            // A full queue is a dead connection: the limits of the state machines on silence end it.
            let _ = connection.send.try_send(message());
        }
    }

    /// Says no more. What was said is still sent, as long as the value that this gives is kept: with it goes the connection.
    pub(crate) fn leave(&mut self) -> Option<Streaming<In>> {
        match std::mem::replace(self, Self::Down) {
            Self::Up(connection) => {
                let Connection { incoming, .. } = *connection;
                Some(incoming)
            }
            Self::Down | Self::Opening(_) => None,
        }
    }

    /// The next thing it tells; never, while it is down. After [`Heard::Lost`] it is down.
    ///
    /// Cancellation safe: what was opened is moved into the link before anything else is awaited, and a message is taken from
    /// the stream only to be returned.
    pub(crate) async fn next(&mut self) -> Heard<In> {
        let lost = match self {
            Self::Down => pending().await,
            Self::Opening(opening) => match opening.await {
                Ok(connection) => {
                    *self = Self::Up(Box::new(connection));
                    return Heard::Connected;
                }
                Err(lost) => lost,
            },
            Self::Up(connection) => match connection.incoming.message().await {
                Ok(Some(message)) => return Heard::Message(message),
                Ok(None) => Lost::because("the controller ended it"),
                Err(status) => Lost::ended(connection.address.clone(), status),
            },
        };
        *self = Self::Down;
        Heard::Lost(lost)
    }
}

#[cfg(test)]
mod tests;
