//! The trust root: whose keys may seal, and how many are needed. Version 1 founds a cluster, and its digest is the cluster's id.

mod terms;

use verger_policy::digest::Digest;
use verger_policy::model::printable_within;

use self::terms::Content;
pub use self::terms::{MAX_KEYS, Terms, TrustedKey};
use crate::dsse::Envelope;
use crate::keys::SealingKey;
use crate::refusal::Refusal;

/// The DSSE payload type.
pub const TRUST_ROOT_PAYLOAD_TYPE: &str = "application/vnd.verger.trust-root.v1+json";
/// The most versions after the first. Agents are sent all of them, and look at no more.
pub const MAX_LATER_VERSIONS: usize = 256;

/// One version of a cluster's trust root, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustRoot {
    version: u64,
    terms: Terms,
    cluster_id: Digest,
    digest: Digest,
}

impl TrustRoot {
    /// Makes version 1, sealed by its own keys.
    ///
    /// # Errors
    /// When there is no key, one is there twice, or the threshold cannot be met.
    pub fn found(keys: &[(String, &SealingKey)], threshold: usize) -> Result<(Self, Envelope), Refusal> {
        let trusted: Vec<TrustedKey> = keys
            .iter()
            .map(|(name, key)| TrustedKey {
                name: name.clone(),
                public: key.public(),
            })
            .collect();
        let signing: Vec<&SealingKey> = keys.iter().map(|(_, key)| *key).collect();
        let envelope = Self::draft(&Terms::new(trusted, threshold), &signing)?;
        let trust_root = Self::open_first(&envelope.to_json())?;
        Ok((trust_root, envelope))
    }

    /// Makes the envelope of version 1. It counts once as many of its keys as its threshold says have signed: see
    /// [`Envelope::add`].
    ///
    /// # Errors
    /// When the terms cannot be met, or say a thing twice.
    pub fn draft(terms: &Terms, signing: &[&SealingKey]) -> Result<Envelope, Refusal> {
        let payload = terms.write(1, None);
        Content::read(&payload)?;
        Ok(Envelope::seal(TRUST_ROOT_PAYLOAD_TYPE, payload, signing))
    }

    /// What a draft of version 1 says, whoever has signed it: for those who are asked to, and for nothing else.
    ///
    /// # Errors
    /// When it is not exactly a version 1.
    pub fn read_draft(envelope: &[u8]) -> Result<(Self, Envelope), Refusal> {
        let (envelope, content) = open(envelope)?;
        if content.version != 1 {
            return Err(Refusal::TrustRootVersion {
                found: content.version,
                wanted: 1,
            });
        }
        let digest = Digest::of(envelope.payload());
        Ok((content.unverified(digest, digest), envelope))
    }

    /// Reads version 1 and checks that its own threshold sealed it. Whether it is the right one, its digest says: that is
    /// the cluster id, which a person brings along.
    ///
    /// # Errors
    /// When it is not exactly that.
    pub fn open_first(envelope: &[u8]) -> Result<Self, Refusal> {
        let (envelope, content) = open(envelope)?;
        if content.version != 1 {
            return Err(Refusal::TrustRootVersion {
                found: content.version,
                wanted: 1,
            });
        }
        let digest = Digest::of(envelope.payload());
        content.verified(&envelope, digest, digest)
    }

    /// Makes the envelope of the version after this one. It counts once the thresholds of this version and of the next
    /// have signed: see [`Envelope::add`].
    ///
    /// # Errors
    /// When the terms cannot be met, or say a thing twice.
    pub fn succeed(&self, terms: &Terms, signing: &[&SealingKey]) -> Result<Envelope, Refusal> {
        let payload = terms.write(self.version + 1, Some(self.digest));
        Content::read(&payload)?;
        Ok(Envelope::seal(TRUST_ROOT_PAYLOAD_TYPE, payload, signing))
    }

