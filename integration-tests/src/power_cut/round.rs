//! One store's life, with its power cut once or twice, while it is written or after a kill.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::acknowledged::Acknowledged;
use super::child::{self, Ended, Writer};
use super::disk::{Disk, Mounted};
use super::kind::{Kind, Life};
use super::tally::LeftOut;
use crate::dice::Dice;
use crate::programs::Programs;

/// One life in so many ends with a kill.
const KILL_EVERY: u64 = 3;

/// So many acknowledgements at least where what they are of is to be lost for certain: one of them alone may be on the disk by chance.
const WRITTEN: u64 = 32;

/// What a round is run with.
pub(crate) struct Round<'a> {
    pub(crate) kind: Kind,
    pub(crate) programs: &'a Programs,
    pub(crate) dir: &'a Path,
    pub(crate) left_out: LeftOut,
    /// No round before it: its first life ends with a kill, so that no run is without one.
    pub(crate) is_first: bool,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The power is cut while it writes.
    Cut,
    /// It is killed, a new process opens what it left in memory alone and says what of it is durable, and then the power is cut.
    Kill,
}

/// What the reader found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All that was acknowledged, as it was written.
    Sound,
    /// Why not.
    Bad(String),
}

/// What came of a life.
enum Lived {
    /// What has to be there.
    Acknowledged(Acknowledged),
    /// A kill alone took something away.
    Lost(String),
}

/// What a round came to.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) verdict: Verdict,
    pub(crate) cuts: u64,
    pub(crate) kills: u64,
    pub(crate) acknowledged: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acknowledged,
            cuts,
            kills,
            ..
        } = self;
        write!(f, "{acknowledged} acknowledgements, {kills} kills, {cuts} cuts: ")?;
        match &self.verdict {
            Verdict::Sound => f.write_str("sound"),
            Verdict::Bad(why) => write!(f, "BAD: {}", why.escape_debug()),
        }
    }
}

impl Round<'_> {
    /// Runs it.
    pub(crate) fn run(&self, dice: &mut Dice) -> Result<Report> {
        let disk = Disk::make(self.dir)?;
        let lives = 1 + dice.roll() % 2;
        let mut report = Report {
            verdict: Verdict::Sound,
            cuts: 0,
            kills: 0,
            acknowledged: 0,
        };
        while report.cuts < lives && report.verdict == Verdict::Sound {
            let end = match self.left_out {
                LeftOut::Barriers => End::Cut,
                LeftOut::Settling => End::Kill,
                LeftOut::Nothing if self.is_first && report.cuts == 0 => End::Kill,
                LeftOut::Nothing if dice.roll().is_multiple_of(KILL_EVERY) => End::Kill,
                LeftOut::Nothing => End::Cut,
            };
            let lived = self.live(&disk, end, dice)?;
            report.cuts += 1;
            report.kills += u64::from(end == End::Kill);
            report.verdict = match lived {
                Lived::Acknowledged(acknowledged) => {
                    report.acknowledged += acknowledged.count;
                    self.read(&disk, &acknowledged)?
                }
                // The planted defect loses nothing before the cut.
                Lived::Lost(why) if self.left_out == LeftOut::Settling => bail!(why),
                Lived::Lost(why) => Verdict::Bad(why),
            };
        }
        Ok(report)
    }

    /// Lets a writer live until its power is cut.
    fn live(&self, disk: &Disk, end: End, dice: &mut Dice) -> Result<Lived> {
        let mounted = disk.mount()?;
        mounted.make_store()?;
        // Without barriers all that it writes before a kill is in memory alone, at whatever moment it comes.
        let barrier = end == End::Cut && self.left_out != LeftOut::Barriers;
        let is_planted = self.left_out != LeftOut::Nothing;
        let line = self
            .kind
            .writer(self.programs, &mounted.store(), barrier, dice.roll(), is_planted)?;
        let Life {
            acknowledgements,
            millis,
        } = self.kind.life();
        let mut count = dice.spread(acknowledgements);
        if self.left_out == LeftOut::Settling {
            count = count.max(WRITTEN);
        }
        let longest = Duration::from_millis(dice.spread(millis));
        let pause = dice.pause(longest);
        let writer = Writer::start(&line, &self.dir.join("writer.err"))?;
        writer.acknowledges(count)?;
        let moment = Instant::now() + pause;
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        let lived = match end {
            End::Cut => Lived::Acknowledged(self.cut(&mounted, writer)?),
            End::Kill => {
                let killed = writer.kill()?;
                let found = self.claimed(&mounted)?;
                match killed.killed(found) {
                    Some(acknowledged) => Lived::Acknowledged(acknowledged),
                    None => Lived::Lost(format!("{killed}, and after a kill {found}")),
                }
            }
        };
        mounted.unmount()?;
        Ok(lived)
    }

    /// Has a new process open the store and say what is durable, and cuts the power.
    fn claimed(&self, mounted: &Mounted<'_>) -> Result<Acknowledged> {
        let settling = self.left_out != LeftOut::Settling;
        let line = self.kind.claimant(self.programs, &mounted.store(), settling)?;
        let claimant = Writer::start(&line, &self.dir.join("claimant.err"))?;
        claimant
            .acknowledges(1)
            .context("opening the store after a kill")?;
        self.cut(mounted, claimant)
    }

    /// Cuts the power; everything that was acknowledged.
    fn cut(&self, mounted: &Mounted<'_>, writer: Writer) -> Result<Acknowledged> {
        writer.stop()?;
        mounted.cut()?;
        writer.kill()
    }

    /// Reads the store in a new process.
    fn read(&self, disk: &Disk, acknowledged: &Acknowledged) -> Result<Verdict> {
        let mounted = disk.mount()?;
        let line = self.kind.reader(self.programs, &mounted.store(), acknowledged)?;
        let ended = child::read(&line, self.dir)?;
        mounted.unmount()?;
        judge(self.kind, acknowledged, &ended)
    }
}

