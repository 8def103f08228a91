#![allow(clippy::unwrap_used)]

use verger_policy::model::{Resource, Verb};

use super::*;

fn read(text: &str) -> Result<Call, Refusal> {
    let (method, target) = text.split_once(' ').unwrap();
    Call::read(Engine::Docker, method, target)
}

fn read_podmans(text: &str) -> Result<Call, Refusal> {
    let (method, target) = text.split_once(' ').unwrap();
    Call::read(Engine::Podman, method, target)
}

/// What a call asks for, in words: `exec container web`.
fn wishes(text: &str) -> Vec<String> {
    in_words(&read(text).unwrap_or_else(|refusal| panic!("{text}: {refusal}")))
}

fn in_words(call: &Call) -> Vec<String> {
    let wish = |wish: &Wish| {
        let on = match &wish.on {
            On::All(resource) => resource.to_string(),
            On::Container(name) => format!("container {name}"),
            On::Exec(id) => format!("exec {id}"),
            On::Made => "made".to_owned(),
        };
        format!("{} {on}", wish.verb)
    };
    call.wishes().iter().map(wish).collect()
}

#[test]
fn each_call_asks_for_what_it_does() {
    for (call, asks) in [
        ("GET /_ping", ""),
        ("HEAD /_ping", ""),
        ("GET /v1.41/version", "get runtime"),
        ("GET /info", "get runtime"),
        ("GET /events?since=1", "watch containers"),
        ("GET /containers/json?all=1", "list containers"),
        ("POST /containers/create?name=x", "create made"),
        ("POST /containers/prune", "prune containers"),
        ("GET /containers/w/json", "get container w"),
        ("GET /containers/w/top?ps_args=x", "get container w"),
        ("GET /containers/w/stats", "get container w"),
        ("GET /containers/w/changes", "get container w"),
        ("GET /containers/w/logs?follow=1&stdout=1", "logs container w"),
        ("GET /containers/w/export", "export container w"),
        ("HEAD /containers/w/archive?path=/x", "copy-out container w"),
        ("GET /containers/w/archive?path=/x", "copy-out container w"),
        ("PUT /containers/w/archive?path=/x", "copy-in container w"),
        ("POST /containers/w/start", "start container w"),
        ("POST /containers/w/stop?t=1", "stop container w"),
        ("POST /containers/w/restart", "restart container w"),
        ("POST /containers/w/kill?signal=9", "kill container w"),
        ("POST /containers/w/pause", "pause container w"),
        ("POST /containers/w/unpause", "unpause container w"),
        ("POST /containers/w/wait?condition=removed", "wait container w"),
        ("POST /containers/w/resize?h=1&w=2", "attach container w"),
        ("POST /containers/w/rename?name=x", "rename container w"),
        ("POST /containers/w/update", "update container w"),
        ("POST /containers/w/attach?stdin=1", "attach container w"),
        ("POST /containers/w/exec", "exec container w"),
        ("DELETE /containers/w?force=1", "delete container w"),
        ("POST /commit?container=w&repo=x", "commit container w"),
        ("GET /exec/e/json", "get exec e"),
        ("POST /exec/e/start", "exec exec e"),
        ("POST /exec/e/resize?h=1&w=1", "exec exec e"),
        ("GET /images/json", "list images"),
        ("GET /images/a/b:c/json", "get images"),
        ("GET /images/get?names=a&names=b", "export images"),
        ("POST /images/create?fromImage=a", "pull images"),
        ("POST /images/load", "load images"),
        ("POST /images/a/b/push", "push images"),
        ("POST /images/a/tag?repo=b", "tag images"),
        ("DELETE /images/a/b@sha256:00", "delete images"),
        ("POST /build?t=a", "build images"),
        ("POST /session", "build images"),
        ("GET /networks", "list networks"),
        ("POST /networks/create", "create networks"),
        ("POST /networks/n/connect", "connect networks"),
        ("DELETE /networks/n", "delete networks"),
        ("GET /volumes", "list volumes"),
        ("DELETE /volumes/v", "delete volumes"),
        ("POST /auth", "administer runtime"),
        ("POST /swarm/init", "administer runtime"),
        ("GET /plugins/a/json", "administer runtime"),
        ("POST /plugins/pull?remote=x", "administer runtime"),
    ] {
        assert_eq!(wishes(call).join("; "), asks, "{call}");
    }
}

#[test]
fn a_query_asks_for_more() {
    assert_eq!(
        wishes("POST /containers/w/start?checkpoint=c"),
        ["administer runtime", "start container w"]
    );
    assert_eq!(
        wishes("POST /build?networkmode=host"),
        ["administer runtime", "build images"]
    );
    assert_eq!(
        wishes("POST /build?networkmode=default&cgroupparent=&securityopt=null"),
        ["build images"]
    );
    assert_eq!(
        wishes("POST /images/create?fromSrc=-&repo=a"),
        ["load images", "pull images"]
    );
    assert_eq!(
        wishes("GET /system/df"),
        ["list containers", "list images", "list volumes"]
    );
}

