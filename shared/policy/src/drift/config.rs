//! The `config` block against the observed configuration.

use super::sheet::{Field, Sheet};
use super::{Peers, claim, env, sets, user};
use crate::compile::Compiled;
use crate::facts::{
    Evidence, ImageDefaults, Instance, InstanceId, LimitFacts, NamespaceFacts, NamespaceOwner,
    RUNTIME_MASKED_PATHS, RUNTIME_READONLY_PATHS, SeccompFacts,
};
use crate::model::{Config, Limits, NamespaceMode, Namespaces, Rootfs, Seccomp, Stated};
use crate::rules::{self, Rule};

/// Where the instance is, to look up its neighbours.
pub(super) struct Place<'a> {
    pub(super) compiled: &'a Compiled,
    pub(super) peers: Peers<'a>,
}

pub(super) fn judge(sheet: &mut Sheet, config: &Config, instance: &Instance, place: &Place<'_>) {
    // By name, so that a new field cannot be forgotten here.
    let Config {
        images,
        command,
        env: env_rule,
        user: user_spec,
        working_dir,
        capabilities,
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
    let (facts, image) = (&instance.config, &instance.image_defaults);

    match &instance.image {
        Evidence::Missing(reason) => sheet.skip(&rules::IMAGE, "images", reason),
        Evidence::Seen(digest) if images.contains(digest) => sheet.pass(&rules::IMAGE, "images"),
        Evidence::Seen(digest) => {
            let blessed: Vec<String> = images.iter().take(4).map(ToString::to_string).collect();
            let more = if images.len() > 4 { " …" } else { "" };
            sheet.fail(
                &rules::IMAGE,
                "images",
                &format!("{}{more}", blessed.join(", ")),
                &digest.to_string(),
            );
        }
    }
    let from_image = of_image(command, image, |image| image.command.clone());
    compare(
        sheet,
        &rules::COMMAND,
        "command",
        from_image,
        facts.command.as_ref(),
        |argv| words(argv),
    );
    env::judge(sheet, env_rule, &facts.env, image);
    user::judge(sheet, user_spec, &facts.user, image);
    let from_image = of_image(working_dir, image, |image| image.working_dir.clone());
    let expected = from_image.map(|dir| directory(&dir).to_owned());
    let actual = match &facts.working_dir {
        Evidence::Seen(dir) => Evidence::Seen(directory(dir).to_owned()),
        Evidence::Missing(reason) => Evidence::Missing(reason.clone()),
    };
    compare(
        sheet,
        &rules::WORKING_DIR,
        "workingDir",
        expected,
        actual.as_ref(),
        Clone::clone,
    );
    sets::capabilities(sheet, capabilities, &facts.capabilities);
    compare(
        sheet,
        &rules::NO_NEW_PRIVILEGES,
        "noNewPrivileges",
        or(no_new_privileges, true),
        facts.no_new_privileges.as_ref(),
        ToString::to_string,
    );
    judge_seccomp(sheet, seccomp, &facts.seccomp);
    compare(
        sheet,
        &rules::ROOTFS,
        "rootfs",
        or(rootfs, Rootfs::ReadOnly).map(|rootfs| rootfs == Rootfs::ReadOnly),
        facts.rootfs_readonly.as_ref(),
        |read_only| {
            (if *read_only {
                Rootfs::ReadOnly
            } else {
                Rootfs::Writable
            })
            .to_string()
        },
    );
    judge_namespaces(sheet, namespaces, &facts.namespaces, instance, place);
    super::mounts::judge(sheet, mounts, &facts.mounts, image);
    sets::devices(sheet, devices, &facts.devices);
    sets::sysctls(sheet, sysctls, &facts.sysctls);
    judge_limits(sheet, limits, &facts.limits);
    sets::ports(sheet, ports, &facts.ports);
    sets::paths(
        sheet,
        &rules::MASKED_PATHS,
        "maskedPaths",
        masked_paths,
        RUNTIME_MASKED_PATHS,
        &facts.masked_paths,
        "hidden",
    );
    sets::paths(
        sheet,
        &rules::READONLY_PATHS,
        "readonlyPaths",
        readonly_paths,
        RUNTIME_READONLY_PATHS,
        &facts.readonly_paths,
        "read-only",
    );
}

/// What a field is expected to be.
pub(super) enum Expected<T> {
    Any,
    Is(T),
    Unknown(String),
}

impl<T> Expected<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Expected<U> {
        match self {
            Self::Any => Expected::Any,
            Self::Is(value) => Expected::Is(change(value)),
            Self::Unknown(reason) => Expected::Unknown(reason),
        }
    }
}

