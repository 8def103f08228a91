//! Simulates clusters: members on stores in memory, a network and disks that fail, and clients, all on one thread and in a time of its own.
//! What happens follows from a seed, so that whatever is found can be looked at again.
//!
//! `simulation [--long | --seed N] [--defect NAME]`. Without a defect no invariant may be broken; each planted defect has to break its own.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod clients;
mod defects;
mod disk;
mod invariants;
mod logs;
mod nemesis;
mod panics;
mod pauses;
mod replacement;
mod router;
mod sets;
#[path = "../../tests/shared/mod.rs"]
mod shared;
mod watchers;
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use defects::Defect;
use invariants::Invariant;
use world::{LEAST, TROUBLE, Told};

/// Seeds of the short form, and of the long one.
const SHORT: u64 = 50;
const LONG: u64 = 400;
/// Seeds within which a planted defect is found.
const WITHIN: u64 = 60;

fn main() -> ExitCode {
    panics::are_told();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let defect = value("--defect").map(|name| {
        let known = Defect::ALL.into_iter().find(|defect| defect.name() == name);
        known.unwrap_or_else(|| panic!("--defect is one of {:?}", Defect::ALL.map(Defect::name)))
    });
    if let Some(seed) = value("--seed") {
        let seed = seed.parse().expect("--seed is a number");
        let (told, panics) = panics::counted(seed, || world::run(seed, defect));
        println!("{told:#?}");
        return exit(told.broken.0.is_empty() && panics == 0);
    }
    let seeds = if arguments.iter().any(|argument| argument == "--long") {
        LONG
    } else {
        SHORT
    };
    let began = Instant::now();
    let mut sum = Told::default();
    let mut violations = 0;
    let mut panicked = 0;
    let ran = on_all_cores(&(0..seeds).collect::<Vec<_>>(), |seed| {
        panics::counted(*seed, || world::run(*seed, None))
    });
    for (seed, (told, panics)) in (0..).zip(ran) {
        panicked += panics;
        for (invariant, found) in &told.broken.0 {
            violations += 1;
            println!("seed {seed}: {}: {found}", invariant.name());
        }
        sum.add(&told);
    }
    let took = began.elapsed().as_secs_f64();
    // The same seed, the same run.
    let repeated = (0..3).all(|seed| world::run(seed, None).trace == world::run(seed, None).trace);
    let planted = on_all_cores(&Defect::ALL, |defect| is_found(*defect));
    let found = planted.into_iter().filter(|found| *found).count();
    let proven = Invariant::ALL.into_iter().filter(|invariant| {
        let mut defects = Defect::ALL.into_iter();
        defects.any(|defect| defect.breaks() == *invariant)
    });
    let (proven, exercised) = (proven.count(), sum.is_exercised(seeds));
    let [policy, tokens, logins, audit] = sum.operations;
    println!("faults, each at least {LEAST} times: {}", sum.done);
    println!(
        "{} operations acknowledged, {} unknown, {} refused: {policy} on the policy set, {tokens} on tokens, {logins} on logins, {audit} on the audit; {} leaders, {} snapshots, logs compared at {} entries, chains at {}; {} rows watched in {} streams",
        sum.acknowledged,
        sum.unknown,
        sum.refused,
        sum.leaders,
        sum.snapshots,
        sum.entries,
        sum.chains,
        sum.rows,
        sum.streams,
    );
    println!(
        "{violations} violations of {} invariants and {panicked} panics in {seeds} seeds, {:.1} minutes of faults ({:.0} s of the clusters' time in {took:.0} s); enough happened: {exercised}; runs repeat: {repeated}; {found} of {} planted defects found, each by the invariant it breaks, which are {proven} of them",
        Invariant::ALL.len(),
        TROUBLE.as_secs_f64() * seeds as f64 / 60.0,
        sum.seconds,
        Defect::ALL.len(),
    );
    exit(
        violations == 0
            && panicked == 0
            && repeated
            && exercised
            && found == Defect::ALL.len()
            && proven == Invariant::ALL.len(),
    )
}

/// Does it with each, on as many threads as there are cores; gives what came of it in their order. What is drawn by lot is so by thread.
fn on_all_cores<T: Sync, R: Send>(items: &[T], run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((place, item)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|place| Some((place, items.get(place)?)))
        {
            done.push((place, run(item)));
        }
        done
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Whether a planted defect is found by the invariant that it breaks.
fn is_found(defect: Defect) -> bool {
    let (name, breaks) = (defect.name(), defect.breaks());
    let first = (0..WITHIN).find_map(|seed| {
        let broken = world::run(seed, Some(defect)).broken;
        Some((seed, broken.0.get(&breaks)?.clone()))
    });
    match &first {
        Some((seed, why)) => println!("planted: {name}: {} with seed {seed}: {why}", breaks.name()),
        None => println!(
            "planted: {name}: NOT found by {} in {WITHIN} seeds",
            breaks.name()
        ),
    }
    first.is_some()
}

fn exit(holds: bool) -> ExitCode {
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
