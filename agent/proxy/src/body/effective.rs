//! A container that was made, as its runtime shows it, beside what was asked for: what the runtime read otherwise than this crate shows here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use verger_policy::json::parse;
use verger_policy::model::Verb;

use super::{Read, create, is_nothing, text, texts};
use crate::Refusal;
use crate::call::{On, Wish};
use crate::table::Engine;

/// Whether a container of this, the answer to `GET /containers/ID/json`, reaches the host, or others, where the document that was sent did
/// not ask for that. `ids` are those of the containers that it names. What cannot be read reaches it.
pub(crate) fn is_more(
    engine: Engine,
    asked: &Read,
    ids: &BTreeMap<String, String>,
    inspected: &[u8],
) -> bool {
    let wished = |verb: Verb| asked.wishes.iter().any(|wish| wish.verb == verb);
    if wished(Verb::ReachHost) {
        return false;
    }
    let Some(mut host) = parse(inspected)
        .ok()
        .and_then(|shown| shown.get("HostConfig").cloned())
    else {
        return true;
    };
    match engine {
        Engine::Docker => of_docker(asked, &mut host),
        Engine::Podman => of_podman(&mut host, wished(Verb::CopyIn)),
    }
    let Ok(wishes) = wishes(host) else { return true };
    let is_asked = |verb: Verb, id: &String| {
        asked.wishes.iter().any(|wish| match &wish.on {
            On::Container(named) => wish.verb == verb && ids.get(named).unwrap_or(named) == id,
            _ => false,
        })
    };
    let is_more = |wish: &Wish| match (wish.verb, &wish.on) {
        (Verb::ReachHost, _) => true,
        (verb @ (Verb::Exec | Verb::CopyIn), On::Container(id)) => !is_asked(verb, id),
        // Volumes and networks that have a name.
        (Verb::Mount | Verb::Connect, On::All(_)) => !asked.wishes.contains(wish),
        _ => false,
    };
    wishes.iter().any(is_more)
}

/// What a document with this of the host asks for. Which runtime runs it is no matter here.
fn wishes(mut host: Value) -> Result<BTreeSet<Wish>, Refusal> {
    if let Some(members) = host.as_object_mut() {
        members.remove("Runtime");
    }
    Ok(create::read(json!({ "HostConfig": host }), &BTreeSet::new())?.wishes)
}

/// Takes out what Docker puts in where nothing is asked.
fn of_docker(asked: &Read, host: &mut Value) {
    let asked = asked.value.get("HostConfig");
    let is_asked = |key: &str| asked.is_some_and(|asked| !is_nothing(asked.get(key)));
    let is_driver_asked = asked
        .and_then(|asked| asked.pointer("/LogConfig/Type"))
        .is_some_and(|driver| !is_nothing(Some(driver)));
    let Some(members) = host.as_object_mut() else {
        return;
    };
    members.retain(|key, value| match key.as_str() {
        "LogConfig" => is_driver_asked,
        // Paths that are masked; an empty list masks none.
        "MaskedPaths" | "ReadonlyPaths" => is_asked(key) || is_nothing(Some(value)),
        // Names as Docker puts them together.
        "Links" => false,
        // As the daemon is configured; of itself it is the host's where control groups are of version 1.
        "CgroupnsMode" => is_asked(key),
        _ => true,
    });
}

/// Has what Podman says in its own words in Docker's. The files of others, where they were asked for, come as mounts of its own.
fn of_podman(host: &mut Value, has_files_of_others: bool) {
    let options = texts(host, "SecurityOpt").map(|options| {
        // Of a profile that is Podman's own it may say which.
        let kept = options
            .into_iter()
            .filter(|option| !option.starts_with("apparmor=containers-default"));
        kept.map(str::to_owned).collect::<Vec<_>>()
    });
    let binds = texts(host, "Binds").map(|binds| {
        let kept = binds.into_iter().filter(|bind| !is_volume_without_a_name(bind));
        kept.map(str::to_owned).collect::<Vec<_>>()
    });
    // Who shares one of these namespaces of another is as good as in it, as with the others.
    let shared = ["UTSMode", "UsernsMode"]
        .into_iter()
        .find_map(|key| text(host, key).ok().filter(|mode| mode.starts_with("container:")))
        .map(str::to_owned);
    let Some(members) = host.as_object_mut() else {
        return;
    };
    for key in ["PidMode", "UTSMode", "UsernsMode"] {
        let mode = members.get(key).and_then(Value::as_str).unwrap_or_default();
        if mode == "private" || key != "PidMode" && mode.starts_with("container:") {
            members.remove(key);
        }
    }
    if let Some(shared) = shared {
        members.insert("Cgroup".to_owned(), json!(shared));
    }
    // Where Podman's own logs are.
    members.remove("LogConfig");
    if let Ok(options) = options {
        members.insert("SecurityOpt".to_owned(), json!(options));
    }
    match binds {
        _ if has_files_of_others => drop(members.remove("Binds")),
        Ok(binds) => drop(members.insert("Binds".to_owned(), json!(binds))),
        // What is no list stays, and is more.
        Err(_) => {}
    }
}

