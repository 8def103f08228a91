//! The rigs, each in its shortest form.
#![allow(clippy::unwrap_used)]

mod enrolment;
mod members;
mod people;
mod power_cut;
mod snapshots;
mod tripwire;
mod verifying;
mod with_docker;
