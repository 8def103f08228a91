//! A container that is to be made, in Podman's own words: what of its host and of other containers it reaches.

use std::collections::BTreeSet;

use serde_json::Value;
use verger_policy::model::{Resource, Verb};

use super::super::create::{
    foreign_capability, foreign_log_option, foreign_parameter, is_networks, known_runtime,
};
use super::super::{Named, Read, is_nothing, items, object, text, texts};
use super::{OWN_OPTIONS, is_device, is_reaching_label, reaching};
use crate::Refusal;
use crate::call::{On, reference};

/// Whatever of these says anything reaches past the container.
const REACHING: [&str; 31] = [
    "apparmor_profile",
    "cgroup_parent",
    "chroot_directories",
    "conmon_pid_file",
    "device_cgroup_rule",
    "devices",
    "devices_from",
    "env_host",
    "host_device_list",
    "hostusers",
    "image_volumes",
    "init_container_type",
    "init_path",
    "namespace",
    "network_options",
    "overlay_volumes",
    "personality",
    "pod",
    "privileged",
    "procfs_opts",
    "rootfs",
    "rootfs_overlay",
    "rootfs_propagation",
    "seccomp_profile_path",
    "secret_env",
    "secrets",
    "selinux_opts",
    "storage_opts",
    "unified",
    "unmask",
    "weightDevice",
];
/// Annotations that say what other keys say, too. Of others a runtime may take more (`run.oci.*`).
const OWN_ANNOTATIONS: [&str; 4] = [
    "io.kubernetes.cri-o.TTY",
    "io.podman.annotations.autoremove",
    "io.podman.annotations.init",
    "io.podman.annotations.publish-all",
];
/// Limits by the path of a device.
const THROTTLES: [&str; 4] = [
    "throttleReadBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteBpsDevice",
    "throttleWriteIOPSDevice",
];
/// Where logs go that only say how much is kept.
const OWN_LOGS: [&str; 5] = ["", "journald", "json-file", "k8s-file", "none"];

/// Reads it.
pub(in super::super) fn read(value: Value, runtimes: &BTreeSet<String>) -> Result<Read, Refusal> {
    let mut read = Read::of(value);
    read.image = text(&read.value, "image")?.to_owned();
    if let Some(labels) = object(&read.value, "labels")?.as_object() {
        let texts = labels
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        read.labels = texts.collect();
    }
    let of = read.value.clone();
    known_runtime(text(&of, "oci_runtime")?, runtimes)?;
    if reaches(&of)? {
        read.wish(Verb::ReachHost, On::Made);
    }
    namespaces(&mut read, &of)?;
    volumes(&mut read, &of)?;
    others(&mut read, &of)?;
    networks(&mut read, &of)?;
    Ok(read)
}

fn reaches(of: &Value) -> Result<bool, Refusal> {
    let said = |key: &&str| !is_nothing(of.get(key));
    let annotation = object(of, "annotations")?
        .as_object()
        .is_some_and(|all| all.keys().any(|key| !OWN_ANNOTATIONS.contains(&key.as_str())));
    // A name of another place among those of time zones is a file of the host's, which the container is given.
    let zone = text(of, "timezone")?;
    let place = zone.starts_with('/') || zone.contains("..");
    let word = |key: &str, own: &[&str]| text(of, key).map(|word| !own.contains(&word));
    let labels = object(of, "labels")?.as_object();
    let labelled = labels.is_some_and(|labels| labels.keys().any(|key| is_reaching_label(key)));
    Ok(REACHING.iter().any(said)
        || annotation
        || labelled
        || throttled(of)?
        || place
        || foreign_log(object(of, "log_configuration")?)?
        || foreign_maps(object(of, "idmappings")?)
        || foreign_parameter(object(of, "sysctl")?)
        || texts(of, "cap_add")?.iter().any(|name| foreign_capability(name))
        // Those of the service.
        || texts(of, "groups")?.contains(&"keep-groups")
        // More is mounted for what manages services.
        || word("systemd", &["", "false", "true"])?
        || word("cgroups_mode", &["", "enabled"])?
        || word("seccomp_policy", &["", "default"])?
        || reaching(object(of, "resource_limits")?)?
        || of
            .get("oom_score_adj")
            .is_some_and(|adj| !adj.is_null() && adj.as_i64().is_none_or(|adj| adj < 0)))
}

