//! The OCI runtime config (`config.json`, runtime-spec): what the kernel was given.
//!
//! Two things it does not hold: how a port is published, and whether a network namespace has any network.

mod document;
mod hooks;
mod strict;
mod unread;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use document::{Capabilities, DeviceRule, Mapping, Mount, Namespace, Node, Spec, Text, User};

use super::shape::{self, Surroundings};
use super::{
    BeyondFacts, CapabilityFacts, ConfigFacts, DeviceFacts, EnvFacts, Evidence, InvalidFacts, LimitFacts,
    MountFacts, MountOrigin, NamespaceFacts, NamespaceOwner, RootFacts, SeccompFacts, UserFacts, beyond,
    capabilities,
};
use crate::digest::Digest;
use crate::json;
use crate::model::{Access, Propagation, Rlimit};

/// What the document should be, for errors.
const DOCUMENT: &str = "an OCI runtime config.json";
const PROCESS: &str = "the `process` of an OCI runtime config.json";

/// A read config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciConfig {
    /// What it says by itself, without anything that only the runtime knows.
    pub config: ConfigFacts,
    /// Every mount, those of the runtime included, in order.
    pub mounts: Vec<OciMount>,
    /// The container's full id, where the cgroup path shows it.
    pub id: Option<String>,
    /// The path of its control group, as written.
    pub cgroup: Option<String>,
    /// The process whose program is run as Docker's own hook; none where there is no such hook.
    pub daemon_hook: Option<u32>,
    pub(super) around: Surroundings,
}

/// One mount as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OciMount {
    /// Absolute path in the container.
    pub target: String,
    /// File system type; `bind` for binds, however they were written.
    pub fstype: String,
    /// Source.
    pub source: String,
    /// Whether it may be written.
    pub access: Access,
    /// Of `nosuid`, `nodev`, `noexec`, those that are on.
    pub options: BTreeSet<String>,
    /// Where mounts made below it are passed on to.
    pub propagation: Propagation,
}

/// A config in which another process is the one that runs: what `exec` starts in a container is held to the same as its first
/// process.
///
/// # Errors
/// When either is no JSON object, or could be read in two ways; names the line and column.
pub fn with_process(config: &[u8], process: &[u8]) -> Result<Vec<u8>, InvalidFacts> {
    type Members<'a> = BTreeMap<String, &'a RawValue>;
    let of_config = |error: serde_json::Error| InvalidFacts::new(DOCUMENT, &error.to_string());
    strict::check(config).map_err(of_config)?;
    let mut config: Members<'_> = serde_json::from_slice(config).map_err(of_config)?;
    let invalid = |error: serde_json::Error| InvalidFacts::new(PROCESS, &error.to_string());
    strict::check(process).map_err(invalid)?;
    let members: Members<'_> = serde_json::from_slice(process).map_err(invalid)?;
    let process = serde_json::value::to_raw_value(&members).map_err(invalid)?;
    config.insert("process".to_owned(), &process);
    serde_json::to_vec(&config).map_err(invalid)
}

