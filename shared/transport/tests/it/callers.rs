//! What a listener refuses in its callers' certificates.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, Issuer, SanType};
use verger_transport::{Client, Identity};

use crate::cluster::{Cluster, HOUR, ended, issue, peer};
use crate::listener::Listener;

async fn listening(cluster: &Cluster) -> Listener {
    Listener::mutual(&cluster.server(&cluster.identity("controller/one"))).await
}

#[tokio::test]
async fn members_agents_and_people_are_known_by_their_names() {
    let cluster = Cluster::new('a');
    let mut listener = listening(&cluster).await;
    for name in ["controller/two", "agent/web-1", "person/ada"] {
        let client = cluster.client(&cluster.identity(name));
        assert_eq!(listener.accepts(&client).await, Some(peer(name)));
    }
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_refused_except_for_enrolment() {
    let cluster = Cluster::new('a');
    let server = cluster.server(&cluster.identity("controller/one"));
    let nobody = Arc::new(Client::pinned(&cluster.id, &cluster.pin()).unwrap());
    let mut mutual = Listener::mutual(&server).await;
    mutual.refuses(&nobody, "peer sent no certificates").await;
    let mut enrolment = Listener::enrolment(&server).await;
    assert_eq!(enrolment.accepts(&nobody).await, None);
}

#[tokio::test]
async fn a_name_of_another_kind_than_its_authority_is_refused() {
    let cluster = Cluster::new('a');
    let mut listener = listening(&cluster).await;
    let authorities = [
        ("controller/two", &cluster.members),
        ("agent/web-1", &cluster.agents),
        ("person/ada", &cluster.people),
    ];
    for (name, right) in authorities {
        for (_, wrong) in authorities
            .iter()
            .filter(|(_, wrong)| !std::ptr::eq(*wrong, right))
        {
            let client = cluster.client(&issue(wrong, &cluster.id, name, HOUR));
            listener.refuses(&client, "UnknownIssuer").await;
        }
        let client = cluster.client(&issue(right, &cluster.id, name, HOUR));
        assert_eq!(listener.accepts(&client).await, Some(peer(name)));
    }
}

#[tokio::test]
async fn another_clusters_name_is_refused_even_from_an_own_authority() {
    let cluster = Cluster::new('a');
    let mut listener = listening(&cluster).await;
    let client = cluster.client(&issue(&cluster.agents, &"b".repeat(64), "agent/web-1", HOUR));
    listener.refuses(&client, "NotValidForName").await;
    let client = cluster.client(&issue(&cluster.agents, &cluster.id, "agent/web-1", HOUR));
    assert_eq!(listener.accepts(&client).await, Some(peer("agent/web-1")));
}

#[tokio::test]
async fn another_clusters_authority_is_refused_even_with_the_right_name() {
    let (cluster, other) = (Cluster::new('a'), Cluster::new('b'));
    let mut listener = listening(&cluster).await;
    let client = cluster.client(&issue(&other.agents, &cluster.id, "agent/web-1", HOUR));
    listener.refuses(&client, "UnknownIssuer").await;
    let client = cluster.client(&issue(&cluster.agents, &cluster.id, "agent/web-1", HOUR));
    assert_eq!(listener.accepts(&client).await, Some(peer("agent/web-1")));
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let cluster = Cluster::new('a');
    let mut listener = listening(&cluster).await;
    let short = issue(&cluster.agents, &cluster.id, "agent/web-1", Duration::ZERO);
    ended(&short).await;
    listener
        .refuses(&cluster.client(&short), "certificate expired")
        .await;
    let client = cluster.client(&issue(&cluster.agents, &cluster.id, "agent/web-1", HOUR));
    assert_eq!(listener.accepts(&client).await, Some(peer("agent/web-1")));
}

#[tokio::test]
async fn a_caller_that_was_accepted_is_refused_once_its_certificate_has_expired() {
    let cluster = Cluster::new('a');
    let mut listener = listening(&cluster).await;
    let short = issue(
        &cluster.agents,
        &cluster.id,
        "agent/web-1",
        Duration::from_secs(2),
    );
    let client = cluster.client(&short);
    assert_eq!(listener.accepts(&client).await, Some(peer("agent/web-1")));
    ended(&short).await;
    listener.refuses(&client, "certificate expired").await;
}

/// A certificate by the agents' authority with these URIs.
fn with_names(cluster: &Cluster, uris: &[String]) -> Identity {
    let pem = fs::read_to_string(cluster.dir().join("ca-agents.pem")).unwrap();
    let key = rcgen::KeyPair::from_pem(&pem[pem.find("-----BEGIN PRIVATE KEY").unwrap()..]).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&pem, key).unwrap();
    let own = rcgen::KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.subject_alt_names = uris
        .iter()
        .map(|uri| SanType::URI(uri.as_str().try_into().unwrap()))
        .collect();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params.signed_by(&own, &issuer).unwrap();
    Identity::from_pem(&format!("{}{pem}", leaf.pem()), &own.serialize_pem()).unwrap()
}

#[tokio::test]
async fn a_certificate_must_name_exactly_one_peer() {
    let cluster = Cluster::new('a');
    let mut listener = listening(&cluster).await;
    let name = |peer: &str| format!("spiffe://{}/{peer}", cluster.id);
    for uris in [
        vec![],
        vec![name("agent/web-1"), name("agent/web-2")],
        vec![name("agent/web-1"), "https://example.com/".to_owned()],
        vec![name("agent/web-1/extra")],
        vec![name("root/web-1")],
        vec![name("agent/web-1").to_uppercase()],
    ] {
        let client = cluster.client(&with_names(&cluster, &uris));
        listener.refuses(&client, "NotValidForName").await;
    }
    let client = cluster.client(&with_names(&cluster, &[name("agent/web-1")]));
    assert_eq!(listener.accepts(&client).await, Some(peer("agent/web-1")));
}
