//! The services as callers meet them: real tonic over connections in memory, in front of a fake of the ports.
#![allow(clippy::unwrap_used)]

mod access;
mod applying;
mod arguments;
mod auditing;
mod deciding;
mod denials;
mod enrolment;
mod errors;
mod heads;
mod identity;
mod ingestion;
mod limits;
mod lists;
mod logins;
mod lookups;
mod members;
mod node_restriction;
mod proposing;
mod quotas;
mod repeats;
mod revocation;
mod roles;
mod session;
mod snapshots;
mod stale;
mod watching;
mod world;
