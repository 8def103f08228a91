//! Behaviour of the runtimes on the real thing: a Docker daemon, a kernel.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::print_stdout)]

mod canned;
mod conformance;
mod with_docker;
