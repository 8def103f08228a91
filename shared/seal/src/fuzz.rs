//! Fuzz targets: envelopes, statements, trust roots and keys, from strangers and from people who hold a key.

#![allow(clippy::unwrap_used)]

use bolero::check;
use jiff::Timestamp;
use verger_fuzz::Damaged;
use verger_policy::digest::Digest;
use verger_policy::model::{is_printable, printable};

use crate::{
    ChainHead, Envelope, FRESHNESS_PAYLOAD_TYPE, Keepsake, MAX_KEYS, MAX_SIGNATURES, MemberKey, PublicKey,
    Refusal, Rotation, SealingKey, SetStatement, Stamp, TRUST_ROOT_PAYLOAD_TYPE, Terms, TrustRoot,
    TrustedKey, admit, verify_held, verify_rotation, verify_set, verify_stamp,
};

fn key(seed: u8) -> SealingKey {
    SealingKey::from_seed([seed; 32])
}

fn first() -> (TrustRoot, Envelope) {
    let (ada, grace) = (key(1), key(2));
    TrustRoot::found(&[("ada".to_owned(), &ada), ("grace".to_owned(), &grace)], 1).unwrap()
}

fn second(root: &TrustRoot) -> Envelope {
    let keys = [3, 4].map(|seed| TrustedKey {
        name: format!("key-{seed}"),
        public: key(seed).public(),
    });
    root.succeed(&Terms::new(keys.to_vec(), 1), &[&key(1), &key(3)])
        .unwrap()
}

fn statement(root: &TrustRoot) -> SetStatement {
    let end = "2026-12-24T12:00:00Z".parse().unwrap();
    SetStatement::new(root, 7, Digest::of(b"set"), 3, end)
}

#[track_caller]
fn assert_refused(refusal: &Refusal) {
    let told = refusal.to_string();
    assert_eq!(printable(&told), told);
    assert!(told.len() < 2_000 && !refusal.word().is_empty(), "{told:.200}");
}

#[test]
fn hostile_envelopes_are_refused_or_written_back_to_the_same() {
    let (root, envelope) = first();
    let seeds = [
        envelope.to_json(),
        second(&root).to_json(),
        statement(&root).seal(&[&key(1), &key(2)]).to_json(),
    ];
    check!()
        .with_generator(Damaged::json(seeds))
        .with_iterations(5_000)
        .for_each(|bytes| match Envelope::parse(bytes) {
            Ok(envelope) => {
                assert_eq!(Envelope::parse(&envelope.to_json()), Ok(envelope.clone()));
                assert!(envelope.signers([]).is_empty());
                assert!(envelope.payload().len() <= bytes.len());
            }
            Err(error) => assert_refused(&error.into()),
        });
}

#[test]
fn a_stranger_makes_no_seal_or_trust_root_of_those_that_people_signed() {
    let (root, envelope) = first();
    let (next, sealed) = (second(&root), statement(&root).seal(&[&key(1)]));
    let payloads = [&envelope, &next, &sealed].map(|envelope| envelope.payload().to_vec());
    check!()
        .with_generator(Damaged::json([&envelope, &next, &sealed].map(Envelope::to_json)))
        .with_iterations(1_000)
        .for_each(|bytes| {
            let payload = || Envelope::parse(bytes).unwrap().payload().to_vec();
            match TrustRoot::open_first(bytes) {
                Ok(opened) => assert_eq!((payload(), &opened), (payloads[0].clone(), &root)),
                Err(refusal) => assert_refused(&refusal),
            }
            match root.advance(bytes) {
                Ok(advanced) => {
                    assert_eq!(payload(), payloads[1]);
                    assert_eq!(
                        (advanced.version(), advanced.cluster_id()),
                        (2, root.cluster_id())
                    );
                }
                Err(refusal) => assert_refused(&refusal),
            }
            match verify_held(&root, bytes) {
                Ok(held) => {
                    assert_eq!(payload(), payloads[2]);
                    assert_eq!(held.statement(), &statement(&root));
                }
                Err(refusal) => assert_refused(&refusal),
            }
        });
}

#[test]
fn what_a_key_holder_signs_is_a_sound_trust_root_or_none() {
    let (_, envelope) = first();
    check!()
        .with_generator(Damaged::json([envelope.payload()]))
        .with_iterations(1_000)
        .for_each(|payload| {
            let signed =
                Envelope::seal(TRUST_ROOT_PAYLOAD_TYPE, payload.to_vec(), &[&key(1), &key(2)]).to_json();
            match TrustRoot::open_first(&signed) {
                Ok(root) => {
                    assert_eq!((root.version(), root.digest()), (1, Digest::of(payload)));
                    assert_eq!(root.cluster_id(), root.digest());
                    assert!((1..=MAX_KEYS).contains(&root.keys().len()));
                    assert!((1..=root.keys().len()).contains(&root.threshold()));
                    for TrustedKey { name, public } in root.keys() {
                        assert!(!name.is_empty() && name.len() <= 128 && name.chars().all(is_printable));
                        assert_eq!(public.to_string().parse(), Ok(*public));
                    }
                }
                Err(refusal) => assert_refused(&refusal),
            }
        });
}

