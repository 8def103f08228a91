//! Verifying the seal of a policy set.

use jiff::Timestamp;
use verger_policy::digest::Digest;

use crate::dsse::Envelope;
use crate::refusal::Refusal;
use crate::statement::{SET_PAYLOAD_TYPE, SetStatement};
use crate::trust_root::TrustRoot;

/// How far ahead of what is held an epoch may be without a person's word on the host.
pub const MAX_EPOCH_JUMP: u64 = 1_000_000;

/// A statement that enough keys of the trust root have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSet {
    statement: SetStatement,
}

/// Verifies the seal of a set that is offered: keys, threshold, purpose, cluster, trust root, time.
///
/// # Errors
/// Each failure with its own reason.
pub fn verify_set(trust_root: &TrustRoot, envelope: &[u8], at: Timestamp) -> Result<SealedSet, Refusal> {
    let sealed = verify_held(trust_root, envelope)?;
    if sealed.is_stale(at) {
        return Err(Refusal::Expired {
            not_after: sealed.statement.not_after,
        });
    }
    Ok(sealed)
}

/// Verifies the seal of a set that was accepted before: as [`verify_set`], but whatever the time, because an ended seal
/// never lifts enforcement. [`SealedSet::is_stale`] says whether to raise that.
///
/// # Errors
/// Each failure with its own reason.
pub fn verify_held(trust_root: &TrustRoot, envelope: &[u8]) -> Result<SealedSet, Refusal> {
    let envelope = Envelope::parse(envelope)?;
    statement_type(&envelope)?;
    // Nothing of the payload is looked at before enough are known to have signed it.
    trust_root.signed(&envelope)?;
    let statement = statement_of(trust_root, &envelope)?;
    Ok(SealedSet { statement })
}

pub(crate) fn statement_type(envelope: &Envelope) -> Result<(), Refusal> {
    if envelope.payload_type() == SET_PAYLOAD_TYPE {
        return Ok(());
    }
    Err(Refusal::WrongPurpose {
        found: verger_policy::model::printable_within(envelope.payload_type(), 80),
        wanted: SET_PAYLOAD_TYPE,
    })
}

/// What an envelope states under this trust root.
pub(crate) fn statement_of(trust_root: &TrustRoot, envelope: &Envelope) -> Result<SetStatement, Refusal> {
    let statement = SetStatement::from_canonical(envelope.payload())?;
    if statement.cluster_id != trust_root.cluster_id() {
        return Err(Refusal::OtherCluster);
    }
    if (statement.trust_root_version, statement.trust_root_digest)
        != (trust_root.version(), trust_root.digest())
    {
        return Err(Refusal::OtherTrustRoot);
    }
    Ok(statement)
}

/// Checks that a set may be accepted: sealed over exactly this `epoch`, `root` and number of `entries`, which the caller
/// recomputed from the entries, and not behind or out of sight of what is held.
///
/// # Errors
/// Says why not; what is held stays.
pub fn admit(
    held: Option<(u64, Digest)>,
    sealed: &SealedSet,
    epoch: u64,
    root: Digest,
    entries: u64,
) -> Result<(), Refusal> {
    sealed.matches(epoch, &root, entries)?;
    follows(held, (epoch, root))
}

impl SealedSet {
    /// What was signed.
    pub const fn statement(&self) -> &SetStatement {
        &self.statement
    }

    /// Whether the seal has ended at `at`.
    pub fn is_stale(&self, at: Timestamp) -> bool {
        self.statement.not_after <= at
    }

    /// Checks that it was signed over this set.
    ///
    /// # Errors
    /// Says what differs.
    pub fn matches(&self, epoch: u64, root: &Digest, entries: u64) -> Result<(), Refusal> {
        matches(&self.statement, epoch, root, entries)
    }
}

/// Checks that a statement is of this set.
pub(crate) fn matches(
    statement: &SetStatement,
    epoch: u64,
    root: &Digest,
    entries: u64,
) -> Result<(), Refusal> {
    let SetStatement {
        epoch: sealed_epoch,
        root: sealed_root,
        entry_count,
        ..
    } = statement;
    if *sealed_epoch != epoch {
        return Err(Refusal::EpochMismatch {
            sealed: *sealed_epoch,
            set: epoch,
        });
    }
    if *entry_count != entries {
        return Err(Refusal::CountMismatch {
            sealed: *entry_count,
            set: entries,
        });
    }
    if sealed_root != root {
        return Err(Refusal::RootMismatch {
            sealed: *sealed_root,
            set: *root,
        });
    }
    Ok(())
}

