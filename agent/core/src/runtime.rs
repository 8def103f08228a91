//! The port to what runs instances: Docker and Podman, and others behind the same trait.
//!
//! A runtime says what it holds and when to look again. It says nothing of what `/proc` shows
//! ([`Instance::live`] is left [`Missing`](verger_policy::facts::Evidence::Missing)): one pass over `/proc` serves
//! the instances of all runtimes. Events carry no content on purpose: they name what to reread, and a lost event
//! is repaired by a rescan.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use verger_policy::facts::{Instance, InstanceId};
use verger_policy::model::RuntimeKind;

/// A future a port returns; boxed, so that ports stay usable as `dyn` without naming an async runtime.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What runs instances.
///
/// Implementations hold no state that callers could observe besides speed: two calls in a row return what the
/// runtime holds now.
pub trait Runtime: Send + Sync {
    /// Which runtime it is.
    fn kind(&self) -> RuntimeKind;

    /// All instances that run, are paused, or were created and not started yet. Ended ones are not listed.
    ///
    /// An instance that cannot be read (too big, malformed) is listed all the same, with the reason in its
    /// missing evidence: one hostile instance never hides the others. An unchanged instance is the same `Arc` as in
    /// the listing before, and costs no request.
    ///
    /// Cancellation safe: dropping the future loses nothing.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, RuntimeError>>;

    /// One instance, read again whatever is remembered of it; `None` if the runtime does not hold it (any more), or
    /// it has ended.
    fn inspect<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<Option<Listed>, RuntimeError>>;

    /// Starts to watch. The first event is [`RuntimeEvent::Lost`]: what changed before is unknown, so list.
    fn watch(&self) -> Box<dyn Watch>;
}

/// A running watch. Dropping it ends it.
pub trait Watch: Send {
    /// The next event; waits as long as it takes, through restarts of the runtime. `None` only when the watch has
    /// ended for good. Cancellation safe: an event is returned or kept.
    fn next(&mut self) -> BoxFuture<'_, Option<RuntimeEvent>>;
}

/// One instance as a runtime lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What is known of it. Shared: equal pointers mean nothing changed.
    pub instance: Arc<Instance>,
    /// Where it is in its life.
    pub phase: Phase,
    /// The pid, on the host, of its first process; `None` while nothing of it runs.
    pub init_pid: Option<u32>,
}

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Made, not started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Ended, and about to be started again by the runtime.
    Restarting,
}

/// Something happened: read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// The instance's first process was started.
    Started(InstanceId),
    /// The instance was created, or what the runtime knows of it changed.
    Changed(InstanceId),
    /// Another process was started in the instance through the runtime.
    Exec(InstanceId),
    /// The instance ended or was removed.
    Gone(InstanceId),
    /// Events may have been missed, or the runtime went or came: rescan everything.
    Lost,
}

/// Why a runtime could not be read. Says which runtime, and where it was sought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeError {
    /// The runtime.
    pub runtime: RuntimeKind,
    /// Where it was sought: the path of a socket or a folder.
    pub endpoint: String,
    /// What went wrong.
    pub problem: RuntimeProblem,
}

/// What can go wrong with a runtime.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeProblem {
    /// Nobody answers: not installed, not started yet, restarting.
    #[error("nobody answers ({0}); is it running, and may the agent open its socket?")]
    Unreachable(String),
    /// Its files cannot be read.
    #[error("its files cannot be read: {0}")]
    Unreadable(String),
    /// It did not answer in time.
    #[error("no answer within {0} s")]
    TimedOut(u64),
    /// It speaks no version of its protocol that this agent speaks.
    #[error("it speaks API version {offered}; this agent needs {needed} or later: upgrade the runtime")]
    TooOld {
        /// What it offers at most.
        offered: String,
        /// What is needed at least.
        needed: String,
    },
    /// It refused a request.
    #[error("it answered {status} to {request}: {message}")]
    Refused {
        /// The request.
        request: String,
        /// The HTTP status.
        status: u16,
        /// What it said, cut and with control characters escaped.
        message: String,
    },
    /// An answer is bigger than the limit.
    #[error("its answer to {request} is bigger than {limit} bytes")]
    TooBig {
        /// The request.
        request: String,
        /// The limit, bytes.
        limit: usize,
    },
    /// An answer could not be understood.
    #[error("its answer to {request} is malformed: {reason}")]
    Malformed {
        /// The request.
        request: String,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for RuntimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.runtime, self.endpoint, self.problem)
    }
}

impl std::error::Error for RuntimeError {}
