//! The proxy under a million mutated requests: whatever Docker would take for privileged, mounted from the host or in its namespaces is
//! let through to nobody who may not reach the host.
//!
//! Valid calls are mutated at every level, from the framing of HTTP to letters of keys. Two say what they could do: a reader that is
//! laxer than any server (`lenient`), of all of them, and a real daemon, of a sample. What the proxy would send on is written anew of
//! what it judged; that is read by the lax reader once more.

mod differential;
mod document;
mod draft;
mod facts;
mod judged;
mod lenient;
mod planted;
mod request;
mod seeds;

use std::collections::BTreeSet;
use std::thread;

use anyhow::{Result, ensure};

use crate::dice::Dice;
use crate::point::{Verdict, tell};
use judged::{Fate, Judge, Seen};
use request::{mutated, plain};
use seeds::Seed;

/// Threads that make requests.
const THREADS: u64 = 2;
/// Holes that are shown; all are counted.
const SHOWN: usize = 5;
/// Of all requests, so many in a hundred have to get past the framing: the rest says nothing of what lies behind it.
const FRAMED: u64 = 20;

/// What came of them.
#[derive(Debug, Default)]
struct Tally {
    requests: u64,
    /// Were read whole, and are calls that the table knows.
    framed: u64,
    /// Could reach the host, by the lax reader.
    dangerous: u64,
    /// Let through.
    sent: u64,
    /// Of those, mutated.
    changed: u64,
    holes: Vec<String>,
    missed: u64,
    /// Those that a laxer reader finds something in which is not in what is sent on.
    disarmed: u64,
    /// Planted proxies that were caught.
    caught: BTreeSet<&'static str>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.framed += other.framed;
        self.dangerous += other.dangerous;
        self.sent += other.sent;
        self.changed += other.changed;
        self.missed += other.missed;
        self.disarmed += other.disarmed;
        self.holes.extend(other.holes);
        self.caught.extend(other.caught);
    }

    /// Looks at one.
    fn look(&mut self, judge: &Judge, bytes: &[u8], changes: u64, what: &str) {
        self.requests += 1;
        let dangers = lenient::dangers(bytes);
        let seen = judge.connection(bytes);
        self.dangerous += u64::from(!dangers.is_empty());
        self.framed += u64::from(seen.iter().any(|seen| !matches!(seen.fate, Fate::Unknown)));
        for Seen {
            method,
            target,
            body,
            fate,
        } in &seen
        {
            if !dangers.is_empty() {
                let fooled = planted::ALL.iter().filter(|(_, lets)| lets(method, target, body));
                self.caught.extend(fooled.map(|(name, _)| *name));
            }
            let Fate::Sent { call, bytes: sent } = fate else {
                continue;
            };
            self.sent += 1;
            self.changed += u64::from(changes > 0);
            let as_read = dangers.iter().find(|danger| danger.call == *call);
            let as_sent = lenient::dangers(sent);
            // What a laxer reader finds in the request is not there for the daemon, who is given what was written anew of it.
            self.disarmed += u64::from(as_sent.is_empty() && as_read.is_some());
            if let Some(danger) = as_sent.first() {
                self.missed += 1;
                if self.holes.len() < SHOWN {
                    self.holes.push(format!(
                        "{what} is let through and could reach the host ({}): {}; sent on: {}",
                        danger.why.join(", "),
                        escaped(bytes),
                        escaped(sent)
                    ));
                }
            }
        }
    }
}

/// Bytes as a terminal may have them, cut.
fn escaped(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    match text.char_indices().nth(2_000) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], bytes.len()),
        None => text,
    }
}

