//! Fuzz targets: what anybody on the host may send.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use bolero::check;
use verger_fuzz::Damaged;
use verger_policy::json;

use crate::body;
use crate::head::TARGET_BYTES;
use crate::table::{Document, Engine};
use crate::{Call, container, image, made_id};

#[test]
fn what_is_sent_on_of_a_hostile_head_is_read_as_the_same() {
    check!()
        .with_generator((
            Damaged::bytes([
                "GET /v1.41/containers/json?all=1&filters=%7B%7D",
                "POST /v1.24/containers/web/start",
                "POST /containers/create?name=a",
                "GET /images/r.io:5000/a/b:1/json",
                "POST /v1.41/commit?container=a&repo=b&changes=x&changes=y",
                "DELETE /v1.41/images/a@sha256:00?force=1",
                "GET /v1.41/swarm/x?y",
                "POST /v4.3.1/libpod/images/pull?policy=missing&reference=localhost%2Ft%2Fweb&alltags=false",
                "GET /v4.3.1/libpod/images/r.io%3A5000%2Fa%2Fb%40sha256:0/json",
                "DELETE /v4.3.1/libpod/images/remove?images=a&images=b&force=true",
                "POST /libpod/containers/web/start?recursive=true",
            ]),
            bolero::produce::<bool>(),
        ))
        .with_iterations(5_000)
        .for_each(|(input, of_podman)| {
            let engine = if *of_podman {
                Engine::Podman
            } else {
                Engine::Docker
            };
            let text = input.text();
            let Some((method, target)) = text.split_once(' ') else {
                return;
            };
            let Ok(call) = Call::read(engine, method, target) else {
                return;
            };
            let sent = call.target(&BTreeMap::new());
            let (path, _) = sent.split_once('?').unwrap_or((&sent, ""));
            // What is written anew may be longer, and too long to be read again.
            if sent.len() > TARGET_BYTES {
                return;
            }
            assert!(
                !path.contains("/../") && !path.contains("//") && !path.contains('%'),
                "{sent}"
            );
            let again = Call::read(engine, method, &sent).unwrap();
            assert_eq!(again.wishes(), call.wishes());
            assert_eq!(again.target(&BTreeMap::new()), sent);
        });
}

/// Whatever a document says, what is sent on says the same, and reading that asks for the same.
fn holds(engine: Engine, document: Document, input: &[u8]) {
    let runtimes = BTreeSet::new();
    let Ok(read) = body::read(engine, document, input, &runtimes) else {
        return;
    };
    let written = read.written(&BTreeMap::new());
    let again = body::read(engine, document, &written, &runtimes).unwrap();
    assert_eq!(again.wishes, read.wishes);
    assert_eq!(again.of_own, read.of_own);
    let text = String::from_utf8(written).unwrap();
    // The whole of it, in what a keen reader looks for.
    if text.contains("\"Privileged\":true") || text.contains("\"privileged\":true") {
        assert!(!read.wishes.is_empty() || !read.of_own.is_empty(), "{text}");
    }
    assert!(json::parse(text.as_bytes()).is_ok());
}

#[test]
fn hostile_containers_say_when_sent_on_what_they_were_read_to_say() {
    check!()
        .with_generator(Damaged::json([
            r#"{"Image":"a","Cmd":["sh"],"Env":["A=b"],"Labels":{"k":"v"},"ExposedPorts":{"80/tcp":{}},"HostConfig":{"Binds":["/a:/b"],"NetworkMode":"container:x","VolumesFrom":["y:ro"],"Links":["z:q"],"Privileged":true,"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"80"}]},"Mounts":[{"Type":"volume","Source":"v","Target":"/v"}]},"NetworkingConfig":{"EndpointsConfig":{"n":{"Aliases":["a"],"Links":["z:q"]}}}}"#,
        ]))
        .with_iterations(5_000)
        .for_each(|input| {
            holds(Engine::Docker, Document::Create, input);
            holds(Engine::Podman, Document::Create, input);
        });
}

#[test]
fn hostile_containers_of_podmans_say_when_sent_on_what_they_were_read_to_say() {
    check!()
        .with_generator(Damaged::json([
            r#"{"image":"a","command":["sh"],"env":{"A":"b"},"labels":{"k":"v"},"annotations":{"io.kubernetes.cri-o.TTY":"false"},"privileged":true,"netns":{"nsmode":"container","value":"x"},"pidns":{},"volumes_from":["y:ro"],"dependencyContainers":["z"],"mounts":[{"destination":"/t","type":"tmpfs","source":"tmpfs","options":["rw"]}],"volumes":[{"Name":"v","Dest":"/v","Options":["ro"],"IsAnonymous":false}],"idmappings":{"HostUIDMapping":true,"HostGIDMapping":true,"UIDMap":null,"AutoUserNsOpts":{"Size":0}},"Networks":{"n":{"aliases":["a"]}},"resource_limits":{"memory":{"limit":1},"devices":[{"allow":true}]},"expose":{"80":"tcp"},"log_configuration":{"driver":"k8s-file","options":{"path":"/x"}}}"#,
        ]))
        .with_iterations(5_000)
        .for_each(|input| holds(Engine::Podman, Document::Spec, input));
}

#[test]
fn hostile_execs_and_others_say_when_sent_on_what_they_were_read_to_say() {
    check!()
        .with_generator((
            Damaged::json([
                r#"{"Cmd":["id"],"User":"0","Privileged":true,"Env":["A=b"],"Tty":true}"#,
                r#"{"Container":"a","EndpointConfig":{"Aliases":["b"],"Links":["c:d"]}}"#,
                r#"{"Name":"n","Driver":"macvlan","IPAM":{"Config":[{"Subnet":"10.0.0.0/8"}]},"Options":{"a":"b"}}"#,
                r#"{"Name":"v","DriverOpts":{"o":"bind"}}"#,
                r#"{"container":"a","aliases":["b"],"static_ips":["10.0.0.1"]}"#,
                r#"{"name":"n","driver":"macvlan","subnets":[{"subnet":"10.0.0.0/8"}],"options":{"a":"b"}}"#,
                r#"{"cpu":{"quota":1},"memory":{"limit":1},"blockIO":{"weightDevice":[{"major":1}]}}"#,
            ]),
            bolero::produce::<u8>(),
        ))
        .with_iterations(5_000)
        .for_each(|(input, which)| {
            let documents = [
                Document::Exec,
                Document::Connect,
                Document::Disconnect,
                Document::Network,
                Document::Volume,
                Document::Update,
                Document::Commit,
                Document::ConnectOfPodman,
                Document::NetworkOfPodman,
                Document::VolumeOfPodman,
                Document::Limits,
            ];
            holds(
                Engine::Podman,
                documents[usize::from(*which) % documents.len()],
                input,
            );
        });
}

#[test]
fn what_a_daemon_answers_is_read_or_not() {
    let id = "a".repeat(64);
    let answer = format!(
        r#"{{"Id":"{id}","Name":"/x","Image":"sha256:{id}","Config":{{"Image":"a:1","Labels":{{"k":"v"}}}}}}"#
    );
    let other = answer.replacen(&id, &format!("sha256:{id}"), 1);
    check!()
        .with_generator(Damaged::json([answer, other]))
        .with_iterations(3_000)
        .for_each(|input| {
            if let Some(known) = container(input) {
                assert_eq!(known.id.len(), 64);
            }
            if let Some(id) = made_id(input) {
                assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
            }
            let _ = image(input, "a:1", &BTreeMap::new());
        });
}
