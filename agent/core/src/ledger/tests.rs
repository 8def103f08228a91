#![allow(clippy::unwrap_used)]

use jiff::SignedDuration;
use verger_policy::set::SetError;

use super::*;
use crate::sealed::{People, end, host, next, start, workload, zone};
use crate::store::LedgerStore as _;
use crate::store::memory::MemoryDisk;

fn agent() -> AgentId {
    "h1".parse().unwrap()
}

fn enrolled(people: &People) -> LedgerState {
    LedgerState::found(agent(), &people.trust_root.cluster_id(), &people.envelope)
        .unwrap()
        .0
}

/// Epoch 1: this host in zone a, another in b, a workload for each.
fn first() -> Arc<PolicySet> {
    let objects = [
        host("h1", "a"),
        host("h2", "b"),
        workload("pay/web", "a", 1),
        workload("pay/db", "b", 1),
    ]
    .concat();
    next(&Arc::new(PolicySet::empty()), objects)
}

fn accept(state: &LedgerState, update: &SetUpdate) -> Accepted {
    offer(state, update, start()).unwrap()
}

fn word(state: &LedgerState, update: &SetUpdate) -> &'static str {
    offer(state, update, start()).unwrap_err().word()
}

#[test]
fn a_sealed_set_is_accepted_with_the_bodies_of_this_host_alone() {
    let people = People::new(1);
    let state = enrolled(&people);
    let set = first();
    let Accepted { next, delta } = accept(&state, &people.update(&set, &zone("a"), 0));
    assert_eq!(next.position(), Some((1, set.root())));
    assert_eq!(next.host_labels(), zone("a"));
    let held: Vec<String> = next
        .set()
        .unwrap()
        .objects()
        .map(|object| object.key().to_string())
        .collect();
    assert_eq!(held, ["Host/h1", "Host/h2", "Workload/pay/web"]);
    let delta = delta.unwrap().set.unwrap();
    assert_eq!(
        (delta.entries.len(), delta.bodies.len(), delta.head.not_after),
        (4, 3, end())
    );
}

#[test]
fn what_is_held_already_is_accepted_and_not_written_again() {
    let people = People::new(1);
    let set = first();
    let update = people.update(&set, &zone("a"), 0);
    let held = accept(&enrolled(&people), &update).next;
    assert_eq!(accept(&held, &update).delta, None);
    let later = end() + SignedDuration::from_hours(1);
    let resealed = SetUpdate {
        seal: people.seal_until(&set, later),
        ..update
    };
    assert_eq!(
        accept(&held, &resealed)
            .delta
            .unwrap()
            .set
            .unwrap()
            .head
            .not_after,
        later
    );
}

#[test]
fn a_delta_brings_what_changed_and_drops_what_no_longer_concerns() {
    let people = People::new(1);
    let one = first();
    let held = accept(&enrolled(&people), &people.update(&one, &zone("a"), 0)).next;
    let moved = next(
        &one,
        [workload("pay/web", "b", 1), workload("pay/api", "a", 2)].concat(),
    );
    let update = people.update(&moved, &zone("a"), 1);
    assert_eq!(update.bodies.len(), 1);
    let Accepted { next: state, delta } = accept(&held, &update);
    let delta = delta.unwrap().set.unwrap();
    assert_eq!(delta.entries.len(), 2);
    assert_eq!(
        delta.bodies.keys().map(ToString::to_string).collect::<Vec<_>>(),
        ["Workload/pay/api"]
    );
    assert_eq!(
        delta
            .dropped_bodies
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["Workload/pay/web"]
    );
    let gone = Arc::new(moved.change([], [workload("pay/api", "a", 2)[0].key()]).unwrap());
    let delta = accept(&state, &people.update(&gone, &zone("a"), 2))
        .delta
        .unwrap()
        .set
        .unwrap();
    assert_eq!(
        delta
            .dropped_entries
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["Workload/pay/api"]
    );
}

#[test]
fn epochs_never_go_back_and_never_mean_two_things() {
    let people = People::new(1);
    let one = first();
    let two = next(&one, workload("pay/web", "a", 2));
    let held = accept(&enrolled(&people), &people.update(&two, &zone("a"), 0)).next;
    assert_eq!(word(&held, &people.update(&one, &zone("a"), 0)), "lower-epoch");
    let other = next(&one, workload("pay/web", "a", 3));
    assert_eq!(
        word(&held, &people.update(&other, &zone("a"), 0)),
        "same-epoch-other-root"
    );
    let entries: Vec<_> = two
        .parts()
        .map(|(entry, body)| (entry.clone(), body.cloned()))
        .collect();
    let far = PolicySet::assemble(2_000_000, entries).unwrap();
    assert_eq!(word(&held, &people.update(&far, &zone("a"), 0)), "epoch-jump");
    let emptied = LedgerState {
        highest_epoch: 9,
        held: None,
        ..held
    };
    assert_eq!(
        word(&emptied, &people.update(&two, &zone("a"), 0)),
        "lower-epoch",
        "even with the set gone"
    );
}

