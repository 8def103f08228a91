//! The store on a real file system.

#![allow(clippy::unwrap_used, missing_docs)]

mod bench;
mod conformance;
mod corruption;
mod limits;
mod model;
