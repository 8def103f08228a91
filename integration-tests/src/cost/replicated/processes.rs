//! What processes take: CPU time (proc_pid_stat(5)), and calls that wait for a disk (perf-stat(1)).

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// Until it counts.
const ATTACHED: Duration = Duration::from_millis(400);
/// Calls that come back when something is on the disk, however the power goes; and one that comes back when it was given to the disk.
const CALLS: [&str; 4] = ["fsync", "fdatasync", "msync", GIVEN];
const GIVEN: &str = "sync_file_range";

fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The numbers of a `stat` file after its name, which may hold anything.
fn numbers(stat: &str) -> Vec<u64> {
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    after
        .split_whitespace()
        .map(|word| word.parse().unwrap_or(0))
        .collect()
}

/// CPU time that these have taken, in user mode and in the kernel, without their children's.
pub(super) fn cpu(pids: &[u32]) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a member is gone")?;
        // utime and stime, fields 14 and 15.
        sum += ticks(
            numbers(&stat)
                .get(11..13)
                .context("a process has its times")?
                .iter()
                .sum(),
        );
    }
    Ok(sum)
}

/// Memory that these have resident, MiB.
pub(super) fn resident(pids: &[u32]) -> Result<f64> {
    let mut sum = 0;
    for pid in pids {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("a member is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line
            .and_then(|line| line.split_whitespace().next())
            .context("a process has memory")?;
        sum += kib.parse::<u64>()?;
    }
    Ok(sum as f64 / 1024.0)
}

/// What this process has taken, with its children that have ended.
fn own() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    Ok(ticks(
        numbers(&stat)
            .get(11..15)
            .context("a process has its times")?
            .iter()
            .sum(),
    ))
}

/// CPU time that the whole machine has taken.
fn everybody() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat begins with all cores")?;
    let fields: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map(|word| word.parse().unwrap_or(0))
        .collect();
    // user, nice, system, irq, softirq, steal; idle and iowait are no time taken, and guests are in user.
    Ok(ticks(
        [0, 1, 2, 5, 6, 7]
            .iter()
            .filter_map(|field| fields.get(*field))
            .sum(),
    ))
}

/// What others than these took of the machine, since some moment.
pub(super) struct Others {
    at: std::time::Instant,
    taken: Duration,
}

impl Others {
    fn taken(pids: &[u32]) -> Result<Duration> {
        Ok(everybody()?.saturating_sub(own()? + cpu(pids)?))
    }

    /// From now on, beside these processes.
    pub(super) fn watch(pids: &[u32]) -> Result<Self> {
        Ok(Self {
            at: std::time::Instant::now(),
            taken: Self::taken(pids)?,
        })
    }

    /// Cores, on average.
    pub(super) fn cores(&self, pids: &[u32]) -> Result<f64> {
        let taken = Self::taken(pids)?.saturating_sub(self.taken);
        Ok(taken.as_secs_f64() / self.at.elapsed().as_secs_f64())
    }
}

/// Counts calls of some processes, by the kernel's tracepoints: nothing waits for that.
pub(super) struct Syncs {
    perf: Option<Child>,
    table: tempfile::NamedTempFile,
}

impl Syncs {
    /// From about now on.
    pub(super) fn count(folder: &Path, pids: &[u32]) -> Result<Self> {
        let table = tempfile::NamedTempFile::new_in(folder)?;
        let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
        let mut command = Command::new("perf");
        command
            .args(["stat", "-x", ";", "-p", &list.join(","), "-o"])
            .arg(table.path());
        for call in CALLS {
            command.args(["-e", &format!("syscalls:sys_enter_{call}")]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let perf = command.spawn().context("starting perf")?;
        std::thread::sleep(ATTACHED);
        Ok(Self {
            perf: Some(perf),
            table,
        })
    }

    /// How many there were; and of `sync_file_range`, how many.
    pub(super) fn end(mut self) -> Result<[u64; 2]> {
        let mut perf = self.perf.take().context("it counts")?;
        kill_process(Pid::from_child(&perf), Signal::INT).context("asking perf to end")?;
        perf.wait()?;
        counted(&fs::read_to_string(self.table.path())?)
    }
}

impl Drop for Syncs {
    fn drop(&mut self) {
        if let Some(mut perf) = self.perf.take() {
            let _ = perf.kill();
            let _ = perf.wait();
        }
    }
}

/// The sums of perf's table.
fn counted(table: &str) -> Result<[u64; 2]> {
    let (mut sums, mut lines) = ([0; 2], 0);
    for line in table.lines().filter(|line| line.contains("sys_enter_")) {
        let count = line.split(';').next().unwrap_or_default();
        ensure!(count != "<not supported>", "perf cannot count here: {line}");
        // What never happened is "not counted".
        sums[usize::from(line.contains(GIVEN))] += count.parse::<u64>().unwrap_or(0);
        lines += 1;
    }
    ensure!(lines == CALLS.len(), "perf has no table of all calls: {table}");
    Ok(sums)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_with_a_bracket_does_not_shift_the_numbers() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 50 60 7 8 20 0";
        assert_eq!(numbers(line)[11..15], [50, 60, 7, 8]);
    }

    #[test]
    fn this_process_takes_time_and_no_more_than_everybody() {
        let taken = cpu(&[std::process::id()]).unwrap();
        assert!(taken <= own().unwrap() && own().unwrap() <= everybody().unwrap());
    }

    #[test]
    fn calls_are_summed_and_those_that_cannot_be_counted_are_an_error() {
        let line = |count: &str, call: &str| format!("{count};;syscalls:sys_enter_{call};1;100.00;;\n");
        let table = |first: &str| {
            let rest = [
                ("30", "fdatasync"),
                ("<not counted>", "msync"),
                ("7", "sync_file_range"),
            ];
            let rest: String = rest.iter().map(|(count, call)| line(count, call)).collect();
            format!("# started on\n\n{}{rest}", line(first, "fsync"))
        };
        assert_eq!(counted(&table("12")).unwrap(), [42, 7]);
        assert!(counted(&table("<not supported>")).is_err());
        assert!(counted("").is_err());
    }
}
