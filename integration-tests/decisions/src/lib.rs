//! Who may do what, decided by Cedar as controllers do and by the compiled form as agents do: that they say the same, and what
//! it costs.
//!
//! A crate of its own, because it is built optimised and needs none of the product's processes.

pub mod chance;
pub mod equality;
mod tally;
