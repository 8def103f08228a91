//! Signing where this host's findings stand, with the key of the agent's certificate.

use anyhow::Context as _;
use jiff::Timestamp;
use verger_agent_core::store::{SpoolStore, StoreError};
use verger_policy::digest::Digest;
use verger_policy::finding::Told;
use verger_policy::model::AgentId;
use verger_seal::{FindingsHead, SignedHead};
use verger_transport::{Identity, IdentityError, KeyPair};

use crate::config::Config;
use crate::enrolment::Enrolment;

/// Signs in the name of one agent. Renewals of its certificate keep the key.
pub(crate) struct HeadSigner {
    cluster: Digest,
    agent: AgentId,
    key: KeyPair,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Key(#[from] IdentityError),
}

impl HeadSigner {
    /// Takes the key of the certificate on disk.
    pub(crate) fn load(enrolment: &Enrolment, config: &Config) -> anyhow::Result<Self> {
        let key = Identity::load(&config.identity_file())?.key();
        Ok(Self::new(
            enrolment.cluster,
            enrolment.agent.clone(),
            key.context("the key of the agent's certificate cannot be used")?,
        ))
    }

    pub(crate) const fn new(cluster: Digest, agent: AgentId, key: KeyPair) -> Self {
        Self { cluster, agent, key }
    }

    /// Signs where the findings stand in the spool after number `last`, and says so; nothing where it has moved on.
    pub(crate) fn sign(
        &self,
        spool: &dyn SpoolStore,
        last: u64,
    ) -> Result<Option<(u64, SignedHead)>, SignError> {
        let told = spool.told()?;
        let sequence = told.chain.sequence;
        if sequence != last {
            return Ok(None);
        }
        Ok(Some((sequence, self.sign_at(told, Timestamp::now())?)))
    }

    fn sign_at(&self, told: Told, at: Timestamp) -> Result<SignedHead, IdentityError> {
        let head = FindingsHead {
            cluster: self.cluster,
            agent: self.agent.clone(),
            told,
            at,
        };
        Ok(SignedHead {
            statement: head.canonical_bytes(),
            key: self.key.public_info(),
            signature: self.key.sign(&head.to_sign())?.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use verger_agent_core::store::Round;
    use verger_agent_core::store::conformance::transition;
    use verger_agent_core::store::memory::MemoryDisk;
    use verger_transport::install_crypto_provider;

    use super::*;

    #[test]
    fn what_is_signed_verifies_under_the_key_of_the_certificate_and_says_what_the_spool_holds() {
        install_crypto_provider();
        let key = KeyPair::generate().unwrap();
        let info = key.public_info();
        let signer = HeadSigner::new(Digest::of(b"cluster"), "web-1".parse().unwrap(), key);
        let spool = MemoryDisk::new(1 << 20);
        // Signatures differ in their length in DER: often enough to meet all.
        for number in 0..300 {
            let round = Round {
                transitions: vec![transition(number)],
                ..Round::default()
            };
            spool.commit_round(&round).unwrap();
            let (sequence, signed) = signer.sign(&spool, number + 1).unwrap().unwrap();
            assert_eq!((sequence, &signed.key), (number + 1, &info));
            let head = signed.open().unwrap();
            assert_eq!(head.told, spool.told().unwrap());
            assert_eq!(
                (head.cluster, head.agent.as_str()),
                (Digest::of(b"cluster"), "web-1")
            );
            let age = Timestamp::now().duration_since(head.at).as_secs();
            assert!((0..60).contains(&age));
        }
        assert!(signer.sign(&spool, 7).unwrap().is_none(), "it has moved on");
        assert!(signer.sign(&spool, 300).unwrap().is_some());
    }
}
