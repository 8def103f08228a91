//! What a caller refuses in the certificate of the controller it reaches.

use std::sync::Arc;
use std::time::Duration;

use verger_transport::{Client, Identity, KeyPair};

use crate::cluster::{Cluster, HOUR, certify, ended, issue, peer};
use crate::listener::Listener;

const NOT_FOR_SERVERS: &str = "does not allow extended key usage for server";

/// An agent of `cluster` calls a controller with this certificate.
async fn refused(cluster: &Cluster, controller: &Identity, reason: &str) {
    let client = cluster.client(&cluster.identity("agent/web-1"));
    Listener::mutual(&cluster.server(controller))
        .await
        .is_refused_by(&client, reason)
        .await;
}

async fn accepted(cluster: &Cluster, controller: &Identity) {
    let client = cluster.client(&cluster.identity("agent/web-1"));
    let mut listener = Listener::mutual(&cluster.server(controller)).await;
    assert_eq!(listener.accepts(&client).await, Some(peer("agent/web-1")));
}

#[tokio::test]
async fn an_agent_or_a_person_cannot_pass_for_a_controller() {
    let cluster = Cluster::new('a');
    for (authority, name, reason) in [
        (&cluster.agents, "agent/web-2", NOT_FOR_SERVERS),
        (&cluster.people, "person/ada", NOT_FOR_SERVERS),
        (&cluster.agents, "controller/one", "UnknownIssuer"),
        (&cluster.people, "controller/one", "UnknownIssuer"),
        // No authority issues this one; the purpose in it is checked all the same.
        (&cluster.members, "agent/web-2", NOT_FOR_SERVERS),
    ] {
        refused(&cluster, &issue(authority, &cluster.id, name, HOUR), reason).await;
    }
    accepted(
        &cluster,
        &issue(&cluster.members, &cluster.id, "controller/one", HOUR),
    )
    .await;
}

#[tokio::test]
async fn another_clusters_controller_is_refused() {
    let (cluster, other) = (Cluster::new('a'), Cluster::new('b'));
    refused(&cluster, &other.identity("controller/one"), "UnknownIssuer").await;
    refused(
        &cluster,
        &issue(&other.members, &cluster.id, "controller/one", HOUR),
        "UnknownIssuer",
    )
    .await;
    refused(
        &cluster,
        &issue(&cluster.members, &other.id, "controller/one", HOUR),
        "NotValidForName",
    )
    .await;
    accepted(
        &cluster,
        &issue(&cluster.members, &cluster.id, "controller/one", HOUR),
    )
    .await;
}

#[tokio::test]
async fn an_expired_controller_is_refused() {
    let cluster = Cluster::new('a');
    let short = issue(&cluster.members, &cluster.id, "controller/one", Duration::ZERO);
    ended(&short).await;
    refused(&cluster, &short, "certificate expired").await;
    accepted(
        &cluster,
        &issue(&cluster.members, &cluster.id, "controller/one", HOUR),
    )
    .await;
}

#[tokio::test]
async fn what_time_it_is_at_least_counts_and_not_this_hosts_clock_where_it_is_known() {
    let cluster = Cluster::new('a');
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        i64::try_from(since.unwrap().as_secs()).unwrap()
    };
    let certificate = |hours: u32| issue(&cluster.members, &cluster.id, "controller/one", HOUR * hours);
    let day = 86_400;
    // A certificate of the past hour, whatever year this host thinks it is.
    let short = issue(&cluster.members, &cluster.id, "controller/one", Duration::ZERO);
    ended(&short).await;
    for (held, certain, reason) in [
        // It has ended by this host's clock, and not by what is sure.
        (&short, now() - day, None),
        // It is good by this host's clock, and had ended by what is sure.
        (&certificate(1), now() + day, Some("certificate expired")),
        (&certificate(1), now(), None),
        // What is sure is long ago: the certificate is younger than that.
        (&certificate(1), now() - 3_650 * day, None),
    ] {
        let client = cluster.client(&cluster.identity("agent/web-1"));
        client.believe(certain);
        let mut listener = Listener::mutual(&cluster.server(held)).await;
        match reason {
            Some(reason) => listener.is_refused_by(&client, reason).await,
            None => assert_eq!(listener.accepts(&client).await, Some(peer("agent/web-1"))),
        }
    }
    // One of another authority is refused however old it is.
    let other = Cluster::new('b');
    let client = cluster.client(&cluster.identity("agent/web-1"));
    client.believe(now());
    Listener::mutual(&cluster.server(&other.identity("controller/one")))
        .await
        .is_refused_by(&client, "UnknownIssuer")
        .await;
}

#[tokio::test]
async fn a_pin_admits_only_its_authority() {
    let (cluster, other) = (Cluster::new('a'), Cluster::new('b'));
    let pinned = |pin: &str| Arc::new(Client::pinned(&cluster.id, pin).unwrap());
    let mut listener = Listener::enrolment(&cluster.server(&cluster.identity("controller/one"))).await;
    listener
        .is_refused_by(&pinned(&other.pin()), "UnknownIssuer")
        .await;
    listener.is_refused_by(&pinned(""), "UnknownIssuer").await;
    assert_eq!(listener.accepts(&pinned(&cluster.pin())).await, None);
}

#[tokio::test]
async fn showing_the_pinned_authority_beside_a_certificate_of_another_does_not_help() {
    let (cluster, other) = (Cluster::new('a'), Cluster::new('b'));
    let client = Arc::new(Client::pinned(&cluster.id, &cluster.pin()).unwrap());
    let key = KeyPair::generate().unwrap();
    let mut chain = certify(&other.members, &key, &cluster.id, "controller/one", HOUR).chain;
    chain.insert(1, cluster.members.certificate().to_vec());
    let mut listener = Listener::enrolment(&cluster.server(&Identity::new(chain, &key))).await;
    listener.is_refused_by(&client, "invalid peer certificate").await;

    let mut chain = certify(&cluster.members, &key, &cluster.id, "controller/one", HOUR).chain;
    chain.insert(1, other.members.certificate().to_vec());
    let mut listener = Listener::enrolment(&cluster.server(&Identity::new(chain, &key))).await;
    assert_eq!(listener.accepts(&client).await, None);
}

#[tokio::test]
async fn a_pinned_authority_does_not_make_an_agent_or_another_cluster_a_controller() {
    let cluster = Cluster::new('a');
    let client = Arc::new(Client::pinned(&cluster.id, &cluster.pin()).unwrap());
    for (id, name, reason) in [
        (cluster.id.as_str(), "agent/web-1", NOT_FOR_SERVERS),
        (&"b".repeat(64), "controller/one", "NotValidForName"),
    ] {
        let server = cluster.server(&issue(&cluster.members, id, name, HOUR));
        Listener::enrolment(&server)
            .await
            .is_refused_by(&client, reason)
            .await;
    }
    let server = cluster.server(&issue(&cluster.members, &cluster.id, "controller/one", HOUR));
    assert_eq!(Listener::enrolment(&server).await.accepts(&client).await, None);
}
