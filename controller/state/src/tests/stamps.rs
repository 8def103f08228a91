//! What members sign of the cluster's freshness.

use jiff::SignedDuration;
use verger_seal::{MemberKey, Stamp, Terms, TrustedKey, verify_stamp};

use super::*;
use crate::Stamped;

const MINUTE: SignedDuration = SignedDuration::from_secs(60);

fn signer(seed: u8) -> MemberKey {
    MemberKey::from_seed([100 + seed; 32])
}

/// A cluster of three members, with a set.
fn member() -> Member {
    let mut member = Member::default();
    let trusted = |name: String, public| TrustedKey { name, public };
    let terms = Terms {
        keys: vec![trusted("ada".to_owned(), key().public())],
        threshold: 1,
        members: [1, 2, 3]
            .map(|seed| trusted(format!("c{seed}"), signer(seed).public()))
            .into(),
    };
    let trust_root = TrustRoot::draft(&terms, &[&key()]).unwrap().to_json().into();
    member.run(&command(1_000, None, Action::Found { trust_root }));
    let change = member.change(0, &key());
    member.checked(&command(1_001, None, change));
    member
}

impl Member {
    fn sign_stamp(&mut self, stamp: &Stamp, seed: u8) -> Response {
        let envelope = signer(seed).stamp(stamp).to_json().into();
        self.checked(&command(self.now(), None, Action::Stamp { envelope }))
    }

    fn due(&self, seconds: i64) -> Option<Stamp> {
        self.state.due_stamp(at(seconds), MINUTE)
    }
}

fn word(response: &Response) -> &str {
    match response {
        Response::Refused(Refused::Stamp { word, .. }) => word,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stamp_is_whole_once_a_majority_of_members_has_signed_it() {
    let mut member = member();
    let stamp = member.due(1_010).unwrap();
    assert_eq!((stamp.epoch, stamp.at), (1, at(1_010)));
    let rows = member.state.audit_head().written;
    assert_eq!(member.sign_stamp(&stamp, 1), Response::Stamped { whole: false });
    assert_eq!(
        member.sign_stamp(&stamp, 1),
        Response::Stamped { whole: false },
        "once each"
    );
    assert!(member.state.stamp().is_none());
    assert!(
        member
            .state
            .may_sign(&member.state.partial_stamp().unwrap().stamp, at(1_020))
    );
    assert_eq!(member.sign_stamp(&stamp, 3), Response::Stamped { whole: true });
    let Stamped { envelope, .. } = member.state.stamp().unwrap();
    let trust_root = &member.state.cluster().unwrap().trust_root;
    assert_eq!(verify_stamp(trust_root, &envelope.to_json()), Ok(stamp));
    assert!(member.state.partial_stamp().is_none());
    assert_eq!(
        member.state.audit_head().written,
        rows,
        "the audit does not repeat it"
    );
}

#[test]
fn it_is_due_each_minute_and_with_each_set_and_never_twice_in_a_second() {
    let mut member = member();
    let first = member.due(1_010).unwrap();
    for seed in [1, 2] {
        member.sign_stamp(&first, seed);
    }
    assert_eq!(member.due(1_069), None);
    assert_eq!(member.due(1_070).unwrap().at, at(1_070));
    let change = member.change(1, &key());
    member.checked(&command(1_010, None, change));
    assert_eq!(member.due(1_010), None, "the same second");
    assert_eq!(member.due(1_011).unwrap().epoch, 2);
    // By a clock that is years off it is of the replicated time, or a step ahead of that.
    assert_eq!(member.due(9_000_000).unwrap().at, at(member.now() + 3_600));
    assert_eq!(member.due(0), None);
}

#[test]
fn what_is_not_so_is_not_kept_whoever_signs() {
    let mut member = member();
    let stamp = member.due(1_010).unwrap();
    let mut head = stamp.audit;
    head.digest = Digest::of(b"another");
    let cases = [
        (
            Stamp {
                epoch: 2,
                ..stamp.clone()
            },
            "epoch-mismatch",
        ),
        (
            Stamp {
                epoch: 0,
                ..stamp.clone()
            },
            "epoch-mismatch",
        ),
        (
            Stamp {
                root: Digest::of(b"x"),
                ..stamp.clone()
            },
            "root-mismatch",
        ),
        (
            Stamp {
                audit: head,
                ..stamp.clone()
            },
            "audit-mismatch",
        ),
        (
            Stamp {
                cluster_id: Digest::of(b"x"),
                ..stamp.clone()
            },
            "other-cluster",
        ),
    ];
    for (said, wanted) in cases {
        assert!(!member.state.may_sign(&said, at(1_010)) || wanted == "other-cluster");
        assert_eq!(word(&member.sign_stamp(&said, 1)), wanted);
    }
    assert_eq!(word(&member.sign_stamp(&stamp, 9)), "wrong-key");
    assert!(!member.state.may_sign(&stamp, at(1_041)) && !member.state.may_sign(&stamp, at(979)));
    for seed in [1, 2] {
        member.sign_stamp(&stamp, seed);
    }
    assert_eq!(word(&member.sign_stamp(&stamp, 3)), "older-stamp");
    // The log is the one place that makes a stamp whole: what one member signs for itself alone it never is.
    let later = member.due(1_070).unwrap();
    for _ in 0..3 {
        assert_eq!(member.sign_stamp(&later, 2), Response::Stamped { whole: false });
    }
    assert_eq!(member.state.stamp().unwrap().stamp, stamp);
}

#[test]
fn another_trust_root_has_stamps_of_its_own() {
    let mut member = member();
    let stamp = member.due(1_010).unwrap();
    for seed in [1, 2] {
        member.sign_stamp(&stamp, seed);
    }
    let next = member.due(1_070).unwrap();
    member.sign_stamp(&next, 1);
    let rotation = member.rotation(&[&key(), &rotation::bob()]);
    member.checked(&command(1_080, None, rotation));
    assert!(member.state.stamp().is_none() && member.state.partial_stamp().is_none());
    assert_eq!(member.due(1_090), None, "it names no members");
}

#[test]
fn stored_bytes_of_a_stamp_never_change() {
    let envelope = Bytes::from_static(b"e");
    let stamp = command(2, None, Action::Stamp { envelope });
    let hex: String = stamp.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "080110d00f1a0a706572736f6e2f616461d201030a0165");
    assert_eq!(Command::decode(stamp.encode()).unwrap(), stamp);
}
