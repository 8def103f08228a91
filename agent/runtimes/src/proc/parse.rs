//! What of `/proc/PID/stat` decides whether a process counts (proc_pid_stat(5)): pure, bytes in, values out.

/// `PF_KTHREAD` of the flags (include/linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// Whether the process runs code of its own: it is no kernel thread, and has not ended. `None` if malformed.
pub(super) fn runs_code(stat: &[u8]) -> Option<bool> {
    // The command name may hold any byte, also `)` and line ends: the last `)` ends it.
    let close = stat.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(&stat[close + 1..]).ok()?;
    // Fields 3 (state) and 9 (flags); the first after the name is field 3.
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    Some(flags & KERNEL_THREAD == 0 && !matches!(state, "Z" | "X" | "x"))
}

/// Whether the first thread has ended and others go on (field 3 is `Z`, field 20 counts more than one thread). `None` if
/// malformed.
pub(super) fn is_zombie_with_threads(stat: &[u8]) -> Option<bool> {
    let close = stat.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(&stat[close + 1..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let threads: u64 = fields.nth(16)?.parse().ok()?;
    Some(state == "Z" && threads > 1)
}

/// The pid of its parent (field 4). `None` if malformed.
pub(crate) fn parent(stat: &[u8]) -> Option<u32> {
    let close = stat.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(&stat[close + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Its session: the pid of the process that began it (field 6). `None` if malformed.
pub(super) fn session(stat: &[u8]) -> Option<u32> {
    let close = stat.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(&stat[close + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(3)?.parse().ok()
}

/// How many threads the process has (field 20). `None` if malformed.
pub(super) fn threads(stat: &[u8]) -> Option<u64> {
    let close = stat.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(&stat[close + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(17)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_counted_whatever_the_name() {
        let stat = b"7 (a) Z 1 (b) S 1 7 7 0 -1 4194560 9 9 0 0 1 2 3 4 20 0 3 0 99";
        assert_eq!((threads(stat), parent(stat)), (Some(3), Some(1)));
        assert_eq!((session(stat), session(b"7 (sh) S 1 7")), (Some(7), None));
        assert_eq!(threads(b"7 (sh) S 1"), None);
    }

    #[test]
    fn a_leader_that_ended_before_its_threads_is_told_from_one_that_is_gone() {
        let stat = |state: &str, threads: u32| {
            format!("7 (a) Z) {state} 1 7 7 0 -1 4194560 9 9 0 0 1 2 3 4 20 0 {threads} 0 99")
        };
        for (state, threads, expected) in [("Z", 3, true), ("Z", 1, false), ("S", 3, false)] {
            assert_eq!(
                is_zombie_with_threads(stat(state, threads).as_bytes()),
                Some(expected)
            );
        }
        assert_eq!(is_zombie_with_threads(b"7 (sh) Z 1"), None);
    }

    #[test]
    fn kernel_threads_and_the_dead_run_no_code() {
        for (stat, expected) in [
            ("7 (sh) S 1 7 7 0 -1 4194560 9 9", Some(true)),
            ("7 (a) Z 1 (b) R 1 7 7 0 -1 4194560 9 9", Some(true)),
            ("7 (kworker/0:1) I 2 0 0 0 -1 69238880 0 0", Some(false)),
            ("7 (sh) Z 1 7 7 0 -1 4194560 9 9", Some(false)),
            ("7 (sh", None),
            ("7 (sh) S 1", None),
            ("", None),
        ] {
            assert_eq!(runs_code(stat.as_bytes()), expected, "{stat}");
        }
    }
}
