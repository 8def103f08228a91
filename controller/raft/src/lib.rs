//! openraft, adapted: the only crate that names it.
//!
//! A [`Member`] takes commands, agrees on them through a durable log, applies them to the pure state machine of
//! `verger-controller-state`, and lets callers read the result. Small on purpose: instantiating `Raft` costs minutes per
//! rebuild.

mod chain;
mod changing;
mod codec;
mod equality;
mod failing;
mod finishing;
#[cfg(test)]
mod fuzz;
mod inbox;
mod leading;
mod log_store;
mod member;
mod membership;
mod moving;
mod network;
mod peers;
mod proposer;
mod reading;
mod restoring;
mod room;
mod runtime;
mod saving;
mod sending;
mod serving;
mod shortening;
mod snapshot;
mod state_machine;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod testing;
mod tickets;
mod transfer;
mod types;
mod versions;
mod wire;

pub use chain::{CHECKPOINT_EVERY, Checkpoint};
pub use equality::{Difference, Verdict, judge, mark_diverged};
pub use member::{Member, MemberConfig, MemberError, ProposeError, Stores};
pub use membership::{Change, ChangeError, MOST_VOTERS, MemberStanding, Part, Standing};
pub use peers::{NoPeers, Peer, PeerError, Peers};
pub use reading::ReadError;
pub use restoring::RestoredFrom;
pub use room::await_space;
pub use runtime::seed;
pub use saving::{SaveError, Saved};
pub use serving::PeerRefused;
pub use types::Node;