/// Checks that a set may follow what is held: epochs never go back, never jump out of sight, and never mean two things.
///
/// # Errors
/// Says why it may not.
pub fn follows(held: Option<(u64, Digest)>, offered: (u64, Digest)) -> Result<(), Refusal> {
    let (epoch, root) = offered;
    // A new host may be given any epoch: its first set is as good as its trust root.
    let Some((held_epoch, held_root)) = held else {
        return Ok(());
    };
    if epoch < held_epoch {
        return Err(Refusal::LowerEpoch {
            offered: epoch,
            held: held_epoch,
        });
    }
    if epoch == held_epoch && root != held_root {
        return Err(Refusal::SameEpochOtherRoot(epoch));
    }
    if epoch - held_epoch > MAX_EPOCH_JUMP {
        return Err(Refusal::EpochJump {
            offered: epoch,
            held: held_epoch,
            bound: MAX_EPOCH_JUMP,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys::SealingKey;

    fn key(seed: u8) -> SealingKey {
        SealingKey::from_seed([seed; 32])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn root_of(seeds: &[u8], threshold: usize) -> TrustRoot {
        let keys: Vec<SealingKey> = seeds.iter().map(|seed| key(*seed)).collect();
        let named: Vec<(String, &SealingKey)> = keys.iter().map(|key| (key.public().id(), key)).collect();
        TrustRoot::found(&named, threshold).unwrap().0
    }

    fn statement(root: &TrustRoot) -> SetStatement {
        SetStatement::new(root, 7, Digest::of(b"set"), 3, at(1_000_000))
    }

    #[test]
    fn a_good_seal_is_accepted_for_its_own_set_only() {
        let root = root_of(&[1], 1);
        let sealed = verify_set(&root, &statement(&root).seal(&[&key(1)]).to_json(), at(0)).unwrap();
        let (set, other) = (Digest::of(b"set"), Digest::of(b"other"));
        let word = |epoch, root, entries| {
            admit(None, &sealed, epoch, root, entries).map_err(|refusal| refusal.word())
        };
        assert_eq!(word(7, set, 3), Ok(()));
        assert_eq!(word(8, set, 3), Err("epoch-mismatch"));
        assert_eq!(word(7, other, 3), Err("root-mismatch"));
        assert_eq!(word(7, set, 4), Err("entry-added"));
        assert_eq!(word(7, set, 2), Err("entry-left-out"));
        assert_eq!(
            admit(Some((8, other)), &sealed, 7, set, 3).unwrap_err().word(),
            "lower-epoch"
        );
        assert_eq!(
            admit(Some((7, other)), &sealed, 7, set, 3).unwrap_err().word(),
            "same-epoch-other-root"
        );
    }

    #[test]
    fn every_bad_seal_has_its_own_reason() {
        let root = root_of(&[1, 2], 2);
        let good = statement(&root);
        let both = [&key(1), &key(2)];
        let mut spaced = good.canonical_bytes();
        spaced.push(b' ');
        let elsewhere = SetStatement {
            cluster_id: Digest::of(b"x"),
            ..good.clone()
        };
        let version = SetStatement {
            trust_root_version: 2,
            ..good.clone()
        };
        let digest = SetStatement {
            trust_root_digest: Digest::of(b"x"),
            ..good.clone()
        };
        let altered = {
            let mut json: serde_json::Value = serde_json::from_slice(&good.seal(&both).to_json()).unwrap();
            let other = SetStatement {
                epoch: 8,
                ..good.clone()
            }
            .seal(&both)
            .to_json();
            let other: serde_json::Value = serde_json::from_slice(&other).unwrap();
            json["payload"] = other["payload"].clone();
            Envelope::parse(json.to_string().as_bytes()).unwrap()
        };
        let cases: [(&str, Envelope); 12] = [
            ("wrong-key", good.seal(&[&key(9)])),
            ("wrong-key", good.seal(&[&key(8), &key(9)])),
            ("altered", altered),
            ("below-threshold", good.seal(&[&key(1)])),
            ("below-threshold", good.seal(&[&key(1), &key(1)])),
            ("below-threshold", good.seal(&[&key(1), &key(9)])),
            ("other-cluster", elsewhere.seal(&both)),
            ("trust-root-mismatch", version.seal(&both)),
            ("trust-root-mismatch", digest.seal(&both)),
            (
                "wrong-purpose",
                Envelope::seal("text/plain", good.canonical_bytes(), &both),
            ),
            (
                "wrong-purpose",
                Envelope::seal(crate::TRUST_ROOT_PAYLOAD_TYPE, good.canonical_bytes(), &both),
            ),
            ("malformed", Envelope::seal(SET_PAYLOAD_TYPE, spaced, &both)),
        ];
        for (word, envelope) in cases {
            assert_eq!(
                verify_set(&root, &envelope.to_json(), at(0)).unwrap_err().word(),
                word
            );
            assert_eq!(verify_held(&root, &envelope.to_json()).unwrap_err().word(), word);
        }
        assert_eq!(verify_set(&root, b"{}", at(0)).unwrap_err().word(), "envelope");
        verify_set(&root, &good.seal(&both).to_json(), at(0)).unwrap();
        verify_set(&root, &good.seal(&[&key(9), &key(2), &key(1)]).to_json(), at(0)).unwrap();
    }

    #[test]
    fn an_ended_seal_is_refused_when_offered_and_only_stale_when_held() {
        let root = root_of(&[1], 1);
        let envelope = statement(&root).seal(&[&key(1)]).to_json();
        verify_set(&root, &envelope, at(999_999)).unwrap();
        assert_eq!(
            verify_set(&root, &envelope, at(1_000_000)).unwrap_err().word(),
            "expired"
        );
        let held = verify_held(&root, &envelope).unwrap();
        assert_eq!(
            (held.is_stale(at(999_999)), held.is_stale(at(1_000_000))),
            (false, true)
        );
    }

    #[test]
    fn every_altered_byte_of_what_was_signed_is_refused() {
        let root = root_of(&[1], 1);
        let good = statement(&root).seal(&[&key(1)]);
        let envelope: serde_json::Value = serde_json::from_slice(&good.to_json()).unwrap();
        for index in 0..good.payload().len() {
            let mut payload = good.payload().to_vec();
            payload[index] ^= 1;
            // The signature of the good one over the altered payload.
            let mut json = envelope.clone();
            json["payload"] = Envelope::seal("t", payload, &[&key(1)])
                .payload_in_base64()
                .into();
            let refusal = verify_set(&root, json.to_string().as_bytes(), at(0)).unwrap_err();
            assert_eq!(refusal.word(), "altered", "byte {index}");
        }
    }

    #[test]
    fn every_flipped_byte_of_an_envelope_is_refused_or_changes_nothing() {
        let root = root_of(&[1], 1);
        let envelope = statement(&root).seal(&[&key(1)]);
        let good = envelope.to_json();
        let accepted = verify_set(&root, &good, at(0)).unwrap();
        let id = key(1).public().id();
        let text = String::from_utf8(good.clone()).unwrap();
        let hint = text.find(&id).unwrap()..text.find(&id).unwrap() + id.len();
        for index in 0..good.len() {
            let mut altered = good.clone();
            altered[index] ^= 1;
            match verify_set(&root, &altered, at(0)) {
                // A flip inside `keyid` changes a hint; what was signed is still the same.
                Ok(sealed) => assert!(sealed == accepted && hint.contains(&index), "byte {index}"),
                Err(_) => assert!(!hint.contains(&index), "byte {index}"),
            }
        }
    }

    #[test]
    fn epochs_never_go_back_jump_or_mean_two_things() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let word = |held, offered| follows(held, offered).map_err(|refusal| refusal.word());
        assert_eq!(word(Some((5, a)), (4, a)), Err("lower-epoch"));
        assert_eq!(word(Some((5, a)), (5, b)), Err("same-epoch-other-root"));
        assert_eq!(word(Some((5, a)), (6 + MAX_EPOCH_JUMP, b)), Err("epoch-jump"));
        assert_eq!(word(Some((0, a)), (u64::MAX, b)), Err("epoch-jump"));
        for (held, offered) in [
            (None, (9, a)),
            (Some((5, a)), (5, a)),
            (Some((5, a)), (6, b)),
            (Some((5, a)), (5 + MAX_EPOCH_JUMP, b)),
        ] {
            assert_eq!(word(held, offered), Ok(()));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let root = root_of(&[1], 1);
            let _ = verify_set(&root, &bytes, at(0));
            let _ = TrustRoot::open_first(&bytes);
            let _ = root.advance(&bytes);
        }

        #[test]
        fn no_signed_bytes_make_it_panic(payload: Vec<u8>, digits in "[0-9]{0,25}") {
            let root = root_of(&[1], 1);
            let near = String::from_utf8(statement(&root).canonical_bytes()).unwrap().replace('7', &digits);
            for payload in [payload, near.into_bytes()] {
                for kind in [SET_PAYLOAD_TYPE, crate::TRUST_ROOT_PAYLOAD_TYPE] {
                    let envelope = Envelope::seal(kind, payload.clone(), &[&key(1)]).to_json();
                    let _ = verify_set(&root, &envelope, at(0));
                    let _ = TrustRoot::open_first(&envelope);
                    let _ = root.advance(&envelope);
                }
            }
        }

        #[test]
        fn whatever_is_stated_and_sealed_is_accepted(
            epoch in 0..=crate::MAX_EPOCH, entries in 0..=crate::MAX_EPOCH, set: [u8; 32], end in 1..200_000_000_000_i64,
        ) {
            let root = root_of(&[1, 2, 3], 2);
            let set = Digest::from_bytes(set);
            let stated = SetStatement::new(&root, epoch, set, entries, at(end));
            let envelope = stated.seal(&[&key(3), &key(1)]).to_json();
            let sealed = verify_set(&root, &envelope, at(0)).unwrap();
            proptest::prop_assert_eq!(sealed.statement(), &stated);
            proptest::prop_assert_eq!(admit(None, &sealed, epoch, set, entries), Ok(()));
        }
    }
}
