//! Changes that several people seal.

use super::*;
use crate::limits;

fn person(seed: u8) -> SealingKey {
    SealingKey::from_seed([seed; 32])
}

/// A member of a cluster in which two of Ada, Bob and Eve must sign.
fn of_three() -> Member {
    let keys: Vec<SealingKey> = (1..=3).map(person).collect();
    let named: Vec<(String, &SealingKey)> = ["ada", "bob", "eve"]
        .into_iter()
        .map(str::to_owned)
        .zip(&keys)
        .collect();
    let (_, envelope) = TrustRoot::found(&named, 2).unwrap();
    let mut member = Member::default();
    let trust_root = envelope.to_json().into();
    let founded = member.run(&command(10, None, Action::Found { trust_root }));
    assert!(matches!(founded, Response::Founded(_)), "{founded:?}");
    member
}

fn host(name: &str) -> PolicyObject {
    let text = format!(
        "apiVersion: verger/v1\nkind: Host\nmetadata: {{ name: {name} }}\nspec: {{ agent: {name} }}\n"
    );
    verger_policy::draft::read("h", text.as_bytes())
        .unwrap()
        .remove(0)
}

impl Member {
    /// A proposal of one host, sealed by one person so far.
    fn proposal(&self, name: &str, by: &SealingKey) -> Action {
        let object = host(name);
        let next = self.state.set().change([object.clone()], []).unwrap();
        Action::Propose {
            expected_epoch: self.state.set().epoch(),
            upserts: vec![canonical(&object)],
            deletes: vec![],
            seal: self.seal(&next, by),
        }
    }

    fn signature(&self, name: &str, by: &SealingKey) -> Bytes {
        let next = self.state.set().change([host(name)], []).unwrap();
        self.seal(&next, by)
    }

    fn sign(&mut self, number: u64, seal: Bytes) -> Response {
        self.checked(&command(20, None, Action::SignProposal { number, seal }))
    }

    fn offer(&mut self, name: &str, by: &SealingKey) -> Response {
        let proposal = self.proposal(name, by);
        self.checked(&command(15, None, proposal))
    }
}

#[test]
fn two_people_make_a_set_that_neither_can_make_alone() {
    let mut member = of_three();
    let (ada, bob) = (person(1), person(2));
    // The attack: one of two applies alone.
    let Action::Propose {
        expected_epoch,
        upserts,
        deletes,
        seal,
    } = member.proposal("h1", &ada)
    else {
        unreachable!()
    };
    let alone = Action::ApplySet {
        expected_epoch,
        upserts,
        deletes,
        seal,
    };
    assert_eq!(word(&member.checked(&command(11, None, alone))), "SEAL_REFUSED");
    assert_eq!(member.offer("h1", &ada), Response::Proposed(1));
    assert_eq!(member.state.set().epoch(), 0, "nothing is in force");
    // The same person again is nobody new.
    let again = member.signature("h1", &ada);
    assert_eq!(
        member.sign(1, again),
        Response::Signed {
            number: 1,
            wanting: 1
        }
    );
    let signature = member.signature("h1", &bob);
    let applied = member.sign(1, signature.clone());
    assert!(
        matches!(applied, Response::SetApplied { epoch: 1, .. }),
        "{applied:?}"
    );
    assert_eq!(member.state.proposals().count(), 0);
    assert_eq!(word(&member.sign(1, signature)), "NO_SUCH_PROPOSAL");
    // What is in force is sealed by both.
    let root = &member.state.cluster().unwrap().trust_root;
    let seal = member.state.seal().unwrap();
    verger_seal::verify_set(root, seal, at(20)).unwrap();
}

#[test]
fn what_was_signed_is_what_is_made() {
    let mut member = of_three();
    let (ada, bob, mallory) = (person(1), person(2), person(9));
    // Bodies that are not those of the statement.
    let Action::Propose {
        expected_epoch, seal, ..
    } = member.proposal("h1", &ada)
    else {
        unreachable!()
    };
    let slipped = Action::Propose {
        expected_epoch,
        upserts: vec![canonical(&host("evil"))],
        deletes: vec![],
        seal,
    };
    let refused = member.checked(&command(11, None, slipped));
    assert_eq!(word(&refused), "SEAL_REFUSED", "{refused:?}");
    let unsigned = member.offer("h1", &mallory);
    assert_eq!(word(&unsigned), "SEAL_REFUSED", "{unsigned:?}");
    assert_eq!(member.offer("h1", &ada), Response::Proposed(1));
    let before = member.state.clone();
    for signature in [
        member.signature("h2", &bob),
        member.signature("h1", &mallory),
        Bytes::from_static(b"noise"),
        Bytes::from(vec![b' '; limits::ENVELOPE_BYTES + 1]),
    ] {
        let refused = member.sign(1, signature);
        assert_eq!(word(&refused), "SEAL_REFUSED", "{refused:?}");
        assert_eq!(member.state.proposal(1), before.proposal(1));
    }
}

