//! Appends to a log for the power-cut rig and prints each acknowledgement.
//!
//! `verger-store-writer --dir DIR --kind log [--barrier on|off] [--seed N]` goes on until it is stopped. It
//! appends records in batches of 1 to 16 and prints `ack N` once record N and all before it are durable;
//! every 64th batch it also stores a vote and prints `vote N`. A record or vote is what
//! `verger-store-reader` expects at its index. Started again, it continues behind the last record.
//! `--barrier off` takes the syncs out: the defect that the rig must catch.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use verger_controller_store::{LogDb, RedbLog};

#[path = "rig/generator.rs"]
mod generator;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is closed; the exit code says it too.
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let (mut dir, mut barrier, mut seed) = (None, true, 1_u64);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag:?} needs a value"))?;
        match (flag.as_str(), value.as_str()) {
            ("--dir", dir_name) => dir = Some(PathBuf::from(dir_name)),
            ("--kind", "log") => {}
            ("--barrier", "on") => barrier = true,
            ("--barrier", "off") => barrier = false,
            ("--seed", number) => {
                seed = number
                    .parse()
                    .map_err(|error| format!("--seed {number:?}: {error}"))?
            }
            _ => {
                return Err(
                    format!("unknown: {flag:?} {value:?}; see the program's source for its flags").into(),
                );
            }
        }
    }
    let dir = dir.ok_or("--dir is missing")?;
    let exists = RedbLog::exists(&dir);
    let log = match (exists, barrier) {
        (true, true) => RedbLog::open(&dir)?,
        (false, true) => RedbLog::create(&dir)?,
        (exists, false) => {
            if !exists {
                drop(RedbLog::create(&dir)?);
            }
            RedbLog::open_without_barrier(&dir)?
        }
    };
    let mut out = std::io::stdout().lock();
    let mut next = log.last()?.map_or(0, |last| last.index + 1);
    let mut dice = seed | 1;
    for batch in 1_u64.. {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let records: Vec<_> = (next..=next + dice % 16).map(generator::record).collect();
        next += records.len() as u64;
        log.append(&records)?;
        writeln!(out, "ack {}", next - 1)?;
        if batch % 64 == 0 {
            log.save_vote(&next.to_le_bytes())?;
            writeln!(out, "vote {next}")?;
        }
        out.flush()?;
    }
    Ok(())
}
