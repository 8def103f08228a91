//! Runs every fuzz target for a time, each in a process of its own, with seeds that no other run had.
//!
//! A target is a test in a module `fuzz`. It tells what its generators made when it ends; it is idle when it is given one input.

mod counts;
mod targets;

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::Workspace;
use counts::Counts;
pub(crate) use targets::Part;
use targets::Target;

/// Of the inputs of a target, the share that passes the framing, in percent.
const LEAST_FRAMED: u64 = 20;
/// How many times the memory of an idle target it may take.
const MOST_MEMORY: u64 = 2;

/// How long each target runs.
const fn time(long: bool) -> Duration {
    Duration::from_secs(if long { 600 } else { 1 })
}

/// What one target came to. None for a test that makes no inputs: it stands beside the targets, with what they found.
type Judged = Option<Outcome>;

struct Outcome {
    counts: Counts,
    idle: Counts,
    wrong: Option<String>,
}

/// Runs all, or those of some crates or of one part; prints a line for each and the figure last.
pub(crate) fn run(workspace: &Workspace, packages: &[String], part: Option<Part>, long: bool) -> Result<()> {
    let mut targets = targets::list(workspace, packages)?;
    if let Some(part) = part {
        targets = part.of(targets);
    }
    ensure!(!targets.is_empty(), "there are no fuzz targets");
    let outcomes = outcomes(&targets, time(long));
    let mut wrong = Vec::new();
    let (mut judged, mut made, mut least, mut most) = (0, 0, (100, ""), (0.0, ""));
    for (target, outcome) in targets.iter().zip(outcomes) {
        let Outcome {
            counts,
            idle,
            wrong: found,
        } = match outcome {
            Ok(Some(outcome)) => outcome,
            Ok(None) => continue,
            // The others count, too.
            Err(error) => {
                wrong.push(format!("{error:#}"));
                continue;
            }
        };
        judged += 1;
        let memory = counts.memory(&idle);
        let share = counts.share();
        made += counts.made;
        if let Some(share) = share.filter(|share| *share < least.0) {
            least = (share, &target.name);
        }
        if memory > most.0 {
            most = (memory, &target.name);
        }
        wrong.extend(found.map(|why| format!("{}: {why}", target.name)));
    }
    println!(
        "{judged} targets, {} s each, {made} inputs: {} wrong; at least {} % of them pass the framing ({}), at most {:.2} x the memory of idle ({})",
        time(long).as_secs(),
        wrong.len(),
        least.0,
        least.1,
        most.0,
        most.1
    );
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(judged > 0, "none of them makes any inputs");
    Ok(())
}

/// Runs as many at a time as there are cores, and tells of each as it ends; what they came to is in the targets' order.
fn outcomes(targets: &[Target], time: Duration) -> Vec<Result<Judged>> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<Judged>)>> = Mutex::default();
    let work = || {
        while let Some((place, target)) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            targets.get(place).map(|target| (place, target))
        } {
            let outcome = judge(target, time).with_context(|| target.name.clone());
            println!("{}: {}", target.name, told(&outcome));
            let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            done.push((place, outcome));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// What a target came to, in words.
fn told(outcome: &Result<Judged>) -> String {
    match outcome {
        Ok(Some(Outcome { counts, idle, wrong })) => format!(
            "{} inputs, of which {} passed the framing, {:.2} x the memory of idle{}",
            counts.made,
            passed(counts),
            counts.memory(idle),
            wrong.as_ref().map_or_else(String::new, |why| format!(": {why}"))
        ),
        Ok(None) => "a plain test, which makes no inputs".to_owned(),
        Err(_) => "FAILED".to_owned(),
    }
}

/// Runs a target with one input, and then for its time.
fn judge(target: &Target, time: Duration) -> Result<Judged> {
    let Some(idle) = ask(target, &[("BOLERO_RANDOM_ITERATIONS", "1".to_owned())])? else {
        return Ok(None);
    };
    let most = usize::MAX.to_string();
    let fuzzed = ask(
        target,
        &[
            ("BOLERO_RANDOM_TEST_TIME_MS", time.as_millis().to_string()),
            ("BOLERO_RANDOM_ITERATIONS", most),
        ],
    )?;
    let fuzzed = fuzzed.context("it made an input once, and then none")?;
    let wrong = fuzzed.wrong(&idle);
    Ok(Some(Outcome {
        counts: fuzzed,
        idle,
        wrong,
    }))
}

/// What a target says of a run, which ends well. None where it says nothing.
fn ask(target: &Target, settings: &[(&str, String)]) -> Result<Option<Counts>> {
    let mut command = Command::new(&target.program);
    command
        .args([&target.test, "--exact", "--nocapture"])
        .current_dir(&target.folder)
        .env("CARGO_MANIFEST_DIR", &target.folder)
        .env("VERGER_FUZZ_COUNTS", "1")
        // The input and its seed stand before it, and would be cut off.
        .env("RUST_BACKTRACE", "0")
        .env_remove("BOLERO_RANDOM_SEED")
        .stdin(Stdio::null());
    for (name, value) in settings {
        command.env(name, value);
    }
    let output = command
        .output()
        .with_context(|| format!("starting {}", target.program.display()))?;
    let told = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{}\n{}", tail(&told), tail(&error));
    }
    if !told.contains(counts::MARK) {
        return Ok(None);
    }
    counts::read(&told)
        .map(Some)
        .context("what its generators say is not understood")
}

/// How many inputs passed the framing, in words.
fn passed(counts: &Counts) -> String {
    match counts.share() {
        Some(share) => format!("{share} %"),
        None if counts.is_too_few() => "too few to say how many".to_owned(),
        None => "all (there is none)".to_owned(),
    }
}

/// The end of a text, where the failure and its seed are.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
