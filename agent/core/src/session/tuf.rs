//! The attacks that The Update Framework names (TUF specification 1.0, section 1.5.2, and the checks of its client workflow in
//! section 5), each as it is here, and what stops it. What TUF calls root metadata is the trust root, what it calls snapshot and
//! targets metadata are the seal and the entries, a target is a body, and a repository or mirror is a controller.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;

use jiff::{SignedDuration, Timestamp};
use verger_policy::digest::Digest;
use verger_policy::set::PolicySet;
use verger_seal::{
    ChainHead, Envelope, FRESHNESS_PAYLOAD_TYPE, MAX_EPOCH_JUMP, SealingKey, SetStatement, Terms, TrustRoot,
};

use super::*;
use crate::freshness::{BEHIND_FOR, FRESH_FOR, RefusedStamp, Standing};
use crate::sealed::{People, end, host, next, start, workload, zone};

/// The names of section 1.5.2.
const NAMES: [&str; 11] = [
    "arbitrary software installation",
    "denial of service: endless data",
    "extraneous dependencies",
    "fast-forward",
    "indefinite freeze",
    "malicious mirrors preventing updates",
    "mix-and-match",
    "rollback",
    "slow retrieval",
    "vulnerability to key compromises",
    "wrong software installation",
];

/// One case of an attack.
struct Case {
    /// One of [`NAMES`].
    attack: &'static str,
    /// What it is here.
    here: &'static str,
    tried: Tried,
}