/// Whether Podman made the volume for the container, and called it by 64 hexadecimal digits.
fn is_volume_without_a_name(bind: &str) -> bool {
    let name = bind.split(':').next().unwrap_or_default();
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::read;
    use super::*;
    use crate::table::Document;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    /// What Docker 20.10 shows of a container that asked for nothing.
    const OF_DOCKER: &str = r#""Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"syslog","Config":{"syslog-address":"udp://x"}},"NetworkMode":"default","PortBindings":{},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"CapAdd":null,"CapDrop":null,"CgroupnsMode":"host","Dns":[],"GroupAdd":null,"IpcMode":"private","Cgroup":"","Links":["/b:/a/b"],"OomScoreAdj":0,"PidMode":"","Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"","UsernsMode":"","ShmSize":67108864,"Runtime":"runc","ConsoleSize":[0,0],"Isolation":"","CpuShares":0,"CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":[],"Devices":[],"DeviceCgroupRules":null,"DeviceRequests":null,"KernelMemory":0,"OomKillDisable":false,"PidsLimit":null,"Ulimits":null,"MaskedPaths":["/proc/asound"],"ReadonlyPaths":["/proc/bus"]"#;
    /// What Podman 4.3 does.
    const OF_PODMAN: &str = r#""Binds":["0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef:/data:rprivate,rw,nodev,exec,nosuid,rbind"],"CgroupManager":"cgroupfs","CgroupMode":"host","ContainerIDFile":"","LogConfig":{"Type":"k8s-file","Config":null,"Path":"/x/ctr.log","Tag":"","Size":"0B"},"NetworkMode":"none","PortBindings":{},"VolumeDriver":"","VolumesFrom":null,"CapAdd":[],"CapDrop":["CAP_MKNOD"],"GroupAdd":[],"IpcMode":"shareable","Cgroup":"","Cgroups":"default","Links":null,"OomScoreAdj":0,"PidMode":"private","Privileged":false,"SecurityOpt":[],"Tmpfs":{},"UTSMode":"private","UsernsMode":"","ShmSize":65536000,"Runtime":"oci","CgroupParent":"","BlkioWeightDevice":null,"Devices":[],"OomKillDisable":false,"Ulimits":[]"#;

    /// What is shown, with this key saying something else.
    fn shown(host: &str, key: &str, value: &str) -> Vec<u8> {
        let mut host: Value = serde_json::from_str(&format!("{{{host}}}")).unwrap();
        if !key.is_empty() {
            host[key] = serde_json::from_str(value).unwrap();
        }
        json!({ "Id": ID, "HostConfig": host }).to_string().into_bytes()
    }

    fn is_more_than(engine: Engine, asked: &str, shown: &[u8]) -> bool {
        let document = match engine {
            Engine::Docker => Document::Create,
            Engine::Podman => Document::Spec,
        };
        let asked = read(engine, document, asked.as_bytes(), &BTreeSet::new()).unwrap();
        let ids = [("web".to_owned(), ID.to_owned())].into();
        is_more(engine, &asked, &ids, shown)
    }

    #[test]
    fn what_a_daemon_puts_in_by_itself_is_no_more_than_was_asked() {
        for (engine, asked, shown) in [
            (Engine::Docker, r#"{"Image":"a"}"#, shown(OF_DOCKER, "", "")),
            (Engine::Podman, r#"{"image":"a"}"#, shown(OF_PODMAN, "", "")),
            (
                Engine::Docker,
                r#"{"Image":"a","HostConfig":{"NetworkMode":"container:web","CgroupnsMode":"private"}}"#,
                shown(
                    &OF_DOCKER.replace(r#""CgroupnsMode":"host""#, r#""CgroupnsMode":"private""#),
                    "NetworkMode",
                    &format!("\"container:{ID}\""),
                ),
            ),
            (
                Engine::Podman,
                r#"{"image":"a","netns":{"nsmode":"container","value":"web"}}"#,
                shown(OF_PODMAN, "NetworkMode", &format!("\"container:{ID}\"")),
            ),
            (
                Engine::Podman,
                r#"{"image":"a","volumes_from":["web"]}"#,
                shown(OF_PODMAN, "Binds", r#"["/tmp:/t:ro,rprivate,rbind"]"#),
            ),
            (
                Engine::Podman,
                r#"{"image":"a","utsns":{"nsmode":"container","value":"web"}}"#,
                shown(OF_PODMAN, "UTSMode", &format!("\"container:{ID}\"")),
            ),
            (
                Engine::Podman,
                r#"{"image":"a","userns":{"nsmode":"container","value":"web"}}"#,
                shown(OF_PODMAN, "UsernsMode", &format!("\"container:{ID}\"")),
            ),
            (
                Engine::Podman,
                r#"{"image":"a","userns":{"nsmode":"private"}}"#,
                shown(OF_PODMAN, "UsernsMode", r#""private""#),
            ),
            (
                Engine::Docker,
                r#"{"Image":"a","HostConfig":{"Binds":["data:/x"],"NetworkMode":"front"}}"#,
                shown(
                    &OF_DOCKER.replace(r#""NetworkMode":"default""#, r#""NetworkMode":"front""#),
                    "Binds",
                    r#"["data:/x"]"#,
                ),
            ),
            // It was asked, and whoever asked was judged for it.
            (
                Engine::Docker,
                r#"{"Image":"a","HostConfig":{"Privileged":true}}"#,
                shown(OF_DOCKER, "Privileged", "true"),
            ),
        ] {
            assert!(!is_more_than(engine, asked, &shown), "{asked}");
        }
    }

    #[test]
    fn what_came_out_and_was_not_asked_for_is_more() {
        let both = [
            ("Binds", r#"["/etc:/host"]"#),
            ("Binds", r#"["data:/x"]"#),
            ("NetworkMode", r#""front""#),
            ("CapAdd", r#"["CAP_SYS_ADMIN"]"#),
            ("Devices", r#"[{"PathOnHost":"/dev/sda"}]"#),
            ("IpcMode", r#""host""#),
            ("NetworkMode", r#""host""#),
            ("NetworkMode", r#""container:fedcba""#),
            ("PidMode", r#""host""#),
            ("Privileged", "true"),
            ("SecurityOpt", r#"["seccomp=unconfined"]"#),
            ("UTSMode", r#""host""#),
            ("UTSMode", r#""container:fedcba""#),
            ("VolumesFrom", r#"["fedcba"]"#),
            ("CgroupParent", r#""/x""#),
            // It cannot be read as what it is.
            ("Binds", "7"),
        ];
        for (key, value) in both {
            for (engine, host, asked) in [
                (Engine::Docker, OF_DOCKER, r#"{"Image":"a"}"#),
                (Engine::Podman, OF_PODMAN, r#"{"image":"a"}"#),
            ] {
                let shown = shown(host, key, value);
                assert!(is_more_than(engine, asked, &shown), "{engine}: {key} {value}");
            }
        }
        for (asked, key, value) in [
            (r#"{"CgroupnsMode":"private"}"#, "CgroupnsMode", r#""host""#),
            (r#"{"IpcMode":"private"}"#, "IpcMode", r#""host""#),
            (
                r#"{"LogConfig":{"Type":"local"}}"#,
                "LogConfig",
                r#"{"Type":"syslog"}"#,
            ),
            ("{}", "MaskedPaths", "[]"),
            (
                r#"{"NetworkMode":"container:web"}"#,
                "NetworkMode",
                r#""container:fedcba""#,
            ),
        ] {
            let asked = format!(r#"{{"Image":"a","HostConfig":{asked}}}"#);
            let shown = shown(OF_DOCKER, key, value);
            assert!(
                is_more_than(Engine::Docker, &asked, &shown),
                "{asked}: {key} {value}"
            );
        }
        for unread in [
            "",
            "{}",
            "[]",
            r#"{"HostConfig":7}"#,
            r#"{"HostConfig":{"CapAdd":[7]}}"#,
        ] {
            assert!(
                is_more_than(Engine::Docker, r#"{"Image":"a"}"#, unread.as_bytes()),
                "{unread}"
            );
        }
    }
}
