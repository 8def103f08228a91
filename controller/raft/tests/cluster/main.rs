//! Several members in one process, with their real stores: what one takes all have, whoever leads and whoever is away.

#![allow(clippy::unwrap_used)]

mod cases;
mod lossy;
mod router;
#[path = "../shared/mod.rs"]
mod shared;
mod world;
