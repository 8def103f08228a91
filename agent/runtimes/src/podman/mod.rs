//! Podman by its files: nobody is asked, there is no daemon. Its database is not read.

mod disk;
mod eyes;
mod life;
mod netns;
mod runtime;
mod sight;
mod watch;

pub use disk::{PodmanDisk, PodmanRoots};
pub use runtime::PodmanRuntime;

#[cfg(test)]
pub(crate) use disk::tests;
