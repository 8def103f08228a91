//! What the writer does to each kind of store, until it is stopped.

pub(crate) mod log;
pub(crate) mod snapshot;
pub(crate) mod state;
