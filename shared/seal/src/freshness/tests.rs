#![allow(clippy::unwrap_used)]

use super::*;
use crate::trust_root::{Terms, TrustedKey};
use crate::{SET_PAYLOAD_TYPE, SetStatement};

fn sealing(seed: u8) -> SealingKey {
    SealingKey::from_seed([seed; 32])
}

fn member(seed: u8) -> MemberKey {
    MemberKey::from_seed([100 + seed; 32])
}

fn terms(members: &[u8]) -> Terms {
    Terms {
        keys: vec![TrustedKey {
            name: "ada".to_owned(),
            public: sealing(1).public(),
        }],
        threshold: 1,
        members: members
            .iter()
            .map(|seed| TrustedKey {
                name: format!("c{seed}"),
                public: member(*seed).public(),
            })
            .collect(),
    }
}

fn trust_root(members: &[u8]) -> TrustRoot {
    let envelope = TrustRoot::draft(&terms(members), &[&sealing(1)]).unwrap();
    TrustRoot::open_first(&envelope.to_json()).unwrap()
}

fn stamp(trust_root: &TrustRoot) -> Stamp {
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    let audit = ChainHead::START.then(&[0; 12], b"row");
    Stamp::new(trust_root, 7, Digest::of(b"root"), audit, at)
}

/// The stamp with the signatures of these members, as often as they are named.
fn signed(stamp: &Stamp, seeds: &[u8]) -> Vec<u8> {
    let keys: Vec<SealingKey> = seeds.iter().map(|seed| member(*seed).0).collect();
    let keys: Vec<&SealingKey> = keys.iter().collect();
    Envelope::seal(FRESHNESS_PAYLOAD_TYPE, stamp.canonical_bytes(), &keys).to_json()
}

fn word(trust_root: &TrustRoot, envelope: &[u8]) -> Result<(), &'static str> {
    verify_stamp(trust_root, envelope)
        .map(drop)
        .map_err(|refusal| refusal.word())
}

#[test]
fn a_majority_of_distinct_members_makes_a_stamp() {
    let root = trust_root(&[1, 2, 3]);
    assert_eq!(root.majority(), 2);
    let stamp = stamp(&root);
    for (seeds, wanted) in [
        (&[1][..], Err("below-threshold")),
        (&[1, 1][..], Err("below-threshold")),
        (&[1, 9][..], Err("below-threshold")),
        (&[9, 8][..], Err("wrong-key")),
        (&[1, 3][..], Ok(())),
        (&[1, 2, 3][..], Ok(())),
    ] {
        assert_eq!(word(&root, &signed(&stamp, seeds)), wanted, "{seeds:?}");
    }
    let read = verify_stamp(&root, &signed(&stamp, &[2, 3])).unwrap();
    assert_eq!(read, stamp);
}

#[test]
fn signatures_of_one_stamp_are_put_together_and_of_two_are_not() {
    let root = trust_root(&[1, 2, 3, 4, 5]);
    let said = stamp(&root);
    let parts = [1, 9, 2, 3].map(|seed| member(seed).stamp(&said));
    let mut whole = parts[0].clone();
    for part in &parts[1..] {
        whole = merge_stamps(&root, &whole, part).unwrap();
        whole = merge_stamps(&root, &whole, part).unwrap();
    }
    assert_eq!(
        whole.signers(root.members().iter().map(|key| key.public)).len(),
        3
    );
    assert_eq!(word(&root, &whole.to_json()), Ok(()));
    let other = Stamp { epoch: 8, ..said };
    let refusal = merge_stamps(&root, &whole, &member(4).stamp(&other)).unwrap_err();
    assert_eq!(refusal.word(), "other-statement");
}

