//! One instance from what the kernel was given (OCI config) and what only the runtime knows (inspection).
//!
//! The OCI config wins where both speak, with one exception: `docker update` changes limits of a running container,
//! and tells the inspection only.

use super::inspect::Inspected;
use super::oci::{OciConfig, facts_of};
use super::{
    ConfigFacts, DeviceFacts, Evidence, ImageDefaults, Instance, InstanceId, LiveFacts, MountOrigin,
    NamespaceOwner, SeccompFacts, shape,
};
use crate::digest::Digest;
use crate::model::{Labels, RuntimeKind};

/// Makes one instance. Without an OCI config the inspection alone has to do.
pub fn instance(
    inspected: Inspected,
    oci: Option<OciConfig>,
    image_defaults: Evidence<ImageDefaults>,
    live: Evidence<LiveFacts>,
) -> Instance {
    let config = match oci {
        Some(oci) => completed(oci, &inspected),
        None => inspected.config,
    };
    Instance {
        id: InstanceId {
            runtime: RuntimeKind::Docker,
            id: inspected.id,
        },
        name: inspected.name,
        image: inspected.image,
        image_name: inspected.image_name,
        image_defaults,
        labels: inspected.labels,
        config,
        live,
    }
}

/// Makes an instance of an OCI config alone; the caller says what it knows of the image.
pub fn from_oci(
    oci: OciConfig,
    image: Evidence<Digest>,
    image_name: Option<String>,
    image_defaults: Evidence<ImageDefaults>,
    labels: Labels,
) -> Instance {
    let id = oci.id.unwrap_or_else(|| "0".repeat(64));
    Instance {
        name: id.get(..12).unwrap_or(&id).to_owned(),
        id: InstanceId {
            runtime: RuntimeKind::Docker,
            id,
        },
        image,
        image_name,
        image_defaults,
        labels,
        config: oci.config,
        live: Evidence::missing("an OCI config shows no processes"),
    }
}

fn completed(oci: OciConfig, inspected: &Inspected) -> ConfigFacts {
    let OciConfig {
        mut config,
        mounts,
        around,
        id,
        ..
    } = oci;
    if let Evidence::Seen(beyond) = &mut config.beyond {
        beyond.root.kept = inspected.root.clone();
        // Its limits are those of its own group, in the place where the daemon puts all of them.
        if id.as_deref() != Some(inspected.id.as_str()) || !inspected.cgroup_parent.is_empty() {
            beyond.unread.insert("linux.cgroupsPath".to_owned());
        }
    }
    if let Evidence::Seen(user) = &mut config.user {
        user.requested = Evidence::Seen(inspected.requested_user.clone());
        user.added_groups = Evidence::Seen(inspected.added_groups.clone());
    }
    if let Evidence::Seen(SeccompFacts::Profile { runtime_default, .. }) = &mut config.seccomp {
        *runtime_default = Evidence::Seen(inspected.default_seccomp);
    }
    let namespaces = &mut config.namespaces;
    refine(&mut namespaces.network, &inspected.network);
    refine(&mut namespaces.ipc, &inspected.ipc);
    refine(&mut namespaces.pid, &inspected.pid_namespace);
    config.ports = Evidence::Seen(inspected.ports.clone());

    if let Evidence::Seen(seen) = &mut config.mounts {
        // What was asked for is not the runtime's own, whatever its shape.
        for mount in mounts
            .iter()
            .filter(|mount| inspected.mounts.contains_key(&mount.target))
        {
            if shape::is_runtimes_own(mount, around) {
                seen.insert(mount.target.clone(), facts_of(mount));
            }
        }
        for (target, facts) in seen.iter_mut() {
            let Some(asked) = inspected.mounts.get(target) else {
                continue;
            };
            // A bind of a volume's directory looks like the volume; the runtime knows which was asked for.
            if matches!(
                facts.origin,
                MountOrigin::Volume(_) | MountOrigin::AnonymousVolume | MountOrigin::Bind(_)
            ) {
                facts.origin = asked.origin.clone();
            }
        }
    }
    if let Evidence::Seen(devices) = &mut config.devices {
        for (path, device) in devices.iter_mut() {
            device.host_path = match inspected.devices.get(path) {
                Some(host) => Evidence::Seen(host.clone()),
                // A rule without a node, or a node made by `--privileged`, is the host's of that name.
                None => Evidence::Seen(path.clone()),
            };
        }
        for request in &inspected.device_requests {
            let name = format!("request {request}");
            let host_path = Evidence::Seen(name.clone());
            devices.insert(
                name,
                DeviceFacts {
                    access: "rwm".to_owned(),
                    host_path,
                },
            );
        }
    }
    let asked = &inspected.config.limits;
    config.limits.memory = asked.memory.clone();
    config.limits.pids = asked.pids.clone();
    config.limits.cpu = asked.cpu.clone();
    config
}

/// Puts the runtime's word in where the OCI config says less: a path instead of an instance, loopback only.
fn refine(seen: &mut Evidence<NamespaceOwner>, said: &NamespaceOwner) {
    let less = matches!(
        (&*seen, said),
        (
            Evidence::Seen(NamespaceOwner::Instance(_)),
            NamespaceOwner::Instance(_) | NamespaceOwner::Host
        ) | (Evidence::Seen(NamespaceOwner::Own), NamespaceOwner::Isolated)
    );
    if less {
        *seen = Evidence::Seen(said.clone());
    }
}
