//! Proves that what a store acknowledged is there after the power was cut.
//!
//! A round makes an ext4 file system in a file and mounts it; a child writes to it and prints each acknowledgement.
//! At a random point the child is stopped and the file system is told to drop, without writing anything more, all
//! that is not on the disk (`EXT4_IOC_SHUTDOWN` with `NOLOGFLUSH`). Then the file system is mounted again, which
//! replays its journal, and a new process reads the store and compares it with what was acknowledged.
//!
//! One life in three ends otherwise: its child, which leaves its barriers out, so that all it wrote is in memory alone, is killed; a
//! new process opens the store as a member or an agent does and says what is durable, which is then to be there; and with nothing else
//! written the power is cut.
//!
//! What a disk itself loses from a cache it claims to have flushed cannot be seen this way. Every run also cuts
//! the power of a child that leaves its barriers out, and of one that opens what a killed one left without making it durable: unless
//! both are caught, the run proves nothing and fails.

mod acknowledged;
mod child;
mod disk;
mod kind;
mod machine;
mod round;
mod tally;

pub(crate) use disk::{Disk, Mounted};
pub use kind::Kind;
pub use machine::{check, enter};
pub use tally::{LeftOut, Tally, figure};

use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::dice::Dice;
use crate::programs::Programs;
use round::{Round, Verdict};

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds per kind.
    pub rounds: u32,
    /// Rounds per kind and planted defect.
    pub planted: u32,
    /// So many rounds of a planted defect at most, while none of them was caught: a cut may find nothing in flight.
    pub patience: u32,
    /// This kind alone.
    pub only: Option<Kind>,
    /// Of all choices.
    pub seed: u64,
}

/// Runs all rounds; says in `log` what each came to.
///
/// # Errors
/// When the rig itself does not work. A store that lost something is in the tally.
pub fn run(plan: &Plan, programs: &Programs, work: &Path, log: &mut dyn Write) -> Result<Vec<Tally>> {
    let mut dice = Dice::new(plan.seed);
    writeln!(log, "power-cut: --seed {}", plan.seed)?;
    let mut tallies = Vec::new();
    for kind in Kind::ALL {
        if plan.only.is_some_and(|only| only != kind) {
            continue;
        }
        let mut tally = Tally::new(kind);
        for left_out in LeftOut::ALL {
            while tally.wants(plan, left_out) {
                let dir = tempfile::tempdir_in(work).context("making a folder for the round")?;
                let round = Round {
                    kind,
                    programs,
                    dir: dir.path(),
                    left_out,
                    is_first: tally.next(left_out) == 1,
                };
                let label = match left_out {
                    LeftOut::Nothing => "",
                    LeftOut::Barriers => " without barriers",
                    LeftOut::Settling => " opened without settling",
                };
                let what = format!("{kind}{label}, round {}", tally.next(left_out));
                let report = round.run(&mut dice).with_context(|| what.clone())?;
                writeln!(log, "{what}: {report}")?;
                tally.add(
                    left_out,
                    matches!(report.verdict, Verdict::Bad(_)),
                    report.acknowledged,
                );
            }
        }
        tallies.push(tally);
    }
    Ok(tallies)
}
