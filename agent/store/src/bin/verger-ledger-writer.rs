//! The child of the power-cut rig: writes numbered rounds and says after each commit that it is acknowledged.
//!
//! `verger-ledger-writer write DIR [--barrier on|off] [--rounds N]` prints `ack N` per round; `off` is the planted
//! defect the rig must catch. `verger-ledger-writer claim DIR --settle on|off` opens what an earlier writer left, prints what of it is
//! durable as `ack N`, and waits; `off` does not make it so, another defect. `verger-ledger-writer verify DIR --acked N` prints what is there, and ends with 1 if
//! the store is damaged, differs from what the rounds wrote, or ends before N.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use verger_agent_core::store::conformance::{bodies, finding, set, transition};
use verger_agent_core::store::{LedgerDelta, LedgerStore as _, Round, SetDelta, SpoolStore as _};
use verger_agent_store::{Options, open};

const USAGE: &str = "verger-ledger-writer write DIR [--barrier on|off] [--rounds N] | claim DIR --settle on|off | verify DIR --acked N";

/// Every so many rounds the ledger gets the next epoch, and the spool an acknowledgement of all but the last as many.
const STRIDE: u64 = 8;

/// Findings that the rounds change in turn.
const FINDINGS: u64 = 32;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["write", dir, rest @ ..] => write(Path::new(dir), rest),
        ["claim", dir, "--settle", "on"] => claim(Path::new(dir)),
        ["claim", dir, "--settle", "off"] => {
            verger_durable::leave_settling_out();
            claim(Path::new(dir))
        }
        ["verify", dir, "--acked", acked] => verify(Path::new(dir), acked),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when standard error is closed too.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn write(dir: &Path, mut rest: &[&str]) -> Result<(), Box<dyn Error>> {
    let (mut options, mut rounds) = (Options::default(), u64::MAX);
    while let [flag, value, more @ ..] = rest {
        match (*flag, *value) {
            ("--barrier", "on") => options.without_barrier = false,
            ("--barrier", "off") => options.without_barrier = true,
            ("--rounds", number) => rounds = number.parse()?,
            _ => return Err(USAGE.into()),
        }
        rest = more;
    }
    let (ledger, spool) = open(dir, &options)?;
    let first = spool.usage()?.next_sequence;
    let mut out = io::stdout().lock();
    for number in (first..).zip(0..rounds).map(|(number, _)| number) {
        if number % STRIDE == 0 {
            let epoch = number / STRIDE;
            let delta = SetDelta {
                bodies: bodies(&[epoch]),
                ..set(epoch, &[epoch])
            };
            ledger.commit(&LedgerDelta {
                set: Some(delta),
                ..LedgerDelta::default()
            })?;
            spool.acknowledge(number.saturating_sub(STRIDE))?;
        }
        let changed = verger_policy::finding::LocalFinding {
            epoch: number,
            ..finding(number % FINDINGS)
        };
        spool.commit_round(&Round {
            changed: vec![changed],
            transitions: vec![transition(number)],
            ..Round::default()
        })?;
        writeln!(out, "ack {number}")?;
        out.flush()?;
    }
    Ok(())
}

fn claim(dir: &Path) -> Result<(), Box<dyn Error>> {
    let (_ledger, spool) = open(dir, &Options::default())?;
    let last = spool.usage()?.next_sequence - 1;
    let mut out = io::stdout().lock();
    writeln!(out, "ack {last}")?;
    out.flush()?;
    loop {
        std::thread::park();
    }
}

fn verify(dir: &Path, acked: &str) -> Result<(), Box<dyn Error>> {
    let acked: u64 = acked.parse()?;
    let (ledger, spool) = open(dir, &Options::default())?;
    let usage = spool.usage()?;
    let last = usage.next_sequence - 1;
    let image = ledger.load()?;
    writeln!(
        io::stdout(),
        "last {last} waiting {} epoch {}",
        usage.pending(),
        image.highest_epoch
    )?;
    if last < acked {
        return Err(format!("round {acked} was acknowledged, and the last one here is {last}").into());
    }
    let pending = spool.pending(0, usize::MAX, usize::MAX)?;
    let numbered = (usage.acknowledged + 1..)
        .zip(&pending)
        .all(|(number, one)| one.sequence == number);
    if !numbered
        || pending
            .iter()
            .any(|one| one.transition != transition(one.sequence))
    {
        return Err("a transition is not the one that was written".into());
    }
    let findings = spool.findings()?;
    for number in (last.saturating_sub(FINDINGS - 1)).max(1)..=last {
        let expected = finding(number % FINDINGS);
        let held = findings
            .get(&expected.uid)
            .ok_or_else(|| format!("the finding of round {number} is gone"))?;
        if *held
            != (verger_policy::finding::LocalFinding {
                epoch: number,
                ..expected
            })
        {
            return Err(format!("the finding of round {number} is another").into());
        }
    }
    let epochs = last / STRIDE..=(last + 1) / STRIDE;
    if !epochs.contains(&image.highest_epoch) {
        return Err(format!(
            "the ledger is at epoch {}, and should be within {epochs:?}",
            image.highest_epoch
        )
        .into());
    }
    let held = image.set.map(|set| set.bodies).unwrap_or_default();
    if held != bodies(&Vec::from_iter(1..=image.highest_epoch)) {
        return Err("the bodies are not those that were written".into());
    }
    Ok(())
}
