//! How many inputs get past the first look at them. A target whose inputs all fall at the syntax says nothing of what lies
//! behind it.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Set by `cargo xtask prove fuzz`: then each generator tells, when its target ends, what it made and what the process took.
const COUNTING: &str = "VERGER_FUZZ_COUNTS";

/// Counts the inputs of one generator.
#[derive(Debug)]
pub(crate) struct Count {
    counting: bool,
    made: AtomicU64,
    framed: AtomicU64,
    /// Whether there is a framing at all.
    known: bool,
}

impl Count {
    pub(crate) fn new(known: bool) -> Self {
        Self {
            counting: std::env::var_os(COUNTING).is_some(),
            made: AtomicU64::new(0),
            framed: AtomicU64::new(0),
            known,
        }
    }

    /// Counts an input; `is_framed` is asked only while it matters.
    pub(crate) fn input(&self, is_framed: impl FnOnce() -> bool) {
        if self.counting {
            self.made.fetch_add(1, Ordering::Relaxed);
            if self.known && is_framed() {
                self.framed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Clone for Count {
    fn clone(&self) -> Self {
        Self::new(self.known)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        let made = self.made.load(Ordering::Relaxed);
        if made == 0 {
            return;
        }
        let framed = if self.known {
            self.framed.load(Ordering::Relaxed).to_string()
        } else {
            "-".to_owned()
        };
        // A closed output shows in the count that is missing.
        let _ = writeln!(
            std::io::stdout(),
            "\nfuzz-counts made {made} framed {framed} peak-kib {}",
            peak().unwrap_or_default()
        );
    }
}

/// The most memory this process has had resident, in KiB (proc_pid_status(5), `VmHWM`).
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
