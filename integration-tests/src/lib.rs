//! Rigs that take the product's programs to their limits on a real machine, and say in one line whether they held.
//!
//! The product is driven only from outside, as processes; its libraries are linked only to make requests and to read what
//! was stored. The rigs are the `prove-*` programs; each prints its figure last and fails when the figure falls short.

mod access;
pub mod agent_dead;
pub mod byte_flips;
pub mod canonical;
pub mod clock;
pub mod cost;
pub mod doors;
pub mod drift_eval;
pub mod hostile;
pub mod hostile_controller;
pub mod kill;
pub mod latency;
pub mod launch;
pub mod launch_window;
pub mod members;
pub mod people;
pub mod podman;
pub mod podman_proxy;
pub mod power_cut;
pub mod programs;
pub mod proxy_requests;
pub mod rpc_access;
pub mod runtime_proxy;
pub mod scene;
pub mod silence;
pub mod snapshot_stream;
pub mod token_spend;

pub use verger_rig::{dice, point};
