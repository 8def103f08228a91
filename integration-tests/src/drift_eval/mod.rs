//! What judging costs, beside the floor: parsing the same documents as JSON and taking their SHA-256.
//!
//! Facts are recorded from real containers of fifty different configurations, and repeated under other ids.
//! Cold is everything from bytes to verdict, as for instances never seen; warm is judging again facts that are held, as after a
//! change of policy. Both are CPU time of this process, in turn with the floor, so that a slow moment hits both.

mod counter;
mod recording;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use verger_policy::bless::bless;
use verger_policy::compile::{Compiled, compile};
use verger_policy::digest::Digest;
use verger_policy::drift::{Judgement, Outcome, Peers, judge_among};
use verger_policy::facts::{Evidence, Instance, InstanceId};
use verger_policy::model::{Labels, PolicyObject, Spec};

use crate::point::{Verdict, tell};
use crate::scene::Docker;
use recording::Recording;

/// Different configurations.
pub(crate) const CONFIGURATIONS: usize = 50;
/// Containers' worth of facts.
const INSTANCES: usize = 500;
/// Pairs of measurements.
const PAIRS: usize = 11;
/// CPU of judging over CPU of the floor, at most.
const GOAL: f64 = 3.0;

/// Whether the counts hold that the measurement rests on, without measuring: all that is recorded is judged clean, and
/// nothing is asked about containers that have not changed.
///
/// # Errors
/// When the containers do not run, or a count does not hold.
pub fn counts(docker: &Docker) -> Result<String> {
    let recorded = recording::record(docker)?;
    ensure!(
        recorded.len() == CONFIGURATIONS,
        "{} configurations are recorded, of {CONFIGURATIONS}",
        recorded.len()
    );
    let requests = counter::requests_of_unchanged(docker, &ids(&recorded))?;
    ensure!(
        requests == 0,
        "{requests} requests about containers that have not changed"
    );
    let (compiled, all) = load(&recorded)?;
    is_clean(&judge(&compiled, &instances(&all)?, Timestamp::now()))?;
    Ok(format!(
        "{} instances judged clean, {requests} requests about unchanged ones",
        all.len()
    ))
}

fn ids(recorded: &[Recording]) -> Vec<String> {
    recorded.iter().map(|recording| recording.id.clone()).collect()
}

/// The policy that blesses what was recorded, and the recordings under as many ids as there are instances.
fn load(recorded: &[Recording]) -> Result<(Compiled, Vec<Recording>)> {
    let policies = recorded.iter().map(policy).collect::<Result<Vec<_>>>()?;
    let compiled = compile(&policies, &Labels::default(), 1);
    let all = (0..INSTANCES)
        .map(|number| recorded[number % recorded.len()].under_another_id(number))
        .collect();
    Ok((compiled, all))
}

/// Measures; writes a table into `folder`.
///
/// # Errors
/// When the containers do not run.
pub fn run(folder: &Path) -> Result<Verdict> {
    ensure!(
        !cfg!(debug_assertions),
        "a benchmark of a debug build says nothing: build with --release"
    );
    let docker = Docker::find()?;
    let recorded = recording::record(&docker)?;
    let requests = counter::requests_of_unchanged(&docker, &ids(&recorded))?;
    let (compiled, all) = load(&recorded)?;
    let at = Timestamp::now();
    let held = instances(&all)?;
    is_clean(&judge(&compiled, &held, at))?;

    let bytes: usize = all.iter().map(Recording::bytes).sum();
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    let mut rows = String::new();
    for pair in 0..PAIRS {
        let floor = cpu(|| floor(&all));
        let first = cpu(|| judge(&compiled, &instances(&all).expect("they were read before"), at));
        let again = cpu(|| judge(&compiled, &held, at));
        let ratio = |took: Duration| took.as_secs_f64() / floor.as_secs_f64();
        rows += &format!(
            "| {} | {:.1} | {:.1} | {:.1} | {:.2} | {:.2} |\n",
            pair + 1,
            millis(floor),
            millis(first),
            millis(again),
            ratio(first),
            ratio(again)
        );
        cold.push(ratio(first));
        warm.push(ratio(again));
    }
    let (cold, warm) = (median(cold), median(warm));
    let figure = format!(
        "{INSTANCES} instances of {CONFIGURATIONS} configurations ({} KiB): cold {cold:.2} x, warm {warm:.2} x the CPU of parsing and SHA-256, at most {GOAL}; an unchanged instance costs {} requests",
        bytes >> 10,
        requests
    );
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let table = folder.join("drift_eval.md");
    std::fs::write(
        &table,
        format!("# drift_eval\n\n{figure}\n\n| pair | floor, ms | cold, ms | warm, ms | cold / floor | warm / floor |\n|---|---|---|---|---|---|\n{rows}"),
    )
    .with_context(|| format!("writing {}", table.display()))?;
    tell(&format!("table in {}", table.display()));
    Ok(Verdict {
        figure,
        holds: cold <= GOAL && warm <= GOAL && requests == 0,
    })
}

/// The floor: what reading and identifying these bytes costs anybody.
fn floor(all: &[Recording]) {
    for recording in all {
        for document in recording.documents() {
            let value: serde_json::Value = serde_json::from_slice(document).expect("they were read before");
            black_box((value, Digest::of(document)));
        }
    }
}

/// From bytes to facts.
fn instances(all: &[Recording]) -> Result<BTreeMap<InstanceId, Instance>> {
    let read = all.iter().map(|recording| {
        let instance = recording.read()?;
        Ok((instance.id.clone(), instance))
    });
    read.collect()
}

fn judge(compiled: &Compiled, instances: &BTreeMap<InstanceId, Instance>, at: Timestamp) -> Vec<Judgement> {
    let peers = Peers::among(instances);
    instances
        .values()
        .map(|instance| judge_among(compiled, instance, peers, at))
        .collect()
}

/// The workload that blesses a recorded container: of the same image as all others, told apart by a label.
fn policy(recording: &Recording) -> Result<PolicyObject> {
    let instance = recording.read()?;
    let number = recording.number.to_string();
    let mut object = bless(&instance, format!("bench/n{number}").parse()?)?;
    if let Spec::Workload(workload) = &mut object.spec {
        workload.hint.labels = Labels([(recording::LABEL.to_owned(), number)].into());
    }
    Ok(object)
}

/// What was just blessed is judged, and judged clean: a benchmark of errors would be fast.
fn is_clean(judgements: &[Judgement]) -> Result<()> {
    ensure!(judgements.len() == INSTANCES, "{} judgements", judgements.len());
    for judgement in judgements {
        let drift: Vec<_> = judgement
            .failing()
            .filter(|check| check.rule.as_str().starts_with("config/"))
            .collect();
        ensure!(drift.is_empty(), "{}: {drift:?}", judgement.name);
        let passed = judgement
            .checks
            .iter()
            .filter(|check| check.result == Outcome::Pass);
        ensure!(
            passed.count() > 20,
            "{}: hardly anything was judged",
            judgement.name
        );
    }
    Ok(())
}

/// CPU time of this process for `work`.
fn cpu<T>(work: impl FnOnce() -> T) -> Duration {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(
            time.tv_sec.unsigned_abs(),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        )
    };
    let began = now();
    black_box(work());
    now() - began
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// What a fact that was not recorded is.
fn not_recorded<T>() -> Evidence<T> {
    Evidence::missing("not recorded")
}