#[test]
fn a_controller_can_neither_forge_nor_drop_nor_mix() {
    let people = People::new(1);
    let state = enrolled(&people);
    let set = first();
    let good = || people.update(&set, &zone("a"), 0);
    assert_eq!(
        word(
            &state,
            &SetUpdate {
                seal: People::new(2).seal(&set),
                ..good()
            }
        ),
        "wrong-key"
    );
    assert_eq!(word(&state, &SetUpdate { epoch: 2, ..good() }), "epoch-mismatch");

    let mut fewer = good();
    fewer
        .entries
        .retain(|entry| entry.key.to_string() != "Workload/pay/web");
    fewer
        .bodies
        .retain(|(key, _)| key.to_string() != "Workload/pay/web");
    assert_eq!(word(&state, &fewer), "entry-left-out");

    let mut withheld = good();
    withheld
        .bodies
        .retain(|(key, _)| key.to_string() != "Workload/pay/web");
    assert_eq!(word(&state, &withheld), "missing-body");

    let mut unlabelled = good();
    unlabelled.bodies.retain(|(key, _)| key.to_string() != "Host/h1");
    assert_eq!(
        word(&state, &unlabelled),
        "missing-body",
        "or a host could shed policy by losing its labels"
    );

    let mut reselected = good();
    for entry in &mut reselected.entries {
        entry.hosts = zone("b");
    }
    reselected.bodies.clear();
    assert_eq!(word(&state, &reselected), "root-mismatch");

    let mut swapped = good();
    swapped.bodies.last_mut().unwrap().1 = workload("pay/web", "a", 0)[0].canonical_bytes();
    assert_eq!(word(&state, &swapped), "body-mismatch");

    let mut mislabelled = good();
    mislabelled.bodies.last_mut().unwrap().1 = workload("pay/db", "b", 1)[0].canonical_bytes();
    assert_eq!(word(&state, &mislabelled), "mislabelled-body");

    let mut twice = good();
    twice.bodies.push(twice.bodies[0].clone());
    assert_eq!(word(&state, &twice), "body-twice");
    let mut twice = good();
    twice.entries.push(twice.entries[0].clone());
    assert_eq!(word(&state, &twice), "entry-twice");

    let mut ahead = good();
    ahead.entries[0].epoch = 9;
    assert_eq!(word(&state, &ahead), "entry-from-the-future");
    let far = SetUpdate {
        epoch: 1 << 63,
        ..good()
    };
    assert_eq!(word(&state, &far), "epoch-too-large");

    let mut stray = good();
    let object = &workload("pay/more", "a", 1)[0];
    stray.bodies.push((object.key(), object.canonical_bytes()));
    assert_eq!(word(&state, &stray), "stray-body");

    let mut spaced = good();
    spaced.bodies[0].1.push(b' ');
    assert_eq!(word(&state, &spaced), "not-canonical");
    accept(&state, &good());
}

#[test]
fn an_expired_seal_is_refused_as_an_offer_and_never_lifts_what_is_held() {
    let people = People::new(1);
    let update = people.update(&first(), &zone("a"), 0);
    assert_eq!(
        offer(&enrolled(&people), &update, end()).unwrap_err().word(),
        "expired"
    );
    let (_, founding) =
        LedgerState::found(agent(), &people.trust_root.cluster_id(), &people.envelope).unwrap();
    let disk = MemoryDisk::new(0);
    disk.commit(&founding).unwrap();
    let accepted = accept(&enrolled(&people), &update);
    disk.commit(&accepted.delta.unwrap()).unwrap();
    let restored = LedgerState::restore(agent(), disk.load().unwrap()).unwrap();
    assert_eq!(restored.position(), accepted.next.position());
    assert_eq!(restored.set(), accepted.next.set());
    assert_eq!(
        (restored.stale(start()), restored.stale(end())),
        (None, Some(end()))
    );
}

