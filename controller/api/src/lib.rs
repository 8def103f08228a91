//! The controller's API: thin tonic services over ports.
//!
//! A handler parses, calls a port, renders. It cannot name Raft or the stores: only the binary's `wire_up` sees both sides.
//! Identity comes from the caller's certificate alone ([`caller`]).

mod agents;
mod asking;
mod audit;
mod authorizer;
pub mod caller;
mod certificates;
mod cluster;
pub mod denials;
mod enrolment;
mod findings;
pub mod fleet;
pub mod identity_provider;
mod joining;
mod log_in;
pub mod logins;
mod members;
mod pace;
mod paging;
mod policy;
pub mod ports;
mod proposals;
pub mod quotas;
mod request_ids;
mod session;
mod snapshots;
mod stamp;
mod status;
mod watch;

pub use agents::Agents;
pub use audit::Audit;
pub use authorizer::Authorizer;
pub use certificates::Certificates;
pub use cluster::{Cluster, MemberInfo};
pub use enrolment::Enrolment;
pub use findings::Findings;
pub use joining::Joining;
pub use log_in::LogIn;
pub use members::Members;
pub use policy::Policy;
pub use proposals::Proposals;

/// The largest message that a service takes in which takes in policy objects or findings, bytes. A command is at most 16 MiB.
pub const MESSAGE_BYTES: usize = 24 << 20;
/// The largest message that any other service takes in, bytes. Calls whose messages are longer [wait for a place](quotas).
pub const SMALL_MESSAGE_BYTES: usize = 64 << 10;
