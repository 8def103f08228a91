//! What an agent decides: what it accepts, what it says to a controller and when, what it does about drift.
//!
//! Everything here is values and state machines. The crate does no I/O, knows no clock, no randomness and no async
//! runtime: time and randomness are passed in. [`store`], [`runtime`] and [`enforcer`] are the ports to the outside.

pub mod backoff;
pub mod doors;
pub mod enforcer;
pub mod freshness;
pub mod gate;
pub mod ledger;
pub mod lineage;
pub mod mode;
pub mod plan;
pub mod report;
pub mod runtime;
#[cfg(test)]
mod sealed;
pub mod session;
pub mod step;
pub mod store;
