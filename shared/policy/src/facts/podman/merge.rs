//! One instance from what the kernel was given and what the storage says.

use std::collections::BTreeSet;

use super::super::oci::{OciConfig, OciMount, facts_of};
use super::super::{
    ConfigFacts, Evidence, ImageDefaults, Instance, InstanceId, MountOrigin, NamespaceOwner, SeccompFacts,
    shape,
};
use super::Kept;
use crate::model::{Labels, RuntimeKind};

/// Why the published ports are not known.
const NO_PORTS: &str = "which ports Podman publishes is in its database alone, which is not read: say `ports: any`, or give it no network";
/// Why the network of a container with a user namespace is not known.
const LATE_NETWORK: &str = "Podman gives a container with a user namespace its network after it is made, and which is in its database alone, which is not read: launch it without a user namespace";
/// Why it is not known whose the seccomp profile is.
const NO_PROFILE: &str = "whether it is Podman's default seccomp profile is in its database alone, which is not read: state the profile by its digest";
/// Why it is not known which groups were asked for.
const NO_GROUPS: &str = "which groups were asked for is in Podman's database alone, which is not read: state the user by its numbers";

/// What Podman sets in every environment (libpod `container_internal_linux.go`, `pkg/specgen`).
const OWN_ENV: &[(&str, &str)] = &[("container", "podman"), ("TERM", "xterm")];
/// Files that Podman writes for one container and binds into it: target, and name in its folder of what is kept while it runs.
const OWN_RUN_FILES: &[(&str, &str)] = &[
    ("/etc/hostname", "hostname"),
    ("/etc/hosts", "hosts"),
    ("/etc/resolv.conf", "resolv.conf"),
    ("/run/.containerenv", ".containerenv"),
];
/// The same in its folder of what is kept for longer.
const OWN_KEPT_FILES: &[(&str, &str)] = &[
    ("/dev/shm", "shm"),
    ("/etc/group", "group"),
    ("/etc/passwd", "passwd"),
];

/// The folders of Podman's storage by every name that Podman may call them by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// What is kept for good (`graphroot`).
    pub graph: BTreeSet<String>,
    /// What is kept while the host is up (`runroot`).
    pub run: BTreeSet<String>,
}

impl Places {
    fn own_file(&self, id: &str, mount: &OciMount) -> bool {
        let is_in = |roots: &BTreeSet<String>, files: &[(&str, &str)]| {
            files.iter().any(|(target, file)| {
                *target == mount.target
                    && roots.iter().any(|root| {
                        let rest = mount.source.strip_prefix(root.as_str());
                        rest.is_some_and(|rest| rest == format!("/overlay-containers/{id}/userdata/{file}"))
                    })
            })
        };
        is_in(&self.run, OWN_RUN_FILES) || is_in(&self.graph, OWN_KEPT_FILES)
    }

    /// The name of the volume of Podman's whose folder this is.
    fn volume<'a>(&self, source: &'a str) -> Option<&'a str> {
        let below = self
            .graph
            .iter()
            .find_map(|root| source.strip_prefix(root.as_str()));
        let name = below?.strip_prefix("/volumes/")?.strip_suffix("/_data")?;
        (!name.is_empty() && !name.contains('/')).then_some(name)
    }
}

/// Makes one instance. `network` is whose network namespace it has, where its config names one by a path.
pub fn instance(
    kept: Kept,
    oci: OciConfig,
    places: &Places,
    image_defaults: Evidence<ImageDefaults>,
    network: Evidence<NamespaceOwner>,
) -> Instance {
    let config = completed(oci, &kept, places, &image_defaults, network);
    Instance {
        id: InstanceId {
            runtime: RuntimeKind::Podman,
            id: kept.id,
        },
        name: kept.name,
        image: kept.image,
        image_name: kept.image_name,
        image_defaults,
        labels: Labels::default(),
        config,
        live: Evidence::missing("/proc was not read"),
    }
}

