//! Any changes, read and interrupted at any time.
//!
//! What a watcher is told between two bookmarks must be exactly what its own log of changes says has changed between
//! them, each thing once, as it was at the second one, in the order of the last changes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use verger_policy::model::PolicyObject;
use verger_proto::findings::v1 as fpb;
use verger_proto::policy::v1 as pb;

use super::follower::{Follower, Heard, Message, Seen, short};
use crate::world::{World, workload};

#[derive(Clone, Debug)]
enum Step {
    /// One entry of the log: for each name a new version, or none, which removes what can be removed.
    Change(BTreeMap<u8, Option<u8>>),
    /// An entry that concerns no watcher.
    Nothing,
    /// The watcher reads so many messages at most.
    Read(u8),
    /// Its connection breaks, and it comes back.
    Break,
}

fn step() -> impl Strategy<Value = Step> {
    let versions = prop::collection::btree_map(0_u8..6, prop::option::weighted(0.7, 1_u8..5), 1..4);
    prop_oneof![
        5 => versions.prop_map(Step::Change),
        1 => Just(Step::Nothing),
        4 => (0_u8..12).prop_map(Step::Read),
        2 => Just(Step::Break),
    ]
}

/// What happened, as the test knows it: revision, name, what it is since; none where it is gone.
type History = Vec<(u64, String, Option<String>)>;

/// Something that changes and can be watched.
trait Subject {
    type Message: Message;

    /// Carries out one entry, and says what changed.
    fn change(world: &World, versions: &BTreeMap<u8, Option<u8>>) -> Vec<(String, Option<String>)>;

    /// How a change is told to a watcher that stood at `before`; what there is now was made at `born`.
    fn told(what: Option<&String>, born: u64, before: u64) -> Option<String>;
}

struct Objects;

impl Subject for Objects {
    type Message = pb::WatchResponse;

    fn change(world: &World, versions: &BTreeMap<u8, Option<u8>>) -> Vec<(String, Option<String>)> {
        let set = world.log.state().set().clone();
        let (mut upserts, mut deletes, mut changes) = (Vec::<PolicyObject>::new(), Vec::new(), Vec::new());
        for (name, version) in versions {
            let object = workload(&format!("w{name}"), "a", version.unwrap_or(1).into());
            let key = object.key();
            let held = set.body(&key).map(|body| body.digest());
            match version {
                Some(_) if held != Some(object.digest()) => {
                    changes.push((key.to_string(), Some(short(&object.canonical_bytes()))));
                    upserts.push(object);
                }
                // As it is already: the change leaves it alone.
                Some(_) => upserts.push(object),
                None if held.is_some() => {
                    changes.push((key.to_string(), None));
                    deletes.push(key.to_string());
                }
                None => {}
            }
        }
        let deletes: Vec<&str> = deletes.iter().map(String::as_str).collect();
        world.run_change(&upserts, &deletes);
        changes
    }

    fn told(what: Option<&String>, born: u64, before: u64) -> Option<String> {
        match what {
            Some(digest) if born > before => Some(format!("ADDED {digest}")),
            Some(digest) => Some(format!("MODIFIED {digest}")),
            // Nobody who begins with nothing is told what is gone.
            None => (before > 0).then(|| "DELETED".to_owned()),
        }
    }
}

struct Findings;

impl Subject for Findings {
    type Message = fpb::WatchResponse;

    fn change(world: &World, versions: &BTreeMap<u8, Option<u8>>) -> Vec<(String, Option<String>)> {
        let (mut of_hosts, mut changes) = ([Vec::new(), Vec::new()], Vec::new());
        for (name, version) in versions {
            let field = format!("f{name}");
            let (transition, what) = match version {
                Some(affected) => {
                    let mut fault = world.fault(&field);
                    fault.affected = (*affected).into();
                    (fault, format!("OPEN {affected}"))
                }
                None => (world.resolved(&field), "RESOLVED 0".to_owned()),
            };
            of_hosts[usize::from(name % 2)].push(transition);
            changes.push((field, Some(what)));
        }
        // Two commands in one entry: they share a revision.
        let [even, odd] = of_hosts;
        world
            .log
            .run_together(&[world.ingestion("h1", even), world.ingestion("h2", odd)]);
        changes
    }

    fn told(what: Option<&String>, _: u64, _: u64) -> Option<String> {
        what.cloned()
    }
}

/// What is to be told between two bookmarks.
fn wanted<S: Subject>(history: &History, before: u64, until: u64) -> Vec<Seen> {
    let mut last = BTreeMap::new();
    for (revision, name, what) in history.iter().filter(|(revision, ..)| *revision <= until) {
        let born = match last.get(name) {
            Some((_, Some(_), born)) => *born,
            _ => *revision,
        };
        last.insert(name, (*revision, what.as_ref(), born));
    }
    let mut seen: Vec<Seen> = last
        .into_iter()
        .filter(|(_, (revision, ..))| *revision > before)
        .filter_map(|(name, (revision, what, born))| {
            Some(Seen {
                revision,
                name: name.clone(),
                what: S::told(what, born, before)?,
            })
        })
        .collect();
    seen.sort();
    seen
}

fn take<S: Subject>(
    watch: &mut Follower<S::Message>,
    heard: Heard,
    history: &History,
) -> Result<(), TestCaseError> {
    match heard {
        Heard::Change(seen) => watch.since.push(seen),
        Heard::Bookmark(revision) => {
            let mut told = std::mem::take(&mut watch.since);
            prop_assert!(
                told.is_sorted_by_key(|seen| seen.revision),
                "oldest first: {told:?}"
            );
            told.sort();
            prop_assert_eq!(told, wanted::<S>(history, watch.complete, revision));
            watch.complete = revision;
        }
    }
    Ok(())
}

async fn play<S: Subject>(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let world = World::founded();
    world.enrol(&["h1", "h2"]);
    let mut history = History::new();
    let mut watch = Follower::<S::Message>::start(&world, 0).await;
    for step in steps {
        match step {
            Step::Change(versions) => {
                let changes = S::change(&world, &versions);
                let revision = world.log.state().revision();
                history.extend(changes.into_iter().map(|(name, what)| (revision, name, what)));
            }
            Step::Nothing => world.log.run_nothing(),
            Step::Read(messages) => {
                for _ in 0..messages {
                    let Some(heard) = watch.hear().await else { break };
                    take::<S>(&mut watch, heard, &history)?;
                }
            }
            Step::Break => watch.resume().await,
        }
    }
    while let Some(heard) = watch.hear().await {
        take::<S>(&mut watch, heard, &history)?;
    }
    let last = history.last().map_or(0, |(revision, ..)| *revision);
    prop_assert!(watch.complete >= last, "in the end everything was told");
    prop_assert_eq!(&watch.since, &[]);
    Ok(())
}

fn run<S: Subject>(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(play::<S>(steps))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn objects_are_told_without_a_gap_or_a_repeat(steps in prop::collection::vec(step(), 1..40)) {
        run::<Objects>(steps)?;
    }

    #[test]
    fn findings_are_told_without_a_gap_or_a_repeat(steps in prop::collection::vec(step(), 1..40)) {
        run::<Findings>(steps)?;
    }
}