/// Reads a config.
///
/// # Errors
/// When the bytes are not JSON of that shape, or could be read in two ways; names the line and column.
pub fn parse(bytes: &[u8]) -> Result<OciConfig, InvalidFacts> {
    let invalid = |error: serde_json::Error| InvalidFacts::new(DOCUMENT, &error.to_string());
    strict::check(bytes).map_err(invalid)?;
    let spec: Spec<'_> = serde_json::from_slice(bytes).map_err(invalid)?;
    let unread = unread::unread(bytes).map_err(invalid)?;
    let process = spec
        .process
        .ok_or_else(|| InvalidFacts::new(DOCUMENT, "`process` is missing"))?;
    let linux = spec
        .linux
        .ok_or_else(|| InvalidFacts::new(DOCUMENT, "`linux` is missing"))?;

    let command = process.args.unwrap_or_default();
    let namespaces = namespaces(linux.namespaces.as_deref().unwrap_or_default());
    let around = Surroundings {
        host_ipc: namespaces.ipc.seen() == Some(&NamespaceOwner::Host),
        init: command.first().is_some_and(|first| first == "/sbin/docker-init"),
    };
    let inherited = inherited(linux.rootfs_propagation.as_deref().unwrap_or_default());
    let mounts: Vec<OciMount> = spec
        .mounts
        .unwrap_or_default()
        .into_iter()
        .map(|read| mount(read, inherited))
        .collect();
    let id = linux.cgroups_path.as_deref().and_then(id_in_cgroup);
    let hooks = hooks::read(spec.hooks.unwrap_or_default(), id.as_deref());
    let (root, rootfs_readonly) = spec
        .root
        .map(|root| (root.path, root.readonly))
        .unwrap_or_default();
    let mut annotations = spec.annotations.unwrap_or_default();
    annotations.retain(|name, value| !beyond::describes(name, value));
    let resources = linux.resources.as_ref();
    let devices = devices(
        linux.devices.unwrap_or_default(),
        resources.and_then(|r| r.devices.as_deref()),
    );
    let rlimits = process
        .rlimits
        .unwrap_or_default()
        .into_iter()
        .map(|limit| {
            let name = limit
                .kind
                .strip_prefix("RLIMIT_")
                .unwrap_or(&limit.kind)
                .to_ascii_lowercase();
            (
                name,
                Rlimit {
                    soft: limit.soft,
                    hard: limit.hard,
                },
            )
        })
        .collect();
    let config = ConfigFacts {
        env: Evidence::Seen(env(
            &process.env.unwrap_or_default(),
            spec.hostname.as_deref(),
            process.terminal,
        )),
        user: Evidence::Seen(user(
            &process.user,
            &namespaces.user,
            linux.uid_mappings.as_deref(),
        )),
        working_dir: Evidence::Seen(process.cwd),
        capabilities: Evidence::Seen(process.capabilities.map(given).unwrap_or_default()),
        no_new_privileges: Evidence::Seen(process.no_new_privileges),
        seccomp: Evidence::Seen(linux.seccomp.map_or(SeccompFacts::Unconfined, seccomp)),
        rootfs_readonly: Evidence::Seen(rootfs_readonly),
        mounts: Evidence::Seen(
            mounts
                .iter()
                .filter(|mount| !shape::is_runtimes_own(mount, around))
                .map(|mount| (mount.target.clone(), facts_of(mount)))
                .collect(),
        ),
        devices: Evidence::Seen(devices),
        sysctls: Evidence::Seen(linux.sysctl.unwrap_or_default()),
        limits: LimitFacts {
            memory: Evidence::Seen(resources.and_then(|r| positive(r.memory.as_ref()?.limit))),
            pids: Evidence::Seen(resources.and_then(|r| positive(r.pids.as_ref()?.limit))),
            cpu: Evidence::Seen(resources.and_then(|r| {
                let cpu = r.cpu.as_ref()?;
                millicores(
                    positive(cpu.quota)?,
                    cpu.period.filter(|period| *period > 0).unwrap_or(100_000),
                )
            })),
            rlimits: Evidence::Seen(rlimits),
        },
        ports: Evidence::missing(
            "an OCI config does not say which ports are published; add what the runtime says",
        ),
        masked_paths: Evidence::Seen(linux.masked_paths.unwrap_or_default()),
        readonly_paths: Evidence::Seen(linux.readonly_paths.unwrap_or_default()),
        apparmor: Evidence::Seen(process.apparmor_profile.filter(|profile| !profile.is_empty())),
        beyond: Evidence::Seen(BeyondFacts {
            hooks: Evidence::Seen(hooks.foreign),
            root: RootFacts {
                given: root,
                kept: Evidence::missing(
                    "an OCI config does not say where the runtime keeps the root file system; add what the runtime says",
                ),
            },
            annotations,
            selinux: process.selinux_label.filter(|label| !label.is_empty()),
            unread,
        }),
        command: Evidence::Seen(command),
        namespaces,
    };
    Ok(OciConfig {
        config,
        mounts,
        id,
        cgroup: linux.cgroups_path.map(Cow::into_owned),
        daemon_hook: hooks.daemon,
        around,
    })
}

