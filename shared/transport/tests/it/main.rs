//! Who may connect to whom, over real TLS on the loopback: every refusal has a twin that differs in one thing and is accepted.
#![allow(clippy::unwrap_used)]

mod admission;
mod below;
mod callers;
mod cluster;
mod connecting;
mod controllers;
mod keeping;
mod listener;
mod replacement;
mod resumption;
mod web;
mod wire;
