//! Daemons that come late, go and return.

use verger_agent_core::runtime::{Runtime, RuntimeEvent, RuntimeProblem, Watch};
use verger_agent_runtimes::conformance::Launcher;
use verger_agent_runtimes::docker::DockerRuntime;

use super::daemon::{Daemon, PATIENCE, unique};
use super::relay::Relay;

async fn next(watch: &mut dyn Watch) -> RuntimeEvent {
    tokio::time::timeout(PATIENCE, watch.next())
        .await
        .expect("an event in time")
        .expect("the watch goes on")
}

async fn until(watch: &mut dyn Watch, wanted: &RuntimeEvent) {
    while next(watch).await != *wanted {}
}

#[tokio::test]
async fn a_watch_begun_before_docker_sees_it_come() {
    let daemon = Daemon::connect().await;
    let folder = tempfile::tempdir().unwrap();
    let mut relay = Relay::closed(folder.path(), &daemon.socket);
    let runtime = DockerRuntime::new(daemon.config(relay.socket.clone()));
    let mut watch = runtime.watch();

    let error = runtime.list().await.unwrap_err();
    assert!(matches!(error.problem, RuntimeProblem::Unreachable(_)), "{error}");
    assert!(error.to_string().starts_with("docker at "), "{error}");

    relay.open();
    assert_eq!(next(&mut *watch).await, RuntimeEvent::Lost);
    let (id, _) = daemon.run(&unique("late"), |_| {}).await;
    until(&mut *watch, &RuntimeEvent::Started(id.clone())).await;
    assert!(
        runtime
            .list()
            .await
            .unwrap()
            .iter()
            .any(|listed| listed.instance.id == id)
    );
}

#[tokio::test]
async fn what_happened_while_docker_was_away_is_seen_after_its_return() {
    let daemon = Daemon::connect().await;
    let folder = tempfile::tempdir().unwrap();
    let mut relay = Relay::closed(folder.path(), &daemon.socket);
    relay.open();
    let runtime = DockerRuntime::new(daemon.config(relay.socket.clone()));
    let mut watch = runtime.watch();
    assert_eq!(next(&mut *watch).await, RuntimeEvent::Lost);
    let (kept, _) = daemon.run(&unique("kept"), |_| {}).await;
    let (removed, _) = daemon.run(&unique("removed"), |_| {}).await;
    until(&mut *watch, &RuntimeEvent::Started(removed.clone())).await;
    runtime.list().await.unwrap();

    relay.close().await;
    until(&mut *watch, &RuntimeEvent::Lost).await;
    assert!(runtime.list().await.is_err());
    // An update changes neither the listing nor config.json: only the loss tells that it must be read again.
    daemon.limit_pids(&kept, 77).await;
    daemon.remove(&removed).await.unwrap();

    relay.open();
    until(&mut *watch, &RuntimeEvent::Lost).await;
    let listed = runtime.list().await.unwrap();
    assert!(listed.iter().all(|listed| listed.instance.id != removed));
    let kept = listed.iter().find(|listed| listed.instance.id == kept).unwrap();
    assert_eq!(kept.instance.config.limits.pids.seen(), Some(&Some(77)));
}

#[tokio::test]
async fn an_update_is_told_and_seen() {
    let daemon = Daemon::connect().await;
    let runtime = daemon.runtime();
    let mut watch = runtime.watch();
    assert_eq!(next(&mut *watch).await, RuntimeEvent::Lost);
    let (id, _) = daemon.run(&unique("update"), |_| {}).await;
    until(&mut *watch, &RuntimeEvent::Started(id.clone())).await;
    let pids = async || {
        let listed = runtime.list().await.unwrap();
        let listed = listed
            .into_iter()
            .find(|listed| listed.instance.id == id)
            .unwrap();
        listed.instance.config.limits.pids.seen().cloned()
    };
    assert_eq!(pids().await, Some(None));
    daemon.limit_pids(&id, 55).await;
    until(&mut *watch, &RuntimeEvent::Changed(id.clone())).await;
    assert_eq!(pids().await, Some(Some(55)));
}
