//! Facts from an inspection alone.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{Binding, Container, HostConfig, MountPoint, Ports};
use super::{Inspected, repository};
use crate::digest::Digest;
use crate::facts::oci::{millicores, ordered};
use crate::facts::{
    CapabilityFacts, ConfigFacts, DeviceFacts, EnvFacts, Evidence, LimitFacts, MountFacts, MountOrigin,
    NamespaceFacts, NamespaceOwner, PortFacts, RUNTIME_MASKED_PATHS, RUNTIME_READONLY_PATHS, SeccompFacts,
    UserFacts, capabilities, shape,
};
use crate::model::{Access, Labels, Propagation, Rlimit};

pub(super) fn inspected(mut container: Container) -> Inspected {
    let image = match container.image.parse::<Digest>() {
        Ok(digest) => Evidence::Seen(digest),
        Err(_) => Evidence::missing("the runtime names no image config digest"),
    };
    let host = &container.host_config;
    let security = host.security_opt.as_deref().unwrap_or_default();
    let option = |name: &str| {
        security
            .iter()
            .rev()
            .find_map(|opt| opt.strip_prefix(name)?.strip_prefix(['=', ':']))
    };
    let default_seccomp = option("seccomp").map_or(!host.privileged, |profile| {
        matches!(profile, "builtin" | "default" | "")
    });
    let network = owner(&host.network_mode, NamespaceOwner::Own, NamespaceOwner::Isolated);
    let ipc = owner(&host.ipc_mode, NamespaceOwner::Own, NamespaceOwner::Own);
    let pid_namespace = owner(&host.pid_mode, NamespaceOwner::Own, NamespaceOwner::Own);
    let mapped = mapped_root(&container);
    let user_namespace = match (&mapped, host.userns_mode.as_str()) {
        (_, "host") | (Some(None), _) => Evidence::Seen(NamespaceOwner::Host),
        (Some(Some(_)), _) => Evidence::Seen(NamespaceOwner::Own),
        (None, _) => Evidence::missing(
            "whether the daemon maps users is not in the inspection of a container \
                                        that never ran; give its OCI config",
        ),
    };
    let base = match (&user_namespace, mapped.flatten()) {
        (Evidence::Seen(NamespaceOwner::Host), _) => Some(0),
        (_, base) => base,
    };
    let ports = match network {
        NamespaceOwner::Own => published(
            host.port_bindings.as_ref(),
            container
                .network_settings
                .as_ref()
                .and_then(|network| network.ports.as_ref()),
        ),
        _ => Vec::new(),
    };
    let mounts = mounts(container.mounts.take().unwrap_or_default(), host.tmpfs.as_ref());
    let mut requests = BTreeSet::new();
    for request in host.device_requests.iter().flatten() {
        let wanted: Vec<&str> = request
            .capabilities
            .iter()
            .flatten()
            .flatten()
            .flatten()
            .map(String::as_str)
            .collect();
        requests.insert(
            format!("{} {}", request.driver, wanted.join(","))
                .trim()
                .to_owned(),
        );
    }
    let devices: BTreeMap<String, String> = host
        .devices
        .iter()
        .flatten()
        .map(|device| (device.path_in_container.clone(), device.path_on_host.clone()))
        .collect();
    let config = ConfigFacts {
        command: Evidence::Seen(command(&container)),
        env: Evidence::Seen(env(container.config.env.as_deref().unwrap_or_default())),
        user: Evidence::Seen(user(&container.config.user, host.group_add.as_deref(), base)),
        working_dir: Evidence::Seen(match container.config.working_dir.as_str() {
            "" => "/".to_owned(),
            dir => dir.to_owned(),
        }),
        capabilities: Evidence::Seen(given(host)),
        no_new_privileges: Evidence::Seen(
            security.iter().any(|opt| opt == "no-new-privileges")
                || option("no-new-privileges")
                    .is_some_and(|word| matches!(word, "true" | "1" | "t" | "T" | "TRUE" | "True")),
        ),
        seccomp: Evidence::Seen(seccomp(option("seccomp"), host.privileged, default_seccomp)),
        rootfs_readonly: Evidence::Seen(host.readonly_rootfs),
        namespaces: NamespaceFacts {
            network: Evidence::Seen(network.clone()),
            ipc: Evidence::Seen(ipc.clone()),
            pid: Evidence::Seen(pid_namespace.clone()),
            uts: Evidence::Seen(owner(&host.uts_mode, NamespaceOwner::Own, NamespaceOwner::Own)),
            user: user_namespace,
            cgroup: match host.cgroupns_mode.as_str() {
                "private" => Evidence::Seen(NamespaceOwner::Own),
                "host" => Evidence::Seen(NamespaceOwner::Host),
                _ => Evidence::missing(
                    "this daemon does not say whose cgroup namespace it is; give its OCI config",
                ),
            },
        },
        mounts: Evidence::Seen(mounts.clone()),
        devices: Evidence::Seen(device_facts(host, &requests)),
        sysctls: Evidence::Seen(host.sysctls.clone().unwrap_or_default()),
        limits: limits(host),
        ports: Evidence::Seen(ports.clone()),
        masked_paths: Evidence::Seen(paths(
            host.masked_paths.as_deref(),
            host.privileged,
            RUNTIME_MASKED_PATHS,
        )),
        readonly_paths: Evidence::Seen(paths(
            host.readonly_paths.as_deref(),
            host.privileged,
            RUNTIME_READONLY_PATHS,
        )),
        apparmor: Evidence::Seen(
            Some(container.app_armor_profile.clone()).filter(|profile| !profile.is_empty()),
        ),
        beyond: Evidence::missing(
            "an inspection does not say what else the runtime is given; give the OCI config",
        ),
    };
    let driver = container.graph_driver.as_ref();
    let merged = driver.and_then(|driver| driver.data.as_ref()?.get("MergedDir"));
    let root = match merged {
        Some(path) => Evidence::Seen(path.clone()),
        None => Evidence::missing("the daemon does not say where its storage keeps the root file system"),
    };
    Inspected {
        root,
        cgroup_parent: container.host_config.cgroup_parent.clone(),
        image_name: repository(&container.config.image, image.seen()),
        image,
        name: container
            .name
            .strip_prefix('/')
            .unwrap_or(&container.name)
            .to_owned(),
        labels: Labels(container.config.labels.take().unwrap_or_default()),
        pid: container
            .state
            .as_ref()
            .map(|state| state.pid)
            .filter(|pid| *pid != 0),
        ports,
        requested_user: container.config.user.clone(),
        added_groups: host.group_add.iter().flatten().cloned().collect(),
        default_seccomp,
        network,
        ipc,
        pid_namespace,
        mounts,
        devices,
        device_requests: requests,
        config,
        id: container.id,
    }
}

