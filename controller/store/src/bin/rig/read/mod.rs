//! What the reader expects of each kind of store.

pub(crate) mod log;
pub(crate) mod snapshot;
pub(crate) mod state;
