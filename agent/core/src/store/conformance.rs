//! What every store must do. Panics at the first thing it does not.

use std::collections::BTreeSet;

use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_policy::drift::{Check, Outcome};
use verger_policy::facts::InstanceId;
use verger_policy::finding::{
    Chain, FindingUid, Lifecycle, LocalFinding, Sample, Standing, SubjectClass, Told, Transition,
};
use verger_policy::model::{Control, Kind, Labels, Mode, ObjectKey, RuleId, RuntimeKind, Severity};
use verger_policy::set::Entry;

use super::{
    LAST_SEQUENCE, LedgerDelta, LedgerImage, LedgerStore, Numbered, Round, SetDelta, SetHead, SpoolStore,
    StoreError,
};

/// Both stores of one place.
pub type Stores = (Box<dyn LedgerStore>, Box<dyn SpoolStore>);

/// A place that holds stores, under test.
pub trait Bench {
    /// Opens what is there; anything opened before has been dropped.
    fn open(&mut self) -> Stores;
}

type Case = fn(&mut dyn Bench);

/// The behaviours, by name.
const CASES: &[(&str, Case)] = &[
    ("a new ledger is empty", a_new_ledger_is_empty),
    ("a set is read back as it was written", a_set_is_read_back),
    ("a delta replaces and drops", a_delta_replaces_and_drops),
    (
        "the highest epoch never goes back",
        the_highest_epoch_never_goes_back,
    ),
    (
        "a delta that does not fit changes nothing",
        an_unfit_delta_changes_nothing,
    ),
    ("big bodies are kept whole", big_bodies_are_kept_whole),
    (
        "transitions are numbered without gaps, for ever",
        numbers_have_no_gaps,
    ),
    ("a round is written whole", a_round_is_written_whole),
    (
        "what begins anew is told whole under new numbers",
        what_begins_anew_is_told_whole_under_new_numbers,
    ),
    (
        "what is signed is what was told, whenever it is opened",
        what_is_signed_is_what_was_told,
    ),
    ("a page of waiting transitions is bounded", pages_are_bounded),
    ("a full spool refuses, keeps and recovers", a_full_spool_refuses),
    (
        "an acknowledgement of nothing is refused",
        an_acknowledgement_of_nothing_is_refused,
    ),
];

/// Runs every behaviour, each on a fresh place with room for the given bytes of transitions.
pub fn run(fresh: impl Fn(u64) -> Box<dyn Bench>) {
    for (name, case) in CASES {
        let mut bench = fresh(64 * 1024);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(&mut *bench)));
        assert!(result.is_ok(), "the store does not conform: {name}");
    }
}

fn good<T>(result: Result<T, StoreError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}: {error:?}"),
    }
}

fn a_new_ledger_is_empty(bench: &mut dyn Bench) {
    for _ in 0..2 {
        let (ledger, spool) = bench.open();
        assert_eq!(good(ledger.load()), LedgerImage::default());
        assert!(good(spool.findings()).is_empty());
        assert!(good(spool.pending(1, 10, 1 << 20)).is_empty());
        assert_eq!(good(spool.usage()).next_sequence, 1);
    }
}

fn a_set_is_read_back(bench: &mut dyn Bench) {
    let (ledger, spool) = bench.open();
    good(ledger.commit(&LedgerDelta {
        trust_roots: vec![b"root one".to_vec()],
        set: None,
    }));
    let delta = SetDelta {
        bodies: bodies(&[1, 2]),
        ..set(3, &[1, 2, 3])
    };
    good(ledger.commit(&LedgerDelta {
        trust_roots: vec![b"root two".to_vec()],
        set: Some(delta),
    }));
    let before = good(ledger.load());
    assert_eq!(before.trust_roots, [b"root one".to_vec(), b"root two".to_vec()]);
    assert_eq!(before.highest_epoch, 3);
    let held = before.set.clone().expect("it was just written");
    assert_eq!(held.head, set(3, &[]).head);
    assert_eq!(
        held.entries.values().cloned().collect::<Vec<_>>(),
        [entry(1), entry(2), entry(3)]
    );
    assert_eq!(held.bodies, bodies(&[1, 2]));
    drop((ledger, spool));
    assert_eq!(good(bench.open().0.load()), before);
}

