//! Reads what `verger-store-writer` left and says whether it is what was written.
//!
//! `verger-store-reader verify --dir DIR --kind log [--acked N] [--voted N]` opens the log in a process of its
//! own, reads all of it and prints one line: `first F last L records R vote V match yes`, where an absent
//! number is `-`. `--acked` and `--voted` are the last numbers the writer printed.
//! Exit: 0 all there and right; 1 something acknowledged is missing or wrong; 2 bad arguments; 3 the store
//! refused to open or read (a power cut may never cause that either).

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use verger_controller_store::{LogDb, RedbLog, StoreError};

#[path = "rig/generator.rs"]
mod generator;

struct Wish {
    dir: PathBuf,
    acked: Option<u64>,
    voted: Option<u64>,
}

fn main() -> ExitCode {
    let mut error = std::io::stderr().lock();
    // Nobody is left to tell when standard error is closed; the exit code says it too.
    match wish() {
        Err(what) => {
            let _ = writeln!(error, "{what}");
            ExitCode::from(2)
        }
        Ok(wish) => match verify(&wish) {
            Ok(sound) => ExitCode::from(u8::from(!sound)),
            Err(what) => {
                let _ = writeln!(error, "{what}");
                ExitCode::from(3)
            }
        },
    }
}

fn wish() -> Result<Wish, String> {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some("verify") {
        return Err("the first argument is the subcommand: verify".to_owned());
    }
    let (mut dir, mut acked, mut voted) = (None, None, None);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag:?} needs a value"))?;
        let number = || {
            value
                .parse()
                .map(Some)
                .map_err(|error| format!("{flag} {value:?}: {error}"))
        };
        match flag.as_str() {
            "--dir" => dir = Some(PathBuf::from(&value)),
            "--kind" if value == "log" => {}
            "--acked" => acked = number()?,
            "--voted" => voted = number()?,
            _ => return Err(format!("unknown: {flag:?} {value:?}")),
        }
    }
    Ok(Wish {
        dir: dir.ok_or("--dir is missing")?,
        acked,
        voted,
    })
}

fn verify(wish: &Wish) -> Result<bool, StoreError> {
    let log = RedbLog::open(&wish.dir)?;
    let check = log.check()?;
    let mut matches = true;
    let mut next = check.first.map_or(0, |first| first.index);
    let end = check.last.map_or(0, |last| last.index + 1);
    while next < end {
        let records = log.read_range(next..end, 1 << 20)?;
        matches &= !records.is_empty()
            && records
                .iter()
                .all(|record| *record == generator::record(record.index));
        next = records.last().map_or(end, |record| record.index + 1);
    }
    let vote = log
        .vote()?
        .and_then(|vote| vote.as_ref().try_into().ok().map(u64::from_le_bytes));
    let last = check.last.map(|last| last.index);
    let sound = matches
        && check.first.is_none_or(|first| first.index == 0)
        && wish.acked.is_none_or(|acked| last >= Some(acked))
        && wish.voted.is_none_or(|voted| vote >= Some(voted));
    let shown = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let line = format!(
        "first {} last {} records {} vote {} match {}\n",
        shown(check.first.map(|first| first.index)),
        shown(last),
        check.records,
        shown(vote),
        if sound { "yes" } else { "no" }
    );
    let mut out = std::io::stdout().lock();
    let written = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    Ok(sound && written.is_ok())
}