fn owner(mode: &str, own: NamespaceOwner, none: NamespaceOwner) -> NamespaceOwner {
    match mode {
        "host" => NamespaceOwner::Host,
        "none" => none,
        mode => match mode.strip_prefix("container:") {
            Some(id) => NamespaceOwner::Instance(id.to_owned()),
            None => own,
        },
    }
}

/// The host's uid of root inside, by the name of the daemon's directories (`100000.100000` where it maps users).
/// `Some(None)`: it maps none. `None`: no directory is named.
fn mapped_root(container: &Container) -> Option<Option<u32>> {
    let data = container
        .graph_driver
        .as_ref()
        .and_then(|driver| driver.data.as_ref());
    let upper = data.and_then(|data| data.get("UpperDir").or_else(|| data.get("MergedDir")));
    let path = Some(container.resolv_conf_path.as_str()).filter(|path| !path.is_empty());
    let path = path.or(upper.map(String::as_str))?;
    Some(path.split('/').find_map(|part| {
        let (uid, gid) = part.split_once('.')?;
        gid.parse::<u32>().ok()?;
        uid.parse::<u32>().ok()
    }))
}

fn command(container: &Container) -> Vec<String> {
    let init = container.host_config.init == Some(true);
    let prefix: &[&str] = if init { &["/sbin/docker-init", "--"] } else { &[] };
    let path = Some(container.path.clone()).filter(|path| !path.is_empty());
    let args = container.args.iter().flatten().cloned();
    prefix
        .iter()
        .map(|word| (*word).to_owned())
        .chain(path)
        .chain(args)
        .collect()
}

fn env(entries: &[String]) -> EnvFacts {
    let mut env = EnvFacts::default();
    for entry in entries {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        env.give(name, value);
    }
    env
}

/// What is a name is looked up in the container's own files, which are not seen here.
fn by_name<T>(what: &str) -> Evidence<T> {
    Evidence::Missing(format!(
        "{what} is looked up in the image's /etc/passwd and /etc/group; give the OCI config"
    ))
}