fn a_delta_replaces_and_drops(bench: &mut dyn Bench) {
    let (ledger, _spool) = bench.open();
    let first = SetDelta {
        bodies: bodies(&[1, 2, 3, 4]),
        ..set(1, &[1, 2, 3, 4])
    };
    good(ledger.commit(&LedgerDelta {
        set: Some(first),
        ..LedgerDelta::default()
    }));
    let changed = Entry {
        epoch: 2,
        digest: Digest::of(b"new four"),
        ..entry(4)
    };
    let second = SetDelta {
        entries: vec![entry(5), changed.clone()],
        dropped_entries: [entry(1).key].into(),
        bodies: bodies(&[5]),
        dropped_bodies: [entry(2).key].into(),
        ..set(2, &[])
    };
    good(ledger.commit(&LedgerDelta {
        set: Some(second),
        ..LedgerDelta::default()
    }));
    let held = good(ledger.load()).set.expect("it was just written");
    assert_eq!(held.head.epoch, 2);
    let entries: Vec<Entry> = held.entries.into_values().collect();
    assert_eq!(entries, [entry(2), entry(3), changed, entry(5)]);
    assert_eq!(
        held.bodies,
        bodies(&[3, 5]),
        "a body whose entry changed is not the entry's any more"
    );
}

fn the_highest_epoch_never_goes_back(bench: &mut dyn Bench) {
    let (ledger, spool) = bench.open();
    good(ledger.commit(&LedgerDelta {
        set: Some(set(7, &[1])),
        ..LedgerDelta::default()
    }));
    drop((ledger, spool));
    let (ledger, _spool) = bench.open();
    let before = good(ledger.load());
    let refused = ledger.commit(&LedgerDelta {
        set: Some(set(6, &[1])),
        ..LedgerDelta::default()
    });
    assert!(
        matches!(
            refused,
            Err(StoreError::EpochBack {
                offered: 6,
                highest: 7
            })
        ),
        "{refused:?}"
    );
    assert_eq!(good(ledger.load()), before);
    good(ledger.commit(&LedgerDelta {
        set: Some(set(7, &[1, 2])),
        ..LedgerDelta::default()
    }));
    assert_eq!(good(ledger.load()).highest_epoch, 7);
}

fn an_unfit_delta_changes_nothing(bench: &mut dyn Bench) {
    let (ledger, _spool) = bench.open();
    good(ledger.commit(&LedgerDelta {
        set: Some(set(1, &[1])),
        ..LedgerDelta::default()
    }));
    let before = good(ledger.load());
    let no_entry = SetDelta {
        bodies: bodies(&[9]),
        ..set(2, &[1])
    };
    let other_body = SetDelta {
        bodies: [(entry(1).key, b"other".to_vec())].into(),
        ..set(2, &[1])
    };
    for unfit in [no_entry, other_body] {
        let refused = ledger.commit(&LedgerDelta {
            trust_roots: vec![b"x".to_vec()],
            set: Some(unfit),
        });
        assert!(matches!(refused, Err(StoreError::Unfit { .. })), "{refused:?}");
        assert_eq!(good(ledger.load()), before);
    }
}

fn big_bodies_are_kept_whole(bench: &mut dyn Bench) {
    let big: Vec<u8> = (0..1_300_000_u32)
        .map(|n| n.to_le_bytes()[(n % 3) as usize])
        .collect();
    let big_entry = Entry {
        digest: Digest::of(&big),
        ..entry(1)
    };
    let delta = SetDelta {
        entries: vec![big_entry.clone()],
        bodies: [(big_entry.key.clone(), big.clone())].into(),
        ..set(1, &[])
    };
    let (ledger, spool) = bench.open();
    good(ledger.commit(&LedgerDelta {
        set: Some(delta),
        ..LedgerDelta::default()
    }));
    drop((ledger, spool));
    let (ledger, _spool) = bench.open();
    assert_eq!(
        good(ledger.load()).set.expect("written").bodies,
        [(big_entry.key.clone(), big)].into()
    );
    let small = SetDelta {
        bodies: bodies(&[1]),
        ..set(2, &[1])
    };
    good(ledger.commit(&LedgerDelta {
        set: Some(small),
        ..LedgerDelta::default()
    }));
    assert_eq!(
        good(ledger.load()).set.expect("written").bodies,
        bodies(&[1]),
        "no part of the big one is left"
    );
}