#[test]
fn what_a_key_holder_signs_is_a_statement_in_its_one_spelling_or_none() {
    let (root, _) = first();
    let good = statement(&root);
    check!()
        .with_generator(Damaged::json([good.canonical_bytes()]))
        .with_iterations(1_000)
        .for_each(|payload| {
            let read = SetStatement::from_canonical(payload);
            match &read {
                Ok(read) => assert_eq!(read.canonical_bytes(), payload.to_vec()),
                Err(refusal) => assert_refused(refusal),
            }
            let signed = Envelope::seal(crate::SET_PAYLOAD_TYPE, payload.to_vec(), &[&key(2)]).to_json();
            match verify_set(&root, &signed, Timestamp::UNIX_EPOCH) {
                Ok(sealed) => {
                    let said = sealed.statement();
                    assert_eq!(Ok(said), read.as_ref());
                    assert_eq!(said.cluster_id, root.cluster_id());
                    let held = Some((said.epoch, said.root));
                    let SetStatement {
                        epoch,
                        root,
                        entry_count,
                        ..
                    } = *said;
                    assert_eq!(admit(held, &sealed, epoch, root, entry_count), Ok(()));
                    assert!(admit(None, &sealed, epoch.wrapping_add(1), root, entry_count).is_err());
                }
                Err(refusal) => assert_refused(&refusal),
            }
        });
}

#[test]
fn hostile_changes_of_a_trust_root_are_refused_or_count_the_signatures_of_people_alone() {
    let (root, _) = first();
    let envelope = second(&root);
    let next = root.advance(&envelope.to_json()).unwrap();
    let mut rotation = Rotation::new(&root, &envelope, statement(&next)).unwrap();
    let asked = rotation.to_json();
    assert!(rotation.sign(&root, &key(3)).is_ok());
    let signed = rotation.to_json();
    check!()
        .with_generator(Damaged::json([asked, signed]))
        .with_iterations(1_000)
        .for_each(|bytes| match Rotation::read(&root, bytes) {
            Ok(read) => {
                assert_eq!(Rotation::read(&root, &read.to_json()), Ok(read.clone()));
                assert_eq!(read.next().version(), 2);
                let (envelope, seal) = read.envelopes();
                let (of_next, of_set) = (envelope.to_json(), seal.to_json());
                // Its next version and its set are those that were signed, or nobody takes it.
                if let Ok((taken, sealed)) = verify_rotation(&root, &of_next, &of_set, Timestamp::UNIX_EPOCH)
                {
                    assert_eq!((&taken, sealed.statement()), (&next, &statement(&next)));
                }
            }
            Err(refusal) => assert_refused(&refusal),
        });
}

/// A trust root with one member, and what the member says.
fn stamped() -> (TrustRoot, Stamp) {
    let named = |name: &str, public| TrustedKey {
        name: name.to_owned(),
        public,
    };
    let terms = Terms {
        keys: vec![named("ada", key(1).public())],
        threshold: 1,
        members: vec![named("c1", MemberKey::from_seed([5; 32]).public())],
    };
    let envelope = TrustRoot::draft(&terms, &[&key(1)]).unwrap();
    let root = TrustRoot::open_first(&envelope.to_json()).unwrap();
    let at = "2026-12-24T12:00:00Z".parse().unwrap();
    let stamp = Stamp::new(&root, 7, Digest::of(b"set"), ChainHead::START, at);
    (root, stamp)
}

#[test]
fn a_stranger_makes_no_stamp_of_those_that_members_signed() {
    let (root, said) = stamped();
    let envelope = MemberKey::from_seed([5; 32]).stamp(&said);
    check!()
        .with_generator(Damaged::json([envelope.to_json()]))
        .with_iterations(2_000)
        .for_each(|bytes| match verify_stamp(&root, bytes) {
            Ok(stamp) => assert_eq!(stamp, said),
            Err(refusal) => assert_refused(&refusal),
        });
}

#[test]
fn what_a_member_signs_is_a_stamp_in_its_one_spelling_or_none() {
    let (root, said) = stamped();
    check!()
        .with_generator(Damaged::json([said.canonical_bytes()]))
        .with_iterations(2_000)
        .for_each(|payload| {
            // Keys of members are keys of Verger's own.
            let signed = Envelope::seal(FRESHNESS_PAYLOAD_TYPE, payload.to_vec(), &[&key(5)]).to_json();
            match verify_stamp(&root, &signed) {
                Ok(stamp) => {
                    assert_eq!(stamp.canonical_bytes(), payload.to_vec());
                    assert_eq!(stamp.cluster_id, root.cluster_id());
                }
                Err(refusal) => assert_refused(&refusal),
            }
        });
}

