//! A statement on its way to its threshold: some people have signed it, others are asked to.

use std::collections::BTreeSet;

use jiff::Timestamp;
use verger_policy::digest::Digest;

use crate::dsse::Envelope;
use crate::keys::PublicKey;
use crate::refusal::Refusal;
use crate::statement::SetStatement;
use crate::trust_root::TrustRoot;
use crate::verify::{matches, statement_of, statement_type};

/// A statement that at least one key of the trust root has signed. It counts for nothing but to be shown and signed further;
/// [`crate::verify_set`] says when it is sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialSeal {
    envelope: Envelope,
    statement: SetStatement,
    signers: BTreeSet<PublicKey>,
}

impl PartialSeal {
    /// Reads one: purpose, cluster, trust root and time as [`crate::verify_set`], and one signature at least. Signatures that are
    /// not by keys of the trust root are dropped, and so are repeated ones.
    ///
    /// # Errors
    /// Each failure with its own reason.
    pub fn open(trust_root: &TrustRoot, envelope: &[u8], at: Timestamp) -> Result<Self, Refusal> {
        let envelope = Envelope::parse(envelope)?;
        statement_type(&envelope)?;
        let keys = || trust_root.keys().iter().map(|key| key.public);
        let signers = envelope.signers(keys());
        if signers.is_empty() {
            return Err(trust_root.unsigned(&envelope));
        }
        let statement = statement_of(trust_root, &envelope)?;
        if statement.not_after <= at {
            return Err(Refusal::Expired {
                not_after: statement.not_after,
            });
        }
        Ok(Self {
            envelope: envelope.only_signed_by(keys()),
            statement,
            signers,
        })
    }

    /// Takes over the signatures of another envelope of the same statement.
    ///
    /// # Errors
    /// When it is of another statement, or no key of the trust root has signed it.
    pub fn merge(&mut self, trust_root: &TrustRoot, other: &[u8], at: Timestamp) -> Result<(), Refusal> {
        let other = Self::open(trust_root, other, at)?;
        if other.envelope.payload() != self.envelope.payload() {
            return Err(Refusal::OtherStatement);
        }
        self.envelope.take_over(&other.envelope);
        let keys = || trust_root.keys().iter().map(|key| key.public);
        self.envelope = self.envelope.only_signed_by(keys());
        self.signers = self.envelope.signers(keys());
        Ok(())
    }

    /// The envelope, with one signature of each signer.
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// What was signed.
    pub const fn statement(&self) -> &SetStatement {
        &self.statement
    }

    /// Checks that it was signed over this set.
    ///
    /// # Errors
    /// Says what differs.
    pub fn matches(&self, epoch: u64, root: &Digest, entries: u64) -> Result<(), Refusal> {
        matches(&self.statement, epoch, root, entries)
    }

    /// The distinct keys that have signed.
    pub const fn signers(&self) -> &BTreeSet<PublicKey> {
        &self.signers
    }

    /// How many more must sign.
    pub fn wanting(&self, trust_root: &TrustRoot) -> usize {
        trust_root.threshold().saturating_sub(self.signers.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys::SealingKey;
    use crate::verify::verify_set;
    use jiff::SignedDuration;

    fn key(seed: u8) -> SealingKey {
        SealingKey::from_seed([seed; 32])
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn root() -> TrustRoot {
        let (ann, bob, eve) = (key(1), key(2), key(3));
        let keys = [
            ("ann".to_owned(), &ann),
            ("bob".to_owned(), &bob),
            ("eve".to_owned(), &eve),
        ];
        TrustRoot::found(&keys, 2).unwrap().0
    }

    fn statement(epoch: u64) -> SetStatement {
        let end = now() + SignedDuration::from_hours(1);
        SetStatement::new(&root(), epoch, Digest::of(b"root"), 1, end)
    }

    fn signed(epoch: u64, keys: &[&SealingKey]) -> Vec<u8> {
        statement(epoch).seal(keys).to_json()
    }

    #[test]
    fn two_people_seal_together_what_neither_can_alone() {
        let root = root();
        let (by_ann, by_bob) = (signed(1, &[&key(1)]), signed(1, &[&key(2)]));
        assert_eq!(
            verify_set(&root, &by_ann, now()).unwrap_err().word(),
            "below-threshold"
        );
        let mut seal = PartialSeal::open(&root, &by_ann, now()).unwrap();
        assert_eq!((seal.signers().len(), seal.wanting(&root)), (1, 1));
        seal.merge(&root, &by_bob, now()).unwrap();
        assert_eq!((seal.signers().len(), seal.wanting(&root)), (2, 0));
        verify_set(&root, &seal.envelope().to_json(), now()).unwrap();
    }

    #[test]
    fn the_same_person_twice_is_one_person() {
        let root = root();
        let mut seal = PartialSeal::open(&root, &signed(1, &[&key(1), &key(1)]), now()).unwrap();
        for _ in 0..3 {
            seal.merge(&root, &signed(1, &[&key(1)]), now()).unwrap();
        }
        assert_eq!(seal.wanting(&root), 1);
        let word = verify_set(&root, &seal.envelope().to_json(), now()).unwrap_err();
        assert_eq!(word.word(), "below-threshold");
    }

    #[test]
    fn signatures_of_another_statement_of_strangers_and_after_its_time_are_refused() {
        let root = root();
        let mut seal = PartialSeal::open(&root, &signed(1, &[&key(1)]), now()).unwrap();
        let before = seal.clone();
        let late = now() + SignedDuration::from_hours(2);
        for (envelope, at, word) in [
            (signed(2, &[&key(2)]), now(), "other-statement"),
            (signed(1, &[&key(9)]), now(), "wrong-key"),
            (signed(1, &[&key(2)]), late, "expired"),
        ] {
            let refusal = seal.merge(&root, &envelope, at).unwrap_err();
            assert_eq!(refusal.word(), word);
            assert_eq!(seal, before);
        }
        // A stranger's signature beside a good one is dropped, not kept to fill the envelope.
        seal.merge(&root, &signed(1, &[&key(9), &key(2), &key(8)]), now())
            .unwrap();
        assert_eq!(seal.wanting(&root), 0);
        let sealed = seal.envelope();
        assert_eq!(sealed.signers([key(9).public(), key(8).public()]).len(), 0);
    }
}
