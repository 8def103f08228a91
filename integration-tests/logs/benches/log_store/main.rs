//! What the two logs cost, beside a file that is written and synced. Run it through `cargo xtask bench log_store`.
//!
//! All append records of 256 bytes, one call after the other, in turn, so that a slow moment hits all. What a call waits for and what a
//! process keeps is counted in processes of their own: the program calls itself.

mod child;
mod cost;
mod subject;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use verger_rig::point::{self, Verdict, tell};

use cost::{cpu, middle};
use subject::{Kind, Subject, records};

/// Where tables go.
const FOLDER: &str = "VERGER_BENCH_DIR";
/// Times that all are measured in turn.
const ROUNDS: usize = 10;
/// Records of one call.
const BATCHES: [usize; 3] = [1, 64, 1024];
/// How long one is measured, and what comes before and does not count.
const WINDOW: Duration = Duration::from_millis(400);
const BEFORE: Duration = Duration::from_millis(50);

/// What one window came to.
struct Window {
    entries_per_second: f64,
    micros_of_cpu_per_entry: f64,
    p50: Duration,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if !arguments.is_empty() {
        return match child::run(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => point::end("log_store", Err(error)),
        };
    }
    let folder = std::env::var_os(FOLDER).map_or_else(|| PathBuf::from("target/bench"), PathBuf::from);
    point::end("log_store", run(&folder))
}

fn window(dir: &Path, kind: Kind, batch: usize) -> Result<Window> {
    let place = tempfile::tempdir_in(dir)?;
    let mut subject = Subject::create(kind, place.path())?;
    let mut next = 0;
    let mut append = |subject: &mut Subject| -> Result<()> {
        let batch = records(next, batch);
        next += batch.len() as u64;
        subject.append(&batch)
    };
    let begun = Instant::now();
    while begun.elapsed() < BEFORE {
        append(&mut subject)?;
    }
    let (begun, taken) = (Instant::now(), cpu());
    let mut calls = Vec::new();
    while begun.elapsed() < WINDOW {
        let call = Instant::now();
        append(&mut subject)?;
        calls.push(call.elapsed());
    }
    let (wall, taken) = (begun.elapsed(), cpu().saturating_sub(taken));
    let entries = (calls.len() * batch) as f64;
    calls.sort_unstable();
    // What was appended is there: a log that keeps nothing is fast.
    subject.holds(next)?;
    Ok(Window {
        entries_per_second: entries / wall.as_secs_f64(),
        micros_of_cpu_per_entry: taken.as_secs_f64() * 1e6 / entries,
        p50: calls
            .get(calls.len() / 2)
            .copied()
            .context("nothing was appended")?,
    })
}

fn run(folder: &Path) -> Result<Verdict> {
    ensure!(
        !cfg!(debug_assertions),
        "a benchmark of a debug build says nothing: build with --release"
    );
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let dir = tempfile::tempdir_in(folder)?;
    let mut rows = String::new();
    let mut figures = Vec::new();
    for batch in BATCHES {
        let mut windows: Vec<Vec<Window>> = Kind::ALL.iter().map(|_| Vec::new()).collect();
        for round in 0..ROUNDS {
            // Whoever is first changes.
            for turn in 0..Kind::ALL.len() {
                let at = (turn + round) % Kind::ALL.len();
                windows[at].push(window(dir.path(), Kind::ALL[at], batch)?);
            }
        }
        tell(&format!("{ROUNDS} rounds of {batch} records a call"));
        let by = |kind: Kind| &windows[kind as usize];
        let ratio = |of: Kind, to: Kind, value: fn(&Window) -> f64| {
            middle(
                by(of)
                    .iter()
                    .zip(by(to))
                    .map(|(of, to)| value(of) / value(to))
                    .collect(),
            )
        };
        for kind in Kind::ALL {
            let all = |value: fn(&Window) -> f64| middle(by(kind).iter().map(value).collect());
            let syncs = child::syncs(dir.path(), kind, batch)?;
            rows += &format!(
                "| {batch} | {} | {:.0} | {:.2} | {:.3} | {:.2} | {:.2} | {syncs:.3} |\n",
                kind.name(),
                all(|window| window.entries_per_second),
                ratio(kind, Kind::Raw, |window| window.entries_per_second),
                all(|window| window.p50.as_secs_f64() * 1e3),
                all(|window| window.micros_of_cpu_per_entry),
                ratio(kind, Kind::Redb, |window| window.micros_of_cpu_per_entry),
            );
        }
        figures.push(format!(
            "{batch} a call: {:.2} x the entries, {:.2} x the CPU",
            ratio(Kind::RaftLog, Kind::Redb, |window| window.entries_per_second),
            ratio(Kind::RaftLog, Kind::Redb, |window| window.micros_of_cpu_per_entry)
        ));
    }
    let mut kept = String::new();
    for kind in [Kind::Redb, Kind::RaftLog] {
        let child::Kept {
            disk,
            memory,
            reopened,
            records,
        } = child::kept(dir.path(), kind)?;
        kept += &format!(
            "| {} | {records} | {disk:.1} | {memory:.1} | {:.1} |\n",
            kind.name(),
            reopened.as_secs_f64() * 1e3
        );
    }
    let figure = format!("raft-log by redb: {}", figures.join("; "));
    let table = folder.join("log_store.md");
    std::fs::write(
        &table,
        format!(
            "# log_store\n\n{figure}\n\n| records a call | | entries/s | by the file's | p50, ms | CPU, µs an entry | by redb's | syncs a call |\n|---|---|---|---|---|---|---|---|\n{rows}\n\
             | after appends and purges | records left | disk, MiB | resident, MiB | opened again in, ms |\n|---|---|---|---|---|\n{kept}"
        ),
    )
    .with_context(|| format!("writing {}", table.display()))?;
    tell(&format!("table in {}", table.display()));
    Ok(Verdict { figure, holds: true })
}
