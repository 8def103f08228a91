//! The change of a cluster's trust root: the version after the one in force, and the set sealed anew under it.
//!
//! Both or neither: a set that only the old keys have sealed is taken by nobody who knows the new version, and nobody who has
//! just come must take a set of keys that were given up.

use std::collections::BTreeSet;
use std::convert::Infallible;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::dsse::Envelope;
use crate::keys::{PublicKey, SealingKey};
use crate::refusal::Refusal;
use crate::statement::SetStatement;
use crate::trust_root::TrustRoot;
use crate::verify::{SealedSet, statement_of, statement_type, verify_set};

/// The largest file of one, bytes.
pub const MAX_ROTATION_BYTES: usize = 256 << 10;

/// A change of the trust root on its way from person to person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    next: TrustRoot,
    envelope: Envelope,
    statement: SetStatement,
    seal: Envelope,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Json {
    api_version: String,
    kind: String,
    /// An envelope's JSON, as text.
    trust_root: String,
    /// An envelope's JSON, as text.
    seal: String,
}

impl Rotation {
    /// Makes one: `envelope` is [`TrustRoot::succeed`]'s, `statement` is of the set under the version it makes.
    ///
    /// # Errors
    /// When the envelope is not of the version after `current`, or the statement is not made under it.
    pub fn new(current: &TrustRoot, envelope: &Envelope, statement: SetStatement) -> Result<Self, Refusal> {
        let (next, envelope) = current.read_successor(&envelope.to_json())?;
        if statement.trust_root_digest != next.digest() {
            return Err(Refusal::OtherTrustRoot);
        }
        let seal = statement.seal(&[]);
        Ok(Self {
            next,
            envelope,
            statement,
            seal,
        })
    }

    /// Reads a file, and holds it against the version in force. Who has signed it counts for nothing here.
    ///
    /// # Errors
    /// When it is not exactly a change of `current`.
    pub fn read(current: &TrustRoot, bytes: &[u8]) -> Result<Self, Refusal> {
        let malformed = Refusal::Malformed("not a change of a trust root");
        if bytes.len() > MAX_ROTATION_BYTES {
            return Err(malformed);
        }
        let Ok(Json {
            api_version,
            kind,
            trust_root,
            seal,
        }) = serde_json::from_slice::<Json>(bytes)
        else {
            return Err(malformed);
        };
        if api_version != "verger/v1" || kind != "TrustRootRotation" {
            return Err(malformed);
        }
        let (next, envelope) = current.read_successor(trust_root.as_bytes())?;
        let seal = Envelope::parse_draft(seal.as_bytes())?;
        statement_type(&seal)?;
        let statement = statement_of(&next, &seal)?;
        Ok(Self {
            next,
            envelope,
            statement,
            seal,
        })
    }

    /// Its file.
    pub fn to_json(&self) -> Vec<u8> {
        let text = |envelope: &Envelope| String::from_utf8(envelope.to_json()).expect("JSON is text");
        let json = Json {
            api_version: "verger/v1".to_owned(),
            kind: "TrustRootRotation".to_owned(),
            trust_root: text(&self.envelope),
            seal: text(&self.seal),
        };
        serde_json::to_vec_pretty(&json).expect("strings only")
    }

    /// Signs as one who may: the new version as a holder of an old key or of a new one, the set as a holder of a new one.
    ///
    /// # Errors
    /// When the key is in neither version.
    pub fn sign(&mut self, current: &TrustRoot, key: &SealingKey) -> Result<(), Refusal> {
        let Ok(signed) = self.sign_with(current, &key.public(), |envelope| {
            envelope.add(key);
            Ok::<_, Infallible>(())
        });
        signed.then_some(()).ok_or(Refusal::WrongKey)
    }

    /// As [`Self::sign`] by a key that is elsewhere: `add` adds its signature to an envelope, up to twice. Gives whether the key
    /// is in either version; it is asked for nothing otherwise.
    ///
    /// # Errors
    /// Those of `add`. What it signed before is kept.
    pub fn sign_with<E>(
        &mut self,
        current: &TrustRoot,
        public: &PublicKey,
        mut add: impl FnMut(&mut Envelope) -> Result<(), E>,
    ) -> Result<bool, E> {
        let holds = |root: &TrustRoot| root.keys().iter().any(|trusted| trusted.public == *public);
        if !holds(current) && !holds(&self.next) {
            return Ok(false);
        }
        if self.envelope.signers([*public]).is_empty() {
            add(&mut self.envelope)?;
        }
        if holds(&self.next) && self.seal.signers([*public]).is_empty() {
            add(&mut self.seal)?;
        }
        Ok(true)
    }

    /// The version it makes. Not verified: see [`verify_rotation`].
    pub const fn next(&self) -> &TrustRoot {
        &self.next
    }

    /// What is sealed under it.
    pub const fn statement(&self) -> &SetStatement {
        &self.statement
    }

    /// The envelope of the version, and the seal of the set.
    pub const fn envelopes(&self) -> (&Envelope, &Envelope) {
        (&self.envelope, &self.seal)
    }

