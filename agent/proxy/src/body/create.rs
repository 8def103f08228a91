//! A container that is to be made: what of its host and of other containers it reaches.

use std::collections::BTreeSet;

use serde_json::Value;
use verger_policy::model::{Resource, Verb};

use super::{Named, Read, is_nothing, items, modest, text, texts};
use crate::call::{On, reference};
use crate::{Refusal, shown};

/// The capabilities that a container has of itself (moby, oci/caps/defaults.go).
const OWN_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Whatever of these says anything reaches past the container.
const REACHING: [&str; 12] = [
    "Privileged",
    "Devices",
    "DeviceCgroupRules",
    "DeviceRequests",
    "CgroupParent",
    "Capabilities",
    "OomKillDisable",
    "UTSMode",
    "UsernsMode",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "BlkioWeightDevice",
];

/// Reads it.
pub(super) fn read(value: Value, runtimes: &BTreeSet<String>) -> Result<Read, Refusal> {
    let mut read = Read::of(value);
    read.image = text(read.value.get("Image")).to_owned();
    if let Some(labels) = read.value.get("Labels").and_then(Value::as_object) {
        let texts = labels
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        read.labels = texts.collect();
    }
    let host = read.value.get("HostConfig").cloned().unwrap_or_default();
    let runtime = text(host.get("Runtime"));
    if !runtime.is_empty() && !runtimes.contains(runtime) {
        return Err(Refusal::denied(format!(
            "verger: the runtime `{}` is none that the gate stands in front of (`[proxy] runtimes` lists those); leave it to the daemon",
            shown(runtime)
        )));
    }
    if reaches(&host) {
        read.wish(Verb::ReachHost, On::Made);
    }
    modes(&mut read, &host)?;
    volumes(&mut read, &host);
    others(&mut read, &host)?;
    networks(&mut read)?;
    Ok(read)
}

fn reaches(host: &Value) -> bool {
    let of = |key: &str| host.get(key);
    let foreign_capability = texts(of("CapAdd")).iter().any(|capability| {
        let name = capability.to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        !OWN_CAPABILITIES.contains(&name)
    });
    let foreign_option = texts(of("SecurityOpt")).iter().any(|option| {
        !matches!(
            *option,
            "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true"
        )
    });
    let log = of("LogConfig").and_then(|log| log.get("Type"));
    REACHING.iter().any(|key| !is_nothing(of(key)))
        || foreign_capability
        || foreign_option
        || !matches!(text(of("VolumeDriver")), "" | "local")
        || !matches!(text(log), "" | "json-file" | "local" | "none")
        || of("OomScoreAdj").and_then(Value::as_i64).is_some_and(|adj| adj < 0)
        // An empty list masks nothing.
        || ["MaskedPaths", "ReadonlyPaths"].iter().any(|key| of(key).is_some_and(|value| !value.is_null()))
}

/// Namespaces of the host and of others.
fn modes(read: &mut Read, host: &Value) -> Result<(), Refusal> {
    const SHARING: &str = "container:";
    for key in ["NetworkMode", "IpcMode", "PidMode", "CgroupnsMode", "Cgroup"] {
        let mode = text(host.get(key));
        if let Some(name) = mode.strip_prefix(SHARING) {
            let other = reference(name)?;
            // Who shares its namespaces is as good as in it.
            read.wish(Verb::Exec, On::Container(other.clone()));
            read.named.push(Named {
                pointer: format!("/HostConfig/{key}"),
                before: SHARING,
                reference: other,
                after: String::new(),
            });
            continue;
        }
        match (key, mode) {
            (_, "") | ("NetworkMode", "default" | "bridge" | "none") => {}
            ("IpcMode", "private" | "shareable" | "none") | ("CgroupnsMode", "private") => {}
            ("NetworkMode", name) if name != "host" => read.all(Verb::Connect, Resource::Networks),
            _ => read.wish(Verb::ReachHost, On::Made),
        }
    }
    Ok(())
}

/// Paths of the host, and volumes that have a name.
fn volumes(read: &mut Read, host: &Value) {
    for bind in texts(host.get("Binds")) {
        let source = match bind.split_once(':') {
            Some((source, _)) => source,
            // A path in the container, for a volume of its own.
            None => continue,
        };
        let is_name = source
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
            && source
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        match is_name {
            true => read.all(Verb::Mount, Resource::Volumes),
            false => read.wish(Verb::ReachHost, On::Made),
        }
    }
    for mount in items(host.get("Mounts")) {
        match text(mount.get("Type")) {
            "tmpfs" => {}
            "volume" => {
                if !is_nothing(mount.get("Source")) {
                    read.all(Verb::Mount, Resource::Volumes);
                }
                let driver = mount.pointer("/VolumeOptions/DriverConfig");
                let options = driver.and_then(|driver| driver.get("Options"));
                let name = text(driver.and_then(|driver| driver.get("Name")));
                // With options of its driver a volume may be any folder of the host.
                if !is_nothing(options) || !matches!(name, "" | "local") {
                    read.wish(Verb::ReachHost, On::Made);
                }
            }
            _ => read.wish(Verb::ReachHost, On::Made),
        }
    }
}

/// Files and names of other containers.
fn others(read: &mut Read, host: &Value) -> Result<(), Refusal> {
    for (place, from) in items(host.get("VolumesFrom")).iter().enumerate() {
        let from = from.as_str().unwrap_or_default();
        let (name, mode) = from.split_once(':').unwrap_or((from, ""));
        let other = reference(name)?;
        read.wish(Verb::CopyOut, On::Container(other.clone()));
        read.wish(Verb::CopyIn, On::Container(other.clone()));
        read.named.push(Named {
            pointer: format!("/HostConfig/VolumesFrom/{place}"),
            before: "",
            reference: other,
            after: if mode.is_empty() {
                String::new()
            } else {
                format!(":{mode}")
            },
        });
    }
    for (place, link) in items(host.get("Links")).iter().enumerate() {
        let link = link.as_str().unwrap_or_default();
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        let other = reference(name)?;
        // Its environment is told to whoever is linked to it.
        read.wish(Verb::Get, On::Container(other.clone()));
        read.named.push(Named {
            pointer: format!("/HostConfig/Links/{place}"),
            before: "",
            reference: other,
            after: format!(":{alias}"),
        });
    }
    Ok(())
}

fn networks(read: &mut Read) -> Result<(), Refusal> {
    let endpoints = read.value.pointer("/NetworkingConfig/EndpointsConfig");
    let endpoints = endpoints.and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, endpoint) in &endpoints {
        match name.as_str() {
            "default" | "bridge" | "none" => {}
            "host" => read.wish(Verb::ReachHost, On::Made),
            _ => read.all(Verb::Connect, Resource::Networks),
        }
        modest::links(read, endpoint)?;
    }
    Ok(())
}
