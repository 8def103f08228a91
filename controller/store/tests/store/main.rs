//! The store's behaviour through its public face.
#![allow(clippy::unwrap_used)]

mod damage;
mod log;
mod planted_state;
mod rigs;
mod sled_state;
mod snapshot;
mod state;
mod write_behind;
