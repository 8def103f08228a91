//! Watches: what there is, then each change once and in order, wherever a watcher resumes.

mod findings;
mod follower;
mod objects;
mod random;
mod slow;
