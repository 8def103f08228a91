//! What is counted in a process of its own: calls that wait for the disk, by the kernel's tracepoints (perf-stat(1)), and what
//! is left after appends and purges.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use verger_controller_store::LogId;

use crate::cost::resident;
use crate::subject::{Kind, Subject, records};

/// Calls that come back when something is on the disk.
const SYNCS: [&str; 4] = ["fsync", "fdatasync", "msync", "sync_file_range"];
/// Calls of the shorter and of the longer run, whose difference is counted: both open and close as much.
const CALLS: [usize; 2] = [200, 1224];

/// As a member appends and purges: every 20,000 records, all but 1,000.
const APPENDED: u64 = 400_000;
const BATCH: usize = 64;
const PURGED_EVERY: u64 = 20_000;
const KEPT: u64 = 1_000;

/// What is left of a log.
pub(crate) struct Kept {
    pub(crate) records: u64,
    /// MiB.
    pub(crate) disk: f64,
    /// MiB, of the process that appended.
    pub(crate) memory: f64,
    pub(crate) reopened: Duration,
}

/// The child's part.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["append", kind, dir, batch, calls] => {
            let mut subject = Subject::create(Kind::of(kind)?, Path::new(dir))?;
            let (batch, calls): (usize, usize) = (batch.parse()?, calls.parse()?);
            for call in 0..calls {
                subject.append(&records((call * batch) as u64, batch))?;
            }
            Ok(())
        }
        ["purge", kind, dir] => {
            let mut subject = Subject::create(Kind::of(kind)?, Path::new(dir))?;
            let (mut next, mut purged) = (0, 0);
            while next < APPENDED {
                subject.append(&records(next, BATCH))?;
                next += BATCH as u64;
                if next - purged >= PURGED_EVERY + KEPT {
                    purged = next - KEPT;
                    subject.purge(LogId {
                        index: purged - 1,
                        term: 1,
                    })?;
                }
            }
            point(&format!("{} {}", resident()?, next - purged));
            Ok(())
        }
        _ => bail!("this benchmark takes no arguments"),
    }
}

fn point(line: &str) {
    verger_rig::point::tell(line);
}

/// Syncs of one call.
pub(crate) fn syncs(dir: &Path, kind: Kind, batch: usize) -> Result<f64> {
    let [short, long] = CALLS;
    let difference = counted(dir, kind, batch, long)? - counted(dir, kind, batch, short)?;
    Ok(difference / (long - short) as f64)
}

fn counted(dir: &Path, kind: Kind, batch: usize, calls: usize) -> Result<f64> {
    let place = tempfile::tempdir_in(dir)?;
    let table = tempfile::NamedTempFile::new_in(dir)?;
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ";", "-o"]).arg(table.path());
    for call in SYNCS {
        perf.args(["-e", &format!("syscalls:sys_enter_{call}")]);
    }
    let ended = perf
        .arg("--")
        .arg(std::env::current_exe()?)
        .args(["append", kind.name()])
        .arg(place.path())
        .args([batch.to_string(), calls.to_string()])
        .status()
        .context("starting perf: apt-get install linux-perf")?;
    ensure!(ended.success(), "what perf counted failed");
    let mut sum = 0.0;
    for line in std::fs::read_to_string(table.path())?.lines() {
        let mut fields = line.split(';');
        if let (Some(count), Some(_), Some(event)) = (fields.next(), fields.next(), fields.next())
            && event.starts_with("syscalls:")
        {
            sum += count
                .parse::<f64>()
                .with_context(|| format!("perf counts no {event}: it needs root, and tracefs"))?;
        }
    }
    Ok(sum)
}

/// What is left after appends and purges.
pub(crate) fn kept(dir: &Path, kind: Kind) -> Result<Kept> {
    let place = tempfile::tempdir_in(dir)?;
    let ended = Command::new(std::env::current_exe()?)
        .args(["purge", kind.name()])
        .arg(place.path())
        .output()?;
    let said = String::from_utf8_lossy(&ended.stdout);
    ensure!(ended.status.success(), "{said}");
    let (memory, left) = said.trim().split_once(' ').context("a child says two numbers")?;
    let begun = Instant::now();
    let subject = Subject::open(kind, place.path())?;
    let reopened = begun.elapsed();
    let records = subject.check()?;
    ensure!(
        records == left.parse()?,
        "{left} records were left, and {records} are there"
    );
    Ok(Kept {
        records,
        disk: blocks(place.path())? as f64 / 2048.0,
        memory: memory.parse()?,
        reopened,
    })
}

/// Blocks of 512 bytes that a folder's files take.
fn blocks(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() {
            blocks(&entry.path())?
        } else {
            entry.metadata()?.blocks()
        };
    }
    Ok(sum)
}
