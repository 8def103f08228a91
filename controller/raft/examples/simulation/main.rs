//! Simulates clusters: members on stores in memory, a network and disks that fail, and clients, all on one thread and in a time of its own.
//! What happens follows from a seed, so that whatever is found can be looked at again.
//!
//! `simulation [--long | --seed N] [--defect NAME]`. Without a defect nothing may be found; each planted defect has to be.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod check;
mod clients;
mod defects;
mod disk;
mod nemesis;
mod router;
#[path = "../../tests/shared/mod.rs"]
mod shared;
mod watch;
mod world;

use std::process::ExitCode;
use std::time::Instant;

use defects::Defect;
use world::{Found, Told};

/// Seeds of the short form, and of the long one.
const SHORT: u64 = 10;
const LONG: u64 = 200;
/// Seeds within which a planted defect is found.
const WITHIN: u64 = 60;

fn main() -> ExitCode {
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
        let told = world::run(seed, defect);
        println!("{told:#?}");
        return exit(told.found.is_none());
    }
    let seeds = if arguments.iter().any(|argument| argument == "--long") {
        LONG
    } else {
        SHORT
    };
    let began = Instant::now();
    let mut sum = Told::default();
    let mut violations = 0;
    for seed in 0..seeds {
        let told = world::run(seed, None);
        if let Some(found) = &told.found {
            violations += 1;
            println!("seed {seed}: {found}");
        }
        sum.add(&told);
    }
    // The same seed, the same run.
    let repeated = (0..3).all(|seed| world::run(seed, None).trace == world::run(seed, None).trace);
    let mut found = Vec::new();
    for defect in Defect::ALL {
        let first = (0..WITHIN).find_map(|seed| Some((seed, world::run(seed, Some(defect)).found?)));
        match first {
            Some((seed, why)) => {
                println!("planted: {}: found with seed {seed}: {why}", defect.name());
                found.push(defect.name());
            }
            None => println!("planted: {}: NOT found in {WITHIN} seeds", defect.name()),
        }
    }
    let exercised = sum.is_exercised(seeds);
    println!(
        "{seeds} seeds, {:.0} s of the clusters' time in {:.0} s: {violations} violations; {} operations acknowledged, {} unknown, {} refused; {} crashes, {} partitions, {} changes of members, {} snapshots, {} leaders, chains at {} entries; runs repeat: {repeated}; {} of {} planted defects found ({})",
        sum.seconds,
        began.elapsed().as_secs_f64(),
        sum.acknowledged,
        sum.unknown,
        sum.refused,
        sum.crashes,
        sum.partitions,
        sum.changes,
        sum.snapshots,
        sum.leaders,
        sum.chains,
        found.len(),
        Defect::ALL.len(),
        found.join(", ")
    );
    exit(violations == 0 && repeated && exercised && found.len() == Defect::ALL.len())
}

fn exit(holds: bool) -> ExitCode {
    if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
