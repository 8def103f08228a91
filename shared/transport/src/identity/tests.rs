#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;
use crate::{Authority, Purpose, SpiffeId, install_crypto_provider};

const HOUR: Duration = Duration::from_secs(3_600);

struct Issuer {
    authority: Authority,
    cluster: String,
}

impl Issuer {
    fn new() -> Self {
        install_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        let cluster = "ab".repeat(32);
        Self {
            authority: Authority::create(folder.path(), Purpose::Agents, &cluster).unwrap(),
            cluster,
        }
    }

    fn chain(&self, key: &KeyPair, peer: &str, life: Duration) -> Vec<Vec<u8>> {
        let id = SpiffeId {
            cluster: self.cluster.clone(),
            peer: peer.parse().unwrap(),
        };
        self.authority
            .issue(&key.request().unwrap(), &id, life, &[])
            .unwrap()
            .chain
    }
}

#[test]
fn only_a_certificate_of_the_same_peer_and_key_that_ends_later_replaces_one() {
    let (issuer, key) = (Issuer::new(), KeyPair::generate().unwrap());
    let old = Identity::new(issuer.chain(&key, "agent/web-1", HOUR), &key);
    let good = issuer.chain(&key, "agent/web-1", 2 * HOUR);
    let renewed = old.renewed(good.clone()).unwrap();
    assert_eq!(renewed.key_pem(), old.key_pem());
    assert!(renewed.not_after().unwrap() > old.not_after().unwrap());

    let others = KeyPair::generate().unwrap();
    let mut no_authority = good.clone();
    no_authority[1].truncate(40);
    let mut trailing = good.clone();
    trailing[0].push(0);
    for (what, chain) in [
        ("nothing", Vec::new()),
        ("an empty certificate", vec![Vec::new()]),
        ("no certificate", vec![b"certificate".to_vec()]),
        ("a chain that is cut off", no_authority),
        ("more than a certificate", trailing),
        ("another's key", issuer.chain(&others, "agent/web-1", 2 * HOUR)),
        ("another's name", issuer.chain(&key, "agent/web-2", 2 * HOUR)),
        ("another's kind", issuer.chain(&key, "person/web-1", 2 * HOUR)),
        ("an earlier end", issuer.chain(&key, "agent/web-1", HOUR / 2)),
        (
            "the authority before the leaf",
            good.iter().rev().cloned().collect(),
        ),
    ] {
        assert!(old.renewed(chain).is_err(), "{what}");
    }
}

#[test]
fn a_certificate_that_has_ended_replaces_nothing_not_even_one_that_ended_before_it() {
    let (issuer, key) = (Issuer::new(), KeyPair::generate().unwrap());
    let ended = Identity::new(issuer.chain(&key, "agent/web-1", Duration::ZERO), &key);
    let again = issuer.chain(&key, "agent/web-1", Duration::ZERO);
    let error = ended.renewed(again).err().unwrap().to_string();
    assert!(error.contains("ended already"), "{error}");
    ended.renewed(issuer.chain(&key, "agent/web-1", HOUR)).unwrap();
}
