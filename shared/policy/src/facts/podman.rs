//! What Podman keeps on its disk (containers/storage, with driver `overlay`), and an instance made of that and of its OCI config.
//!
//! Its labels, its published ports and whose seccomp profile it has are in Podman's database alone (`libpod/bolt_state.db`), which is
//! not read: they are *not evaluated*, but for what its config shows all the same. Nothing that the config says of
//! itself, such as an annotation, stands in for any of it.

mod merge;
mod storage;

pub use merge::{Places, instance, is_made_network};
pub use storage::{Kept, big_data_file, container, containers, diffs_below, find, is_image, top_layers};

#[cfg(test)]
mod tests;