/// A stated value, or this default.
fn or<T: Clone>(stated: &Stated<T>, default: T) -> Expected<T> {
    match stated {
        Stated::Absent => Expected::Is(default),
        Stated::Any => Expected::Any,
        Stated::Is(value) => Expected::Is(value.clone()),
    }
}

/// A stated value, or the image's.
fn of_image<T: Clone>(
    stated: &Stated<T>,
    image: &Evidence<ImageDefaults>,
    get: impl FnOnce(&ImageDefaults) -> T,
) -> Expected<T> {
    match (stated, image) {
        (Stated::Any, _) => Expected::Any,
        (Stated::Is(value), _) => Expected::Is(value.clone()),
        (Stated::Absent, Evidence::Seen(image)) => Expected::Is(get(image)),
        (Stated::Absent, Evidence::Missing(reason)) => Expected::Unknown(reason.clone()),
    }
}

pub(super) fn compare<T: PartialEq>(
    sheet: &mut Sheet,
    rule: &'static Rule,
    field: impl Into<Field>,
    expected: Expected<T>,
    actual: Evidence<&T>,
    show: impl Fn(&T) -> String,
) {
    match (expected, actual) {
        (Expected::Any, _) => sheet.opted_out(rule, field),
        (Expected::Unknown(reason), _) | (_, Evidence::Missing(reason)) => sheet.skip(rule, field, &reason),
        (Expected::Is(expected), Evidence::Seen(actual)) if expected == *actual => sheet.pass(rule, field),
        (Expected::Is(expected), Evidence::Seen(actual)) => {
            sheet.fail(rule, field, &show(&expected), &show(actual));
        }
    }
}

/// An argv as a JSON array: no doubt where one word ends.
fn words(argv: &[String]) -> String {
    serde_json::to_string(argv).unwrap_or_default()
}

fn directory(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    }
}

fn judge_seccomp(sheet: &mut Sheet, stated: &Stated<Seccomp>, facts: &Evidence<SeccompFacts>) {
    let rule = &rules::SECCOMP;
    let expected = match stated {
        Stated::Any => return sheet.opted_out(rule, "seccomp"),
        Stated::Absent => &Seccomp::Default,
        Stated::Is(seccomp) => seccomp,
    };
    let facts = match facts {
        Evidence::Missing(reason) => return sheet.skip(rule, "seccomp", reason),
        Evidence::Seen(facts) => facts,
    };
    let holds = match (expected, facts) {
        (Seccomp::Unconfined, SeccompFacts::Unconfined) => Evidence::Seen(true),
        (Seccomp::Default, SeccompFacts::Profile { runtime_default, .. }) => runtime_default.clone(),
        (Seccomp::Profile(wanted), SeccompFacts::Profile { digest, .. }) => match digest {
            Evidence::Seen(digest) => Evidence::Seen(digest == wanted),
            Evidence::Missing(reason) => Evidence::Missing(reason.clone()),
        },
        _ => Evidence::Seen(false),
    };
    match holds {
        Evidence::Seen(true) => sheet.pass(rule, "seccomp"),
        Evidence::Missing(reason) => sheet.skip(rule, "seccomp", &reason),
        Evidence::Seen(false) => {
            let expected = match expected {
                Seccomp::Default => "default".to_owned(),
                Seccomp::Unconfined => "unconfined".to_owned(),
                Seccomp::Profile(digest) => digest.to_string(),
            };
            let actual = match facts {
                SeccompFacts::Unconfined => "unconfined".to_owned(),
                SeccompFacts::Profile {
                    digest: Evidence::Seen(digest),
                    ..
                } => digest.to_string(),
                SeccompFacts::Profile { .. } => "another profile".to_owned(),
            };
            sheet.fail(rule, "seccomp", &expected, &actual);
        }
    }
}

