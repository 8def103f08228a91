//! Nobody takes all the connections there is room for.

use std::sync::Arc;

use verger_transport::Client;

use crate::cluster::{Cluster, peer};
use crate::listener::Listener;

/// Connections that an agent may have.
const AGENT: usize = 16;

#[tokio::test]
async fn one_agents_connections_are_bounded_and_others_are_let_in() {
    let cluster = Cluster::new('a');
    let mut listener = Listener::mutual(&cluster.server(&cluster.identity("controller/c1"))).await;
    let greedy = cluster.client(&cluster.identity("agent/h1"));
    let mut open = Vec::new();
    for _ in 0..AGENT {
        open.push(listener.connects(&greedy).await.0);
    }
    listener
        .refuses(&greedy, "the caller has too many connections open already")
        .await;
    // Who has the same name and another key is somebody else: one of the two may have been stolen.
    let again: Arc<Client> = cluster.client(&cluster.identity("agent/h1"));
    assert_eq!(listener.accepts(&again).await, Some(peer("agent/h1")));
    let other = cluster.client(&cluster.identity("agent/h2"));
    assert_eq!(listener.accepts(&other).await, Some(peer("agent/h2")));
    // What is open goes on, and what is closed makes room.
    assert_eq!(listener.answers(&open[0]).await, Some(peer("agent/h1")));
    drop(open);
    assert_eq!(listener.admits(&greedy).await, Some(peer("agent/h1")));
}
