//! The enforcer on the real kernel.
#![allow(clippy::unwrap_used)]

mod with_docker;
