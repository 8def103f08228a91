//! The compiled form decides as Cedar does: whether, and by which rules.
//!
//! Sets are random and small, with many requests each, and a few are as large as an organisation's. Each set's choices come
//! from its number and the seed of the run, so that one set is repeated by itself.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use verger_controller_authz::Roles;
use verger_policy::model::{PolicyObject, Spec};
use verger_policy::roles::{Ask, Because, CompiledRoles, Decision, Subject};
use verger_rig::dice::Dice;
use verger_rig::point::{Verdict, tell};

use crate::chance::Sort;
use crate::tally::Tally;

/// What a run asks.
#[derive(Clone, Copy, Debug)]
struct Plan {
    sets: u64,
    requests: u64,
    bindings: u64,
    large: bool,
}

/// The most bindings of a small set.
const FEW: u64 = 50;
/// The bindings of a large one.
const MANY: u64 = 10_000;

impl Plan {
    const fn small(long: bool) -> Self {
        Self {
            sets: if long { 10_000 } else { 500 },
            requests: 100,
            bindings: FEW,
            large: false,
        }
    }

    const fn large(long: bool) -> Self {
        Self {
            sets: if long { 10 } else { 1 },
            requests: 100,
            bindings: MANY,
            large: true,
        }
    }
}

/// Asks both of everything.
///
/// # Errors
/// When they differ, when too little was asked of some sort, or when a planted difference is not seen.
pub fn run(long: bool, seed: u64) -> Result<Verdict> {
    let few = ask_all(Plan::small(long), seed)?;
    tell(&format!("at most {FEW} bindings: {few}"));
    let many = ask_all(Plan::large(long), seed)?;
    tell(&format!("{MANY} bindings: {many}"));
    let missing = few.missing();
    ensure!(
        missing.is_empty(),
        "void: hardly anything was {}",
        missing.join(", or ")
    );
    ensure!(
        few.caught > 0,
        "void: a form without one of the bindings was never told from the whole"
    );
    let (sets, large) = (Plan::small(long).sets, Plan::large(long).sets);
    Ok(Verdict {
        figure: format!(
            "{} random requests over {sets} sets of at most {FEW} bindings and {} over {large} of {MANY}: 0 are decided otherwise than by Cedar, or by other rules; a form without one of its bindings is caught in {} sets",
            few.asked, many.asked, few.caught
        ),
        holds: true,
    })
}

/// Asks of all sets, on all cores.
fn ask_all(plan: Plan, seed: u64) -> Result<Tally> {
    let next = AtomicU64::new(0);
    let work = || -> Result<Tally> {
        let mut tally = Tally::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= plan.sets {
                return Ok(tally);
            }
            let one = ask_set(plan, Dice::new(seed ^ number.rotate_left(32)))
                .with_context(|| format!("set {number} of {} with --seed {seed}", plan.sets))?;
            tally.add(&one);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let tallies: Vec<Result<Tally>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = running.into_iter().map(|thread| match thread.join() {
            Ok(tally) => tally,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ended.collect()
    });
    let mut all = Tally::default();
    for tally in tallies {
        all.add(&tally?);
    }
    Ok(all)
}

/// Asks of one set.
fn ask_set(plan: Plan, mut dice: Dice) -> Result<Tally> {
    let dice = &mut dice;
    let sort = if plan.large {
        Sort::large(dice, plan.bindings)
    } else {
        Sort::small(dice, plan.bindings)
    };
    let objects = sort.objects(dice);
    let cedar = Roles::compile(&objects).context("Cedar takes the set")?;
    let whole = CompiledRoles::compile(&objects);
    let short = CompiledRoles::compile(without_one(dice, &objects));
    let mut tally = Tally::default();
    let mut caught = false;
    for _ in 0..plan.requests {
        let (subject, ask) = (sort.subject(dice), sort.ask(dice));
        let decision = cedar.decide(&subject, &ask);
        if let Some(difference) = difference(&whole, &decision, &subject, &ask) {
            bail!("{ask} by {subject:?}: Cedar: {decision}; compiled: {difference}");
        }
        caught |= self::difference(&short, &decision, &subject, &ask).is_some();
        tally.count(&cedar, &subject, &ask, &decision);
    }
    tally.caught = u64::from(caught);
    Ok(tally)
}

/// What the compiled form says, where it is not the decision.
fn difference(compiled: &CompiledRoles, decision: &Decision, subject: &Subject, ask: &Ask) -> Option<String> {
    let told = compiled.explain(subject, ask);
    if told != *decision {
        return Some(told.to_string());
    }
    let ruling = compiled.decide(subject, ask.verb, ask.resource, ask.single.as_ref());
    let why = Because::from(ruling.why);
    let same = ruling.allowed == decision.allowed && decision.because.contains(&why);
    (!same).then(|| format!("allowed: {}, {why}", ruling.allowed))
}

/// The set without one of its bindings, the others in the same order.
fn without_one<'a>(dice: &mut Dice, objects: &'a [PolicyObject]) -> Vec<&'a PolicyObject> {
    let bindings: Vec<&PolicyObject> = objects
        .iter()
        .filter(|object| matches!(object.spec, Spec::RoleBinding(_)))
        .collect();
    let gone = dice.pick(&bindings).map(|object| &object.metadata.name);
    let is_there = |object: &&PolicyObject| {
        !matches!(object.spec, Spec::RoleBinding(_)) || Some(&object.metadata.name) != gone
    };
    objects.iter().filter(is_there).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_small_run_finds_no_difference_and_catches_a_planted_one() {
        let plan = Plan {
            sets: 20,
            requests: 40,
            bindings: FEW,
            large: false,
        };
        let tally = ask_all(plan, 1).unwrap();
        assert_eq!(tally.asked, 800);
        assert!(tally.caught > 5, "{}", tally.caught);
        assert_eq!(tally.missing(), Vec::<&str>::new(), "{tally}");
        assert_eq!(tally, ask_all(plan, 1).unwrap(), "a seed repeats a run");
    }
}