#[test]
fn what_is_signed_for_anything_else_is_no_stamp() {
    let root = trust_root(&[1]);
    let said = stamp(&root);
    let elsewhere = Stamp {
        cluster_id: Digest::of(b"elsewhere"),
        ..said.clone()
    };
    let earlier = Stamp {
        trust_root_digest: Digest::of(b"earlier"),
        ..said.clone()
    };
    assert_eq!(word(&root, &signed(&elsewhere, &[1])), Err("other-cluster"));
    assert_eq!(word(&root, &signed(&earlier, &[1])), Err("trust-root-mismatch"));
    // Keys that seal do not stamp, and a seal is no stamp.
    let by_people = Envelope::seal(FRESHNESS_PAYLOAD_TYPE, said.canonical_bytes(), &[&sealing(1)]);
    assert_eq!(word(&root, &by_people.to_json()), Err("wrong-key"));
    let end = Timestamp::from_second(1_900_000_000).unwrap();
    let seal = SetStatement::new(&root, 7, Digest::of(b"root"), 0, end).seal(&[&sealing(1)]);
    assert_eq!(word(&root, &seal.to_json()), Err("wrong-purpose"));
    // A trust root of before there were members has nobody who could say it.
    let old = trust_root(&[]);
    assert_eq!(word(&old, &signed(&stamp(&old), &[1])), Err("no-member-keys"));
    assert_eq!(word(&root, &signed(&said, &[1])), Ok(()));
}

#[test]
fn a_members_key_seals_no_set_and_no_trust_root() {
    let root = trust_root(&[1]);
    let end = Timestamp::from_second(1_900_000_000).unwrap();
    let statement = SetStatement::new(&root, 7, Digest::of(b"root"), 0, end);
    let MemberKey(key) = member(1);
    let seal = Envelope::seal(SET_PAYLOAD_TYPE, statement.canonical_bytes(), &[&key]);
    let refusal = crate::verify_set(&root, &seal.to_json(), Timestamp::UNIX_EPOCH).unwrap_err();
    assert_eq!(refusal.word(), "wrong-key");
    let next = root.succeed(&terms(&[2]), &[&key]).unwrap();
    assert_eq!(root.advance(&next.to_json()).unwrap_err().word(), "wrong-key");
    root.advance(&root.succeed(&terms(&[2]), &[&sealing(1)]).unwrap().to_json())
        .unwrap();
}

#[test]
fn a_key_is_a_persons_or_a_members_and_a_members_is_vergers_own() {
    let named = |name: &str, public| TrustedKey {
        name: name.to_owned(),
        public,
    };
    let refused = |members: Vec<TrustedKey>| {
        let terms = Terms {
            members,
            ..terms(&[])
        };
        TrustRoot::draft(&terms, &[&sealing(1)]).unwrap_err().to_string()
    };
    let both = refused(vec![named("c1", sealing(1).public())]);
    assert!(both.contains("is there twice"), "{both}");
    let twice = refused(vec![
        named("c1", member(1).public()),
        named("c2", member(1).public()),
    ]);
    assert!(twice.contains("is there twice"), "{twice}");
    let ssh = refused(vec![named("c1", SealingKey::ssh_ed25519([9; 32]).public())]);
    assert!(ssh.contains("member-key"), "{ssh}");
}

#[test]
fn the_bytes_of_a_stamp_are_frozen() {
    let root = trust_root(&[1]);
    let id = root.cluster_id();
    let wanted = format!(
        r#"{{"at":"2027-01-15T08:00:00Z","auditHead":"{}:1","clusterId":"{id}","epoch":7,"root":"{}","trustRootDigest":"{id}","trustRootVersion":1}}"#,
        ChainHead::START.then(&[0; 12], b"row").digest.hex(),
        Digest::of(b"root"),
    );
    let bytes = stamp(&root).canonical_bytes();
    assert_eq!(std::str::from_utf8(&bytes), Ok(wanted.as_str()));
    for other in [
        wanted.replace("\"epoch\":7", "\"epoch\":9007199254740992"),
        wanted.replace("00Z", "00.5Z"),
        wanted.replace("\"epoch\":7", "\"epoch\": 7"),
        wanted.replace(":1\"", ":01\""),
    ] {
        assert_ne!(other, wanted);
        let MemberKey(key) = member(1);
        let envelope = Envelope::seal(FRESHNESS_PAYLOAD_TYPE, other.clone().into_bytes(), &[&key]);
        assert_eq!(word(&root, &envelope.to_json()), Err("malformed"), "{other}");
    }
}

#[test]
fn a_members_key_comes_back_from_its_file() {
    let key = member(1);
    assert_eq!(MemberKey::from_pem(&key.to_pem()).unwrap().public(), key.public());
}