fn positive(limit: Option<i64>) -> Option<u64> {
    limit
        .and_then(|limit| u64::try_from(limit).ok())
        .filter(|limit| *limit > 0)
}

/// Thousandths of a core.
pub(super) fn millicores(quota: u64, period: u64) -> Option<u64> {
    u64::try_from(u128::from(quota) * 1000 / u128::from(period.max(1))).ok()
}

fn env(entries: &[Text<'_>], hostname: Option<&str>, terminal: bool) -> EnvFacts {
    let mut env = EnvFacts::default();
    for Text(entry) in entries {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        // The runtime's own additions: the host name it gave, and the terminal's type.
        let own = match name {
            "HOSTNAME" => hostname.is_none_or(|hostname| hostname == value),
            "TERM" => terminal && value == "xterm",
            _ => false,
        };
        if !own {
            env.give(name, value);
        }
    }
    env
}

fn user(user: &User, namespace: &Evidence<NamespaceOwner>, mappings: Option<&[Mapping]>) -> UserFacts {
    let runtime_knows = "an OCI config does not say what was asked for; add what the runtime says";
    let host_uid = match namespace {
        Evidence::Seen(NamespaceOwner::Host) => Evidence::Seen(user.uid),
        Evidence::Seen(NamespaceOwner::Own) => mappings
            .unwrap_or_default()
            .iter()
            .find_map(|map| {
                let offset = user
                    .uid
                    .checked_sub(map.container)
                    .filter(|offset| *offset < map.size)?;
                map.host.checked_add(offset)
            })
            .map_or_else(
                || Evidence::missing("its uid is not in the user namespace's mapping"),
                Evidence::Seen,
            ),
        _ => Evidence::missing("its user namespace is another instance's; that one's mapping holds"),
    };
    let groups = user
        .additional_gids
        .iter()
        .flatten()
        .copied()
        .filter(|group| *group != user.gid)
        .collect();
    UserFacts {
        uid: Evidence::Seen(user.uid),
        gid: Evidence::Seen(user.gid),
        groups: Evidence::Seen(groups),
        requested: Evidence::missing(runtime_knows),
        added_groups: Evidence::missing(runtime_knows),
        host_uid,
    }
}

fn given(sets: Capabilities<'_>) -> CapabilityFacts {
    let Capabilities {
        bounding,
        effective,
        inheritable,
        permitted,
        ambient,
    } = sets;
    let mut facts = CapabilityFacts::default();
    let mut read = |set: Option<Vec<Text<'_>>>| {
        let mut mask = 0;
        for Text(name) in set.unwrap_or_default() {
            match capabilities::number(&name) {
                Some(number) => mask |= 1 << number,
                None => {
                    facts.unnamed.insert(name.into_owned());
                }
            }
        }
        mask
    };
    let ambient = read(ambient);
    let given = ambient | read(bounding) | read(effective) | read(inheritable) | read(permitted);
    CapabilityFacts {
        given,
        ambient,
        ..facts
    }
}

fn seccomp(raw: &RawValue) -> SeccompFacts {
    if raw.get() == "null" {
        return SeccompFacts::Unconfined;
    }
    let digest = match canonical(raw) {
        Ok(bytes) => Evidence::Seen(Digest::of(&bytes)),
        Err(why) => Evidence::Missing(why),
    };
    let runtime_default = Evidence::missing(
        "an OCI config does not say whose seccomp profile it is; add what the runtime says",
    );
    SeccompFacts::Profile {
        digest,
        runtime_default,
    }
}

