//! The instance that a workload blesses: what `drift` finds nothing wrong with.
//!
//! For tests, for `explain` (what would be right?), and as the meaning of a workload written down a second time.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::facts::{
    BeyondFacts, CapSets, CapabilityFacts, ConfigFacts, DeviceFacts, EnvFacts, Evidence, ImageDefaults,
    Instance, InstanceId, LimitFacts, LiveFacts, LiveMount, MountFacts, MountOrigin, NamespaceFacts,
    NamespaceIds, NamespaceOwner, PortFacts, ProcessFacts, RUNTIME_MASKED_PATHS, RUNTIME_READONLY_PATHS,
    RootFacts, SeccompFacts, SeccompMode, UserFacts, capabilities,
};
use crate::model::{
    Access, Config, Limits, MountSource, NamespaceMode, Namespaces, Propagation, Publish, Rootfs,
    RuntimeKind, Seccomp, Stated, UserSpec, Workload,
};

/// Makes the instance. `any` is filled with the default; a shared namespace is that of an instance with an id of zeros.
///
/// `image` is what the image of the first listed digest says of itself; its user must be numeric or empty.
pub fn ideal(workload: &Workload, image: &ImageDefaults) -> Instance {
    let config = facts(&workload.config, image);
    let live = live(&config);
    Instance {
        id: InstanceId {
            runtime: RuntimeKind::Docker,
            id: "1".repeat(64),
        },
        name: "ideal".to_owned(),
        image: match workload.config.images.first() {
            Some(digest) => Evidence::Seen(*digest),
            None => Evidence::missing("the workload blesses no image"),
        },
        image_name: workload.hint.image.clone(),
        image_defaults: Evidence::Seen(image.clone()),
        labels: workload.hint.labels.clone(),
        config,
        live: Evidence::Seen(live),
    }
}

/// A stated value or this one.
fn or<T: Clone>(stated: &Stated<T>, default: impl FnOnce() -> T) -> T {
    match stated {
        Stated::Is(value) => value.clone(),
        Stated::Absent | Stated::Any => default(),
    }
}

fn facts(config: &Config, image: &ImageDefaults) -> ConfigFacts {
    // By name, so that a new field cannot be forgotten here.
    let Config {
        images: _,
        command,
        env,
        user,
        working_dir,
        capabilities: kept,
        no_new_privileges,
        seccomp,
        rootfs,
        namespaces,
        mounts,
        devices,
        sysctls,
        limits,
        ports,
        masked_paths,
        readonly_paths,
    } = config;
    let Limits {
        memory,
        pids,
        cpu,
        rlimits,
    } = limits;
    let mut variables = image.env.clone();
    if let Stated::Is(rule) = env {
        variables.extend(rule.require.clone());
    }
    let set = |stated: &Stated<BTreeSet<String>>, default: &[&str]| {
        or(stated, || default.iter().map(|path| (*path).to_owned()).collect())
    };
    let maximum = |stated: &Stated<u64>| match stated {
        Stated::Is(limit) => Some(*limit),
        Stated::Absent | Stated::Any => None,
    };
    let given = or(kept, BTreeSet::new)
        .iter()
        .filter_map(|name| capabilities::number(name))
        .fold(0, |mask, number| mask | 1_u64 << number);
    ConfigFacts {
        command: Evidence::Seen(or(command, || image.command.clone())),
        env: Evidence::Seen(EnvFacts(variables)),
        user: Evidence::Seen(user_facts(user, image, &namespaces.user)),
        working_dir: Evidence::Seen(or(working_dir, || match image.working_dir.as_str() {
            "" => "/".to_owned(),
            dir => dir.to_owned(),
        })),
        capabilities: Evidence::Seen(CapabilityFacts {
            given,
            ambient: 0,
            unnamed: BTreeSet::new(),
        }),
        no_new_privileges: Evidence::Seen(or(no_new_privileges, || true)),
        seccomp: Evidence::Seen(match or(seccomp, || Seccomp::Default) {
            Seccomp::Unconfined => SeccompFacts::Unconfined,
            Seccomp::Default => SeccompFacts::Profile {
                digest: Evidence::Seen(Digest::of(b"the runtime's default profile")),
                runtime_default: Evidence::Seen(true),
            },
            Seccomp::Profile(digest) => SeccompFacts::Profile {
                digest: Evidence::Seen(digest),
                runtime_default: Evidence::Seen(false),
            },
        }),
        rootfs_readonly: Evidence::Seen(or(rootfs, || Rootfs::ReadOnly) == Rootfs::ReadOnly),
        namespaces: owners(namespaces),
        mounts: Evidence::Seen(
            or(mounts, Vec::new)
                .into_iter()
                .map(|mount| {
                    let origin = match mount.source {
                        MountSource::Volume(name) => MountOrigin::Volume(name),
                        MountSource::AnonymousVolume => MountOrigin::AnonymousVolume,
                        MountSource::Bind(path) => MountOrigin::Bind(path),
                        MountSource::Tmpfs => MountOrigin::Tmpfs,
                    };
                    let access = or(&mount.access, || Access::Ro);
                    let propagation = Evidence::Seen(or(&mount.propagation, || Propagation::Rprivate));
                    let host_path = host_path(&origin);
                    (
                        mount.target,
                        MountFacts {
                            origin,
                            access,
                            options: mount.options,
                            propagation,
                            host_path,
                        },
                    )
                })
                .collect(),
        ),
        devices: Evidence::Seen(
            or(devices, Vec::new)
                .into_iter()
                .map(|device| {
                    let host_path = Evidence::Seen(device.path.clone());
                    (
                        device.path,
                        DeviceFacts {
                            access: device.access,
                            host_path,
                        },
                    )
                })
                .collect(),
        ),
        sysctls: Evidence::Seen(or(sysctls, BTreeMap::new)),
        limits: LimitFacts {
            memory: Evidence::Seen(maximum(memory)),
            pids: Evidence::Seen(maximum(pids)),
            cpu: Evidence::Seen(maximum(cpu)),
            rlimits: Evidence::Seen(or(rlimits, BTreeMap::new)),
        },
        ports: Evidence::Seen(
            or(ports, Vec::new)
                .into_iter()
                .filter_map(|port| match port.publish {
                    Publish::None => None,
                    Publish::At(publish) => Some(PortFacts {
                        listen: port.listen,
                        publish,
                    }),
                })
                .collect(),
        ),
        masked_paths: Evidence::Seen(set(masked_paths, RUNTIME_MASKED_PATHS)),
        readonly_paths: Evidence::Seen(set(readonly_paths, RUNTIME_READONLY_PATHS)),
        apparmor: Evidence::Seen(Some("docker-default".to_owned())),
        beyond: Evidence::Seen(BeyondFacts {
            hooks: Evidence::Seen(BTreeSet::new()),
            root: RootFacts {
                given: "/var/lib/docker/overlay2/3/merged".to_owned(),
                kept: Evidence::Seen("/var/lib/docker/overlay2/3/merged".to_owned()),
            },
            annotations: BTreeMap::new(),
            selinux: Some("system_u:system_r:container_t:s0:c1,c2".to_owned()),
            unread: BTreeSet::new(),
        }),
    }
}

