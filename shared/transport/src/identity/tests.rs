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

#[test]
fn signatures_of_any_length_in_der_have_64_bytes() {
    // A number that is short in DER comes about once in 128.
    let key = KeyPair::generate().unwrap();
    for message in 0..600_u32 {
        assert_ne!(key.sign(&message.to_be_bytes()).unwrap(), [0; 64]);
    }
    let der = |r: &[u8], s: &[u8]| {
        let body = [&[2, r.len() as u8][..], r, &[2, s.len() as u8], s].concat();
        [&[0x30, body.len() as u8][..], &body].concat()
    };
    let mut wanted = [0; 64];
    (wanted[31], wanted[32]) = (7, 0x80);
    let long = [&[0, 0x80][..], &[0; 31]].concat();
    assert_eq!(fixed(&der(&[7], &long)), Some(wanted));
    let whole = der(&[7], &[8]);
    let wrong = [
        &whole[..whole.len() - 1],
        &[&whole[..], &[0]].concat(),
        &der(&[1; 33], &[8]),
        b"",
        b"\x30\x00",
    ]
    .map(<[u8]>::to_vec);
    for wrong in wrong {
        assert_eq!(fixed(&wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_file_that_is_renewed_over_and_over_does_not_grow() {
    let (issuer, key) = (Issuer::new(), KeyPair::generate().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("identity.pem");
    let first = Identity::new(issuer.chain(&key, "agent/web-1", HOUR), &key);
    first.save(&file).unwrap();
    let size = std::fs::metadata(&file).unwrap().len();
    for _ in 0..5 {
        let held = Identity::load(&file).unwrap();
        let renewed = held.renewed(issuer.chain(&key, "agent/web-1", 2 * HOUR)).unwrap();
        assert_eq!(renewed.chain.len(), 2);
        renewed.save(&file).unwrap();
        // The size of a signature differs by a few bytes.
        let now = std::fs::metadata(&file).unwrap().len();
        assert!(now.abs_diff(size) < 32, "{now} bytes after {size}");
    }
    Identity::load(&file).unwrap().certified().unwrap();
}

#[test]
fn what_older_versions_left_behind_in_a_file_is_not_taken_for_a_part_of_the_chain() {
    let (issuer, key) = (Issuer::new(), KeyPair::generate().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("identity.pem");
    let of = |life| Identity::new(issuer.chain(&key, "agent/web-1", life), &key);
    let (new, old) = (of(2 * HOUR), of(HOUR));
    let text = [
        new.chain_pem(),
        old.chain_pem(),
        old.chain_pem(),
        key.to_pem().to_string(),
    ]
    .concat();
    crate::files::create(&file, text.as_bytes()).unwrap();
    let held = Identity::load(&file).unwrap();
    assert_eq!(held.chain_pem(), new.chain_pem());
    assert_eq!(held.not_after().unwrap(), new.not_after().unwrap());
    held.certified().unwrap();
    held.save(&file).unwrap();
    let saved = std::fs::read_to_string(&file).unwrap();
    assert_eq!(saved.matches("-----BEGIN").count(), 3, "{saved}");
}
