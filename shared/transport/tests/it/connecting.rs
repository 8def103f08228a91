//! Which of several addresses is taken, and what is said when none is.

use std::net::TcpListener;
use std::sync::Arc;

use verger_transport::{ConnectError, certificate_of, channel};

use crate::cluster::{Cluster, peer};
use crate::listener::Listener;

/// An address where nobody listens.
fn deserted() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

#[tokio::test]
async fn the_first_address_that_answers_is_taken() {
    let cluster = Cluster::new('a');
    let client = cluster.client(&cluster.identity("agent/web-1"));
    let mut listener = Listener::mutual(&cluster.server(&cluster.identity("controller/one"))).await;
    let addresses = [deserted(), listener.address.to_string()];
    let channel = channel(client, &addresses).await.unwrap();
    assert_eq!(listener.answers(&channel).await, Some(peer("agent/web-1")));
}

#[tokio::test]
async fn an_error_names_every_address_or_the_malformed_one() {
    let cluster = Cluster::new('a');
    let client = cluster.client(&cluster.identity("agent/web-1"));
    let tried = [deserted(), deserted()];
    let error = channel(Arc::clone(&client), &tried)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&tried[0]) && error.contains(&tried[1]) && error.contains("refused"),
        "{error}"
    );
    assert!(matches!(
        channel(Arc::clone(&client), &[]).await,
        Err(ConnectError::NoAddress)
    ));
    let error = channel(client, &["not an address".to_owned()]).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::Address(address) if address == "not an address"),
        "{error}"
    );
}

#[test]
fn a_request_that_came_over_no_connection_is_nobodys() {
    assert_eq!(certificate_of(&tonic::Request::new(())), None);
}
