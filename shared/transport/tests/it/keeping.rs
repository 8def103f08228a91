//! Authorities and identities outlive the process that made them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use verger_transport::{Authority, Identity, KeyPair, Purpose, spki_pin};

use crate::cluster::{Cluster, HOUR, certify, issue, peer};
use crate::listener::Listener;

#[tokio::test]
async fn an_authority_that_was_read_back_issues_what_the_first_one_would() {
    let cluster = Cluster::new('a');
    let again = Authority::load(cluster.dir(), Purpose::Agents).unwrap();
    assert_eq!(again.certificate(), cluster.agents.certificate());
    let mut listener = Listener::mutual(&cluster.server(&cluster.identity("controller/one"))).await;
    let client = cluster.client(&issue(&again, &cluster.id, "agent/web-1", HOUR));
    assert_eq!(listener.accepts(&client).await, Some(peer("agent/web-1")));
}

#[tokio::test]
async fn an_identity_that_was_saved_connects_as_before() {
    let cluster = Cluster::new('a');
    let file = cluster.dir().join("agent.pem");
    let made = cluster.identity("agent/web-1");
    made.save(&file).unwrap();
    let read = Identity::load(&file).unwrap();
    assert_eq!(
        (read.chain_pem(), read.not_after().unwrap()),
        (made.chain_pem(), made.not_after().unwrap())
    );
    assert_eq!(read.key().unwrap().to_pem(), made.key().unwrap().to_pem());
    let mut listener = Listener::mutual(&cluster.server(&cluster.identity("controller/one"))).await;
    assert_eq!(
        listener.accepts(&cluster.client(&read)).await,
        Some(peer("agent/web-1"))
    );
}

#[test]
fn the_key_of_a_saved_identity_is_found_behind_its_certificates() {
    let cluster = Cluster::new('a');
    let file = cluster.dir().join("agent.pem");
    cluster.identity("agent/web-1").save(&file).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("-----BEGIN CERTIFICATE-----"));
    let key = Identity::load(&file).unwrap().key().unwrap();
    assert!(text.ends_with(key.to_pem().as_str()));
}

#[test]
fn an_authority_is_made_once_and_its_file_is_private() {
    let cluster = Cluster::new('a');
    let file = cluster.dir().join("ca-members.pem");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let error = Authority::create(cluster.dir(), Purpose::Members, &cluster.id)
        .err()
        .unwrap();
    assert!(error.to_string().contains("exists"), "{error}");
    let kept = Authority::load(cluster.dir(), Purpose::Members).unwrap();
    assert_eq!(kept.certificate(), cluster.members.certificate());

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let error = Authority::load(cluster.dir(), Purpose::Members).err().unwrap();
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

#[test]
fn every_changed_byte_of_an_authority_is_refused_by_name_or_changes_nothing() {
    let cluster = Cluster::new('a');
    let file = cluster.dir().join("ca-members.pem");
    let whole = fs::read(&file).unwrap();
    let mut refused = 0;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&file, bytes).unwrap();
        match Authority::load(cluster.dir(), Purpose::Members) {
            Ok(kept) => assert_eq!(kept.certificate(), cluster.members.certificate(), "byte {at}"),
            Err(error) => {
                let error = error.to_string();
                assert!(
                    error.contains("ca-members.pem") && error.contains("restore it"),
                    "{error}"
                );
                refused += 1;
            }
        }
    }
    assert!(refused > whole.len() / 2, "{refused} of {}", whole.len());
}

#[test]
fn a_request_that_its_key_did_not_sign_is_refused() {
    let cluster = Cluster::new('a');
    let key = KeyPair::generate().unwrap();
    let request = key.request().unwrap();
    let digest = Authority::key_digest(&request).unwrap();
    let leaf = certify(&cluster.agents, &key, &cluster.id, "agent/web-1", HOUR)
        .chain
        .remove(0);
    assert_eq!(
        spki_pin(&leaf).unwrap(),
        format!("sha256:{}", hex::encode(digest))
    );

    // The last byte is the signature's.
    let mut forged = request.clone();
    *forged.last_mut().unwrap() ^= 1;
    let id = verger_transport::SpiffeId {
        cluster: cluster.id.clone(),
        peer: peer("agent/web-1"),
    };
    assert!(Authority::key_digest(&forged).is_err());
    assert!(cluster.agents.issue(&forged, &id, HOUR, &[]).is_err());
    for length in 0..request.len() {
        assert!(Authority::key_digest(&request[..length]).is_err(), "{length}");
    }
}
