//! What of an instance an expression can look at: one table, the same for whoever writes a check and whoever judges by it.
//!
//! A field is never renamed, and never comes to mean something else. What a container is free to say of itself (its name, its labels) is
//! no field; values of environment variables are none either.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::types::{Member, Type};
use super::value::Value;
use crate::compile::CompiledWorkload;
use crate::facts::{
    ConfigFacts, Evidence, Instance, MountFacts, MountOrigin, NamespaceOwner, SeccompFacts, capabilities,
};
use crate::model::Access;

/// A field.
#[derive(Debug)]
pub struct Field {
    /// Its name, such as `user.uid`.
    pub name: &'static str,
    /// What it is.
    pub of: Type,
    /// What it says.
    pub says: &'static str,
    see: See,
}

type See = for<'a> fn(&Subject<'a>) -> Evidence<Value<'a>>;

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Field {}

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The instance.
    pub instance: &'a Instance,
    /// The workloads that it is held to.
    pub workloads: &'a [&'a CompiledWorkload],
    /// Whether its first process stands for one that is started in it while it runs.
    pub is_process: bool,
}

impl Field {
    /// What the subject shows of it.
    pub fn see<'a>(&self, subject: &Subject<'a>) -> Evidence<Value<'a>> {
        (self.see)(subject)
    }
}

macro_rules! fields {
    ($($name:literal, $of:expr, $says:literal, $see:expr;)+) => {
        /// Every field, by name.
        pub const FIELDS: &[Field] = &[$(Field { name: $name, of: $of, says: $says, see: $see }),+];
    };
}