/// The canonical form of a filter (RFC 8785), or why it has none.
fn canonical(raw: &RawValue) -> Result<Vec<u8>, String> {
    let failed = |error: serde_json::Error| format!("the seccomp filter has no canonical form: {error}");
    let filter = json::parse(raw.get().as_bytes()).map_err(failed)?;
    // Numbers that are rounded would give two filters one digest.
    if !json::is_exact(&filter) {
        return Err(
            "the seccomp filter has numbers that are no integers below 2^53: it has no canonical form"
                .to_owned(),
        );
    }
    serde_json_canonicalizer::to_vec(&filter).map_err(failed)
}

/// The seccomp filter of a config in its canonical form (RFC 8785), of which [`SeccompFacts`] has the digest; none where there is no filter.
///
/// # Errors
/// When it is no config, or its filter has no such form.
pub fn filter(bytes: &[u8]) -> Result<Option<Vec<u8>>, InvalidFacts> {
    let invalid = |error: serde_json::Error| InvalidFacts::new(DOCUMENT, &error.to_string());
    strict::check(bytes).map_err(invalid)?;
    let spec: Spec<'_> = serde_json::from_slice(bytes).map_err(invalid)?;
    let raw = spec.linux.and_then(|linux| linux.seccomp);
    raw.filter(|raw| raw.get() != "null")
        .map(canonical)
        .transpose()
        .map_err(|why| InvalidFacts::new(DOCUMENT, &why))
}

