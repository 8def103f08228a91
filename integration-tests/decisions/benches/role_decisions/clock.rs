//! CPU time of this thread.

use std::hint::black_box;
use std::time::Duration;

/// What `work` takes. Reading the clock takes some hundred nanoseconds itself.
pub(crate) fn cpu<T>(work: impl FnOnce() -> T) -> Duration {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(
            time.tv_sec.unsigned_abs(),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        )
    };
    let began = now();
    black_box(work());
    now().saturating_sub(began)
}

/// The middle one. Of nothing: the longest there is.
pub(crate) fn median(mut of: Vec<Duration>) -> Duration {
    of.sort_unstable();
    of.get(of.len() / 2).copied().unwrap_or(Duration::MAX)
}

/// The middle one.
pub(crate) fn middle(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}