/// Whether a limit of a device's names a file that is none: whether it is there would be told.
fn throttled(of: &Value) -> Result<bool, Refusal> {
    for key in THROTTLES {
        if let Some(devices) = object(of, key)?.as_object()
            && devices.keys().any(|path| !is_device(path))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn foreign_log(of: &Value) -> Result<bool, Refusal> {
    let options = object(of, "options")?.as_object();
    Ok(!OWN_LOGS.contains(&text(of, "driver")?)
        // A file of the host.
        || !is_nothing(of.get("path"))
        || options
            .into_iter()
            .flatten()
            .any(|(key, _)| foreign_log_option(key)))
}

/// Whether users are mapped otherwise than they are of themselves.
fn foreign_maps(of: &Value) -> bool {
    let is = |key: &str| of.get(key).and_then(Value::as_bool).unwrap_or_default();
    let nothing = |key: &str| is_nothing(of.get(key));
    !(of.is_null()
        || is("HostUIDMapping")
            && is("HostGIDMapping")
            && nothing("UIDMap")
            && nothing("GIDMap")
            && nothing("AutoUserNs"))
}

/// Namespaces of the host and of others.
fn namespaces(read: &mut Read, of: &Value) -> Result<(), Refusal> {
    for key in ["pidns", "utsns", "ipcns", "userns", "cgroupns", "netns"] {
        let namespace = object(of, key)?;
        let (mode, value) = (text(namespace, "nsmode")?, text(namespace, "value")?);
        match (key, mode) {
            (_, "container") => {
                let other = reference(value)?;
                // Who shares its namespaces is as good as in it.
                read.wish(Verb::Exec, On::Container(other.clone()));
                read.named.push(Named {
                    pointer: format!("/{key}/value"),
                    before: "",
                    reference: other,
                    after: String::new(),
                });
            }
            (_, "" | "default" | "private")
            | ("ipcns", "none" | "shareable")
            | ("netns", "bridge" | "none")
                if value.is_empty() => {}
            _ => read.wish(Verb::ReachHost, On::Made),
        }
    }
    Ok(())
}

/// Paths of the host, and volumes that have a name.
fn volumes(read: &mut Read, of: &Value) -> Result<(), Refusal> {
    for mount in items(of, "mounts")? {
        let mapped = ["uidMappings", "gidMappings"]
            .iter()
            .any(|key| !is_nothing(mount.get(key)));
        let own = text(mount, "type")? == "tmpfs"
            && matches!(text(mount, "source")?, "" | "tmpfs")
            && !mapped
            // With `bind` among its options it is one, whatever its type says (mount(8)).
            && !texts(mount, "options")?.iter().any(|option| option.contains("bind"));
        if !own {
            read.wish(Verb::ReachHost, On::Made);
        }
    }
    for volume in items(of, "volumes")? {
        let name = text(volume, "Name")?;
        if !name.is_empty() {
            read.all(Verb::Mount, Resource::Volumes);
        }
        let own = texts(volume, "Options")?
            .iter()
            .all(|option| OWN_OPTIONS.contains(option));
        if !own || name.contains('/') {
            read.wish(Verb::ReachHost, On::Made);
        }
    }
    Ok(())
}

/// Files of other containers, and those that are started with it.
fn others(read: &mut Read, of: &Value) -> Result<(), Refusal> {
    for (place, from) in texts(of, "volumes_from")?.into_iter().enumerate() {
        let (name, options) = from.split_once(':').unwrap_or((from, ""));
        let other = reference(name)?;
        read.wish(Verb::CopyOut, On::Container(other.clone()));
        read.wish(Verb::CopyIn, On::Container(other.clone()));
        if !matches!(options, "" | "ro") {
            // Its mounts have these instead of their own, which may have been `ro`.
            read.wish(Verb::ReachHost, On::Made);
        }
        read.named.push(Named {
            pointer: format!("/volumes_from/{place}"),
            before: "",
            reference: other,
            after: if options.is_empty() {
                String::new()
            } else {
                format!(":{options}")
            },
        });
    }
    for (place, name) in texts(of, "dependencyContainers")?.into_iter().enumerate() {
        let other = reference(name)?;
        read.wish(Verb::Start, On::Container(other.clone()));
        read.named.push(Named {
            pointer: format!("/dependencyContainers/{place}"),
            before: "",
            reference: other,
            after: String::new(),
        });
    }
    Ok(())
}

fn networks(read: &mut Read, of: &Value) -> Result<(), Refusal> {
    let mut names: Vec<&str> = texts(of, "cni_networks")?;
    if let Some(networks) = object(of, "Networks")?.as_object() {
        names.extend(networks.keys().map(String::as_str));
    }
    for name in names {
        match name {
            "bridge" | "default" | "podman" => {}
            name if is_networks(name) => read.all(Verb::Connect, Resource::Networks),
            _ => read.wish(Verb::ReachHost, On::Made),
        }
    }
    Ok(())
}
