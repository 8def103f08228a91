//! What every rig begins and ends with: how a `prove-*` program is called and answers, and choices that can be repeated.
//!
//! Apart from the rigs themselves, so that one which needs no processes is built without those that do.

pub mod dice;
pub mod point;