#[test]
fn hostile_keys_are_refused_or_written_back_to_the_same() {
    let pem = key(1).to_pem().unwrap();
    check!()
        .with_generator((
            Damaged::lines([pem.as_bytes()]),
            Damaged::bytes([key(1).public().to_string()]),
        ))
        .with_iterations(3_000)
        .for_each(|(pem, hex)| {
            if let Ok(key) = SealingKey::from_pem(&pem.text()) {
                assert_eq!(
                    SealingKey::from_pem(&key.to_pem().unwrap()).unwrap().public(),
                    key.public()
                );
                assert!(!format!("{key:?}").contains("PRIVATE"));
            }
            match PublicKey::from_hex(&hex.text()) {
                Ok(public) => assert_eq!(public.to_string(), hex.text()),
                Err(error) => assert_eq!(printable(&error.to_string()), error.to_string()),
            }
        });
}

#[test]
fn hostile_ssh_keys_are_refused_or_written_back_to_the_same() {
    let keys = [
        SealingKey::ssh_ed25519([1; 32]).public(),
        SealingKey::ssh_p256([1; 32]).unwrap().public(),
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAINSoElFleH+nN83FoLqqepJjN+y7Gs5lrn7qXjBqQZyuAAAABHNzaDo="
            .parse()
            .unwrap(),
    ];
    check!()
        .with_generator((
            Damaged::bytes(keys.map(|key| format!("{key} ann@host"))),
            Damaged::bytes(keys.map(|key| key.ssh_wire().unwrap())),
        ))
        .with_iterations(5_000)
        .for_each(|(line, wire)| {
            match line.text().parse::<PublicKey>() {
                Ok(key) => {
                    assert_eq!(key.to_string().parse(), Ok(key));
                    assert_eq!(PublicKey::from_parts(key.algorithm(), &key.encoded()), Ok(key));
                    assert_eq!(printable(&key.to_string()), key.to_string());
                }
                Err(error) => assert_eq!(printable(error.reason()), error.reason()),
            }
            if let Ok(key) = PublicKey::from_ssh_wire(wire) {
                assert_eq!(key.ssh_wire().as_deref(), Some(&**wire));
            }
        });
}

#[test]
fn a_stranger_makes_no_signature_of_those_that_ssh_keys_made() {
    let keys = [
        SealingKey::ssh_ed25519([1; 32]),
        SealingKey::ssh_p256([1; 32]).unwrap(),
    ];
    let signatures = keys.each_ref().map(|key| key.sign(b"m"));
    check!()
        .with_generator(Damaged::bytes(signatures.clone()))
        .with_iterations(3_000)
        .for_each(|signature| {
            for (key, own) in keys.iter().zip(&signatures) {
                let verifies = key.public().verifies(b"m", signature);
                assert_eq!(verifies, **signature == own[..]);
                assert!(!key.public().verifies(b"n", signature));
                let wrapped = key.public().sshsig(signature).unwrap();
                assert!(!key.public().verifies(b"m", &wrapped));
            }
        });
}

#[test]
fn the_most_signatures_of_strangers_are_refused_in_bounded_work() {
    let strangers: Vec<SealingKey> = (100..100 + MAX_SIGNATURES as u8).map(key).collect();
    let own: Vec<SealingKey> = (1..=MAX_KEYS as u8).map(key).collect();
    let named: Vec<(String, &SealingKey)> = own.iter().map(|key| (key.public().id(), key)).collect();
    let (root, _) = TrustRoot::found(&named, 1).unwrap();
    let sealed = statement(&root).seal(&strangers.iter().collect::<Vec<_>>());
    let begun = std::time::Instant::now();
    assert_eq!(verify_held(&root, &sealed.to_json()), Err(Refusal::WrongKey));
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn hostile_texts_of_a_head_are_refused_or_written_back_to_the_same() {
    let head = ChainHead::START.then(&[0; 12], b"first");
    let oldest = Timestamp::from_second(1_700_000_000).ok();
    let seeds = [
        Keepsake::of_head(head).to_string(),
        Keepsake::new(head, 1, None).to_string(),
        Keepsake::new(head, 0, oldest).to_string(),
    ];
    check!()
        .with_generator(Damaged::bytes(seeds))
        .with_iterations(5_000)
        .for_each(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            match text.parse::<Keepsake>() {
                Ok(kept) => {
                    assert_eq!(kept.to_string().parse::<Keepsake>(), Ok(kept));
                    assert!(kept.dropped().is_none_or(|dropped| dropped <= kept.head().count));
                }
                Err(error) => assert_eq!(printable(&error.to_string()), error.to_string()),
            }
        });
}