fields! {
    "ambientCapabilities", Type::Texts, "capabilities that a process keeps over execve(2) though it is not root, such as CAP_NET_BIND_SERVICE",
        |s| seen(&s.instance.config.capabilities, |given| Value::texts(capabilities::names(given.ambient)));
    "apparmor", Type::Text, "the AppArmor profile given; empty where none is",
        |s| seen(&s.instance.config.apparmor, |profile| Value::text(profile.as_deref().unwrap_or_default()));
    "capabilities", Type::Texts, "the capabilities given, such as CAP_NET_RAW",
        |s| seen(&s.instance.config.capabilities, |given| {
            Value::texts(capabilities::names(given.given).map(Cow::Owned).chain(given.unnamed.iter().map(|name| Cow::Borrowed(name.as_str()))))
        });
    "command", Type::Texts, "the whole argv of the first process",
        |s| seen(&s.instance.config.command, |argv| Value::texts(argv.iter().map(String::as_str)));
    "devices", Type::Records(DEVICE), "devices beyond those that every runtime adds",
        |s| seen(&s.instance.config.devices, |devices| Value::List(devices.iter().map(|(path, device)| {
            Value::Record(vec![Value::text(device.access.as_str()), Value::text(path.as_str())])
        }).collect()));
    "env", Type::Texts, "the names of the environment variables; never their values",
        |s| seen(&s.instance.config.env, |env| Value::texts(env.0.keys().map(String::as_str)));
    "exec", Type::Texts, "the whole argv of what is started in an instance that runs (`docker exec`); empty for its first process",
        |s| seen(&s.instance.config.command, |argv| {
            Value::texts(argv.iter().filter(|_| s.is_process).map(String::as_str))
        });
    "image", Type::Text, "the digest of the image config, sha256:…",
        |s| seen(&s.instance.image, |digest| Value::text(digest.to_string()));
    "limits.cpu", Type::Int, "thousandths of a core; the largest number where there is no limit",
        |s| seen(&s.instance.config.limits.cpu, limit);
    "limits.memory", Type::Int, "bytes; the largest number where there is no limit",
        |s| seen(&s.instance.config.limits.memory, limit);
    "limits.pids", Type::Int, "processes and threads; the largest number where there is no limit",
        |s| seen(&s.instance.config.limits.pids, limit);
    "maskedPaths", Type::Texts, "paths that are hidden",
        |s| seen(&s.instance.config.masked_paths, |paths| Value::texts(paths.iter().map(String::as_str)));
    "mounts", Type::Records(MOUNT), "mounts, without those that every runtime adds",
        |s| seen(&s.instance.config.mounts, |mounts| Value::List(mounts.iter().map(|(target, mount)| one_mount(target, mount)).collect()));
    "namespaces.cgroup", Type::Text, "whose cgroup namespace it has: own, host or instance (another one's)",
        |s| seen(&s.instance.config.namespaces.cgroup, owner);
    "namespaces.ipc", Type::Text, "whose IPC namespace it has: own, host or instance",
        |s| seen(&s.instance.config.namespaces.ipc, owner);
    "namespaces.network", Type::Text, "whose network namespace it has: own, isolated (nothing but loopback in it), host or instance",
        |s| seen(&s.instance.config.namespaces.network, owner);
    "namespaces.pid", Type::Text, "whose PID namespace it has: own, host or instance",
        |s| seen(&s.instance.config.namespaces.pid, owner);
    "namespaces.user", Type::Text, "whose user namespace it has: own, host or instance",
        |s| seen(&s.instance.config.namespaces.user, owner);
    "namespaces.uts", Type::Text, "whose UTS namespace it has: own, host or instance",
        |s| seen(&s.instance.config.namespaces.uts, owner);
    "noNewPrivileges", Type::Bool, "whether NoNewPrivs is set",
        |s| seen(&s.instance.config.no_new_privileges, |on| Value::Bool(*on));
    "ports", Type::Records(PORT), "published ports",
        |s| seen(&s.instance.config.ports, |ports| Value::List(ports.iter().map(|port| {
            Value::Record(vec![Value::text(port.listen.as_str()), Value::texts(port.publish.iter().map(String::as_str))])
        }).collect()));
    "readonlyPaths", Type::Texts, "paths that are made read-only",
        |s| seen(&s.instance.config.readonly_paths, |paths| Value::texts(paths.iter().map(String::as_str)));
    "rootfsReadOnly", Type::Bool, "whether the root file system is read-only",
        |s| seen(&s.instance.config.rootfs_readonly, |on| Value::Bool(*on));
    "seccomp", Type::Bool, "whether there is a seccomp filter",
        |s| seen(&s.instance.config.seccomp, |seccomp| Value::Bool(matches!(seccomp, SeccompFacts::Profile { .. })));
    "sysctls", Type::Map, "kernel parameters set, those that runtimes set by themselves included",
        |s| seen(&s.instance.config.sysctls, map);
    "user.gid", Type::Int, "the group id of the first process, inside",
        |s| user(&s.instance.config, |user| &user.gid, |gid| Value::Int(i64::from(*gid)));
    "user.groups", Type::Ints, "its supplementary groups, without user.gid",
        |s| user(&s.instance.config, |user| &user.groups, |groups| Value::List(groups.iter().map(|gid| Value::Int(i64::from(*gid))).collect()));
    "user.hostUid", Type::Int, "the host's user id that user.uid is mapped to; user.uid itself without a user namespace",
        |s| user(&s.instance.config, |user| &user.host_uid, |uid| Value::Int(i64::from(*uid)));
    "user.uid", Type::Int, "the user id of the first process, inside",
        |s| user(&s.instance.config, |user| &user.uid, |uid| Value::Int(i64::from(*uid)));
    "workingDir", Type::Text, "the working directory of the first process",
        |s| seen(&s.instance.config.working_dir, |path| Value::text(path.as_str()));
    "workloads", Type::Records(WORKLOAD), "the workloads that it is held to, with their sealed labels; none for an unknown instance",
        |s| seen(&s.instance.image, |_| Value::List(s.workloads.iter().map(|workload| {
            let labels = workload.labels.0.iter();
            Value::Record(vec![
                Value::Map(labels.map(|(key, value)| (Cow::Borrowed(key.as_str()), Cow::Borrowed(value.as_str()))).collect()),
                Value::text(workload.key.name.as_str()),
            ])
        }).collect()));
}