/// The reader's word, checked once more against its own numbers.
fn judge(kind: Kind, acknowledged: &Acknowledged, ended: &Ended) -> Result<Verdict> {
    let said = format!("{} {}", ended.stdout.trim(), ended.stderr.trim());
    let said = said.trim();
    let Some(code) = ended.code else {
        return Ok(Verdict::Bad(format!(
            "the reader was killed or took too long: {said}"
        )));
    };
    if !kind.judged(code, &ended.stderr) {
        bail!(
            "the reader did not judge the store (exit code {code}): {}",
            said.escape_debug()
        );
    }
    if code != 0 {
        return Ok(Verdict::Bad(format!(
            "{acknowledged}, and the reader says: {said}"
        )));
    }
    let kept = kind
        .kept(acknowledged, &ended.stdout)
        .with_context(|| format!("the reader is content and says {said:?}"))?;
    if !kept {
        return Ok(Verdict::Bad(format!(
            "{acknowledged}, and the reader is content with: {said}"
        )));
    }
    Ok(Verdict::Sound)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn judged(code: Option<i32>, stdout: &str, stderr: &str) -> Result<Verdict> {
        let acknowledged = Acknowledged {
            count: 3,
            last: Some(41),
            vote: Some(40),
            ..Acknowledged::default()
        };
        let ended = Ended {
            code,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        };
        judge(Kind::ControllerLog, &acknowledged, &ended)
    }

    #[test]
    fn a_reader_that_found_everything_makes_it_sound() {
        let line = "first 0 last 41 records 42 vote 40 match yes";
        assert_eq!(judged(Some(0), line, "").unwrap(), Verdict::Sound);
    }

    #[test]
    fn less_than_was_acknowledged_is_bad_whatever_the_reader_thinks_of_it() {
        for (code, stdout) in [
            (Some(1), "first 0 last 40 records 41 vote 40 match no"),
            (Some(0), "first 0 last 40 records 41 vote 40 match yes"),
            (Some(0), "first 0 last 41 records 42 vote 39 match yes"),
            (Some(0), "first 0 last 41 records 42 vote - match yes"),
            (Some(3), ""),
            (Some(101), ""),
            (None, ""),
        ] {
            assert!(
                matches!(judged(code, stdout, "").unwrap(), Verdict::Bad(_)),
                "{code:?} {stdout}"
            );
        }
    }

    #[test]
    fn a_reader_that_did_not_read_is_the_rigs_error() {
        assert!(judged(Some(2), "", "--dir is missing").is_err());
        assert!(judged(Some(0), "all is well", "").is_err());
    }
}