fn host_path(origin: &MountOrigin) -> Option<String> {
    let volume = |name: &str| Some(format!("/var/lib/docker/volumes/{name}/_data"));
    match origin {
        MountOrigin::Volume(name) => volume(name),
        MountOrigin::AnonymousVolume => volume(&"2".repeat(64)),
        MountOrigin::Bind(path) => Some(path.clone()),
        MountOrigin::Tmpfs | MountOrigin::Other(_) => None,
    }
}

fn user_facts(
    stated: &Stated<UserSpec>,
    image: &ImageDefaults,
    namespace: &Stated<NamespaceMode>,
) -> UserFacts {
    let UserSpec { uid, gid, groups } = or(stated, || {
        let (uid, gid) = image.user.split_once(':').unwrap_or((&image.user, ""));
        let number = |text: &str| text.parse().unwrap_or(0);
        UserSpec {
            uid: number(uid),
            gid: number(gid),
            groups: BTreeSet::new(),
        }
    });
    let mapped = !matches!(namespace, Stated::Is(NamespaceMode::Host));
    UserFacts {
        uid: Evidence::Seen(uid),
        gid: Evidence::Seen(gid),
        groups: Evidence::Seen(groups.into_iter().filter(|group| *group != gid).collect()),
        requested: Evidence::Seen(match stated {
            Stated::Is(_) => format!("{uid}:{gid}"),
            Stated::Absent | Stated::Any => image.user.clone(),
        }),
        added_groups: Evidence::Seen(BTreeSet::new()),
        host_uid: Evidence::Seen(if mapped { uid.saturating_add(100_000) } else { uid }),
    }
}

fn owners(namespaces: &Namespaces) -> NamespaceFacts {
    let Namespaces {
        network,
        ipc,
        pid,
        uts,
        user,
        cgroup,
    } = namespaces;
    let owner = |stated: &Stated<NamespaceMode>| {
        Evidence::Seen(match stated {
            Stated::Absent | Stated::Any | Stated::Is(NamespaceMode::Own) => NamespaceOwner::Own,
            Stated::Is(NamespaceMode::Host) => NamespaceOwner::Host,
            Stated::Is(NamespaceMode::None) => NamespaceOwner::Isolated,
            Stated::Is(NamespaceMode::Workload(_)) => NamespaceOwner::Instance("0".repeat(64)),
        })
    };
    NamespaceFacts {
        network: owner(network),
        ipc: owner(ipc),
        pid: owner(pid),
        uts: owner(uts),
        user: owner(user),
        cgroup: owner(cgroup),
    }
}

