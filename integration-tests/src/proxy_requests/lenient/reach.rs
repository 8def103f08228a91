//! What a request asks for that reaches the host: whatever Docker would give it, were it read at its laxest.

use super::http::Message;
use super::json::{Lax, documents};

/// Capabilities that a container has of itself.
const OWN: &str = "audit_write chown dac_override fowner fsetid kill mknod net_bind_service net_raw setfcap setgid setpcap setuid sys_chroot";
/// Kernel parameters that a namespace has of its own, beside those that begin with `net.` and `fs.mqueue.`.
const OWN_PARAMETERS: &str = "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni kernel.shm_rmid_forced";

/// What in a request reaches the host; empty where nothing does.
pub(super) fn reaches(message: &Message) -> Vec<String> {
    let path: Vec<&str> = message.path.iter().map(String::as_str).collect();
    let documents = || message.bodies.iter().flat_map(|body| documents(body));
    let mut found = Vec::new();
    if matches!(message.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
        return found;
    }
    let query = |key: &str| {
        let of_key = message.query.iter().filter(move |(name, _)| name == key);
        of_key.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    match path[..] {
        ["containers", "create"] => {
            for document in documents() {
                // What is of the whole the daemon takes for the host's, too.
                host(&document, &mut found);
                for inner in document.of("hostconfig") {
                    host(inner, &mut found);
                }
                let endpoints = document
                    .of("networkingconfig")
                    .into_iter()
                    .flat_map(|networks| networks.of("endpointsconfig"));
                if endpoints
                    .flat_map(Lax::chosen)
                    .any(|(name, _)| name.trim() == "host")
                {
                    found.push("an endpoint in the host's network".to_owned());
                }
            }
        }
        ["containers", _, "start"] => {
            // Before 1.24 it said anew what the container is.
            for document in documents() {
                host(&document, &mut found);
            }
            if ["checkpoint", "checkpoint-dir"]
                .iter()
                .any(|key| query(key).iter().any(|value| !value.is_empty()))
            {
                found.push("a checkpoint from a folder of the host".to_owned());
            }
        }
        ["containers", _, "update"] => {
            for document in documents() {
                limits(&document, &mut found);
            }
        }
        ["containers", _, "exec"] => {
            for document in documents() {
                yes(&document, "privileged", &mut found);
            }
        }
        ["volumes", "create"] => {
            for document in documents() {
                says(&document, "driveropts", &mut found);
                other_than(&document, "driver", "local", &mut found);
            }
        }
        ["networks", "create"] => {
            for document in documents() {
                other_than(&document, "driver", "bridge default", &mut found);
                let mut options = document.of("options").into_iter().flat_map(Lax::chosen);
                if options.any(|(_, value)| value.says()) {
                    found.push("options of a network".to_owned());
                }
            }
        }
        ["build"] => {
            for mode in query("networkmode") {
                if mode == "host" || mode.starts_with("container:") {
                    found.push(format!("a build in network {mode}"));
                }
            }
            for key in ["cgroupparent", "securityopt"] {
                if query(key)
                    .iter()
                    .any(|value| !matches!(*value, "" | "null" | "[]"))
                {
                    found.push(format!("a build with {key}"));
                }
            }
        }
        ["plugins" | "swarm" | "services", ..] | ["grpc"] | ["containers", _, "checkpoints", ..] => {
            found.push(format!("{} of the host's administrator", path[0]));
        }
        _ => {}
    }
    found
}

/// The host's part of a container that is made.
fn host(document: &Lax, found: &mut Vec<String>) {
    yes(document, "privileged", found);
    limits(document, found);
    for capability in document.of("capadd").into_iter().flat_map(Lax::texts) {
        let name = capability.trim().to_lowercase();
        let name = name.strip_prefix("cap_").unwrap_or(&name);
        if !OWN.split(' ').any(|own| own == name) {
            found.push(format!("the capability {capability}"));
        }
    }
    for option in document.of("securityopt").into_iter().flat_map(Lax::texts) {
        if !option.trim().to_lowercase().starts_with("no-new-privileges") {
            found.push(format!("the security option {option}"));
        }
    }
    for key in [
        "networkmode",
        "pidmode",
        "ipcmode",
        "utsmode",
        "usernsmode",
        "cgroupnsmode",
        "cgroup",
    ] {
        if document
            .of(key)
            .into_iter()
            .flat_map(Lax::texts)
            .any(|mode| mode == "host")
        {
            found.push(format!("{key} of the host"));
        }
    }
    for bind in document.of("binds").into_iter().flat_map(Lax::texts) {
        if let Some((source, _)) = bind.split_once(':')
            && !is_name(source)
        {
            found.push(format!("the path {source}"));
        }
    }
    for mount in document.of("mounts").into_iter().flat_map(Lax::each) {
        self::mount(mount, found);
    }
    other_than(document, "volumedriver", "local", found);
    other_than(document, "runtime", "runc", found);
    for key in ["maskedpaths", "readonlypaths"] {
        // An empty list masks nothing.
        if document
            .of(key)
            .into_iter()
            .any(|paths| matches!(paths, Lax::List(_)))
        {
            found.push(format!("{key} of its own"));
        }
    }
    if document
        .of("oomscoreadj")
        .into_iter()
        .filter_map(Lax::number)
        .any(|adj| adj < 0.0)
    {
        found.push("oomscoreadj below the host's".to_owned());
    }
    for parameters in document.of("sysctls") {
        for (name, _) in parameters.chosen() {
            let name = name.trim().replace('/', ".");
            let own = name.starts_with("net.")
                || name.starts_with("fs.mqueue.")
                || OWN_PARAMETERS.split(' ').any(|own| own == name);
            if !own {
                found.push(format!("the kernel parameter {name}"));
            }
        }
    }
    for log in document.of("logconfig") {
        other_than(log, "type", "json-file local none", found);
        let default = log.of("type").into_iter().all(|kind| !kind.says());
        for options in log.of("config") {
            let elsewhere = options
                .chosen()
                .iter()
                .any(|(name, _)| name.contains("address") || name.contains("url"));
            if default && elsewhere {
                found.push("a place that the host's logging sends to".to_owned());
            }
        }
    }
}

/// Limits, of a container that is made or one that is.
fn limits(document: &Lax, found: &mut Vec<String>) {
    for key in [
        "devices",
        "devicecgrouprules",
        "devicerequests",
        "blkioweightdevice",
        "cgroupparent",
        "capabilities",
        "cpurealtimeperiod",
        "cpurealtimeruntime",
    ] {
        says(document, key, found);
    }
    yes(document, "oomkilldisable", found);
}

fn mount(mount: &Lax, found: &mut Vec<String>) {
    let kinds: Vec<&str> = mount.of("type").into_iter().flat_map(Lax::texts).collect();
    for kind in &kinds {
        if !matches!(*kind, "volume" | "tmpfs") {
            found.push(format!("a mount of the kind {kind}"));
        }
    }
    let options = mount.of("volumeoptions").into_iter();
    for driver in options.flat_map(|options| options.of("driverconfig")) {
        says(driver, "options", found);
        other_than(driver, "name", "local", found);
    }
}

fn is_name(source: &str) -> bool {
    let first = source.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    first
        && source
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn yes(document: &Lax, key: &str, found: &mut Vec<String>) {
    if document.of(key).into_iter().any(Lax::is_yes) {
        found.push(key.to_owned());
    }
}

fn says(document: &Lax, key: &str, found: &mut Vec<String>) {
    if document.of(key).into_iter().any(Lax::says) {
        found.push(key.to_owned());
    }
}

/// A text that is none of these, and not empty.
fn other_than(document: &Lax, key: &str, known: &str, found: &mut Vec<String>) {
    for text in document.of(key).into_iter().flat_map(Lax::texts) {
        if !text.is_empty() && !known.split(' ').any(|word| word == text) {
            found.push(format!("{key} {text}"));
        }
    }
}
