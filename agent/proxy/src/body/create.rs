//! A container that is to be made: what of its host and of other containers it reaches.

use std::collections::BTreeSet;

use serde_json::Value;
use verger_policy::model::{Resource, Verb};

use super::{Named, Read, is_nothing, items, modest, object, text, texts};
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

/// Whatever of these says anything reaches past the container; so do limits ([`modest::REACHING`]).
const REACHING: [&str; 4] = ["Privileged", "Capabilities", "UTSMode", "UsernsMode"];

/// Options of logging that say how much is kept and under which names, and not where it goes.
const LOG_OPTIONS: [&str; 10] = [
    "compress",
    "env",
    "env-regex",
    "labels",
    "labels-regex",
    "max-buffer-size",
    "max-file",
    "max-size",
    "mode",
    "tag",
];

/// Kernel parameters that the namespaces of a container have of their own (moby, opts.ValidateSysctl; runc, validate). Of others there
/// is one for the whole host.
const OWN_PARAMETERS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// Reads it.
pub(super) fn read(value: Value, runtimes: &BTreeSet<String>) -> Result<Read, Refusal> {
    let mut read = Read::of(value);
    read.image = text(&read.value, "Image")?.to_owned();
    if let Some(labels) = read.value.get("Labels").and_then(Value::as_object) {
        let texts = labels
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        read.labels = texts.collect();
    }
    let host = object(&read.value, "HostConfig")?.clone();
    known_runtime(text(&host, "Runtime")?, runtimes)?;
    if reaches(&host)? {
        read.wish(Verb::ReachHost, On::Made);
    }
    modes(&mut read, &host)?;
    volumes(&mut read, &host)?;
    others(&mut read, &host)?;
    networks(&mut read)?;
    Ok(read)
}

/// A container names one of these runtimes, or none.
pub(super) fn known_runtime(runtime: &str, runtimes: &BTreeSet<String>) -> Result<(), Refusal> {
    if runtime.is_empty() || runtimes.contains(runtime) {
        return Ok(());
    }
    Err(Refusal::denied(format!(
        "verger: the runtime `{}` is none that the gate stands in front of (`[proxy] runtimes` lists those); leave it to the daemon",
        shown(runtime)
    )))
}

/// Whether a capability is none that a container has of itself.
pub(super) fn foreign_capability(capability: &str) -> bool {
    let name = capability.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    !OWN_CAPABILITIES.contains(&name)
}

fn reaches(host: &Value) -> Result<bool, Refusal> {
    let of = |key: &str| host.get(key);
    let foreign_capability = texts(host, "CapAdd")?.iter().any(|name| foreign_capability(name));
    let foreign_option = texts(host, "SecurityOpt")?.iter().any(|option| {
        !matches!(
            *option,
            "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true"
        )
    });
    Ok(
        REACHING.iter().chain(&modest::REACHING).any(|key| !is_nothing(of(key)))
        || foreign_capability
        || foreign_option
        || foreign_parameter(object(host, "Sysctls")?)
        || foreign_log(object(host, "LogConfig")?)?
        || !matches!(text(host, "VolumeDriver")?, "" | "local")
        || of("OomScoreAdj").is_some_and(|adj| !adj.is_null() && adj.as_i64().is_none_or(|adj| adj < 0))
        // An empty list masks nothing.
        || ["MaskedPaths", "ReadonlyPaths"].iter().any(|key| of(key).is_some_and(|value| !value.is_null())),
    )
}

/// Whether one of the kernel's parameters is the host's.
pub(super) fn foreign_parameter(parameters: &Value) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let own = |name: &str| {
        let is_spaced = name.starts_with("net.") || name.starts_with("fs.mqueue.");
        OWN_PARAMETERS.contains(&name) || is_spaced && name.bytes().all(plain)
    };
    let parameters = parameters.as_object();
    parameters.is_some_and(|parameters| parameters.keys().any(|name| !own(name)))
}

/// Whether an option of logging may say where it goes.
pub(super) fn foreign_log_option(option: &str) -> bool {
    !LOG_OPTIONS.contains(&option)
}

fn foreign_log(log: &Value) -> Result<bool, Refusal> {
    let options = object(log, "Config")?.as_object();
    Ok(match text(log, "Type")? {
        "json-file" | "local" | "none" => false,
        // The daemon's own driver may be one that sends to wherever its options say.
        "" => options.is_some_and(|options| options.keys().any(|key| foreign_log_option(key))),
        _ => true,
    })
}

/// Namespaces of the host and of others.
fn modes(read: &mut Read, host: &Value) -> Result<(), Refusal> {
    const SHARING: &str = "container:";
    for key in ["NetworkMode", "IpcMode", "PidMode", "CgroupnsMode", "Cgroup"] {
        let mode = text(host, key)?;
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
            ("NetworkMode", name) if is_networks(name) => read.all(Verb::Connect, Resource::Networks),
            _ => read.wish(Verb::ReachHost, On::Made),
        }
    }
    Ok(())
}

/// Whether a name can mean nothing but a network of somebody's: not that of the host, and not one that is it but for a space.
pub(super) fn is_networks(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !name.eq_ignore_ascii_case("host") && name.bytes().all(plain)
}

/// Paths of the host, and volumes that have a name.
fn volumes(read: &mut Read, host: &Value) -> Result<(), Refusal> {
    for bind in texts(host, "Binds")? {
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
    for mount in items(host, "Mounts")? {
        match text(mount, "Type")? {
            "tmpfs" => {}
            "volume" => {
                if !is_nothing(mount.get("Source")) {
                    read.all(Verb::Mount, Resource::Volumes);
                }
                let driver = object(object(mount, "VolumeOptions")?, "DriverConfig")?;
                let name = text(driver, "Name")?;
                // With options of its driver a volume may be any folder of the host.
                if !is_nothing(driver.get("Options")) || !matches!(name, "" | "local") {
                    read.wish(Verb::ReachHost, On::Made);
                }
            }
            _ => read.wish(Verb::ReachHost, On::Made),
        }
    }
    Ok(())
}

/// Files and names of other containers.
fn others(read: &mut Read, host: &Value) -> Result<(), Refusal> {
    for (place, from) in texts(host, "VolumesFrom")?.into_iter().enumerate() {
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
    for (place, link) in texts(host, "Links")?.into_iter().enumerate() {
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
    let endpoints = object(object(&read.value, "NetworkingConfig")?, "EndpointsConfig")?;
    let endpoints = endpoints.as_object().cloned().unwrap_or_default();
    for (name, endpoint) in &endpoints {
        match name.as_str() {
            "default" | "bridge" | "none" => {}
            name if is_networks(name) => read.all(Verb::Connect, Resource::Networks),
            _ => read.wish(Verb::ReachHost, On::Made),
        }
        modest::links(read, endpoint)?;
    }
    Ok(())
}