fn user(requested: &str, added: Option<&[String]>, base: Option<u32>) -> UserFacts {
    let added: BTreeSet<String> = added.unwrap_or_default().iter().cloned().collect();
    let (uid, gid) = requested.split_once(':').unwrap_or((requested, ""));
    let uid: Evidence<u32> = match uid {
        "" | "root" => Evidence::Seen(0),
        text => text.parse().map_or_else(|_| by_name("its user"), Evidence::Seen),
    };
    let gid = match (gid, &uid) {
        ("", Evidence::Seen(0)) => Evidence::Seen(0),
        ("", _) => by_name("its group"),
        (text, _) => text.parse().map_or_else(|_| by_name("its group"), Evidence::Seen),
    };
    let host_uid = match (&uid, base) {
        (Evidence::Seen(uid), Some(base)) => uid
            .checked_add(base)
            .map_or_else(|| Evidence::missing("its uid is out of range"), Evidence::Seen),
        (Evidence::Missing(reason), _) => Evidence::Missing(reason.clone()),
        (_, None) => Evidence::missing("whether the daemon maps users is not known; give the OCI config"),
    };
    UserFacts {
        uid,
        gid,
        groups: by_name("its supplementary groups"),
        requested: Evidence::Seen(requested.to_owned()),
        added_groups: Evidence::Seen(added),
        host_uid,
    }
}

fn given(host: &HostConfig) -> CapabilityFacts {
    if host.privileged {
        return CapabilityFacts {
            given: capabilities::ALL,
            ..CapabilityFacts::default()
        };
    }
    let mut unnamed = BTreeSet::new();
    let mut mask = |names: Option<&[String]>| {
        let mut mask = 0;
        for name in names.unwrap_or_default() {
            match (name.eq_ignore_ascii_case("ALL"), capabilities::number(name)) {
                (true, _) => mask |= capabilities::ALL,
                (false, Some(number)) => mask |= 1 << number,
                (false, None) => {
                    unnamed.insert(name.clone());
                }
            }
        }
        mask
    };
    let (add, drop) = (mask(host.cap_add.as_deref()), mask(host.cap_drop.as_deref()));
    // moby `caps.TweakCapabilities`: ALL on one side makes the other side the exceptions from it.
    let given = match (add == capabilities::ALL, drop == capabilities::ALL) {
        (true, _) => capabilities::ALL & !drop,
        (false, true) => add,
        (false, false) => (capabilities::RUNTIME_DEFAULT & !drop) | add,
    };
    CapabilityFacts {
        given,
        ambient: 0,
        unnamed,
    }
}

fn seccomp(option: Option<&str>, privileged: bool, default: bool) -> SeccompFacts {
    if option == Some("unconfined") || (privileged && option.is_none()) {
        return SeccompFacts::Unconfined;
    }
    SeccompFacts::Profile {
        digest: Evidence::missing(
            "the digest of a seccomp profile is that of the OCI config's; give the OCI config",
        ),
        runtime_default: Evidence::Seen(default),
    }
}

fn mounts(points: Vec<MountPoint>, tmpfs: Option<&BTreeMap<String, String>>) -> BTreeMap<String, MountFacts> {
    let mut mounts = BTreeMap::new();
    for MountPoint {
        kind,
        name,
        source,
        destination,
        writable,
        propagation,
    } in points
    {
        let of_host = matches!(kind.as_str(), "bind" | "volume");
        let host_path = of_host.then(|| source.clone());
        let propagation = match Propagation::ALL.iter().find(|word| word.word() == propagation) {
            _ if !of_host => Evidence::Seen(Propagation::Rprivate),
            Some(word) => Evidence::Seen(*word),
            // Docker gives a volume what the container's root has, which is this unless another mount is shared.
            None if kind == "volume" => Evidence::Seen(Propagation::Rslave),
            None => Evidence::missing("the inspection does not say its propagation; give the OCI config"),
        };
        let origin = match kind.as_str() {
            "volume" if shape::is_id(&name) => MountOrigin::AnonymousVolume,
            "volume" => MountOrigin::Volume(name),
            "bind" => MountOrigin::Bind(source),
            "tmpfs" => MountOrigin::Tmpfs,
            _ => MountOrigin::Other(kind),
        };
        let options = match origin {
            MountOrigin::Tmpfs => tmpfs_options(""),
            _ => BTreeSet::new(),
        };
        let access = if writable { Access::Rw } else { Access::Ro };
        mounts.insert(
            destination,
            MountFacts {
                origin,
                access,
                options,
                propagation,
                host_path,
            },
        );
    }
    for (target, options) in tmpfs.into_iter().flatten() {
        let access = if options.split(',').any(|option| option == "ro") {
            Access::Ro
        } else {
            Access::Rw
        };
        let facts = MountFacts {
            origin: MountOrigin::Tmpfs,
            access,
            options: tmpfs_options(options),
            propagation: Evidence::Seen(Propagation::Rprivate),
            host_path: None,
        };
        mounts.insert(target.clone(), facts);
    }
    mounts
}

