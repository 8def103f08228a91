//! How a `prove-*` program begins and ends: `--long` in, the figure last, the exit code says whether it holds.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;

use crate::dice::Dice;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The figure, in one line.
    pub figure: String,
    /// Whether it is good enough.
    pub holds: bool,
}

#[derive(Parser)]
struct Arguments {
    /// As often as the claim says, instead of the short form.
    #[arg(long)]
    long: bool,
}

#[derive(Parser)]
struct Timed {
    /// As often as the claim says, instead of the short form.
    #[arg(long)]
    long: bool,
    /// Goes on for so long at least.
    #[arg(long, value_name = "N", default_value_t = 0)]
    minutes: u64,
}

#[derive(Parser)]
struct Seeded {
    /// As often as the claim says, instead of the short form.
    #[arg(long)]
    long: bool,
    /// Repeats the choices of a run; it printed them first.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Runs a point with its short or long form, and says in one line what it came to.
pub fn main(name: &str, run: impl FnOnce(bool) -> Result<Verdict>) -> ExitCode {
    let Arguments { long } = Arguments::parse();
    end(name, run(long))
}

/// The same for a point that can go on: it is given for how long at least.
pub fn timed(name: &str, run: impl FnOnce(bool, Duration) -> Result<Verdict>) -> ExitCode {
    let Timed { long, minutes } = Timed::parse();
    end(name, run(long, Duration::from_secs(minutes.saturating_mul(60))))
}

/// The same for a point that makes random choices: it is given the seed of this run, which is printed first.
pub fn seeded(name: &str, run: impl FnOnce(bool, u64) -> Result<Verdict>) -> ExitCode {
    let Seeded { long, seed } = Seeded::parse();
    let begun = seed.map_or_else(Dice::seed, Ok).and_then(|seed| {
        tell(&format!("repeat it with --seed {seed}"));
        run(long, seed)
    });
    end(name, begun)
}

/// Says in one line what a run came to.
pub fn end(name: &str, verdict: Result<Verdict>) -> ExitCode {
    match verdict {
        Ok(Verdict { figure, holds }) => match writeln!(std::io::stdout(), "{figure}") {
            Ok(()) => ExitCode::from(u8::from(!holds)),
            Err(_) => ExitCode::FAILURE,
        },
        Err(error) => {
            // Nobody is left to tell when standard error is closed; the exit code says it too.
            let whole = format!("{error:#}");
            let _ = writeln!(std::io::stderr(), "{name}: {whole}");
            // Who keeps the last line only is told why there is no figure.
            tell(&format!(
                "no figure: {}",
                whole.lines().next().unwrap_or_default()
            ));
            ExitCode::FAILURE
        }
    }
}

/// Tells how far a run is.
pub fn tell(what: &str) {
    // Whoever reads the figure only has closed nothing; a closed output shows when the figure is written.
    let _ = writeln!(std::io::stdout(), "{what}");
}