    /// Reads the version after this one: sealed by the threshold of this version *and* by its own. Whoever comes back
    /// after a long time walks every version.
    ///
    /// # Errors
    /// When it is not exactly that.
    pub fn advance(&self, envelope: &[u8]) -> Result<Self, Refusal> {
        let (envelope, content) = open(envelope)?;
        if content.version != self.version + 1 {
            return Err(Refusal::TrustRootVersion {
                found: content.version,
                wanted: self.version + 1,
            });
        }
        self.signed(&envelope)?;
        if content.previous != Some(self.digest) {
            return Err(Refusal::OtherTrustRoot);
        }
        let digest = Digest::of(envelope.payload());
        content.verified(&envelope, self.cluster_id, digest)
    }

    /// What a draft of the version after this one says, whoever has signed it: for those who are asked to, and for nothing else.
    ///
    /// # Errors
    /// When it is not exactly the version after this one.
    pub fn read_successor(&self, envelope: &[u8]) -> Result<(Self, Envelope), Refusal> {
        let (envelope, content) = content_of(Envelope::parse_draft(envelope)?)?;
        if content.version != self.version + 1 {
            return Err(Refusal::TrustRootVersion {
                found: content.version,
                wanted: self.version + 1,
            });
        }
        if content.previous != Some(self.digest) {
            return Err(Refusal::OtherTrustRoot);
        }
        let digest = Digest::of(envelope.payload());
        Ok((content.unverified(self.cluster_id, digest), envelope))
    }

    /// Walks the versions after this one, in their order. Versions that are known already are passed over.
    ///
    /// # Errors
    /// When one is not sealed by the threshold of the version before it and its own, or one is left out.
    pub fn walk<'a>(
        &self,
        envelopes: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Self, Vec<&'a [u8]>), Refusal> {
        let mut latest = self.clone();
        let mut taken = Vec::new();
        for envelope in envelopes {
            let (_, content) = open(envelope)?;
            if content.version <= latest.version {
                continue;
            }
            latest = latest.advance(envelope)?;
            taken.push(envelope);
        }
        Ok((latest, taken))
    }

    /// Checks that enough distinct keys of this trust root have signed.
    pub(crate) fn signed(&self, envelope: &Envelope) -> Result<(), Refusal> {
        signed_by(&self.terms.keys, self.terms.threshold, envelope)
    }

    /// Why an envelope that none of the keys has signed is refused.
    pub(crate) fn unsigned(&self, envelope: &Envelope) -> Refusal {
        unsigned(&self.terms.keys, envelope)
    }

    /// Checks that a majority of the distinct member keys has signed.
    pub(crate) fn signed_by_members(&self, envelope: &Envelope) -> Result<(), Refusal> {
        if self.terms.members.is_empty() {
            return Err(Refusal::NoMemberKeys);
        }
        signed_by(&self.terms.members, self.majority(), envelope)
    }

    /// Its version, from 1.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// How many distinct keys must sign.
    pub const fn threshold(&self) -> usize {
        self.terms.threshold
    }

    /// The keys that may seal.
    pub fn keys(&self) -> &[TrustedKey] {
        &self.terms.keys
    }

    /// The keys of members: what they say of freshness counts, and of nothing else.
    pub fn members(&self) -> &[TrustedKey] {
        &self.terms.members
    }

    /// How many distinct members make a majority.
    pub fn majority(&self) -> usize {
        self.terms.members.len() / 2 + 1
    }

    /// All that it states.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The id of the cluster: the digest of version 1.
    pub const fn cluster_id(&self) -> Digest {
        self.cluster_id
    }

    /// The digest of this version's payload.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

impl Content {
    fn verified(self, envelope: &Envelope, cluster_id: Digest, digest: Digest) -> Result<TrustRoot, Refusal> {
        let trust_root = self.unverified(cluster_id, digest);
        trust_root.signed(envelope)?;
        Ok(trust_root)
    }

