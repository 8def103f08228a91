//! Writes to a store for the power-cut rig and prints each acknowledgement.
//!
//! `verger-store-writer --dir DIR --kind log|redb-log|state|snapshot [--barrier on|off] [--seed N] [--claim on|off]
//! [--small-chunks on|off]` goes on until it is stopped. What it writes is what `verger-store-reader` expects at the
//! same number; started again, it continues behind the last one. Each line is a word and a number:
//!
//! - `begin N`: it starts to write N (state and snapshot);
//! - `replace N`: it starts to replace the whole state by that of N: until `ack N`, nothing may be left of it;
//! - `ack N`: N and all before it are durable;
//! - `vote N`: the vote N is durable (log);
//! - `nothing 0`: nothing is there (`--claim`).
//!
//! `--barrier off` takes the syncs out: the defect that the rig must catch. Closing a chunk of a log syncs it all the
//! same, and `--small-chunks off` closes hardly any. With `--claim` it writes nothing: it opens what an earlier writer
//! left, says what of it is durable, and waits; with `--claim off` what it finds is not made so, another defect.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[path = "rig/claim.rs"]
mod claim;
#[path = "rig/log_content.rs"]
mod log_content;
#[path = "rig/snapshot_content.rs"]
mod snapshot_content;
#[path = "rig/write/mod.rs"]
mod write;

use write::{log, snapshot, state};

/// Why the writing ended.
type Failure = Box<dyn Error>;

/// What to write with, and where to say it.
struct Wish {
    dir: PathBuf,
    barrier: bool,
    small_chunks: bool,
    dice: Dice,
}

/// Choices that a seed repeats.
struct Dice(u64);

impl Dice {
    /// A number below `bound`.
    fn roll(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

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

fn run() -> Result<(), Failure> {
    let (mut dir, mut kind, mut seed) = (None, None, 1_u64);
    let (mut barrier, mut small_chunks, mut claims) = (true, true, false);
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag:?} needs a value"))?;
        match (flag.as_str(), value.as_str()) {
            ("--dir", name) => dir = Some(PathBuf::from(name)),
            ("--kind", "log" | "redb-log" | "state" | "snapshot") => kind = Some(value),
            ("--barrier", "on") => barrier = true,
            ("--barrier", "off") => barrier = false,
            ("--small-chunks", "on") => small_chunks = true,
            ("--small-chunks", "off") => small_chunks = false,
            ("--claim", "on") => claims = true,
            ("--claim", "off") => {
                claims = true;
                verger_durable::leave_settling_out();
            }
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
    let wish = Wish {
        dir: dir.ok_or("--dir is missing")?,
        barrier,
        small_chunks,
        dice: Dice(seed | 1),
    };
    match kind.as_deref() {
        Some(kind) if claims => claim::claim(kind, &wish.dir),
        Some("log") => log::chunked(wish),
        Some("redb-log") => log::redb(wish),
        Some("state") => state::write(wish),
        Some("snapshot") => snapshot::write(wish),
        _ => Err("--kind is missing".into()),
    }
}

/// Prints one line, in one write.
fn say(word: &str, number: u64) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{word} {number}\n").as_bytes())?;
    Ok(out.flush()?)
}
