//! How long processes have lived: `/proc/PID/stat` counts in clock ticks after boot, as CLOCK_BOOTTIME does.

use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

/// Now, in clock ticks after boot.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let per_second = clock_ticks_per_second();
    let nanos = now.tv_nsec.unsigned_abs();
    now.tv_sec.unsigned_abs() * per_second + nanos * per_second / 1_000_000_000
}

/// The age, at `now_ticks`, of what started at `start_ticks`.
pub(crate) fn of(start_ticks: u64, now_ticks: u64) -> Duration {
    let millis = now_ticks.saturating_sub(start_ticks) * 1000 / clock_ticks_per_second();
    Duration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_child_is_younger_than_this_process_and_as_old_as_its_clock_says() {
        let start = |pid: u32| {
            let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap();
            verger_policy::facts::proc::start_ticks(&stat).unwrap()
        };
        let before = now();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let child_start = start(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!((before.saturating_sub(1)..=now() + 1).contains(&child_start));
        assert!(of(start(std::process::id()), now()) >= of(child_start, now()));
        assert_eq!(of(10, 5), Duration::ZERO);
    }
}
