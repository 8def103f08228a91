//! The gate, as the agent has to do with it: what it is answered, and how it comes to stand before a runtime.

pub(crate) mod answers;
pub(crate) mod install;