    fn unverified(self, cluster_id: Digest, digest: Digest) -> TrustRoot {
        let Self {
            version,
            terms,
            previous: _,
        } = self;
        TrustRoot {
            version,
            terms,
            cluster_id,
            digest,
        }
    }
}

/// Checks that so many distinct ones of these keys have signed.
fn signed_by(keys: &[TrustedKey], threshold: usize, envelope: &Envelope) -> Result<(), Refusal> {
    match envelope.signers(keys.iter().map(|key| key.public)).len() {
        signers if signers >= threshold => Ok(()),
        0 => Err(unsigned(keys, envelope)),
        signers => Err(Refusal::BelowThreshold { signers, threshold }),
    }
}

/// Why an envelope that none of these keys has signed is refused.
pub(crate) fn unsigned(keys: &[TrustedKey], envelope: &Envelope) -> Refusal {
    if keys.iter().any(|key| envelope.names(&key.public)) {
        Refusal::Altered
    } else {
        Refusal::WrongKey
    }
}

fn open(envelope: &[u8]) -> Result<(Envelope, Content), Refusal> {
    content_of(Envelope::parse(envelope)?)
}

fn content_of(envelope: Envelope) -> Result<(Envelope, Content), Refusal> {
    if envelope.payload_type() != TRUST_ROOT_PAYLOAD_TYPE {
        let found = printable_within(envelope.payload_type(), 80);
        return Err(Refusal::WrongPurpose {
            found,
            wanted: TRUST_ROOT_PAYLOAD_TYPE,
        });
    }
    let content = Content::read(envelope.payload())?;
    Ok((envelope, content))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(seed: u8) -> SealingKey {
        SealingKey::from_seed([seed; 32])
    }

    fn founded(seeds: &[u8], threshold: usize) -> Result<(TrustRoot, Envelope), Refusal> {
        let keys: Vec<SealingKey> = seeds.iter().map(|seed| key(*seed)).collect();
        let named: Vec<(String, &SealingKey)> = seeds
            .iter()
            .zip(&keys)
            .map(|(seed, key)| (format!("key-{seed}"), key))
            .collect();
        TrustRoot::found(&named, threshold)
    }

    fn trusted(seeds: &[u8]) -> Vec<TrustedKey> {
        seeds
            .iter()
            .map(|seed| TrustedKey {
                name: format!("key-{seed}"),
                public: key(*seed).public(),
            })
            .collect()
    }

    fn advance(from: &TrustRoot, envelope: &Envelope) -> Result<TrustRoot, &'static str> {
        from.advance(&envelope.to_json())
            .map_err(|refusal| refusal.word())
    }

    #[test]
    fn version_1_names_its_own_cluster() {
        let (root, envelope) = founded(&[1, 2, 3], 2).unwrap();
        assert_eq!((root.version(), root.threshold(), root.keys().len()), (1, 2, 3));
        assert_eq!(root.cluster_id(), Digest::of(envelope.payload()));
        assert_eq!(root.cluster_id(), root.digest());
        assert_eq!(TrustRoot::open_first(&envelope.to_json()), Ok(root));
    }

    #[test]
    fn a_root_that_cannot_work_is_not_founded() {
        for (seeds, threshold) in [
            (&[][..], 0),
            (&[][..], 1),
            (&[1][..], 0),
            (&[1, 2][..], 3),
            (&[1, 1][..], 1),
        ] {
            assert_eq!(
                founded(seeds, threshold).unwrap_err().word(),
                "malformed",
                "{seeds:?} {threshold}"
            );
        }
        let over: Vec<u8> = (1..=33).collect();
        assert_eq!(founded(&over, 1).unwrap_err().word(), "malformed");
        founded(&over[..32], 32).unwrap();
        for name in ["", "a\x1b[2J", "a\u{202e}", &"a".repeat(129)] {
            let refusal = TrustRoot::found(&[(name.to_owned(), &key(1))], 1).unwrap_err();
            assert_eq!(refusal.word(), "malformed", "{name:?}");
        }
    }

    #[test]
    fn a_first_version_must_be_sealed_by_its_own_threshold() {
        let payload = Terms::new(trusted(&[1, 2]), 2).write(1, None);
        let word = |keys: &[&SealingKey]| {
            let envelope = Envelope::seal(TRUST_ROOT_PAYLOAD_TYPE, payload.clone(), keys);
            TrustRoot::open_first(&envelope.to_json())
                .map(|_| ())
                .map_err(|refusal| refusal.word())
        };
        assert_eq!(word(&[&key(9)]), Err("wrong-key"));
        assert_eq!(word(&[&key(1)]), Err("below-threshold"));
        assert_eq!(word(&[&key(1), &key(1)]), Err("below-threshold"));
        assert_eq!(word(&[&key(1), &key(9)]), Err("below-threshold"));
        assert_eq!(word(&[&key(1), &key(2)]), Ok(()));
    }

    #[test]
    fn what_is_signed_for_another_purpose_is_no_trust_root() {
        let payload = Terms::new(trusted(&[1]), 1).write(1, None);
        let envelope = Envelope::seal(crate::SET_PAYLOAD_TYPE, payload, &[&key(1)]);
        assert_eq!(
            TrustRoot::open_first(&envelope.to_json()).unwrap_err().word(),
            "wrong-purpose"
        );
    }

    #[test]
    fn other_spellings_of_a_trust_root_are_refused() {
        let text = String::from_utf8(Terms::new(trusted(&[1]), 1).write(1, None)).unwrap();
        let public = key(1).public().encoded();
        let cases = [
            text.replace("\"version\":1", "\"version\": 1"),
            text.replace("\"version\":1", "\"version\":0"),
            text.replace("\"version\":1", "\"version\":1,\"version\":1"),
            text.replace("\"version\":1", "\"version\":9007199254740992"),
            text.replace("\"version\":1", "\"version\":1,\"zone\":1"),
            text.replace("\"threshold\":1", "\"threshold\":18446744073709551615"),
            text.replace("\"kind\":\"TrustRoot\"", "\"kind\":\"trustroot\""),
            text.replace("verger/v1", "verger/v2"),
            text.replace("ed25519", "ed448"),
            text.replace(&public, &public.to_uppercase()),
            text.replace(
                "\"threshold\"",
                &format!("\"previous\":\"{}\",\"threshold\"", Digest::of(b"")),
            ),
            text.replace("\"threshold\"", "\"previous\":null,\"threshold\""),
        ];
        for case in cases {
            assert_ne!(case, text);
            let envelope = Envelope::seal(TRUST_ROOT_PAYLOAD_TYPE, case.clone().into_bytes(), &[&key(1)]);
            assert_eq!(
                TrustRoot::open_first(&envelope.to_json()).unwrap_err().word(),
                "malformed",
                "{case}"
            );
        }
    }

    #[test]
    fn one_key_in_two_forms_is_there_twice() {
        let named = |name: &str, public| TrustedKey {
            name: name.to_owned(),
            public,
        };
        let (raw, ssh) = (key(1), SealingKey::ssh_ed25519([1; 32]));
        let p256 = SealingKey::ssh_p256([1; 32]).unwrap();
        let twice = [named("ada", raw.public()), named("bob", ssh.public())];
        let refusal = TrustRoot::draft(&Terms::new(twice.to_vec(), 1), &[&raw]).unwrap_err();
        assert!(refusal.to_string().contains("is there twice"), "{refusal}");
        let two = [named("ada", ssh.public()), named("bob", p256.public())];
        let sealed = TrustRoot::draft(&Terms::new(two.to_vec(), 2), &[&ssh, &p256]).unwrap();
        assert_eq!(TrustRoot::open_first(&sealed.to_json()).unwrap().keys(), two);
        // The raw form of a key that is trusted as SSH's signs nothing.
        let mixed = TrustRoot::draft(&Terms::new(two.to_vec(), 2), &[&raw, &p256]).unwrap();
        let refusal = TrustRoot::open_first(&mixed.to_json()).unwrap_err();
        assert_eq!(refusal.word(), "below-threshold");
    }

    #[test]
    fn keys_that_do_not_seal_found_nothing_and_the_reason_is_told() {
        let text = String::from_utf8(Terms::new(trusted(&[1]), 1).write(1, None)).unwrap();
        let public = key(1).public().encoded();
        for (algorithm, encoded, wanted) in [
            ("ssh-rsa", "AAAAB3NzaC1yc2E=", "RSA"),
            ("ssh-ed25519-cert-v01@openssh.com", "AAAA", "certificates"),
            ("ssh-ed25519", public.as_str(), "damaged"),
            ("ED25519", public.as_str(), "not"),
        ] {
            let altered = text
                .replace("\"ed25519\"", &format!("\"{algorithm}\""))
                .replace(&public, encoded);
            let envelope = Envelope::seal(TRUST_ROOT_PAYLOAD_TYPE, altered.into_bytes(), &[&key(1)]);
            let refusal = TrustRoot::open_first(&envelope.to_json()).unwrap_err();
            assert!(refusal.to_string().contains(wanted), "{algorithm}: {refusal}");
        }
    }

    #[test]
    fn the_next_version_needs_the_threshold_of_both() {
        let (first, _) = founded(&[1, 2, 3], 2).unwrap();
        let by = |seeds: &[u8]| {
            let keys: Vec<SealingKey> = seeds.iter().map(|seed| key(*seed)).collect();
            first
                .succeed(
                    &Terms::new(trusted(&[3, 4, 5]), 2),
                    &keys.iter().collect::<Vec<_>>(),
                )
                .unwrap()
        };
        assert_eq!(advance(&first, &by(&[4, 5])), Err("wrong-key"));
        assert_eq!(advance(&first, &by(&[3, 4, 5])), Err("below-threshold"));
        assert_eq!(advance(&first, &by(&[1, 2])), Err("wrong-key"));
        assert_eq!(advance(&first, &by(&[1, 2, 3])), Err("below-threshold"));
        let second = advance(&first, &by(&[1, 2, 4, 5])).unwrap();
        // Key 3 is of both, and counts for both.
        assert_eq!(advance(&first, &by(&[1, 3, 4])), Ok(second.clone()));
        assert_eq!((second.version(), second.cluster_id()), (2, first.cluster_id()));
        assert_ne!(second.digest(), first.digest());
    }

    #[test]
    fn versions_are_walked_one_by_one() {
        let (first, envelope) = founded(&[1], 1).unwrap();
        let second = advance(
            &first,
            &first
                .succeed(&Terms::new(trusted(&[2]), 1), &[&key(1), &key(2)])
                .unwrap(),
        )
        .unwrap();
        let third = second
            .succeed(&Terms::new(trusted(&[3]), 1), &[&key(1), &key(2), &key(3)])
            .unwrap();
        assert_eq!(advance(&first, &third), Err("trust-root-version"));
        assert_eq!(advance(&second, &envelope), Err("trust-root-version"));
        assert_eq!(
            TrustRoot::open_first(&third.to_json()).unwrap_err().word(),
            "trust-root-version"
        );
        assert_eq!(advance(&second, &third).unwrap().version(), 3);
    }

    #[test]
    fn a_later_version_serves_no_other_cluster_of_the_same_keys() {
        let (one, _) = founded(&[1], 1).unwrap();
        let (other, _) = TrustRoot::found(&[("elsewhere".to_owned(), &key(1))], 1).unwrap();
        let next = one.succeed(&Terms::new(trusted(&[1]), 1), &[&key(1)]).unwrap();
        assert_eq!(advance(&other, &next), Err("trust-root-mismatch"));
        advance(&one, &next).unwrap();
    }
}
