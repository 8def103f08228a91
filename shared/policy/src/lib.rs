//! The pure core of Verger: what policy objects mean and what a host's facts are worth under them.
//!
//! Everything here is a function from values to values. The crate does no I/O, knows no clock, no randomness,
//! no environment and no async runtime; `cargo xtask check-deps` proves it over the dependency graph.

pub mod bless;
pub mod compile;
pub mod decide;
pub mod digest;
pub mod draft;
pub mod drift;
pub mod explain;
pub mod expression;
pub mod facts;
pub mod finding;
pub mod ideal;
pub mod json;
pub mod lint;
pub mod model;
pub mod plan;
pub mod roles;
pub mod rules;
pub mod set;
