//! Panics of a run's tasks: the runtime catches them, and whoever waits for such a task may take it for one that was called off.

use std::cell::Cell;
use std::panic;

thread_local! {
    /// The seed that this thread runs, and how often something in it panicked.
    static RUN: Cell<Option<(u64, usize)>> = const { Cell::new(None) };
}

/// Has each panic counted, and say with which seed it is.
pub(crate) fn are_told() {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if let Some((seed, count)) = RUN.get() {
            RUN.set(Some((seed, count + 1)));
            println!("seed {seed}: a task panicked");
        }
        told(info);
    }));
}

/// Runs a seed on this thread; what came of it, and how often something panicked.
pub(crate) fn counted<R>(seed: u64, run: impl FnOnce() -> R) -> (R, usize) {
    RUN.set(Some((seed, 0)));
    let came = run();
    let count = RUN.take().map_or(0, |(_, count)| count);
    (came, count)
}