/// Runs the short form or the long one.
///
/// # Errors
/// When the reader that judges does not know a danger when it sees one, or the scene does not work.
pub fn run(long: bool, seed: u64) -> Result<Verdict> {
    let (count, sample) = if long { (1_000_000, 500) } else { (50_000, 25) };
    let judge = Judge::new()?;
    let seeds = seeds::all();
    let benign = known(&judge, &seeds)?;
    let tally = many(&judge, &seeds, count, seed);
    for hole in tally.holes.iter().take(SHOWN) {
        tell(hole);
    }
    let sample = differential::run(sample, seed)?;
    let Tally {
        requests,
        framed,
        dangerous,
        sent,
        changed,
        missed,
        disarmed,
        caught,
        ..
    } = tally;
    let share = framed * 100 / requests.max(1);
    Ok(Verdict {
        figure: format!(
            "{requests} mutated requests (seed {seed}), {share} % past the framing: {dangerous} could reach the host and {missed} were let through ({disarmed} written anew without what a laxer reader found in them); {sent} others were, {changed} of them mutated, and all {benign} benign seeds; {} of {} lax proxies caught. At a real daemon {} of {} made something through the proxy and {} reached the host, {} did past it; the agent judged {} otherwise",
            caught.len(),
            planted::ALL.len(),
            sample.passed,
            sample.sent,
            sample.reached,
            sample.controls,
            sample.otherwise
        ),
        holds: requests == count
            && missed == 0
            && share >= FRAMED
            && dangerous > 0
            && changed > 0
            && caught.len() == planted::ALL.len()
            && sample.reached == 0
            && sample.controls > 0
            && sample.passed > 0
            && sample.otherwise == 0,
    })
}

/// Whether the reader says of each seed what it is, and the proxy refuses those that reach the host and no others. Gives how many do not.
fn known(judge: &Judge, seeds: &[Seed]) -> Result<usize> {
    let mut benign = 0;
    for seed in seeds {
        let bytes = plain(seed);
        let dangers = lenient::dangers(&bytes);
        ensure!(
            dangers.is_empty() != seed.reaches,
            "the lax reader finds {dangers:?} in {}",
            escaped(&bytes)
        );
        let seen = judge.connection(&bytes);
        let sent = seen.iter().any(|seen| matches!(seen.fate, Fate::Sent { .. }));
        ensure!(
            sent != seed.reaches,
            "it is to be let through: {}, and the proxy: {seen:?}",
            !seed.reaches
        );
        benign += usize::from(!seed.reaches);
    }
    Ok(benign)
}

/// Makes so many, each of its own dice.
fn many(judge: &Judge, seeds: &[Seed], count: u64, seed: u64) -> Tally {
    let mut all = Tally::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|first| {
                scope.spawn(move || {
                    let mut tally = Tally::default();
                    for number in (first..count).step_by(THREADS as usize) {
                        // Neighbouring seeds give series that overlap: the first number of each is the seed of another.
                        let mut dice = Dice::new(Dice::new(seed).roll().wrapping_add(number));
                        let mut dice = Dice::new(dice.roll());
                        let Some(seed_of) = dice.pick(seeds) else { continue };
                        let request = mutated(seed_of, &mut dice);
                        tally.look(
                            judge,
                            &request.bytes,
                            request.changes,
                            &format!("request {number} of seed {seed}"),
                        );
                    }
                    tally
                })
            })
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(tally) => all.add(tally),
                Err(_) => all.holes.push("a worker ended badly".to_owned()),
            }
        }
    });
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_lax_reader_and_the_proxy_know_every_seed() {
        assert!(known(&Judge::new().unwrap(), &seeds::all()).unwrap() > 20);
    }

    #[test]
    fn no_mutated_request_that_could_reach_the_host_is_let_through() {
        let tally = many(&Judge::new().unwrap(), &seeds::all(), 3_000, 7);
        assert_eq!((tally.requests, tally.missed), (3_000, 0), "{:#?}", tally.holes);
        assert!(tally.changed > 100 && tally.dangerous > 300, "{tally:?}");
        assert_eq!(tally.caught.len(), planted::ALL.len(), "{:?}", tally.caught);
    }
}
