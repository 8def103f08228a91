//! One store's life, with its power cut once or twice.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::acknowledged::Acknowledged;
use super::child::{self, Ended, Writer};
use super::disk::Disk;
use super::kind::{Kind, Life};
use crate::dice::Dice;
use crate::programs::Programs;

/// What a round is run with.
pub(crate) struct Round<'a> {
    pub(crate) kind: Kind,
    pub(crate) programs: &'a Programs,
    pub(crate) dir: &'a Path,
    pub(crate) barrier: bool,
}

/// What the reader found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All that was acknowledged, as it was written.
    Sound,
    /// Why not.
    Bad(String),
}

/// What a round came to.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) verdict: Verdict,
    pub(crate) cuts: u64,
    pub(crate) acknowledged: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} acknowledgements, {} cuts: ", self.acknowledged, self.cuts)?;
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
            acknowledged: 0,
        };
        while report.cuts < lives && report.verdict == Verdict::Sound {
            let acknowledged = self.live(&disk, dice)?;
            report.cuts += 1;
            report.acknowledged += acknowledged.count;
            report.verdict = self.read(&disk, &acknowledged)?;
        }
        Ok(report)
    }

    /// Lets a writer live until its power is cut.
    fn live(&self, disk: &Disk, dice: &mut Dice) -> Result<Acknowledged> {
        let mounted = disk.mount()?;
        mounted.make_store()?;
        let line = self
            .kind
            .writer(self.programs, &mounted.store(), self.barrier, dice.roll())?;
        let Life {
            acknowledgements,
            millis,
        } = self.kind.life();
        let count = dice.spread(acknowledgements);
        let longest = Duration::from_millis(dice.spread(millis));
        let pause = dice.pause(longest);
        let writer = Writer::start(&line, &self.dir.join("writer.err"))?;
        writer.acknowledges(count)?;
        let moment = Instant::now() + pause;
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        writer.stop()?;
        mounted.cut()?;
        let acknowledged = writer.kill()?;
        mounted.unmount()?;
        Ok(acknowledged)
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