fn numbers_have_no_gaps(bench: &mut dyn Bench) {
    let mut given = 1;
    for round in 0..6 {
        let (_ledger, spool) = bench.open();
        assert_eq!(
            good(spool.usage()).next_sequence,
            given,
            "after everything was acknowledged and reopened"
        );
        let transitions: Vec<Transition> = (given..given + round % 4).map(transition).collect();
        let wrote = Round {
            transitions,
            ..Round::default()
        };
        assert_eq!(good(spool.commit_round(&wrote)), given);
        let pending = good(spool.pending(0, 100, 1 << 20));
        assert_eq!(
            pending.iter().map(|one| one.sequence).collect::<Vec<_>>(),
            Vec::from_iter(given..given + round % 4)
        );
        assert!(
            pending
                .iter()
                .all(|one| one.transition == transition(one.sequence))
        );
        given += round % 4;
        good(spool.acknowledge(given - 1));
        assert_eq!(good(spool.usage()).pending(), 0);
        assert_eq!(good(spool.usage()).bytes, 0);
    }
}

fn a_round_is_written_whole(bench: &mut dyn Bench) {
    let (ledger, spool) = bench.open();
    let first = Round {
        changed: vec![finding(1), finding(2)],
        transitions: vec![transition(1)],
        ..Round::default()
    };
    good(spool.commit_round(&first));
    let changed = LocalFinding {
        lifecycle: Lifecycle::Resolved,
        affected: BTreeSet::new(),
        ..finding(2)
    };
    let second = Round {
        changed: vec![changed.clone(), finding(3)],
        removed: [finding(1).uid].into(),
        transitions: vec![transition(2)],
    };
    assert_eq!(good(spool.commit_round(&second)), 2);
    drop((ledger, spool));
    let (_ledger, spool) = bench.open();
    let expected = [changed, finding(3)].map(|one| (one.uid, one));
    assert_eq!(good(spool.findings()), expected.into());
    assert_eq!(good(spool.usage()).pending(), 2);
}

fn what_begins_anew_is_told_whole_under_new_numbers(bench: &mut dyn Bench) {
    let (ledger, spool) = bench.open();
    let over = LocalFinding {
        lifecycle: Lifecycle::Resolved,
        ..finding(3)
    };
    good(spool.commit_round(&Round {
        changed: vec![finding(1), finding(2), over],
        transitions: (1..=5).map(transition).collect(),
        ..Round::default()
    }));
    good(spool.acknowledge(2));
    let usage = good(spool.begin_anew(9));
    assert_eq!((usage.acknowledged, usage.next_sequence, usage.anew), (9, 12, 10));
    let told = good(spool.pending(0, 100, 1 << 20));
    let expected: Vec<Numbered> = [finding(1), finding(2)]
        .iter()
        .map(LocalFinding::transition)
        .zip(10..)
        .map(|(transition, sequence)| Numbered { sequence, transition })
        .collect();
    let by_uid = |told: &[Numbered]| -> BTreeSet<_> { told.iter().map(|one| one.transition.uid).collect() };
    assert_eq!(by_uid(&told), by_uid(&expected));
    assert_eq!(told.iter().map(|one| one.sequence).collect::<Vec<_>>(), [10, 11]);
    for after in [u64::MAX, LAST_SEQUENCE] {
        assert!(matches!(spool.begin_anew(after), Err(StoreError::TooFar { .. })));
    }
    // Numbers never go back, and go on from there.
    let again = good(spool.begin_anew(3));
    assert_eq!(
        (again.acknowledged, again.next_sequence, again.anew),
        (11, 14, 12)
    );
    let next = good(spool.commit_round(&Round {
        transitions: vec![transition(7)],
        ..Round::default()
    }));
    assert_eq!(next, 14);
    drop((ledger, spool));
    let (_ledger, spool) = bench.open();
    let usage = good(spool.usage());
    assert_eq!((usage.anew, usage.pending()), (12, 3));
    good(spool.acknowledge(14));
    assert_eq!(good(spool.usage()).bytes, 0);
}

