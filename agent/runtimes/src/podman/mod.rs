//! Podman by its files: nobody is asked, there is no daemon. Its database is not read.

mod disk;
mod netns;

pub use disk::{PodmanDisk, PodmanRoots};

#[cfg(test)]
pub(crate) use disk::tests;
