//! Reads what `verger-store-writer` left and says whether it is what was written.
//!
//! `verger-store-reader verify --dir DIR --kind log|redb-log|state|snapshot [--acked N] [--voted N] [--begun N]
//! [--replacing N]` opens the store in a process of its own, reads all of it and prints one line, where an absent
//! number is `-`:
//!
//! - log, redb-log: `first F last L records R vote V match yes`
//! - state: `mark M rows R match yes`
//! - snapshot: `last L files F match yes`
//!
//! The numbers given are the last ones the writer printed; `--replacing` is that of a `replace` that was not
//! acknowledged.
//! Exit: 0 all there and right; 1 something acknowledged is missing, or something is wrong; 2 bad arguments; 3 the
//! store refused to open or read (a power cut may never cause that either).

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use verger_controller_store::StoreError;

#[path = "rig/log_content.rs"]
mod log_content;
#[path = "rig/read/mod.rs"]
mod read;
#[path = "rig/snapshot_content.rs"]
mod snapshot_content;

use read::{log, snapshot, state};

/// What to read, and what the writer said.
#[derive(Default)]
struct Wish {
    dir: PathBuf,
    acked: Option<u64>,
    voted: Option<u64>,
    begun: Option<u64>,
    replacing: Option<u64>,
}

/// What was found, in one line, and whether it is right.
struct Found {
    line: String,
    sound: bool,
}

type Verify = fn(&Wish) -> Result<Found, StoreError>;

fn main() -> ExitCode {
    let mut error = std::io::stderr().lock();
    // Nobody is left to tell when standard error is closed; the exit code says it too.
    match wish() {
        Err(what) => {
            let _ = writeln!(error, "{what}");
            ExitCode::from(2)
        }
        Ok((verify, wish)) => match verify(&wish) {
            Ok(found) => ExitCode::from(u8::from(!told(&found))),
            Err(what) => {
                let _ = writeln!(error, "{what}");
                ExitCode::from(3)
            }
        },
    }
}

fn wish() -> Result<(Verify, Wish), String> {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some("verify") {
        return Err("the first argument is the subcommand: verify".to_owned());
    }
    let (mut verify, mut dir, mut wish) = (None, None, Wish::default());
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag:?} needs a value"))?;
        let number = || {
            value
                .parse()
                .map(Some)
                .map_err(|error| format!("{flag} {value:?}: {error}"))
        };
        match (flag.as_str(), value.as_str()) {
            ("--dir", name) => dir = Some(PathBuf::from(name)),
            ("--kind", "log") => verify = Some(log::chunked as Verify),
            ("--kind", "redb-log") => verify = Some(log::redb as Verify),
            ("--kind", "state") => verify = Some(state::verify as Verify),
            ("--kind", "snapshot") => verify = Some(snapshot::verify as Verify),
            ("--acked", _) => wish.acked = number()?,
            ("--voted", _) => wish.voted = number()?,
            ("--begun", _) => wish.begun = number()?,
            ("--replacing", _) => wish.replacing = number()?,
            _ => return Err(format!("unknown: {flag:?} {value:?}")),
        }
    }
    wish.dir = dir.ok_or("--dir is missing")?;
    Ok((verify.ok_or("--kind is missing")?, wish))
}

/// Prints the line; tells whether it is right and was printed.
fn told(found: &Found) -> bool {
    let line = format!(
        "{} match {}\n",
        found.line,
        if found.sound { "yes" } else { "no" }
    );
    let mut out = std::io::stdout().lock();
    let written = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    found.sound && written.is_ok()
}

fn shown(number: Option<u64>) -> String {
    number.map_or("-".to_owned(), |number| number.to_string())
}