#[test]
fn what_the_table_does_not_hold_is_refused() {
    for call in [
        "GET /containers/w/attach/ws",
        "POST /containers/w",
        "GET /containers/a/b/json",
        "PATCH /containers/w/json",
        "OPTIONS /containers/json",
        "GET /libpod/containers/json",
        "GET /debug/vars",
        "POST /containers/w/copy",
        "GET /containers/create",
        "DELETE /containers/w?links=1",
        "POST /containers/w/start?checkpoint=a&checkpoint=b",
        "GET /containers/.w/json",
        "GET /containers/-w/json",
        "POST /commit",
        "POST /commit?container=a/b",
        "POST /containers/w/start?Checkpoint=a",
    ] {
        assert!(read(call).is_err(), "{call}");
    }
}

#[test]
fn containers_are_sent_on_by_their_full_ids() {
    let ids = BTreeMap::from([("w".to_owned(), "f".repeat(64))]);
    let target = |text: &str| read(text).unwrap().target(&ids);
    assert_eq!(
        target("POST /v1.30/containers/w/stop?t=1"),
        format!("/v1.30/containers/{}/stop?t=1", "f".repeat(64))
    );
    assert_eq!(
        target("POST /commit?container=w&repo=a%20b"),
        format!("/commit?container={}&repo=a%20b", "f".repeat(64))
    );
    assert_eq!(target("GET /images/w/json"), "/images/w/json");
}

#[test]
fn only_documents_and_archives_come_with_calls() {
    let of = |text: &str, given| {
        read(text)
            .unwrap()
            .content_type(given)
            .map_err(|refusal| refusal.status)
    };
    assert_eq!(
        of("POST /containers/w/exec", Some("text/html")),
        Ok(Some("application/json"))
    );
    assert_eq!(
        of("POST /build", Some("application/x-tar")),
        Ok(Some("application/x-tar"))
    );
    assert_eq!(of("POST /containers/w/start", Some("text/plain")), Ok(None));
    for form in [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        assert_eq!(of("POST /containers/w/start", Some(form)), Err(400));
        assert_eq!(of("POST /build", Some(form)), Err(400));
    }
}

