//! The rigs, each in its shortest form.
#![allow(clippy::unwrap_used)]

mod people;
mod power_cut;
mod with_docker;