fn completed(
    oci: OciConfig,
    kept: &Kept,
    places: &Places,
    image: &Evidence<ImageDefaults>,
    network: Evidence<NamespaceOwner>,
) -> ConfigFacts {
    let is_own_cgroup = is_own_cgroup(oci.cgroup.as_deref(), &kept.id);
    let OciConfig {
        mut config,
        mounts,
        around,
        ..
    } = oci;
    if let Evidence::Seen(beyond) = &mut config.beyond {
        // The storage mounts a layer in its own folder, whatever the container's id is.
        let roots = places.graph.iter();
        let mut own = roots.map(|root| format!("{root}/overlay/{}/merged", kept.layer));
        beyond.root.kept = match own
            .clone()
            .find(|path| *path == beyond.root.given)
            .or_else(|| own.next())
        {
            Some(path) => Evidence::Seen(path),
            None => Evidence::missing("where Podman's storage is, is not known"),
        };
        // Its limits are those of its own group, in the place where Podman puts all of them.
        if !is_own_cgroup {
            beyond.unread.insert("linux.cgroupsPath".to_owned());
        }
    }
    if let Evidence::Seen(user) = &mut config.user {
        user.requested = Evidence::missing(NO_GROUPS);
        user.added_groups = match &user.groups {
            Evidence::Seen(groups) if groups.is_empty() => Evidence::Seen(BTreeSet::new()),
            _ => Evidence::missing(NO_GROUPS),
        };
    }
    if let Evidence::Seen(SeccompFacts::Profile { runtime_default, .. }) = &mut config.seccomp {
        *runtime_default = Evidence::missing(NO_PROFILE);
    }
    let homes = own_homes(&config);
    if let (Evidence::Seen(env), Evidence::Seen(image)) = (&mut config.env, image) {
        if !image.env.contains_key("HOME") && env.0.get("HOME").is_some_and(|home| homes.contains(home)) {
            env.0.remove("HOME");
        }
        for (name, value) in OWN_ENV {
            if !image.env.contains_key(*name) && env.0.get(*name).is_some_and(|given| given == value) {
                env.0.remove(*name);
            }
        }
    }
    config.namespaces.network = match &config.namespaces.network {
        // One that is named by no path is made by the runtime, with nothing in it. Where users are mapped Podman puts a network there later.
        Evidence::Seen(NamespaceOwner::Own)
            if config.namespaces.user == Evidence::Seen(NamespaceOwner::Host) =>
        {
            Evidence::Seen(NamespaceOwner::Isolated)
        }
        Evidence::Seen(NamespaceOwner::Own) => Evidence::missing(LATE_NETWORK),
        Evidence::Seen(NamespaceOwner::Instance(_)) => network,
        other => other.clone(),
    };
    config.ports = match &config.namespaces.network {
        // Without a network of its own nothing is published, whatever was asked for.
        Evidence::Seen(NamespaceOwner::Isolated | NamespaceOwner::Host) => Evidence::Seen(Vec::new()),
        _ => Evidence::missing(NO_PORTS),
    };
    let seen = mounts.iter().filter(|mount| {
        let is_of_host_ipc = around.host_ipc && mount.source == mount.target;
        match mount.fstype.as_str() {
            // What was asked for is not known: a bind is Podman's own by its very place, and not by the shape of one.
            "bind" if !is_of_host_ipc => !places.own_file(&kept.id, mount),
            _ => !shape::is_runtimes_own(mount, around),
        }
    });
    config.mounts = Evidence::Seen(
        seen.map(|mount| {
            let mut facts = facts_of(mount);
            if matches!(
                facts.origin,
                MountOrigin::Volume(_) | MountOrigin::AnonymousVolume | MountOrigin::Bind(_)
            ) {
                facts.origin = match places.volume(&mount.source) {
                    Some(name) if shape::is_id(name) => MountOrigin::AnonymousVolume,
                    Some(name) => MountOrigin::Volume(name.to_owned()),
                    None => MountOrigin::Bind(mount.source.clone()),
                };
            }
            (mount.target.clone(), facts)
        })
        .collect(),
    );
    config
}

/// Whether a path names a network namespace as Podman names those that it makes for one container (containers/common `pkg/netns`). That of
/// another container may be given by its path, too.
pub fn is_made_network(path: &str) -> bool {
    let name = path.strip_prefix("/run/netns/");
    let id = name.and_then(|name| {
        ["netns-", "cni-"]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
    });
    id.is_some_and(|id| {
        let is_uuid = |(at, byte): (usize, u8)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        };
        id.len() == 36 && id.bytes().enumerate().all(is_uuid)
    })
}

/// What Podman sets `HOME` to by itself where nobody does: what the container's own passwd(5) says. Where that names nobody of this number, it writes
/// the folder that the process starts in there, which counts from the next start on. Of others nothing is known here.
fn own_homes(config: &ConfigFacts) -> BTreeSet<String> {
    let is_root = config
        .user
        .seen()
        .is_some_and(|user| user.uid == Evidence::Seen(0));
    let root = is_root.then(|| "/root".to_owned());
    let start = config.working_dir.seen().cloned();
    root.into_iter().chain(start).chain(["/".to_owned()]).collect()
}

/// Whether the group is the one that Podman makes for this container where it is asked for no other, by either of its ways to make one.
fn is_own_cgroup(path: Option<&str>, id: &str) -> bool {
    let own = ["/libpod_parent/libpod-", "machine.slice:libpod:"];
    path.is_some_and(|path| own.iter().any(|before| path.strip_prefix(before) == Some(id)))
}