/// One process as the configuration makes it.
fn live(config: &ConfigFacts) -> LiveFacts {
    let id = |evidence: Option<&Evidence<u32>>| evidence.and_then(|id| id.seen().copied()).unwrap_or(0);
    let user = config.user.seen();
    let uid = id(user.map(|user| &user.host_uid));
    let inside = id(user.map(|user| &user.uid));
    let gid = id(user.map(|user| &user.gid)).saturating_add(uid.saturating_sub(inside));
    let given = config.capabilities.seen().map_or(0, |given| given.given);
    let usable = if inside == 0 { given } else { 0 };
    let host_user = config.namespaces.user == Evidence::Seen(NamespaceOwner::Host);
    let rlimits = config.limits.rlimits.seen().into_iter().flatten();
    let known = |name: &str| crate::facts::proc::limit_names().find(|known| *known == name);
    LiveFacts {
        init_pid: 4711,
        processes: vec![ProcessFacts {
            pid: 4711,
            thread: None,
            start_ticks: 1,
            comm: "ideal".to_owned(),
            in_cgroup: true,
            shared_namespaces: BTreeSet::new(),
            namespaces: Evidence::Seen(NamespaceIds {
                mnt: 1,
                pid: 2,
                net: 3,
                ipc: 4,
                uts: 5,
                user: 6,
                cgroup: 7,
            }),
            uids: [uid; 4],
            gids: [gid; 4],
            groups: BTreeSet::new(),
            caps: CapSets {
                inheritable: 0,
                permitted: usable,
                effective: usable,
                bounding: given,
                ambient: 0,
            },
            no_new_privs: config.no_new_privileges == Evidence::Seen(true),
            seccomp: match config.seccomp {
                Evidence::Seen(SeccompFacts::Profile { .. }) => SeccompMode::Filter,
                _ => SeccompMode::Disabled,
            },
            host_user_namespace: Evidence::Seen(host_user),
            limits: Evidence::Seen(
                rlimits
                    .filter_map(|(name, limit)| Some((known(name)?, *limit)))
                    .collect(),
            ),
            started_by: None,
        }],
        mounts: Evidence::Seen(live_mounts(config)),
        kernel_paths: {
            let covered = [&config.masked_paths, &config.readonly_paths];
            let paths = covered.into_iter().filter_map(Evidence::seen).flatten();
            Evidence::Seen(paths.map(|path| (path.clone(), true)).collect())
        },
    }
}

fn live_mounts(config: &ConfigFacts) -> Vec<LiveMount> {
    let mount = |target: &str, fstype: &str, access: Access, options: &BTreeSet<String>| LiveMount {
        target: target.to_owned(),
        fstype: fstype.to_owned(),
        root: "/".to_owned(),
        source: fstype.to_owned(),
        options: options.iter().cloned().chain([access.to_string()]).collect(),
        device: "0:1".to_owned(),
        shared: false,
        slave: false,
        host_paths: Evidence::Seen(BTreeSet::new()),
    };
    let none = BTreeSet::new();
    let root = if config.rootfs_readonly == Evidence::Seen(true) {
        Access::Ro
    } else {
        Access::Rw
    };
    let mut mounts = vec![
        mount("/", "overlay", root, &none),
        mount("/proc", "proc", Access::Rw, &none),
    ];
    // Runtimes hide what is to be hidden last, also where it was made read-only.
    let masked = config.masked_paths.seen();
    let is_masked = |path: &&String| masked.is_some_and(|masked| masked.contains(*path));
    for path in masked.into_iter().flatten() {
        mounts.push(mount(path, "tmpfs", Access::Ro, &none));
    }
    let read_only = config.readonly_paths.seen().into_iter().flatten();
    for path in read_only.filter(|path| !is_masked(path)) {
        mounts.retain(|mount| mount.target != *path);
        mounts.push(mount(
            path,
            if path.starts_with("/sys/") {
                "sysfs"
            } else {
                "proc"
            },
            Access::Ro,
            &none,
        ));
    }
    for (target, facts) in config.mounts.seen().into_iter().flatten() {
        let fstype = match &facts.origin {
            MountOrigin::Tmpfs => "tmpfs",
            MountOrigin::Other(fstype) => fstype,
            _ => "ext4",
        };
        mounts.retain(|mount| mount.target != *target);
        mounts.push(LiveMount {
            host_paths: Evidence::Seen(facts.host_path.iter().cloned().collect()),
            shared: facts.is_shared(),
            ..mount(target, fstype, facts.access, &facts.options)
        });
    }
    mounts
}
