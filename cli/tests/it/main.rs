//! Runs the program as a person or a pipeline does, and holds it to its exit codes and its output.
#![allow(clippy::unwrap_used)]

mod audit;
mod auth;
mod bless;
mod certificates;
mod cluster;
mod consent;
mod deciding;
mod environment;
mod exceptions;
mod findings;
mod findings_verify;
mod freshness;
mod judge;
mod keys;
mod login;
mod policy;
mod program;
mod proposals;
mod rotation;
mod shell;
mod silence;
mod ssh;
