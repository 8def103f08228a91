//! openraft, adapted: the only crate that names it.
//!
//! A [`Member`] takes commands, agrees on them through a durable log, applies them to the pure state machine of
//! `verger-controller-state`, and lets callers read the result. Small on purpose: instantiating `Raft` costs minutes per
//! rebuild. This version runs clusters of one member; peers and joining come with the replication work.

mod codec;
#[cfg(test)]
mod fuzz;
mod log_store;
mod member;
mod network;
mod proposer;
mod snapshot;
mod state_machine;
mod types;

pub use member::{Member, MemberConfig, MemberError, ProposeError, ReadError};