    /// How many keys of the version in force, and how many of the next, must still sign.
    pub fn wanting(&self, current: &TrustRoot) -> (usize, usize) {
        let missing = |root: &TrustRoot, signed: usize| root.threshold().saturating_sub(signed);
        let keys =
            |root: &TrustRoot| -> Vec<PublicKey> { root.keys().iter().map(|key| key.public).collect() };
        let by_old = self.envelope.signers(keys(current));
        let by_new: BTreeSet<_> = self.envelope.signers(keys(&self.next));
        let sealed: BTreeSet<_> = self.seal.signers(keys(&self.next));
        let both = by_new.intersection(&sealed).count();
        (missing(current, by_old.len()), missing(&self.next, both))
    }
}

/// Verifies a change of the trust root: the version by both thresholds, the seal by the new one.
///
/// # Errors
/// Each failure with its own reason.
pub fn verify_rotation(
    current: &TrustRoot,
    envelope: &[u8],
    seal: &[u8],
    at: Timestamp,
) -> Result<(TrustRoot, SealedSet), Refusal> {
    let next = current.advance(envelope)?;
    let sealed = verify_set(&next, seal, at)?;
    Ok((next, sealed))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::trust_root::{Terms, TrustedKey};
    use jiff::SignedDuration;
    use verger_policy::digest::Digest;

    fn key(seed: u8) -> SealingKey {
        SealingKey::from_seed([seed; 32])
    }

    fn trusted(seed: u8) -> TrustedKey {
        TrustedKey {
            name: format!("key-{seed}"),
            public: key(seed).public(),
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    /// Of keys 1 and 2, two must sign; then of 2 and 3.
    fn rotation() -> (TrustRoot, Rotation) {
        let (one, two) = (key(1), key(2));
        let keys = [("key-1".to_owned(), &one), ("key-2".to_owned(), &two)];
        let current = TrustRoot::found(&keys, 2).unwrap().0;
        let envelope = current
            .succeed(&Terms::new(vec![trusted(2), trusted(3)], 2), &[])
            .unwrap();
        let (next, _) = current.read_successor(&envelope.to_json()).unwrap();
        let end = now() + SignedDuration::from_hours(1);
        let statement = SetStatement::new(&next, 5, Digest::of(b"root"), 1, end);
        let rotation = Rotation::new(&current, &envelope, statement).unwrap();
        (current, rotation)
    }

    fn verify(current: &TrustRoot, rotation: &Rotation) -> Result<u64, Refusal> {
        let (envelope, seal) = rotation.envelopes();
        verify_rotation(current, &envelope.to_json(), &seal.to_json(), now()).map(|(next, _)| next.version())
    }

    #[test]
    fn it_takes_the_thresholds_of_both_versions() {
        let (current, mut rotation) = rotation();
        assert_eq!(rotation.wanting(&current), (2, 2));
        for (seed, wanting) in [(1, (1, 2)), (2, (0, 1)), (3, (0, 0))] {
            assert!(verify(&current, &rotation).is_err(), "before key {seed}");
            // From person to person.
            rotation.sign(&current, &key(seed)).unwrap();
            rotation.sign(&current, &key(seed)).unwrap();
            assert_eq!(rotation.wanting(&current), wanting);
            rotation = Rotation::read(&current, &rotation.to_json()).unwrap();
        }
        assert_eq!(verify(&current, &rotation), Ok(2));
        assert_eq!(rotation.sign(&current, &key(9)), Err(Refusal::WrongKey));
    }

    #[test]
    fn old_keys_alone_and_new_keys_alone_change_nothing() {
        for seeds in [[1, 2], [2, 3], [1, 3]] {
            let (current, mut rotation) = rotation();
            for seed in seeds {
                rotation.sign(&current, &key(seed)).unwrap();
            }
            assert!(verify(&current, &rotation).is_err(), "{seeds:?}");
        }
    }

    #[test]
    fn the_set_under_the_old_version_is_no_set_under_the_new() {
        let (current, mut rotation) = rotation();
        for seed in [1, 2, 3] {
            rotation.sign(&current, &key(seed)).unwrap();
        }
        let end = now() + SignedDuration::from_hours(1);
        let old = SetStatement::new(&current, 5, Digest::of(b"root"), 1, end).seal(&[&key(1), &key(2)]);
        let (envelope, _) = rotation.envelopes();
        let refusal = verify_rotation(&current, &envelope.to_json(), &old.to_json(), now()).unwrap_err();
        assert_eq!(refusal.word(), "below-threshold");
    }

    #[test]
    fn a_walk_passes_over_what_is_known_and_takes_no_gap() {
        let (current, mut rotation) = rotation();
        for seed in [1, 2, 3] {
            rotation.sign(&current, &key(seed)).unwrap();
        }
        let second = rotation.envelopes().0.to_json();
        let (next, _) = current.walk([second.as_slice()]).unwrap();
        let third = next
            .succeed(&Terms::new(vec![trusted(3)], 1), &[&key(2), &key(3)])
            .unwrap()
            .to_json();
        let (latest, taken) = current.walk([second.as_slice(), &third]).unwrap();
        assert_eq!((latest.version(), taken.len()), (3, 2));
        let (again, taken) = next.walk([second.as_slice(), &third]).unwrap();
        assert_eq!((again, taken.len()), (latest, 1));
        let gap = current.walk([third.as_slice()]).unwrap_err();
        assert_eq!(gap.word(), "trust-root-version");
    }
}