enum Tried {
    /// An offer, the time it is made, and the word it is refused with.
    Offer(fn(&World) -> (SetUpdate, Timestamp), &'static str),
    /// A stamp of freshness, and the word it is refused with.
    Stamp(fn(&World) -> Vec<u8>, &'static str),
    /// What a session is told, and whether the agent ends it and asks again, by itself.
    Session(fn(&mut World) -> bool),
}

fn cases() -> Vec<Case> {
    use Tried::{Offer, Session, Stamp};
    let case = |attack, here, tried| Case { attack, here, tried };
    vec![
        case(
            "arbitrary software installation",
            "a set that no person sealed",
            Offer(
                |at| (at.with_seal(People::new(9).seal(&at.third())), start()),
                "wrong-key",
            ),
        ),
        case(
            "arbitrary software installation",
            "5.3: a version of the trust root that the keys before it did not sign",
            Offer(
                |at| {
                    let (others, version) = People::new(8).hand_over(9);
                    (
                        SetUpdate {
                            trust_roots: vec![version],
                            ..others.update(&at.third(), &zone("a"), 0)
                        },
                        start(),
                    )
                },
                "trust-root-wrong-key",
            ),
        ),
        case(
            "arbitrary software installation",
            "5.3: a version of the trust root that its own keys did not sign",
            Offer(
                |at| {
                    let (next, _) = at.people.hand_over(9);
                    let keys = next.trust_root.keys().to_vec();
                    let version = at
                        .people
                        .trust_root
                        .succeed(&Terms::new(keys, 1), &[&at.people.key])
                        .unwrap();
                    (
                        SetUpdate {
                            trust_roots: vec![version.to_json()],
                            ..next.update(&at.third(), &zone("a"), 0)
                        },
                        start(),
                    )
                },
                "trust-root-wrong-key",
            ),
        ),
        case(
            "arbitrary software installation",
            "5.7: a body that is not of its digest",
            Offer(
                |at| {
                    let mut update = at.honest();
                    let body = update.bodies.last_mut().unwrap();
                    body.1 = workload("pay/web", "a", 99)[0].canonical_bytes();
                    (update, start())
                },
                "body-mismatch",
            ),
        ),
        case(
            "wrong software installation",
            "the body of another object, sealed, under this one's key",
            Offer(
                |at| {
                    let mut update = at.honest();
                    let body = update.bodies.last_mut().unwrap();
                    body.1 = workload("pay/db", "b", 1)[0].canonical_bytes();
                    (update, start())
                },
                "mislabelled-body",
            ),
        ),
        case(
            "wrong software installation",
            "a set that the same people sealed for another cluster",
            Offer(
                |at| {
                    let elsewhere = People {
                        trust_root: TrustRoot::found(&[("eve".to_owned(), &at.people.key)], 1)
                            .unwrap()
                            .0,
                        ..People::new(1)
                    };
                    (elsewhere.update(&at.third(), &zone("a"), 0), start())
                },
                "other-cluster",
            ),
        ),
        case(
            "extraneous dependencies",
            "an object beside those that were sealed",
            Offer(
                |at| {
                    let mut update = at.honest();
                    let object = &workload("pay/more", "a", 1)[0];
                    let body = verger_policy::set::Body::new(object).unwrap();
                    update.entries.push(body.entry(3));
                    update.bodies.push((object.key(), body.bytes().to_vec()));
                    (update, start())
                },
                "entry-added",
            ),
        ),
        case(
            "extraneous dependencies",
            "a body that nothing sealed names",
            Offer(
                |at| {
                    let mut update = at.honest();
                    let more = &workload("pay/more", "a", 1)[0];
                    update.bodies.push((more.key(), more.canonical_bytes()));
                    (update, start())
                },
                "stray-body",
            ),
        ),
        case(
            "rollback",
            "the set before the one that is held, as it was sealed",
            Offer(
                |at| (at.people.update(&at.sets[1], &zone("a"), 0), start()),
                "lower-epoch",
            ),
        ),
        case(
            "rollback",
            "another set under the number that is held, sealed too",
            Offer(
                |at| {
                    let other = next(&at.sets[1], workload("pay/web", "a", 77));
                    (at.people.update(&other, &zone("a"), 0), start())
                },
                "same-epoch-other-root",
            ),
        ),
        case(
            "rollback",
            "5.3: a version of the trust root that is not the one after",
            Offer(
                |at| {
                    let (second, _) = at.people.hand_over(8);
                    let (third, version) = second.hand_over(9);
                    (
                        SetUpdate {
                            trust_roots: vec![version],
                            ..third.update(&at.third(), &zone("a"), 0)
                        },
                        start(),
                    )
                },
                "trust-root-version",
            ),
        ),
        case(
            "indefinite freeze",
            "5.5: a set whose seal has ended",
            Offer(|at| (at.honest(), end()), "expired"),
        ),
        case(
            "indefinite freeze",
            "the set that is held, again and again, after its seal has ended",
            Offer(
                |at| (at.people.update(&at.sets[2], &zone("a"), 0), end()),
                "expired",
            ),
        ),
        case(
            "indefinite freeze",
            "nothing new under a number that is said to be ahead: the agent asks anew",
            Session(|at| {
                (0..30).any(|ten| {
                    let heartbeat = Event::Message(Incoming::Heartbeat {
                        epoch: 9,
                        stamp: None,
                    });
                    at.session.on(now(ten * 10_000), heartbeat);
                    at.closes(ten * 10_000, Event::Tick)
                })
            }),
        ),
        case(
            "indefinite freeze",
            "5.4: one member of three says that the held set is the newest",
            Stamp(
                |at| at.people.stamp(&at.sets[2], start(), &[1]),
                "below-threshold",
            ),
        ),
        case(
            "indefinite freeze",
            "5.4: the keys that seal say so",
            Stamp(
                |at| {
                    let says = verger_seal::Stamp::new(
                        &at.people.trust_root,
                        2,
                        at.sets[2].root(),
                        ChainHead::START,
                        start(),
                    );
                    Envelope::seal(FRESHNESS_PAYLOAD_TYPE, says.canonical_bytes(), &[&at.people.key])
                        .to_json()
                },
                "wrong-key",
            ),
        ),
        case(
            "indefinite freeze",
            "5.4: a majority of another cluster says so",
            Stamp(
                |at| People::with_members(9, &[1, 2, 3]).stamp(&at.sets[2], start(), &[1, 2]),
                "other-cluster",
            ),
        ),
        case(
            "indefinite freeze",
            "5.4: what a majority said before, replayed to look alive",
            Stamp(
                |at| {
                    at.people
                        .stamp(&at.sets[2], start() - SignedDuration::from_mins(1), &[1, 2])
                },
                "older-stamp",
            ),
        ),
        case(
            "mix-and-match",
            "5.5: the entries of one set under the seal of another",
            Offer(
                |at| {
                    let held = at.people.update(&at.sets[2], &zone("a"), 0);
                    (
                        SetUpdate {
                            entries: held.entries,
                            bodies: held.bodies,
                            ..at.honest()
                        },
                        start(),
                    )
                },
                "root-mismatch",
            ),
        ),
        case(
            "mix-and-match",
            "5.6: the seal of one set over the number of another",
            Offer(
                |at| {
                    (
                        SetUpdate {
                            epoch: 4,
                            ..at.honest()
                        },
                        start(),
                    )
                },
                "epoch-mismatch",
            ),
        ),
        case(
            "mix-and-match",
            "bodies of one set with the entries of another",
            Offer(
                |at| {
                    let held = at.people.update(&at.sets[2], &zone("a"), 0);
                    (
                        SetUpdate {
                            bodies: held.bodies,
                            ..at.honest()
                        },
                        start(),
                    )
                },
                "body-mismatch",
            ),
        ),
        case(
            "mix-and-match",
            "part of a set: an object of this host left out",
            Offer(
                |at| {
                    let mut update = at.honest();
                    update
                        .entries
                        .retain(|entry| entry.key.to_string() != "Workload/pay/web");
                    update
                        .bodies
                        .retain(|(key, _)| key.to_string() != "Workload/pay/web");
                    (update, start())
                },
                "entry-left-out",
            ),
        ),
        case(
            "fast-forward",
            "a number so far ahead that no later one could follow, sealed",
            Offer(|at| (at.far(verger_seal::MAX_EPOCH), start()), "epoch-jump"),
        ),
        case(
            "fast-forward",
            "a number one beyond the bound, sealed",
            Offer(|at| (at.far(2 + MAX_EPOCH_JUMP + 1), start()), "epoch-jump"),
        ),
        case(
            "vulnerability to key compromises",
            "the keys of a member: they say who delivers, and seal nothing",
            Offer(
                |at| {
                    let mut members = at.people.hand_over(7).0;
                    members.trust_root = at.people.trust_root.clone();
                    (members.update(&at.third(), &zone("a"), 0), start())
                },
                "wrong-key",
            ),
        ),
        case(
            "denial of service: endless data",
            "offers without end: the agent leaves the controller alone for a while",
            Session(|at| {
                let old = at.people.update(&at.sets[1], &zone("a"), 0);
                (0..1_000).any(|nonce| {
                    let update = old.clone();
                    at.closes(1, Event::Message(Incoming::Set { nonce, update }))
                })
            }),
        ),
        case(
            "slow retrieval",
            "a stream that is open and silent",
            Session(|at| !at.closes(44_000, Event::Tick) && at.closes(45_000, Event::Tick)),
        ),
        case(
            "slow retrieval",
            "a connection that never comes to be",
            Session(|at| {
                at.session.on(now(1), Event::Disconnected { retry_after: None });
                at.closes(10 * 60_000, Event::Tick)
            }),
        ),
        case(
            "malicious mirrors preventing updates",
            "a controller that says what is no message",
            Session(|at| {
                let why = "no message".to_owned();
                at.closes(1, Event::Unreadable { why })
            }),
        ),
    ]
}

/// An agent that holds the second of three sets, in a session.
struct World {
    people: People,
    sets: Vec<Arc<PolicySet>>,
    session: Session,
    /// What is known of freshness: a stamp of the second set's was heard.
    freshness: RefCell<Freshness>,
}

const fn now(millis: u64) -> Now {
    Now {
        millis,
        wall: Timestamp::constant(1_766_000_000, 0),
    }
}

impl World {
    fn new() -> Self {
        let people = People::with_members(1, &[1, 2, 3]);
        let agent = "h1".parse().unwrap();
        let (ledger, _) =
            LedgerState::found(agent, &people.trust_root.cluster_id(), &people.envelope).unwrap();
        let mut sets = vec![Arc::new(PolicySet::empty())];
        let first = [
            host("h1", "a"),
            workload("pay/db", "b", 1),
            workload("pay/web", "a", 1),
        ];
        sets.push(next(&sets[0], first.concat()));
        for uid in 2..4 {
            sets.push(next(sets.last().unwrap(), workload("pay/web", "a", uid)));
        }
        let held = offer(&ledger, &people.update(&sets[2], &zone("a"), 0), start())
            .unwrap()
            .next;
        let kept = Beside {
            floor: held.reached(),
            ..Beside::default()
        };
        let mut session = Session::new(held, kept, Freshness::new(now(0), None), Timing::default(), 1);
        session.on(now(0), Event::Tick);
        session.on(now(0), Event::Connected);
        let freshness = RefCell::new(Freshness::new(now(0), None));
        let world = Self {
            people,
            sets,
            session,
            freshness,
        };
        let first = world.people.stamp(&world.sets[2], start(), &[1, 2]);
        world.hears(0, first).unwrap();
        world
    }

    fn third(&self) -> Arc<PolicySet> {
        Arc::clone(&self.sets[3])
    }

    /// What comes next, as it should be.
    fn honest(&self) -> SetUpdate {
        self.people.update(&self.third(), &zone("a"), 0)
    }

    fn with_seal(&self, seal: Vec<u8>) -> SetUpdate {
        SetUpdate {
            seal,
            ..self.honest()
        }
    }

    /// What comes next, under another number, sealed for it.
    fn far(&self, epoch: u64) -> SetUpdate {
        let third = self.third();
        let parts = third.parts().map(|(entry, body)| (entry.clone(), body.cloned()));
        let far = PolicySet::assemble(epoch, parts).unwrap();
        self.people.update(&far, &zone("a"), 0)
    }

    /// Hears a stamp at a time.
    fn hears(&self, millis: u64, stamp: Vec<u8>) -> Result<bool, Arc<RefusedStamp>> {
        self.freshness
            .borrow_mut()
            .hear(self.session.ledger(), &stamp, now(millis))
    }

    /// How the held set stands then.
    fn standing(&self, millis: u64) -> Standing {
        self.freshness
            .borrow()
            .standing(self.session.ledger(), now(millis))
    }

    fn position(&self) -> (u64, Digest) {
        self.session.position().unwrap()
    }

    /// Whether the agent ends what there is and connects again.
    fn closes(&mut self, millis: u64, event: Event) -> bool {
        let said = self.session.on(now(millis), event);
        said.iter().any(|action| matches!(action, Action::Connect { .. }))
    }
}

#[test]
fn every_attack_that_tuf_names_is_stopped_and_the_honest_set_is_taken_afterwards() {
    for Case { attack, here, tried } in cases() {
        let mut world = World::new();
        let held = world.position();
        match tried {
            Tried::Offer(make, word) => {
                let (update, at) = make(&world);
                assert_ne!((&update, at), (&world.honest(), start()), "{attack}: {here}");
                let refused = offer(world.session.ledger(), &update, at).unwrap_err();
                assert_eq!(refused.word(), word, "{attack}: {here}: {refused}");
            }
            Tried::Stamp(make, word) => {
                let stamp = make(&world);
                let refused = world.hears(1_000, stamp).unwrap_err();
                assert_eq!(refused.word(), word, "{attack}: {here}: {refused}");
                // The benign twin is believed.
                let fresh =
                    world
                        .people
                        .stamp(&world.sets[2], start() + SignedDuration::from_secs(1), &[1, 3]);
                world.hears(2_000, fresh).unwrap();
                assert_eq!(world.standing(2_000), Standing::Fresh, "{attack}: {here}");
            }
            Tried::Session(told) => assert!(told(&mut world), "{attack}: {here}"),
        }
        assert_eq!(world.position(), held, "{attack}: {here}");
        let next = offer(world.session.ledger(), &world.honest(), start())
            .unwrap()
            .next;
        assert_eq!(next.position().unwrap().0, 3, "{attack}: {here}");
    }
}

#[test]
fn every_attack_that_tuf_names_has_a_case() {
    let cases = cases();
    for name in NAMES {
        assert!(cases.iter().any(|case| case.attack == name), "no case of {name}");
    }
    for Case { attack, .. } in cases {
        assert!(NAMES.contains(&attack), "{attack} is none of TUF's");
    }
}

/// TUF forgets versions when keys were rotated, to get out of a fast-forward. Here there is a bound, and people go on from
/// wherever it led: the keys that did it are gone by then.
#[test]
fn a_cluster_gets_out_of_a_fast_forward_within_the_bound_with_new_keys() {
    let world = World::new();
    let far = world.far(2 + MAX_EPOCH_JUMP);
    let led_on = offer(world.session.ledger(), &far, start()).unwrap().next;
    let (heirs, version) = world.people.hand_over(9);
    let parts = world.sets[3]
        .parts()
        .map(|(entry, body)| (entry.clone(), body.cloned()));
    let recovered = PolicySet::assemble(3 + MAX_EPOCH_JUMP, parts).unwrap();
    let update = SetUpdate {
        trust_roots: vec![version],
        ..heirs.update(&recovered, &zone("a"), 0)
    };
    let recovered = offer(&led_on, &update, start()).unwrap().next;
    assert_eq!(recovered.trust_root_version(), 2);
    // What the thieves sealed further ahead is nothing now.
    let thieves = world.far(4 + MAX_EPOCH_JUMP);
    assert_eq!(
        offer(&recovered, &thieves, start()).unwrap_err().word(),
        "wrong-key"
    );
}

/// Out of sight of what is held a set counts only where a person named it on the host.
#[test]
fn a_jump_is_taken_where_a_person_confirmed_it_and_no_other() {
    let world = World::new();
    let (far, further) = (2 + MAX_EPOCH_JUMP + 1, 2 + MAX_EPOCH_JUMP + 2);
    let held = (**world.session.ledger()).clone();
    let word = |ledger: &LedgerState, epoch| {
        let offered = offer(ledger, &world.far(epoch), start());
        offered.map(drop).map_err(|refused| refused.word())
    };
    let root = PolicySet::assemble(
        far,
        world.sets[3]
            .parts()
            .map(|(entry, body)| (entry.clone(), body.cloned())),
    )
    .unwrap()
    .root();
    assert_eq!(word(&held, far), Err("epoch-jump"));
    let wrong = held.clone().confirming(Some((far, Digest::of(b"another"))));
    assert_eq!(word(&wrong, far), Err("epoch-jump"));
    let confirmed = held.confirming(Some((far, root)));
    assert_eq!(word(&confirmed, further), Err("epoch-jump"));
    assert_eq!(word(&confirmed, far), Ok(()));
    // Nothing else is lifted by it: what is older stays older.
    let older = world.people.update(&world.sets[1], &zone("a"), 0);
    assert_eq!(
        offer(&confirmed, &older, start()).unwrap_err().word(),
        "lower-epoch"
    );
}

#[test]
fn one_stolen_key_of_two_seals_nothing_and_both_do() {
    let (ada, bob) = (SealingKey::from_seed([1; 32]), SealingKey::from_seed([2; 32]));
    let named = [("ada".to_owned(), &ada), ("bob".to_owned(), &bob)];
    let (root, envelope) = TrustRoot::found(&named, 2).unwrap();
    let (ledger, _) =
        LedgerState::found("h1".parse().unwrap(), &root.cluster_id(), &envelope.to_json()).unwrap();
    let world = World::new();
    let set = world.third();
    let statement = SetStatement::new(&root, set.epoch(), set.root(), set.len() as u64, end());
    for (keys, word) in [
        ([&ada, &ada].as_slice(), Some("below-threshold")),
        (&[&bob], Some("below-threshold")),
        (&[&ada, &bob], None),
    ] {
        let update = world.with_seal(statement.seal(keys).to_json());
        let refused = offer(&ledger, &update, start()).err();
        assert_eq!(refused.map(|refused| refused.word()), word);
    }
}

/// Who is given nothing new, or only what is old, knows it: by the silence of the members after minutes, and at once by what they
/// say. One that was taken over can keep their word back; it cannot make it up.
#[test]
fn a_freeze_is_seen_by_what_members_say_and_by_their_silence() {
    let world = World::new();
    assert_eq!(world.standing(FRESH_FOR - 1), Standing::Fresh);
    assert!(matches!(world.standing(FRESH_FOR), Standing::Stale { .. }));
    let ahead = world
        .people
        .stamp(&world.sets[3], start() + SignedDuration::from_secs(60), &[2, 3]);
    world.hears(60_000, ahead).unwrap();
    assert_eq!(
        world.standing(60_000 + BEHIND_FOR),
        Standing::Behind { newest: 3 }
    );
    // A time years ahead ends nothing: it moves a day at most.
    let far = start() + SignedDuration::from_hours(24 * 365 * 10);
    world
        .hears(120_000, world.people.stamp(&world.sets[3], far, &[2, 3]))
        .unwrap();
    let time = world.freshness.borrow().time(now(120_000));
    assert!(time < start() + SignedDuration::from_hours(25), "{time}");
}

/// A seal that has ended lifts nothing, and is known to have: a freeze does not last beyond it unseen.
#[test]
fn a_freeze_is_seen_when_the_seal_of_what_is_held_has_ended() {
    let world = World::new();
    let held = world.session.ledger();
    assert_eq!(held.stale(end() - SignedDuration::from_secs(1)), None);
    assert_eq!(held.stale(end()), Some(end()));
    assert!(held.set().is_some(), "what is held stays in force");
}
