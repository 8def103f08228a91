//! A workload from what runs: a draft for a person to read and to sign.
//!
//! States only what differs from the defaults, so that what is unusual about the instance is what the draft shows.

use std::collections::{BTreeMap, BTreeSet};

use crate::compile::passes_as_default;
use crate::draft::InvalidObject;
use crate::facts::{
    ConfigFacts, EnvFacts, Evidence, ImageDefaults, Instance, MountOrigin, NamespaceOwner,
    RUNTIME_MASKED_PATHS, RUNTIME_PATH, RUNTIME_READONLY_PATHS, RUNTIME_SYSCTLS, SeccompFacts, UserFacts,
    capabilities,
};
use crate::model::{
    Access, Config, ContainerHint, Device, EnvRule, Labels, Limits, Metadata, Mode, Modes, Mount,
    MountSource, Name, NamespaceMode, Namespaces, PolicyObject, Port, Publish, Rootfs, RuntimeKind, Seccomp,
    Spec, Stated, UserSpec, Workload, steering_variable,
};

/// Why no draft can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlessError {
    /// The image's digest is not known: there is nothing to bless.
    #[error("the digest of its image config is not known: {0}")]
    NoImage(String),
    /// A field was not observed; a draft that leaves it out would say something about it.
    #[error("its `{field}` was not observed: {reason}")]
    NotObserved {
        /// The field.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// A field has a value that a policy cannot state.
    #[error("its `{field}` is {value}, which a policy cannot state; run it another way")]
    CannotBeStated {
        /// The field.
        field: &'static str,
        /// The value, safe to show.
        value: String,
    },
    /// The draft would break a rule of drafts.
    #[error("a policy cannot state what runs; run it another way: {0}")]
    Invalid(#[source] InvalidObject),
}

/// Names that look as if the value were a secret: any value is allowed, and none is written down.
const SECRETS: &[&str] = &[
    "PASS",
    "SECRET",
    "TOKEN",
    "KEY",
    "CREDENTIAL",
    "AUTH",
    "PRIVATE",
    "DSN",
    "SESSION",
];

/// Drafts the workload `name` of which the instance is a clean one, in mode `monitor`.
///
/// The instance meets the draft's hint (the repository name it was launched by) and its digest is listed.
///
/// # Errors
/// When something was not observed, or cannot be stated.
pub fn bless(instance: &Instance, name: Name) -> Result<PolicyObject, BlessError> {
    let image = match &instance.image {
        Evidence::Seen(digest) => *digest,
        Evidence::Missing(reason) => return Err(BlessError::NoImage(reason.clone())),
    };
    let config = Config {
        images: BTreeSet::from([image]),
        ..config(&instance.config, &instance.image_defaults, instance.id.runtime)?
    };
    let object = PolicyObject {
        metadata: Metadata {
            name,
            labels: Labels::default(),
            annotations: BTreeMap::new(),
        },
        spec: Spec::Workload(Box::new(Workload {
            hint: ContainerHint {
                image: instance.image_name.clone(),
                labels: Labels::default(),
            },
            hosts: Labels::default(),
            tighten: BTreeSet::new(),
            mode: Some(Modes {
                default: Mode::Monitor,
                controls: BTreeMap::new(),
            }),
            config,
        })),
    };
    // What a person is given to sign must say what was seen, and nothing else: `any` is a value to a container, and every
    // value to a policy.
    match PolicyObject::from_canonical(&object.canonical_bytes()) {
        Ok(read) if read == object => Ok(object),
        Ok(_) => Err(BlessError::CannotBeStated {
            field: "workingDir",
            value: "`any`".to_owned(),
        }),
        Err(invalid) => Err(BlessError::Invalid(invalid)),
    }
}

fn config(
    facts: &ConfigFacts,
    image: &Evidence<ImageDefaults>,
    runtime: RuntimeKind,
) -> Result<Config, BlessError> {
    let image = seen("image", image)?;
    let command = seen("command", &facts.command)?;
    let working_dir = seen("workingDir", &facts.working_dir)?;
    let image_dir = if image.working_dir.is_empty() {
        "/"
    } else {
        &image.working_dir
    };
    let given = seen("capabilities", &facts.capabilities)?;
    let mut capabilities: BTreeSet<String> = capabilities::names(given.given).collect();
    capabilities.extend(given.unnamed.iter().cloned());
    Ok(Config {
        images: BTreeSet::new(),
        command: unless(*command == image.command, || command.clone()),
        env: env(seen("env", &facts.env)?, image)?,
        user: user(seen("user", &facts.user)?, image)?,
        working_dir: unless(working_dir == image_dir, || working_dir.clone()),
        capabilities: unless(capabilities.is_empty(), || capabilities.clone()),
        no_new_privileges: unless(*seen("noNewPrivileges", &facts.no_new_privileges)?, || false),
        seccomp: seccomp(seen("seccomp", &facts.seccomp)?)?,
        rootfs: unless(*seen("rootfs", &facts.rootfs_readonly)?, || Rootfs::Writable),
        namespaces: Namespaces {
            network: namespace("namespaces.network", &facts.namespaces.network)?,
            ipc: namespace("namespaces.ipc", &facts.namespaces.ipc)?,
            pid: namespace("namespaces.pid", &facts.namespaces.pid)?,
            uts: namespace("namespaces.uts", &facts.namespaces.uts)?,
            user: namespace("namespaces.user", &facts.namespaces.user)?,
            cgroup: namespace("namespaces.cgroup", &facts.namespaces.cgroup)?,
        },
        mounts: mounts(facts, image)?,
        devices: devices(facts)?,
        sysctls: {
            let mut sysctls = seen("sysctls", &facts.sysctls)?.clone();
            sysctls.retain(|name, value| !RUNTIME_SYSCTLS.contains(&(name.as_str(), value.as_str())));
            unless(sysctls.is_empty(), || sysctls.clone())
        },
        limits: Limits {
            memory: limit("limits.memory", &facts.limits.memory)?,
            pids: limit("limits.pids", &facts.limits.pids)?,
            cpu: limit("limits.cpu", &facts.limits.cpu)?,
            rlimits: {
                let rlimits = seen("limits.rlimits", &facts.limits.rlimits)?;
                unless(rlimits.is_empty(), || rlimits.clone())
            },
        },
        ports: match (&facts.ports, runtime) {
            // Left out, they would be said to be none, and be refused for what nobody sees.
            (Evidence::Missing(_), RuntimeKind::Podman) => Stated::Any,
            (ports, _) => {
                let ports = seen("ports", ports)?;
                unless(ports.is_empty(), || {
                    let port = |port: &crate::facts::PortFacts| Port {
                        listen: port.listen.clone(),
                        publish: Publish::At(port.publish.clone()),
                    };
                    ports.iter().map(port).collect()
                })
            }
        },
        masked_paths: paths(seen("maskedPaths", &facts.masked_paths)?, RUNTIME_MASKED_PATHS),
        readonly_paths: paths(
            seen("readonlyPaths", &facts.readonly_paths)?,
            RUNTIME_READONLY_PATHS,
        ),
    })
}

fn seen<'a, T>(field: &'static str, evidence: &'a Evidence<T>) -> Result<&'a T, BlessError> {
    match evidence {
        Evidence::Seen(value) => Ok(value),
        Evidence::Missing(reason) => Err(BlessError::NotObserved {
            field,
            reason: reason.clone(),
        }),
    }
}

/// Nothing stated where the default holds.
fn unless<T>(default_holds: bool, value: impl FnOnce() -> T) -> Stated<T> {
    if default_holds {
        Stated::Absent
    } else {
        Stated::Is(value())
    }
}

fn env(facts: &EnvFacts, image: &ImageDefaults) -> Result<Stated<EnvRule>, BlessError> {
    if let Some(name) = facts.ambiguous() {
        return Err(BlessError::CannotBeStated {
            field: "env",
            value: format!(
                "of two minds about {}, which is given twice",
                crate::model::printable_within(name, 60)
            ),
        });
    }
    let EnvFacts(env) = facts;
    let mut rule = EnvRule::default();
    for (name, value) in env {
        if image.env.get(name) == Some(value) || (name == "PATH" && value == RUNTIME_PATH) {
            continue;
        }
        let secret = SECRETS
            .iter()
            .any(|word| name.to_ascii_uppercase().contains(word));
        if secret && steering_variable(name).is_none() {
            rule.allow.insert(name.clone());
        } else {
            rule.require.insert(name.clone(), value.clone());
        }
    }
    // With a rule, the image's variables need not be there: say so where one was taken away.
    let removed = image.env.keys().any(|name| !env.contains_key(name));
    Ok(unless(rule == EnvRule::default() && !removed, || rule.clone()))
}

fn user(facts: &UserFacts, image: &ImageDefaults) -> Result<Stated<UserSpec>, BlessError> {
    let as_image = facts.requested.seen() == Some(&image.user)
        && facts.added_groups.seen().is_some_and(BTreeSet::is_empty);
    if as_image {
        return Ok(Stated::Absent);
    }
    Ok(Stated::Is(UserSpec {
        uid: *seen("user.uid", &facts.uid)?,
        gid: *seen("user.gid", &facts.gid)?,
        groups: seen("user.groups", &facts.groups)?.clone(),
    }))
}

fn seccomp(facts: &SeccompFacts) -> Result<Stated<Seccomp>, BlessError> {
    Ok(match facts {
        SeccompFacts::Unconfined => Stated::Is(Seccomp::Unconfined),
        SeccompFacts::Profile {
            runtime_default: Evidence::Seen(true),
            ..
        } => Stated::Absent,
        SeccompFacts::Profile { digest, .. } => Stated::Is(Seccomp::Profile(*seen("seccomp", digest)?)),
    })
}

fn namespace(
    field: &'static str,
    owner: &Evidence<NamespaceOwner>,
) -> Result<Stated<NamespaceMode>, BlessError> {
    Ok(match seen(field, owner)? {
        NamespaceOwner::Own => Stated::Absent,
        NamespaceOwner::Isolated => Stated::Is(NamespaceMode::None),
        NamespaceOwner::Host => Stated::Is(NamespaceMode::Host),
        NamespaceOwner::Instance(id) => {
            let value = format!("that of container {}", crate::model::printable_within(id, 64));
            return Err(BlessError::CannotBeStated { field, value });
        }
    })
}

fn mounts(facts: &ConfigFacts, image: &ImageDefaults) -> Result<Stated<Vec<Mount>>, BlessError> {
    let mut mounts = Vec::new();
    for (target, mount) in seen("mounts", &facts.mounts)? {
        let source = match &mount.origin {
            MountOrigin::AnonymousVolume
                if image.volumes.contains(target) && mount.access == Access::Rw && !mount.is_shared() =>
            {
                continue;
            }
            MountOrigin::AnonymousVolume => MountSource::AnonymousVolume,
            MountOrigin::Volume(name) => MountSource::Volume(name.clone()),
            MountOrigin::Bind(path) => MountSource::Bind(path.clone()),
            MountOrigin::Tmpfs => MountSource::Tmpfs,
            MountOrigin::Other(fstype) => {
                let value = format!(
                    "a file system of type {}",
                    crate::model::printable_within(fstype, 64)
                );
                return Err(BlessError::CannotBeStated {
                    field: "mounts",
                    value,
                });
            }
        };
        let access = unless(mount.access == Access::Ro, || mount.access);
        let propagation = match &mount.origin {
            MountOrigin::Tmpfs => Stated::Absent,
            _ => {
                let seen = *seen("mounts", &mount.propagation)?;
                unless(passes_as_default(&mount.origin, seen), || seen)
            }
        };
        mounts.push(Mount {
            target: target.clone(),
            source,
            access,
            options: mount.options.clone(),
            propagation,
        });
    }
    Ok(unless(mounts.is_empty(), || mounts.clone()))
}

fn devices(facts: &ConfigFacts) -> Result<Stated<Vec<Device>>, BlessError> {
    let mut devices = Vec::new();
    for (path, device) in seen("devices", &facts.devices)? {
        if !path.starts_with('/') || seen("devices", &device.host_path)? != path {
            let value = format!("`{}` of the host", crate::model::printable_within(path, 64));
            return Err(BlessError::CannotBeStated {
                field: "devices",
                value,
            });
        }
        devices.push(Device {
            path: path.clone(),
            access: device.access.clone(),
        });
    }
    Ok(unless(devices.is_empty(), || devices.clone()))
}

fn limit(field: &'static str, limit: &Evidence<Option<u64>>) -> Result<Stated<u64>, BlessError> {
    Ok(seen(field, limit)?.map_or(Stated::Absent, Stated::Is))
}

fn paths(seen: &BTreeSet<String>, default: &[&str]) -> Stated<BTreeSet<String>> {
    unless(default.iter().all(|path| seen.contains(*path)), || seen.clone())
}