fn what_is_signed_is_what_was_told(bench: &mut dyn Bench) {
    // Worked out here from what is told, as a controller does.
    let (mut chain, mut standing) = (Chain::START, Standing::default());
    let mut tell = |transition: &Transition| {
        chain = chain.then(&transition.digest());
        standing.note(transition);
        Told {
            chain,
            open: standing.count(),
            table: standing.digest(),
        }
    };
    let over = |number| Transition {
        lifecycle: Lifecycle::Resolved,
        ..transition(number)
    };
    let (ledger, spool) = bench.open();
    assert_eq!(good(spool.chain_at(0)), Some(Chain::START.digest));
    let first = [transition(1), transition(2), transition(3), over(2)];
    good(spool.commit_round(&Round {
        changed: vec![finding(1), finding(3)],
        transitions: first.to_vec(),
        ..Round::default()
    }));
    let told: Vec<Told> = first.iter().map(&mut tell).collect();
    let stands = |spool: &dyn SpoolStore, told: &Told| {
        assert_eq!(good(spool.told()), *told);
        assert_eq!(good(spool.chain_at(told.chain.sequence)), Some(told.chain.digest));
        assert_eq!(good(spool.chain_at(told.chain.sequence + 1)), None);
    };
    stands(&*spool, &told[3]);
    assert_eq!(told[3].open, 2);
    for (sequence, told) in (1..).zip(&told) {
        assert_eq!(good(spool.chain_at(sequence)), Some(told.chain.digest));
    }
    // What is acknowledged and gone changes nothing of it.
    good(spool.acknowledge(3));
    stands(&*spool, &told[3]);
    assert_eq!(good(spool.chain_at(3)), Some(told[2].chain.digest));
    assert_eq!(good(spool.chain_at(2)), None);
    drop((ledger, spool));
    let (ledger, spool) = bench.open();
    stands(&*spool, &told[3]);
    let next = tell(&over(1));
    good(spool.commit_round(&Round {
        removed: [finding(1).uid].into(),
        transitions: vec![over(1)],
        ..Round::default()
    }));
    stands(&*spool, &next);
    // Told anew, the chain goes on from where it was, under other numbers.
    let usage = good(spool.begin_anew(8));
    assert_eq!(good(spool.chain_at(usage.acknowledged)), Some(next.chain.digest));
    let before = Chain {
        sequence: 8,
        digest: next.chain.digest,
    };
    let anew = finding(3).transition();
    let mut standing = Standing::default();
    standing.note(&anew);
    let told = Told {
        chain: before.then(&anew.digest()),
        open: 1,
        table: standing.digest(),
    };
    stands(&*spool, &told);
    drop((ledger, spool));
    let (_ledger, spool) = bench.open();
    stands(&*spool, &told);
    good(spool.acknowledge(9));
    stands(&*spool, &told);
}

fn pages_are_bounded(bench: &mut dyn Bench) {
    let (_ledger, spool) = bench.open();
    good(spool.commit_round(&Round {
        transitions: (1..=20).map(transition).collect(),
        ..Round::default()
    }));
    let numbers = |from, max, bytes| -> Vec<u64> {
        good(spool.pending(from, max, bytes))
            .iter()
            .map(|one| one.sequence)
            .collect()
    };
    assert_eq!(numbers(4, 3, 1 << 20), [4, 5, 6]);
    assert_eq!(numbers(4, 3, 1), [4], "one at least");
    assert_eq!(numbers(19, 10, 1 << 20), [19, 20]);
    assert!(numbers(21, 10, 1 << 20).is_empty() && numbers(1, 0, 1 << 20).is_empty());
    good(spool.acknowledge(5));
    good(spool.acknowledge(2));
    assert_eq!(numbers(1, 2, 1 << 20), [6, 7]);
    assert_eq!(good(spool.usage()).acknowledged, 5);
}

fn a_full_spool_refuses(bench: &mut dyn Bench) {
    let (ledger, spool) = bench.open();
    let mut written = 0;
    let error = loop {
        assert!(written < 10_000, "it never fills up");
        match spool.commit_round(&Round {
            transitions: vec![transition(written + 1)],
            ..Round::default()
        }) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::SpoolFull { .. }), "{error:?}");
    let usage = good(spool.usage());
    assert_eq!((usage.pending(), usage.refused_rounds), (written, 1));
    assert!(usage.bytes <= usage.limit);
    let refused = Round {
        changed: vec![finding(1)],
        transitions: vec![transition(1)],
        ..Round::default()
    };
    assert!(spool.commit_round(&refused).is_err());
    assert!(
        good(spool.findings()).is_empty(),
        "nothing of a refused round is written"
    );
    good(spool.commit_round(&Round {
        changed: vec![finding(1)],
        ..Round::default()
    }));
    good(spool.acknowledge(written));
    assert_eq!(good(spool.commit_round(&refused)), written + 1);
    drop((ledger, spool));
    assert_eq!(
        good(bench.open().1.usage()).refused_rounds,
        2,
        "the count is kept"
    );
}