/// Docker's own options for a tmpfs, unless their opposite was asked for.
fn tmpfs_options(asked: &str) -> BTreeSet<String> {
    [("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec")]
        .into_iter()
        .filter(|(_, opposite)| !asked.split(',').any(|option| option == *opposite))
        .map(|(option, _)| option.to_owned())
        .collect()
}

fn device_facts(host: &HostConfig, requests: &BTreeSet<String>) -> BTreeMap<String, DeviceFacts> {
    let mut devices = BTreeMap::new();
    for device in host.devices.iter().flatten() {
        devices.insert(
            device.path_in_container.clone(),
            DeviceFacts {
                access: ordered(&device.cgroup_permissions),
                host_path: Evidence::Seen(device.path_on_host.clone()),
            },
        );
    }
    for rule in host.device_cgroup_rules.iter().flatten() {
        let (device, access) = rule.rsplit_once(' ').unwrap_or((rule, "rwm"));
        devices.insert(
            device.to_owned(),
            DeviceFacts {
                access: ordered(access),
                host_path: Evidence::Seen(device.to_owned()),
            },
        );
    }
    for request in requests {
        devices.insert(
            format!("request {request}"),
            DeviceFacts {
                access: "rwm".to_owned(),
                host_path: Evidence::Seen(format!("request {request}")),
            },
        );
    }
    if host.privileged {
        devices.insert(
            "a *:*".to_owned(),
            DeviceFacts {
                access: "rwm".to_owned(),
                host_path: Evidence::Seen("a *:*".to_owned()),
            },
        );
    }
    devices
}

fn limits(host: &HostConfig) -> LimitFacts {
    let positive = |limit: Option<i64>| limit.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    let cpu = match positive(host.nano_cpus) {
        Some(nano) => Some(nano / 1_000_000),
        None => positive(host.cpu_quota)
            .and_then(|quota| millicores(quota, positive(host.cpu_period).unwrap_or(100_000))),
    };
    let unlimited = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    LimitFacts {
        memory: Evidence::Seen(positive(host.memory)),
        pids: Evidence::Seen(positive(host.pids_limit)),
        cpu: Evidence::Seen(cpu),
        rlimits: Evidence::Seen(
            host.ulimits
                .iter()
                .flatten()
                .map(|limit| {
                    let rlimit = Rlimit {
                        soft: unlimited(limit.soft),
                        hard: unlimited(limit.hard),
                    };
                    (limit.name.to_ascii_lowercase(), rlimit)
                })
                .collect(),
        ),
    }
}

fn paths(given: Option<&[String]>, privileged: bool, default: &[&str]) -> BTreeSet<String> {
    match given {
        Some(paths) => paths.iter().cloned().collect(),
        None if privileged => BTreeSet::new(),
        None => default.iter().map(|path| (*path).to_owned()).collect(),
    }
}

/// What was asked for where it names a port, completed by what holds (a port chosen by the daemon, `--publish-all`).
fn published(asked: Option<&Ports>, holding: Option<&Ports>) -> Vec<PortFacts> {
    let mut ports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (listen, bindings) in asked.into_iter().chain(holding).flatten() {
        for Binding { host_ip, host_port } in bindings.iter().flatten() {
            if host_port.parse::<u16>().is_ok_and(|port| port != 0) {
                let address = match host_ip.as_str() {
                    "" | "0.0.0.0" | "::" | "[::]" => "*".to_owned(),
                    v6 if v6.contains(':') && !v6.starts_with('[') => format!("[{v6}]"),
                    address => address.to_owned(),
                };
                ports
                    .entry(listen.clone())
                    .or_default()
                    .insert(format!("{address}:{host_port}"));
            }
        }
    }
    ports
        .into_iter()
        .map(|(listen, publish)| PortFacts { listen, publish })
        .collect()
}
