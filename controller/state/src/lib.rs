//! The replicated state machine: what every member makes of the same log.
//!
//! [`State::apply`] is total and deterministic. It has no clock (proposers stamp time, and [`HeldBack`] says how far they are
//! believed), no randomness, no I/O, no hash map and no panic; a command that cannot be carried out is [`Response::Refused`]
//! and changes nothing. Its audit row is part of the same application.

mod admission;
mod apply;
mod audit;
mod by_revision;
mod clock;
mod command;
mod convert;
mod findings;
#[cfg(test)]
mod fuzz;
pub mod limits;
mod logins;
mod objects;
mod proposals;
mod queries;
mod response;
mod rows;
mod stamps;
mod state;
#[cfg(test)]
mod tests;
mod version;

pub use admission::{Admission, Presented, elsewhere};
pub use apply::authentic_head;
pub use audit::{AuditHead, AuditPlace};
pub use by_revision::Place;
pub use clock::{HeldBack, ticks};
pub use command::{About, Action, Command, InvalidCommand, MemberTurn, SnapshotPlace};
pub use logins::{BREAK_GLASS, break_glass_name, is_break_glass};
pub use objects::ObjectChange;
pub use proposals::Proposal;
pub use queries::{FindingChange, FindingNow};
pub use response::{Refused, Response};
pub use rows::{DamagedRow, Rebuild, RowChange, Tree};
pub use stamps::Stamped;
pub use state::{
    Asked, Cluster, Host, Login, LoginKind, MemberRecord, Restored, Standing, State, Token, Verdict, Vouched,
};
pub use version::ClusterVersion;