#[test]
fn a_privileged_process_asks_for_the_host_besides() {
    let mut call = read("POST /containers/w/exec").unwrap();
    call.take(br#"{"Cmd":["id"],"Privileged":true}"#, &BTreeSet::new())
        .unwrap();
    let verbs: Vec<Verb> = call.wishes().iter().map(|wish| wish.verb).collect();
    assert_eq!(verbs, [Verb::Exec, Verb::ReachHost]);
    assert!(
        call.wishes()
            .iter()
            .all(|wish| wish.on == On::Container("w".to_owned()))
    );
    assert!(
        read("GET /containers/json")
            .unwrap()
            .take(b"{}", &BTreeSet::new())
            .is_err()
    );
    assert_eq!(
        Resource::Containers.verbs().len(),
        25,
        "a verb that is new here has a line in the table of calls, or is asked for by a document"
    );
}

#[test]
fn the_name_of_an_image_is_one_path() {
    let path = |image: &str| {
        let mut call = read("POST /containers/create").unwrap();
        let body = serde_json::json!({ "Image": image }).to_string();
        call.take(body.as_bytes(), &BTreeSet::new()).unwrap();
        call.image_path()
    };
    assert_eq!(
        path("r.io:5000/a/b:1").as_deref(),
        Some("/images/r.io:5000/a/b:1/json")
    );
    for image in [
        "", "../x", "a/../b", "a?b", "a%2fb", "a b", "/a", "a//b", "a/", "a\r\nb",
    ] {
        assert_eq!(path(image), None, "{image}");
    }
}

#[test]
fn each_call_of_podmans_own_asks_for_what_it_does() {
    for (call, asks) in [
        ("GET /libpod/_ping", ""),
        ("GET /v4.3.1/libpod/_ping", ""),
        ("GET /v4.3.1/libpod/info", "get runtime"),
        (
            "GET /v4.3.1/libpod/containers/json?all=true&filters=%7B%7D&sync=true",
            "list containers",
        ),
        (
            "GET /v4.3.1/libpod/containers/stats?containers=w&interval=5",
            "list containers",
        ),
        ("POST /v4.3.1/libpod/containers/create", "create made"),
        (
            "GET /v4.3.1/libpod/containers/w/json?size=false",
            "get container w",
        ),
        (
            "GET /v4.3.1/libpod/containers/w/exists?external=false",
            "get container w",
        ),
        ("GET /v4.3.1/libpod/containers/w/top?ps_args=", "get container w"),
        (
            "GET /v4.3.1/libpod/containers/w/changes?difftype=all",
            "get container w",
        ),
        (
            "GET /v4.3.1/libpod/containers/w/logs?follow=true",
            "logs container w",
        ),
        ("GET /v4.3.1/libpod/containers/w/export", "export container w"),
        ("GET /v4.3.1/libpod/containers/w/healthcheck", "exec container w"),
        (
            "HEAD /v4.3.1/libpod/containers/w/archive?path=%2F",
            "copy-out container w",
        ),
        (
            "PUT /v4.3.1/libpod/containers/w/archive?path=%2F&nooverwritedirnondir=true",
            "copy-in container w",
        ),
        (
            "POST /v4.3.1/libpod/containers/w/start?recursive=true",
            "start container w",
        ),
        ("POST /v4.3.1/libpod/containers/w/init", "start container w"),
        (
            "POST /v4.3.1/libpod/containers/w/stop?ignore=false&timeout=0",
            "stop container w",
        ),
        (
            "POST /v4.3.1/libpod/containers/w/kill?signal=KILL",
            "kill container w",
        ),
        ("POST /v4.3.1/libpod/containers/w/wait", "wait container w"),
        (
            "POST /v4.3.1/libpod/containers/w/shouldrestart",
            "wait container w",
        ),
        (
            "POST /v4.3.1/libpod/containers/w/attach?detachKeys=a&detachkeys=a&stdin=true",
            "attach container w",
        ),
        (
            "POST /v4.3.1/libpod/containers/w/resize?h=0&running=true&w=0",
            "attach container w",
        ),
        ("POST /v4.3.1/libpod/containers/w/exec", "exec container w"),
        ("POST /v4.3.1/libpod/containers/w/update", "update container w"),
        ("POST /v4.3.1/libpod/containers/w/mount", "administer runtime"),
        (
            "DELETE /v4.3.1/libpod/containers/w?force=true&volumes=true",
            "delete container w",
        ),
        (
            "POST /v4.3.1/libpod/commit?container=w&format=oci&squash=false",
            "commit container w",
        ),
        ("POST /v4.3.1/libpod/exec/e/start", "exec exec e"),
        (
            "POST /v4.3.1/libpod/exec/e/resize?h=1&running=true&w=2",
            "exec exec e",
        ),
        ("GET /v4.3.1/libpod/exec/e/json", "get exec e"),
        ("GET /v4.3.1/libpod/images/json", "list images"),
        ("GET /v4.3.1/libpod/images/a%2Fb/exists", "get images"),
        (
            "DELETE /v4.3.1/libpod/images/remove?images=a&images=b",
            "delete images",
        ),
        ("POST /v4.3.1/libpod/pods/create", "administer runtime"),
        ("POST /v4.3.1/libpod/play/kube?start=true", "administer runtime"),
        ("GET /v4.3.1/libpod/generate/kube?names=w", "administer runtime"),
        ("POST /v4.3.1/libpod/secrets/create?name=x", "administer runtime"),
        (
            "POST /v4.3.1/libpod/system/prune?volumes=true",
            "administer runtime",
        ),
        ("DELETE /v4.3.1/libpod/volumes/v", "delete volumes"),
        ("POST /v4.3.1/libpod/networks/n/connect", "connect networks"),
        ("POST /v1.41/containers/w/start", "start container w"),
    ] {
        let podmans = read_podmans(call).unwrap_or_else(|refusal| panic!("{call}: {refusal}"));
        assert_eq!(in_words(&podmans).join(", "), asks, "{call}");
        if call.contains("/libpod") {
            assert!(read(call).is_err(), "{call}: it is none of Docker's");
        }
    }
    for call in [
        "GET /libpod/info",
        "POST /libpod/containers/create",
        "POST /v4.3.1/libpod/containers/w/checkpoint",
        "POST /v4.3.1/libpod/containers/w/restore",
        "POST /v4.3.1/libpod/images/scp/a",
        "GET /v4.3.1/libpod/containers/w/changes?parent=x",
        "POST /v4.3.1/libpod/invented",
        "POST /v4.3.1/containers/w/start",
    ] {
        assert!(read_podmans(call).is_err(), "{call}");
    }
}

#[test]
fn podmans_containers_are_sent_on_by_their_full_ids_too() {
    let ids = BTreeMap::from([("w".to_owned(), "f".repeat(64))]);
    let call = read_podmans("POST /v4.3.1/libpod/containers/w/stop?timeout=0").unwrap();
    assert_eq!(
        call.target(&ids),
        format!("/v4.3.1/libpod/containers/{}/stop?timeout=0", "f".repeat(64))
    );
}
