//! Certificates are replaced while listeners and connections go on.

use verger_transport::{Identity, KeyPair};

use crate::cluster::{Cluster, HOUR, issue, peer};
use crate::listener::Listener;

#[tokio::test]
async fn a_listener_uses_its_new_certificate_from_the_next_handshake_on() {
    let cluster = Cluster::new('a');
    let server = cluster.server(&cluster.identity("controller/one"));
    let mut listener = Listener::mutual(&server).await;
    let client = cluster.client(&cluster.identity("agent/web-1"));
    let (before, _) = listener.connects(&client).await;

    // A certificate that callers refuse shows that it is the one in use.
    server
        .replace(&issue(&cluster.members, &"b".repeat(64), "controller/one", HOUR))
        .unwrap();
    listener.is_refused_by(&client, "NotValidForName").await;
    assert_eq!(
        listener.answers(&before).await,
        Some(peer("agent/web-1")),
        "an open connection goes on"
    );

    server.replace(&cluster.identity("controller/one")).unwrap();
    assert_eq!(listener.accepts(&client).await, Some(peer("agent/web-1")));
}

#[tokio::test]
async fn a_caller_uses_its_new_certificate_from_the_next_handshake_on() {
    let cluster = Cluster::new('a');
    let mut listener = Listener::mutual(&cluster.server(&cluster.identity("controller/one"))).await;
    let client = cluster.client(&cluster.identity("agent/web-1"));
    let (before, name) = listener.connects(&client).await;
    assert_eq!(name, Some(peer("agent/web-1")));

    client.replace(&cluster.identity("agent/web-2")).unwrap();
    assert_eq!(listener.accepts(&client).await, Some(peer("agent/web-2")));
    assert_eq!(
        listener.answers(&before).await,
        Some(peer("agent/web-1")),
        "an open connection goes on"
    );
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_its_key_is_not_taken_and_the_old_one_stays() {
    let cluster = Cluster::new('a');
    let server = cluster.server(&cluster.identity("controller/one"));
    let mut listener = Listener::mutual(&server).await;
    let client = cluster.client(&cluster.identity("agent/web-1"));
    let stranger = KeyPair::generate().unwrap();
    let broken =
        |peer: &str| Identity::from_pem(&cluster.identity(peer).chain_pem(), &stranger.to_pem()).unwrap();
    assert!(server.replace(&broken("controller/one")).is_err());
    assert!(client.replace(&broken("agent/web-2")).is_err());
    assert_eq!(listener.accepts(&client).await, Some(peer("agent/web-1")));
}