#[test]
fn a_ledger_that_was_tampered_with_is_not_taken_up() {
    let people = People::new(1);
    let disk = MemoryDisk::new(0);
    assert_eq!(
        LedgerState::restore(agent(), disk.load().unwrap()).unwrap_err(),
        UnusableLedger::NotEnrolled
    );
    let cluster = people.trust_root.cluster_id();
    let (state, founding) = LedgerState::found(agent(), &cluster, &people.envelope).unwrap();
    disk.commit(&founding).unwrap();
    disk.commit(
        &accept(&state, &people.update(&first(), &zone("a"), 0))
            .delta
            .unwrap(),
    )
    .unwrap();
    let image = disk.load().unwrap();
    let mut lower = image.clone();
    lower.highest_epoch = 7;
    assert!(matches!(
        LedgerState::restore(agent(), lower),
        Err(UnusableLedger::EpochBack { held: 1, highest: 7 })
    ));
    let mut bodiless = image.clone();
    bodiless.set.as_mut().unwrap().bodies.clear();
    let error = LedgerState::restore(agent(), bodiless).unwrap_err();
    assert!(
        matches!(error, UnusableLedger::Set(RefusedOffer::MissingBody(_))),
        "{error}"
    );
    let mut resealed = image.clone();
    resealed.set.as_mut().unwrap().head.seal = People::new(2).seal(&first());
    assert!(LedgerState::restore(agent(), resealed).is_err());
    let mut two_roots = image;
    two_roots.trust_roots.push(people.envelope.clone());
    assert!(matches!(
        LedgerState::restore(agent(), two_roots),
        Err(UnusableLedger::TrustRoot(
            verger_seal::Refusal::TrustRootVersion { .. }
        ))
    ));
}

#[test]
fn the_first_trust_root_is_not_taken_on_a_controllers_word() {
    let (people, others) = (People::new(1), People::new(2));
    let refused = LedgerState::found(agent(), &people.trust_root.cluster_id(), &others.envelope).unwrap_err();
    assert!(matches!(refused, UnusableLedger::OtherCluster { .. }));
}

#[test]
fn every_reason_has_a_word_of_its_own() {
    let key: ObjectKey = workload("pay/web", "a", 1)[0].key();
    let invalid = || Body::from_canonical(Vec::new()).unwrap_err();
    let digest = Digest::of(b"set");
    let seals = [
        Refusal::Envelope(verger_seal::Envelope::parse(b"{}").unwrap_err()),
        Refusal::WrongPurpose {
            found: String::new(),
            wanted: "",
        },
        Refusal::WrongKey,
        Refusal::Altered,
        Refusal::BelowThreshold {
            signers: 1,
            threshold: 2,
        },
        Refusal::NoMemberKeys,
        Refusal::Malformed(""),
        Refusal::OtherCluster,
        Refusal::OtherTrustRoot,
        Refusal::TrustRootVersion { found: 3, wanted: 2 },
        Refusal::OtherStatement,
        Refusal::Expired { not_after: start() },
        Refusal::EpochMismatch { sealed: 1, set: 2 },
        Refusal::RootMismatch {
            sealed: digest,
            set: digest,
        },
        Refusal::CountMismatch { sealed: 2, set: 1 },
        Refusal::CountMismatch { sealed: 1, set: 2 },
        Refusal::LowerEpoch { offered: 1, held: 2 },
        Refusal::SameEpochOtherRoot(1),
        Refusal::EpochJump {
            offered: 9,
            held: 1,
            bound: 2,
        },
    ];
    let sets = [
        SetError::EpochTooLarge(9),
        SetError::EntryFromTheFuture {
            key: key.clone(),
            entry: 2,
            set: 1,
        },
        SetError::Twice(key.clone()),
        SetError::NoSuchObject(key.clone()),
        SetError::BodyMismatch(key.clone()),
        SetError::AgentTwice {
            agent: agent(),
            first: key.clone(),
            second: key.clone(),
        },
        SetError::Invalid(key.clone(), invalid()),
    ];
    let offers = [
        RefusedOffer::NotCanonical {
            key: key.clone(),
            problem: invalid(),
        },
        RefusedOffer::MislabelledBody(key.clone()),
        RefusedOffer::BodyTwice(key.clone()),
        RefusedOffer::StrayBody(key.clone()),
        RefusedOffer::MissingBody(key),
    ];
    let versions = seals[..8]
        .iter()
        .filter(|refusal| !matches!(refusal, Refusal::NoMemberKeys))
        .cloned()
        .map(RefusedOffer::TrustRoot)
        .collect::<Vec<_>>();
    let all: Vec<RefusedOffer> = seals
        .map(RefusedOffer::from)
        .into_iter()
        .chain(versions)
        .chain(sets.map(RefusedOffer::from))
        .chain(offers)
        .collect();
    let words: BTreeSet<&str> = all.iter().map(RefusedOffer::word).collect();
    assert_eq!(words.len(), all.len(), "{words:?}");
}
