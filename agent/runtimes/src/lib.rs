//! What runs instances, and what `/proc` shows of them.
//!
//! One module per runtime behind the port of `verger-agent-core`; [`proc`] reads the live facts of all of them in one
//! pass; [`doors`] looks at the ways to a runtime. This crate observes and judges nothing; all that it changes is that it starts again
//! what it is told to ([`docker::DockerRuntime::start`]).

mod bundle;
pub mod conformance;
pub mod disk;
pub mod docker;
pub mod doors;
pub mod fake;
pub mod podman;
pub mod proc;
mod unknown;