fn judge_namespaces(
    sheet: &mut Sheet,
    stated: &Namespaces,
    facts: &NamespaceFacts,
    instance: &Instance,
    place: &Place<'_>,
) {
    let Namespaces {
        network,
        ipc,
        pid,
        uts,
        user,
        cgroup,
    } = stated;
    for (field, stated, seen) in [
        ("namespaces.network", network, &facts.network),
        ("namespaces.ipc", ipc, &facts.ipc),
        ("namespaces.pid", pid, &facts.pid),
        ("namespaces.uts", uts, &facts.uts),
        ("namespaces.user", user, &facts.user),
        ("namespaces.cgroup", cgroup, &facts.cgroup),
    ] {
        let rule = &rules::NAMESPACES;
        let mode = match stated {
            Stated::Any => {
                sheet.opted_out(rule, field);
                continue;
            }
            Stated::Absent => &NamespaceMode::Own,
            Stated::Is(mode) => mode,
        };
        let owner = match seen {
            Evidence::Missing(reason) => {
                sheet.skip(rule, field, reason);
                continue;
            }
            Evidence::Seen(owner) => owner,
        };
        let holds = match (mode, owner) {
            // Nothing but loopback is a namespace of its own too.
            (NamespaceMode::Own, NamespaceOwner::Own | NamespaceOwner::Isolated)
            | (NamespaceMode::Host, NamespaceOwner::Host)
            | (NamespaceMode::None, NamespaceOwner::Isolated) => Evidence::Seen(true),
            // Only the runtime knows whether a namespace has any network; without it, neither are the ports known.
            (NamespaceMode::None, NamespaceOwner::Own) => match &instance.config.ports {
                Evidence::Seen(_) => Evidence::Seen(false),
                Evidence::Missing(_) => {
                    Evidence::missing("an OCI config does not say whether there is a network")
                }
            },
            (NamespaceMode::Workload(wanted), NamespaceOwner::Instance(id)) => {
                is_of(place, instance, id, wanted)
            }
            _ => Evidence::Seen(false),
        };
        match holds {
            Evidence::Seen(true) => sheet.pass(rule, field),
            Evidence::Missing(reason) => sheet.skip(rule, field, &reason),
            Evidence::Seen(false) => {
                let expected = match mode {
                    NamespaceMode::Own => "own".to_owned(),
                    NamespaceMode::Host => "host".to_owned(),
                    NamespaceMode::None => "none".to_owned(),
                    NamespaceMode::Workload(name) => format!("workload:{name}"),
                };
                let actual = match owner {
                    NamespaceOwner::Own => "own".to_owned(),
                    NamespaceOwner::Isolated => "none".to_owned(),
                    NamespaceOwner::Host => "host".to_owned(),
                    NamespaceOwner::Instance(id) => format!("container:{id}"),
                };
                sheet.fail(rule, field, &expected, &actual);
            }
        }
    }
}

/// Whether the instance `id` is held to the workload `wanted` alone, by digest.
fn is_of(place: &Place<'_>, instance: &Instance, id: &str, wanted: &crate::model::Name) -> Evidence<bool> {
    let Some(instances) = place.peers.0 else {
        return Evidence::missing("which workload the other container belongs to is only known on its host");
    };
    let key = InstanceId {
        runtime: instance.id.runtime,
        id: id.to_owned(),
    };
    match instances.get(&key) {
        None => Evidence::missing("the other container is not among the instances of this host"),
        Some(peer) => match claim::held(place.compiled, peer).as_slice() {
            [held] if held.entitled => {
                Evidence::Seen(place.compiled.workloads()[held.place].key.name == *wanted)
            }
            _ => Evidence::Seen(false),
        },
    }
}

fn judge_limits(sheet: &mut Sheet, stated: &Limits, facts: &LimitFacts) {
    let Limits {
        memory,
        pids,
        cpu,
        rlimits,
    } = stated;
    for (field, stated, seen, unit) in [
        ("limits.memory", memory, &facts.memory, " bytes"),
        ("limits.pids", pids, &facts.pids, ""),
        ("limits.cpu", cpu, &facts.cpu, "m"),
    ] {
        let expected = match stated {
            Stated::Absent => Expected::Is(None),
            Stated::Any => Expected::Any,
            Stated::Is(limit) => Expected::Is(Some(*limit)),
        };
        compare(
            sheet,
            &rules::LIMITS,
            field,
            expected,
            seen.as_ref(),
            |limit| match limit {
                Some(limit) => format!("{limit}{unit}"),
                None => "no limit".to_owned(),
            },
        );
    }
    sets::rlimits(sheet, rlimits, &facts.rlimits);
}
