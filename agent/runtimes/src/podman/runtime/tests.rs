#![allow(clippy::unwrap_used)]
use super::*;
use crate::podman::tests::{ID, Storage};

fn runtime(storage: &Storage) -> PodmanRuntime {
    PodmanRuntime::new(storage.roots())
}

async fn only(runtime: &PodmanRuntime) -> Listed {
    let mut listed = runtime.list().await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    listed.remove(0)
}

/// A storage whose container runs: its first process is this one.
fn running() -> Storage {
    let storage = Storage::new();
    storage.leave(&std::process::id().to_string());
    storage
}

#[tokio::test]
async fn where_there_is_no_podman_nothing_is_listed_and_nothing_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = PodmanRuntime::new(PodmanRoots {
        graph: dir.path().join("graph"),
        run: dir.path().join("run"),
    });
    assert_eq!(runtime.list().await, Ok(Vec::new()));
    assert_eq!(runtime.inspect(&instance(ID)).await, Ok(None));
    assert_eq!(
        runtime.watch().next().await,
        Some(verger_agent_core::runtime::RuntimeEvent::Lost)
    );
}

#[tokio::test]
async fn what_runs_is_what_its_files_say_and_the_same_value_until_they_say_other() {
    let storage = running();
    let runtime = runtime(&storage);
    let one = only(&runtime).await;
    assert_eq!(
        (one.phase, one.init_pid),
        (Phase::Running, Some(std::process::id()))
    );
    assert_eq!(one.instance.id, instance(ID));
    assert_eq!(
        (one.instance.name.as_str(), &one.instance.image),
        ("web", &Evidence::Seen(storage.image))
    );
    assert_eq!(
        one.instance.config.command,
        Evidence::Seen(vec!["/app".to_owned()])
    );
    assert!(Arc::ptr_eq(&one.instance, &only(&runtime).await.instance));
    let inspected = runtime.inspect(&one.instance.id).await.unwrap().unwrap();
    assert_eq!(inspected, one);
    assert!(Arc::ptr_eq(&one.instance, &only(&runtime).await.instance));

    storage.replace("overlay-containers/containers.json", "\"web\"", "\"shop\"");
    assert_eq!(only(&runtime).await.instance.name, "shop");
    storage.write(
        &storage.config_path(),
        &storage.config().replace("\"/app\"", "\"/other\""),
    );
    let other = only(&runtime).await.instance;
    assert_eq!(other.config.command, Evidence::Seen(vec!["/other".to_owned()]));
}

#[tokio::test]
async fn what_was_made_has_no_process_and_what_has_ended_is_not_listed() {
    let storage = Storage::new();
    let runtime = runtime(&storage);
    // The pid that is left there is nobody's.
    assert_eq!(runtime.list().await, Ok(Vec::new()));
    storage.leave_none();
    let made = only(&runtime).await;
    assert_eq!((made.phase, made.init_pid), (Phase::Created, None));
    assert_eq!(made.instance.name, "web");
    assert_eq!(made.instance.image, Evidence::missing(NOT_STARTED));
    assert!(Arc::ptr_eq(&made.instance, &only(&runtime).await.instance));
}

#[tokio::test]
async fn what_was_seen_to_run_runs_while_its_process_does_whatever_is_left_of_its_pid() {
    let storage = running();
    let runtime = runtime(&storage);
    let one = only(&runtime).await;
    storage.leave("4194305");
    assert_eq!(only(&runtime).await, one);
    storage.leave_none();
    assert_eq!(only(&runtime).await, one);
    // Who did not see it run goes by the files.
    assert_eq!(
        only(&super::PodmanRuntime::new(storage.roots())).await.phase,
        Phase::Created
    );
    storage.write("overlay-containers/containers.json", "[]");
    storage.forget();
    let unlisted = only(&runtime).await;
    assert_eq!((unlisted.phase, unlisted.init_pid), (one.phase, one.init_pid));
    assert_eq!(unlisted.instance.image, Evidence::missing(UNLISTED));
}

#[tokio::test]
async fn what_cannot_be_read_and_may_run_is_listed_with_the_reason() {
    type Damage = fn(&Storage);
    let cases: [(Damage, &str); 5] = [
        (
            |storage| storage.write("overlay-containers/containers.json", "["),
            "containers.json",
        ),
        (
            |storage| storage.write("overlay-containers/containers.json", "[]"),
            UNLISTED,
        ),
        (
            |storage| storage.write(&storage.config_path(), "{"),
            "config.json",
        ),
        (
            |storage| std::fs::remove_file(storage.graph().join(storage.config_path())).unwrap(),
            "config.json",
        ),
        (|storage| storage.leave("no number"), "pidfile holds no pid"),
    ];
    for (damage, says) in cases {
        let storage = running();
        let runtime = runtime(&storage);
        only(&runtime).await;
        damage(&storage);
        let one = only(&runtime).await;
        assert_eq!(
            (one.phase, &one.instance.id),
            (Phase::Running, &instance(ID)),
            "{says}"
        );
        let Evidence::Missing(why) = &one.instance.config.command else {
            panic!("{says}: {one:?}")
        };
        assert!(why.contains(says), "{says}: {why}");
    }
}

#[tokio::test]
async fn a_network_that_is_named_by_a_path_is_not_taken_for_its_own() {
    let storage = running();
    let named = r#"{"type":"network","path":"/run/netns/blue"}"#;
    let config = storage.config().replace(r#"{"type":"network"}"#, named);
    storage.write(&storage.config_path(), &config);
    let network = only(&runtime(&storage))
        .await
        .instance
        .config
        .namespaces
        .network
        .clone();
    assert_eq!(
        network,
        Evidence::Seen(NamespaceOwner::Instance("/run/netns/blue".to_owned()))
    );
}
