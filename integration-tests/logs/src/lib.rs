//! What an append costs by both kinds of the log; the program is the bench `log_store`.
//!
//! A crate of its own, because it is built optimised and needs none of the product's processes.
