//! The store's behaviour through its public face.
#![allow(clippy::unwrap_used)]

mod damage;
mod log;
mod rigs;
mod snapshot;
mod state;