fn namespaces(list: &[Namespace<'_>]) -> NamespaceFacts {
    let owner = |kind: &str| {
        let owner = match list.iter().find(|namespace| namespace.kind == kind) {
            None => NamespaceOwner::Host,
            Some(Namespace { path, .. }) => match path.as_deref() {
                None | Some("") => NamespaceOwner::Own,
                // How dockerd names the namespace it runs in itself.
                Some(path) if path.ends_with("/netns/default") => NamespaceOwner::Host,
                Some(path) => NamespaceOwner::Instance(path.to_owned()),
            },
        };
        Evidence::Seen(owner)
    };
    NamespaceFacts {
        network: owner("network"),
        ipc: owner("ipc"),
        pid: owner("pid"),
        uts: owner("uts"),
        user: owner("user"),
        cgroup: owner("cgroup"),
    }
}

/// What holds of a mount that says nothing of propagation: what the root of the container was given, before anything was bound
/// into it (runc `prepareRoot`).
fn inherited(rootfs: &str) -> Propagation {
    match rootfs {
        "shared" | "rshared" => Propagation::Rshared,
        "private" | "rprivate" | "unbindable" | "runbindable" => Propagation::Rprivate,
        _ => Propagation::Rslave,
    }
}

fn mount(mount: Mount<'_>, inherited: Propagation) -> OciMount {
    let Mount {
        destination,
        fstype,
        source,
        options,
    } = mount;
    let options = options.unwrap_or_default();
    let has = |wanted: &str| options.iter().any(|Text(option)| option == wanted);
    let bind = has("bind") || has("rbind");
    // Of two options that contradict each other the last one holds (mount(8)).
    let last = options
        .iter()
        .rev()
        .find(|Text(option)| option == "ro" || option == "rw");
    let named = |Text(option): &Text<'_>| Propagation::ALL.iter().find(|word| word.word() == option);
    OciMount {
        propagation: options.iter().rev().find_map(named).copied().unwrap_or(inherited),
        target: destination,
        fstype: if bind {
            "bind".to_owned()
        } else {
            fstype.unwrap_or_default().into_owned()
        },
        source: source.unwrap_or_default().into_owned(),
        access: if last.is_some_and(|Text(option)| option == "ro") {
            Access::Ro
        } else {
            Access::Rw
        },
        options: ["nodev", "noexec", "nosuid"]
            .into_iter()
            .filter(|o| has(o))
            .map(str::to_owned)
            .collect(),
    }
}

/// A mount's facts as far as its own shape tells.
pub(super) fn facts_of(mount: &OciMount) -> MountFacts {
    let origin = match mount.fstype.as_str() {
        "bind" => match shape::volume_name(&mount.source) {
            Some(name) if shape::is_id(name) => MountOrigin::AnonymousVolume,
            Some(name) => MountOrigin::Volume(name.to_owned()),
            None => MountOrigin::Bind(mount.source.clone()),
        },
        "tmpfs" => MountOrigin::Tmpfs,
        other => MountOrigin::Other(other.to_owned()),
    };
    let of_host = mount.fstype == "bind";
    MountFacts {
        origin,
        access: mount.access,
        options: mount.options.clone(),
        propagation: Evidence::Seen(if of_host {
            mount.propagation
        } else {
            Propagation::Rprivate
        }),
        host_path: of_host.then(|| mount.source.clone()),
    }
}

/// Device rules that runtimes add to every container (runc `specconv`, moby `oci/defaults.go`).
const DEFAULT_RULES: &[(&str, Option<i64>, Option<i64>)] = &[
    ("c", Some(1), Some(3)),
    ("c", Some(1), Some(5)),
    ("c", Some(1), Some(7)),
    ("c", Some(1), Some(8)),
    ("c", Some(1), Some(9)),
    ("c", Some(5), Some(0)),
    ("c", Some(5), Some(1)),
    ("c", Some(5), Some(2)),
    ("c", Some(136), None),
];

/// Nodes with the access their rule gives, and rules without a node as `c 42:7`, `*` for "every".
fn devices(nodes: Vec<Node<'_>>, rules: Option<&[DeviceRule<'_>]>) -> BTreeMap<String, DeviceFacts> {
    let rules = rules.unwrap_or_default();
    let unseen = || Evidence::missing("an OCI config does not say which device of the host it is");
    // By device, so that many nodes and many rules are not held against each other one by one.
    let device = |rule: &DeviceRule<'_>| Some((rule.kind.as_deref()?.to_owned(), rule.major?, rule.minor?));
    let mut given = BTreeMap::new();
    for rule in rules.iter().filter(|rule| rule.allow) {
        if let Some(device) = device(rule) {
            // Docker appends the rule of a device it was asked for: the last one is the device's own.
            given.insert(device, rule.access.as_deref().map(ordered).unwrap_or_default());
        }
    }
    let mut devices = BTreeMap::new();
    let mut nodes_of = BTreeSet::new();
    for Node {
        path,
        kind,
        major,
        minor,
    } in nodes
    {
        let device = (kind.into_owned(), major, minor);
        let facts = DeviceFacts {
            access: given.get(&device).cloned().unwrap_or_default(),
            host_path: unseen(),
        };
        devices.insert(path, facts);
        nodes_of.insert(device);
    }
    for rule in rules {
        let kind = rule.kind.as_deref().unwrap_or("a");
        let used = device(rule).is_some_and(|device| nodes_of.contains(&device));
        let default = DEFAULT_RULES.contains(&(kind, rule.major, rule.minor));
        if rule.allow && !used && !default {
            let number = |n: Option<i64>| {
                n.filter(|n| *n >= 0)
                    .map_or_else(|| "*".to_owned(), |n| n.to_string())
            };
            let name = format!("{kind} {}:{}", number(rule.major), number(rule.minor));
            let access = rule.access.as_deref().map(ordered).unwrap_or_default();
            devices.insert(
                name,
                DeviceFacts {
                    access,
                    host_path: unseen(),
                },
            );
        }
    }
    devices
}

/// Access letters in the order `rwm`.
pub(super) fn ordered(access: &str) -> String {
    ['r', 'w', 'm']
        .into_iter()
        .filter(|letter| access.contains(*letter))
        .collect()
}

fn id_in_cgroup(path: &str) -> Option<String> {
    let last = path.rsplit(['/', ':']).next()?;
    let last = last.strip_suffix(".scope").unwrap_or(last);
    let last = last.rsplit('-').next()?;
    shape::is_id(last).then(|| last.to_owned())
}
