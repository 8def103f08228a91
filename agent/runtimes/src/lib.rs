//! What runs instances, and what `/proc` shows of them.
//!
//! One module per runtime behind the port of `verger-agent-core`; [`proc`] reads the live facts of all of them in one
//! pass. This crate observes: it changes nothing of what it looks at, and judges nothing.

pub mod conformance;
pub mod docker;
pub mod fake;
pub mod proc;
mod unknown;
