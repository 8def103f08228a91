//! What a process holds of this machine's memory (proc(5)).

use std::fs;

use anyhow::{Context as _, Result};

/// Bytes that are in memory now, and the most that ever were since that was forgotten last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) now: u64,
    pub(super) peak: u64,
}

/// Has the kernel forget the most that a process ever held: from now on it is the most since now.
pub(super) fn forget_peak(pid: u32) -> Result<()> {
    let file = format!("/proc/{pid}/clear_refs");
    fs::write(&file, "5").with_context(|| format!("writing {file}"))
}

/// What it holds.
pub(super) fn memory(pid: u32) -> Result<Memory> {
    let file = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
        let kibibytes: u64 = kibibytes
            .with_context(|| format!("{file} has no {name}"))?
            .parse()?;
        Ok(kibibytes << 10)
    };
    Ok(Memory {
        now: field("VmRSS")?,
        peak: field("VmHWM")?,
    })
}
