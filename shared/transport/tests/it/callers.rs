//! What a listener refuses in its callers' certificates.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, Issuer, SanType};
use verger_transport::{Client, Identity, KeyPair, RENEWAL_GRACE};

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
async fn an_ended_certificate_is_refused_except_an_agents_which_is_told_apart() {
    let cluster = Cluster::new('a');
    let mut listener = listening(&cluster).await;
    let people = issue(&cluster.people, &cluster.id, "person/ada", Duration::ZERO);
    let member = issue(&cluster.members, &cluster.id, "controller/two", Duration::ZERO);
    let agent = issue(&cluster.agents, &cluster.id, "agent/web-1", Duration::ZERO);
    for short in [&people, &member, &agent] {
        ended(short).await;
    }
    for short in [&people, &member] {
        listener
            .refuses(&cluster.client(short), "certificate expired")
            .await;
    }
    let (channel, name) = listener.connects(&cluster.client(&agent)).await;
    assert_eq!(name, Some(peer("agent/web-1")));
    let seen = listener.calls_with(&channel).await.unwrap();
    assert_eq!(
        seen.not_after,
        agent.not_after().unwrap(),
        "whoever serves it can tell"
    );
    let client = cluster.client(&issue(&cluster.agents, &cluster.id, "agent/web-1", HOUR));
    assert_eq!(listener.accepts(&client).await, Some(peer("agent/web-1")));
}

#[tokio::test]
async fn an_agents_certificate_that_ended_long_ago_is_refused() {
    let cluster = Cluster::new('a');
    let mut listener = listening(&cluster).await;
    let grace = i64::try_from(RENEWAL_GRACE.as_secs()).unwrap();
    let long_ago = with_end(&cluster, -grace - 3_600);
    listener
        .refuses(&cluster.client(&long_ago), "certificate expired")
        .await;
    let in_time = with_end(&cluster, 3_600 - grace);
    assert_eq!(
        listener.accepts(&cluster.client(&in_time)).await,
        Some(peer("agent/web-1"))
    );
    // The grace is for the end alone: not for another authority.
    let forged = with_end(&Cluster::new('a'), -60);
    listener.refuses(&cluster.client(&forged), "BadSignature").await;
}

#[tokio::test]
async fn a_persons_connection_ends_with_the_certificate_and_an_agents_goes_on() {
    let cluster = Cluster::new('a');
    let mut listener = listening(&cluster).await;
    let short = |authority, name| issue(authority, &cluster.id, name, Duration::from_secs(2));
    let person = short(&cluster.people, "person/ada");
    let agent = short(&cluster.agents, "agent/web-1");
    let (persons, name) = listener.connects(&cluster.client(&person)).await;
    assert_eq!(name, Some(peer("person/ada")));
    let (agents, _) = listener.connects(&cluster.client(&agent)).await;
    listener.closes(&persons).await;
    ended(&agent).await;
    assert_eq!(listener.answers(&agents).await, Some(peer("agent/web-1")));
    listener
        .refuses(&cluster.client(&person), "certificate expired")
        .await;
}

#[tokio::test]
async fn whoever_opens_sockets_and_says_nothing_keeps_nobody_out() {
    let cluster = Cluster::new('a');
    let mut listener = listening(&cluster).await;
    let mut silent = Vec::new();
    for _ in 0..1_100 {
        silent.push(tokio::net::TcpStream::connect(listener.address).await.unwrap());
    }
    let client = cluster.client(&issue(&cluster.agents, &cluster.id, "agent/web-1", HOUR));
    let came_in = tokio::time::timeout(Duration::from_secs(5), listener.accepts(&client)).await;
    assert_eq!(came_in, Ok(Some(peer("agent/web-1"))));
    // The oldest were ended for the others.
    let mut byte = [0];
    let oldest = tokio::io::AsyncReadExt::read(&mut silent[0], &mut byte).await;
    assert!(matches!(oldest, Ok(0) | Err(_)), "{oldest:?}");
}

/// A certificate of an agent, good for an hour before its end, which is that many seconds from now.
fn with_end(cluster: &Cluster, seconds: i64) -> Identity {
    let pem = fs::read_to_string(cluster.dir().join("ca-agents.pem")).unwrap();
    let key = rcgen::KeyPair::from_pem(&pem[pem.find("-----BEGIN PRIVATE KEY").unwrap()..]).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&pem, key).unwrap();
    let own = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    let uri = format!("spiffe://{}/agent/web-1", cluster.id);
    params
        .subject_alt_names
        .push(SanType::URI(uri.try_into().unwrap()));
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let end = time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    params.not_before = end - time::Duration::hours(1);
    params.not_after = end;
    let key = rcgen::KeyPair::from_pem(&own.to_pem()).unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    Identity::new(
        vec![leaf.der().to_vec(), cluster.agents.certificate().to_vec()],
        &own,
    )
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

#[tokio::test]
async fn all_connections_that_are_open_can_be_ended_and_who_comes_anew_is_let_in() {
    let cluster = Cluster::new('a');
    let server = cluster.server(&cluster.identity("controller/one"));
    let mut listener = Listener::mutual(&server).await;
    let agent = cluster.client(&cluster.identity("agent/web-1"));
    let (channel, _) = listener.connects(&agent).await;
    assert_eq!(listener.answers(&channel).await, Some(peer("agent/web-1")));
    server.end_all();
    listener.closes(&channel).await;
    assert_eq!(listener.accepts(&agent).await, Some(peer("agent/web-1")));
}