fn an_acknowledgement_of_nothing_is_refused(bench: &mut dyn Bench) {
    let (_ledger, spool) = bench.open();
    assert!(matches!(
        spool.acknowledge(1),
        Err(StoreError::NeverSent { sequence: 1, last: 0 })
    ));
    good(spool.commit_round(&Round {
        transitions: vec![transition(1)],
        ..Round::default()
    }));
    assert!(matches!(
        spool.acknowledge(2),
        Err(StoreError::NeverSent { sequence: 2, last: 1 })
    ));
    good(spool.acknowledge(1));
}

/// A set's delta with these entries and no bodies.
pub fn set(epoch: u64, entries: &[u64]) -> SetDelta {
    SetDelta {
        head: SetHead {
            epoch,
            root: Digest::of(&epoch.to_le_bytes()),
            not_after: at(epoch),
            seal: format!("seal of epoch {epoch}").into_bytes(),
        },
        entries: entries.iter().copied().map(entry).collect(),
        dropped_entries: BTreeSet::new(),
        bodies: std::collections::BTreeMap::new(),
        dropped_bodies: BTreeSet::new(),
    }
}

/// An entry, told by its number.
pub fn entry(number: u64) -> Entry {
    Entry {
        key: ObjectKey {
            kind: Kind::Workload,
            name: format!("test/{number}").parse().expect("a good name"),
        },
        epoch: 1,
        digest: Digest::of(&body(number)),
        hosts: Labels([("zone".to_owned(), format!("z{number}"))].into()),
    }
}

/// The body of [`entry`].
pub fn body(number: u64) -> Vec<u8> {
    format!("the canonical bytes of object {number}").into_bytes()
}

/// The bodies of several entries.
pub fn bodies(numbers: &[u64]) -> std::collections::BTreeMap<ObjectKey, Vec<u8>> {
    numbers
        .iter()
        .map(|number| (entry(*number).key, body(*number)))
        .collect()
}

/// A finding, told by its number, with every field filled.
pub fn finding(number: u64) -> LocalFinding {
    let Transition {
        uid,
        subject,
        image,
        check,
        lifecycle,
        wanted,
        effective,
        epoch,
        samples,
        evaluated,
        ..
    } = transition(number);
    LocalFinding {
        uid,
        subject,
        image,
        check,
        lifecycle,
        wanted,
        effective,
        epoch,
        affected: samples.iter().map(|sample| sample.instance.clone()).collect(),
        samples,
        evaluated,
        occurrences: number,
        first_seen: at(number),
        changed: at(number + 1),
        reopened: 1,
    }
}

/// A transition, told by its number, with every field filled.
pub fn transition(number: u64) -> Transition {
    let instance = InstanceId {
        runtime: RuntimeKind::Docker,
        id: format!("{number:064x}"),
    };
    Transition {
        at: at(number + 1),
        uid: FindingUid(Digest::of(number.to_string().as_bytes())),
        subject: match number % 3 {
            0 => SubjectClass::Host,
            1 => SubjectClass::Workload("payments/web".parse().expect("a good name")),
            _ => SubjectClass::Unknown(number.is_multiple_of(2).then(|| Digest::of(b"image"))),
        },
        image: (number % 3 == 1).then(|| Digest::of(b"image")),
        check: Check {
            control: Control::Privilege,
            rule: RuleId::builtin("privilege/is-root"),
            field: format!("processes[{number}]").into(),
            result: Outcome::Fail,
            expected: Some("no process of root".to_owned()),
            actual: Some("uid 0 \u{1b}[31m".to_owned()),
            reason: "a process runs as the host's root".into(),
            severity: Severity::Critical,
            decided_by: Some(entry(number).key),
        },
        lifecycle: Lifecycle::Open,
        wanted: Mode::Enforce,
        effective: Mode::Monitor,
        epoch: number,
        affected: 1,
        samples: vec![Sample {
            instance,
            name: format!("/web-{number}\u{202e}"),
        }],
        evaluated: 2,
        occurrences: number,
        first_seen: at(number),
        reopened: 1,
    }
}

fn at(number: u64) -> Timestamp {
    let second = i64::try_from(number % 1_000_000).expect("small") + 1_766_000_000;
    Timestamp::new(second, 123_456_789).expect("in range")
}