const DEVICE: &[Member] = &[
    member("access", Type::Text, "of `rwm`, what is allowed"),
    member("path", Type::Text, "its path inside"),
];

const MOUNT: &[Member] = &[
    member("access", Type::Text, "ro or rw"),
    member(
        "kind",
        Type::Text,
        "volume, anonymousVolume, bind, tmpfs or other",
    ),
    member(
        "options",
        Type::Texts,
        "of nosuid, nodev and noexec, those that are on",
    ),
    member(
        "source",
        Type::Text,
        "the volume's name, the path on the host of a bind, or the type of another file system; else empty",
    ),
    member("target", Type::Text, "where it is mounted"),
];

const PORT: &[Member] = &[
    member("listen", Type::Text, "port and protocol inside, such as 8080/tcp"),
    member(
        "publish",
        Type::Texts,
        "ADDRESS:PORT on the host; the address is * where every address is meant",
    ),
];

const WORKLOAD: &[Member] = &[
    member("labels", Type::Map, "the labels of the object"),
    member("name", Type::Text, "its name"),
];

const fn member(name: &'static str, of: Type, says: &'static str) -> Member {
    Member { name, of, says }
}

fn seen<'a, T: 'a>(evidence: &'a Evidence<T>, value: impl FnOnce(&'a T) -> Value<'a>) -> Evidence<Value<'a>> {
    match evidence {
        Evidence::Seen(seen) => Evidence::Seen(value(seen)),
        Evidence::Missing(reason) => Evidence::Missing(reason.clone()),
    }
}

fn user<'a, T: 'a>(
    config: &'a ConfigFacts,
    part: impl FnOnce(&'a crate::facts::UserFacts) -> &'a Evidence<T>,
    value: impl FnOnce(&'a T) -> Value<'a>,
) -> Evidence<Value<'a>> {
    match &config.user {
        Evidence::Seen(user) => seen(part(user), value),
        Evidence::Missing(reason) => Evidence::Missing(reason.clone()),
    }
}

fn limit(limit: &Option<u64>) -> Value<'_> {
    Value::Int(
        limit
            .and_then(|limit| i64::try_from(limit).ok())
            .unwrap_or(i64::MAX),
    )
}

fn map(map: &BTreeMap<String, String>) -> Value<'_> {
    let entries = map.iter();
    Value::Map(
        entries
            .map(|(key, value)| (Cow::Borrowed(key.as_str()), Cow::Borrowed(value.as_str())))
            .collect(),
    )
}

fn owner(owner: &NamespaceOwner) -> Value<'_> {
    Value::text(match owner {
        NamespaceOwner::Own => "own",
        NamespaceOwner::Isolated => "isolated",
        NamespaceOwner::Host => "host",
        NamespaceOwner::Instance(_) => "instance",
    })
}

fn one_mount<'a>(target: &'a str, mount: &'a MountFacts) -> Value<'a> {
    let (kind, source) = match &mount.origin {
        MountOrigin::Volume(name) => ("volume", name.as_str()),
        MountOrigin::AnonymousVolume => ("anonymousVolume", ""),
        MountOrigin::Bind(path) => ("bind", path.as_str()),
        MountOrigin::Tmpfs => ("tmpfs", ""),
        MountOrigin::Other(of) => ("other", of.as_str()),
    };
    let access = match mount.access {
        Access::Ro => "ro",
        Access::Rw => "rw",
    };
    Value::Record(vec![
        Value::text(access),
        Value::text(kind),
        Value::texts(mount.options.iter().map(String::as_str)),
        Value::text(source),
        Value::text(target),
    ])
}
