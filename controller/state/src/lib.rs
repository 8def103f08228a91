//! The replicated state machine: what every member makes of the same log.
//!
//! [`State::apply`] is total and deterministic. It has no clock (the proposer stamps time, and time never runs back), no
//! randomness, no I/O, no hash map and no panic; a command that cannot be carried out is [`Response::Refused`] and
//! changes nothing. Its audit row is part of the same application.

mod apply;
mod command;
mod convert;
#[cfg(test)]
mod fuzz;
mod queries;
mod response;
mod rows;
mod state;
#[cfg(test)]
mod tests;

pub use command::{Action, Command, InvalidCommand};
pub use response::{Refused, Response};
pub use rows::{DamagedRow, RowChange, Tree};
pub use state::{Cluster, FindingState, Host, State, Token};

/// Bounds of what is replicated. A command over one is refused.
pub mod limits {
    /// Bytes of one encoded command.
    pub const COMMAND_BYTES: usize = 16 << 20;
    /// Bytes of one object's canonical form.
    pub const OBJECT_BYTES: usize = 240 << 10;
    /// Objects in a set.
    pub const OBJECTS: usize = 100_000;
    /// Transitions in one command.
    pub const TRANSITIONS: usize = 1_000;
    /// Findings kept of one agent.
    pub const FINDINGS_PER_AGENT: usize = 100_000;
    /// Unspent join tokens.
    pub const TOKENS: usize = 10_000;
    /// Requests remembered.
    pub const REQUESTS: usize = 100_000;
    /// How long they are remembered, seconds.
    pub const REQUEST_SECONDS: i64 = 600;
    /// Deleted objects remembered for watchers.
    pub const TOMBSTONES: usize = 10_000;
    /// Bytes of a note or of any text of a check.
    pub const TEXT_BYTES: usize = 4 << 10;
}