#[test]
fn a_set_that_moved_on_overtakes_what_was_proposed() {
    let mut member = of_three();
    let (ada, bob) = (person(1), person(2));
    for name in ["h1", "h2"] {
        assert!(matches!(member.offer(name, &ada), Response::Proposed(_)));
    }
    let late = member.signature("h2", &bob);
    let signature = member.signature("h1", &bob);
    assert!(matches!(member.sign(1, signature), Response::SetApplied { .. }));
    assert_eq!(word(&member.sign(2, late)), "EPOCH_CONFLICT");
    assert_eq!(member.state.set().len(), 1);
    // It is there to be seen until it is taken back, or gives way.
    assert_eq!(member.state.proposal(2).unwrap().expected_epoch, 0);
    let withdraw = Action::WithdrawProposal { number: 2 };
    assert_eq!(
        member.checked(&command(30, None, withdraw.clone())),
        Response::Withdrawn(2)
    );
    assert_eq!(
        word(&member.checked(&command(31, None, withdraw))),
        "NO_SUCH_PROPOSAL"
    );
    assert_eq!(member.offer("h3", &ada), Response::Proposed(3), "no number twice");
}

#[test]
fn what_can_be_signed_never_gives_way_and_what_was_overtaken_does() {
    let mut member = of_three();
    let (ada, bob) = (person(1), person(2));
    for number in 0..limits::PROPOSALS {
        let name = format!("h{number}");
        assert!(matches!(member.offer(&name, &ada), Response::Proposed(_)));
    }
    assert_eq!(word(&member.offer("more", &ada)), "TOO_MANY_PROPOSALS");
    let signature = member.signature("h0", &bob);
    assert!(matches!(member.sign(1, signature), Response::SetApplied { .. }));
    for number in 0..limits::PROPOSALS {
        let name = format!("n{number}");
        assert!(matches!(member.offer(&name, &ada), Response::Proposed(_)));
    }
    let epoch = member.state.set().epoch();
    assert!(
        member
            .state
            .proposals()
            .all(|(_, proposal)| proposal.expected_epoch == epoch)
    );
}

#[test]
fn what_nobody_signed_in_time_gives_way() {
    let mut member = of_three();
    for number in 0..limits::PROPOSALS {
        let name = format!("h{number}");
        assert!(matches!(member.offer(&name, &person(1)), Response::Proposed(_)));
    }
    assert_eq!(word(&member.offer("more", &person(1))), "TOO_MANY_PROPOSALS");
    // Seals of these tests end after a million seconds.
    member.pass(1_000_000);
    let object = host("late");
    let next = member.state.set().change([object.clone()], []).unwrap();
    let root = &member.state.cluster().unwrap().trust_root;
    let end = at(member.now() + 60);
    let seal = SetStatement::new(root, next.epoch(), next.root(), 1, end).seal(&[&person(1)]);
    let late = Action::Propose {
        expected_epoch: 0,
        upserts: vec![canonical(&object)],
        deletes: vec![],
        seal: seal.to_json().into(),
    };
    let answer = member.checked(&command(member.now(), None, late));
    assert!(matches!(answer, Response::Proposed(_)), "{answer:?}");
    assert_eq!(member.state.proposals().count(), limits::PROPOSALS);
}

#[test]
fn a_proposal_is_asked_for_once_and_nobody_proposes_alone_what_needs_nobody_else() {
    let mut member = of_three();
    let proposal = member.proposal("h1", &person(1));
    let first = member.checked(&command(15, Some("r"), proposal.clone()));
    assert_eq!(first, Response::Proposed(1));
    let again = member.checked(&command(16, Some("r"), proposal));
    assert_eq!(again, Response::Proposed(1));
    assert_eq!(member.state.proposals().count(), 1);
    let signature = member.signature("h1", &person(2));
    let sign = Action::SignProposal {
        number: 1,
        seal: signature,
    };
    let applied = member.checked(&command(17, Some("s"), sign.clone()));
    assert_eq!(member.checked(&command(18, Some("s"), sign)), applied);
    let mut alone = Member::founded();
    assert_eq!(word(&alone.offer("h1", &key())), "SEAL_COMPLETE");
}

#[test]
fn stored_bytes_of_a_proposal_never_change() {
    let mut member = of_three();
    assert_eq!(member.offer("h1", &person(1)), Response::Proposed(1));
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let rows: Vec<String> = member
        .rows
        .iter()
        .filter(|((tree, key), _)| *tree == Tree::Proposals || key == b"proposals")
        .map(|((tree, key), value)| {
            // Envelopes and bodies have frozen tests of their own.
            let value = if value.len() > 40 {
                Digest::of(value).hex()
            } else {
                hex(value)
            };
            format!("{} {} {value}", tree.name(), hex(key))
        })
        .collect();
    assert_eq!(
        rows,
        [
            "cluster 70726f706f73616c73 08011001",
            "proposals 0000000000000001 84ac9b6f4f6fcd5a4afdc69c717851fba106285ed49a165e055fb80e4b064db2",
            "proposals 000000000000000100000000 3266e01ad2b6222751e283b35e475b26d62e873feb83287de06c60a030920496",
        ]
    );
    let commands = [
        Action::SignProposal {
            number: 7,
            seal: Bytes::from_static(b"s"),
        },
        Action::WithdrawProposal { number: 7 },
        Action::Propose {
            expected_epoch: 3,
            upserts: vec![Bytes::from_static(b"u")],
            deletes: vec!["Host/h1".parse().unwrap()],
            seal: Bytes::from_static(b"s"),
        },
    ];
    let encoded = commands.map(|action| {
        let command = command(1, None, action);
        assert_eq!(Command::decode(command.encode()).unwrap(), command);
        hex(&command.encode())
    });
    assert_eq!(
        encoded,
        [
            "080110e8071a0a706572736f6e2f6164619201050807120173",
            "080110e8071a0a706572736f6e2f6164619a01020807",
            "080110e8071a0a706572736f6e2f6164618a011408031201751a0a0a04486f737412026831220173",
        ]
    );
}
