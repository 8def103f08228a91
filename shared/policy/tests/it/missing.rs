//! What was not observed never passes: of every built-in rule, a table says which evidence it reads.

use std::collections::BTreeSet;

use proptest::prelude::*;
use verger_policy::compile::{Compiled, compile};
use verger_policy::drift::Outcome;
use verger_policy::facts::*;
use verger_policy::ideal::ideal;
use verger_policy::model::*;
use verger_policy::rules;

use crate::judging::*;
use crate::objects;

/// A piece of evidence, by name, and what takes it away.
type Removal = (&'static str, fn(&mut Instance));

fn gone<T>() -> Evidence<T> {
    Evidence::missing("taken away")
}

const REMOVALS: &[Removal] = &[
    ("image", |i| i.image = gone()),
    ("image_defaults", |i| i.image_defaults = gone()),
    ("command", |i| i.config.command = gone()),
    ("env", |i| i.config.env = gone()),
    ("user", |i| i.config.user = gone()),
    ("working_dir", |i| i.config.working_dir = gone()),
    ("capabilities", |i| i.config.capabilities = gone()),
    ("no_new_privileges", |i| i.config.no_new_privileges = gone()),
    ("seccomp", |i| i.config.seccomp = gone()),
    ("rootfs_readonly", |i| i.config.rootfs_readonly = gone()),
    ("network", |i| i.config.namespaces.network = gone()),
    ("ipc", |i| i.config.namespaces.ipc = gone()),
    ("pid", |i| i.config.namespaces.pid = gone()),
    ("uts", |i| i.config.namespaces.uts = gone()),
    ("user_namespace", |i| i.config.namespaces.user = gone()),
    ("cgroup", |i| i.config.namespaces.cgroup = gone()),
    ("mounts", |i| i.config.mounts = gone()),
    ("devices", |i| i.config.devices = gone()),
    ("sysctls", |i| i.config.sysctls = gone()),
    ("memory", |i| i.config.limits.memory = gone()),
    ("pids", |i| i.config.limits.pids = gone()),
    ("cpu", |i| i.config.limits.cpu = gone()),
    ("rlimits", |i| i.config.limits.rlimits = gone()),
    ("ports", |i| i.config.ports = gone()),
    ("masked_paths", |i| i.config.masked_paths = gone()),
    ("readonly_paths", |i| i.config.readonly_paths = gone()),
    ("apparmor", |i| i.config.apparmor = gone()),
    ("beyond", |i| i.config.beyond = gone()),
    ("beyond.hooks", |i| {
        if let Evidence::Seen(beyond) = &mut i.config.beyond {
            beyond.hooks = gone();
        }
    }),
    ("beyond.root", |i| {
        if let Evidence::Seen(beyond) = &mut i.config.beyond {
            beyond.root.kept = gone();
        }
    }),
    ("live", |i| i.live = gone()),
    ("live.mounts", |i| {
        if let Evidence::Seen(live) = &mut i.live {
            live.mounts = gone();
        }
    }),
    ("live.namespaces", |i| {
        if let Evidence::Seen(live) = &mut i.live {
            live.processes[0].namespaces = gone();
        }
    }),
];

/// Rule, field, and the evidence without which it must not pass there. What an absent field means is the image's word.
const READS: &[(&str, &str, &[&str])] = &[
    ("config/image", "images", &["image"]),
    ("config/command", "command", &["command"]),
    ("config/env", "env", &["env", "image_defaults"]),
    ("config/user", "user", &["user"]),
    ("config/working-dir", "workingDir", &["working_dir"]),
    ("config/capabilities", "capabilities", &["capabilities"]),
    (
        "config/no-new-privileges",
        "noNewPrivileges",
        &["no_new_privileges"],
    ),
    ("config/seccomp", "seccomp", &["seccomp"]),
    ("config/rootfs", "rootfs", &["rootfs_readonly"]),
    ("config/namespaces", "namespaces.network", &["network"]),
    ("config/namespaces", "namespaces.ipc", &["ipc"]),
    ("config/namespaces", "namespaces.pid", &["pid"]),
    ("config/namespaces", "namespaces.uts", &["uts"]),
    ("config/namespaces", "namespaces.user", &["user_namespace"]),
    ("config/namespaces", "namespaces.cgroup", &["cgroup"]),
    ("config/mounts", "mounts", &["mounts"]),
    ("config/devices", "devices", &["devices"]),
    ("config/sysctls", "sysctls", &["sysctls"]),
    ("config/limits", "limits.memory", &["memory"]),
    ("config/limits", "limits.pids", &["pids"]),
    ("config/limits", "limits.cpu", &["cpu"]),
    ("config/limits", "limits.rlimits", &["rlimits"]),
    ("config/ports", "ports", &["ports"]),
    ("config/masked-paths", "maskedPaths", &["masked_paths"]),
    ("config/readonly-paths", "readonlyPaths", &["readonly_paths"]),
    ("config/hooks", "hooks", &["beyond", "beyond.hooks"]),
    ("config/root-path", "root.path", &["beyond", "beyond.root"]),
    ("config/annotations", "annotations", &["beyond"]),
    ("config/security-labels", "apparmor", &["apparmor"]),
    ("config/security-labels", "selinux", &["beyond"]),
    ("config/unread", "unread", &["beyond"]),
    (
        "config/live-mounts",
        "live.mounts",
        &[
            "live",
            "live.mounts",
            "mounts",
            "masked_paths",
            "readonly_paths",
            "rootfs_readonly",
        ],
    ),
    (
        "config/live-namespaces",
        "live.namespaces",
        &["live", "live.namespaces"],
    ),
    ("config/live-limits", "live.limits", &["live", "rlimits"]),
    ("config/live-user", "live.user", &["live", "user"]),
    (
        "privilege/live-capabilities",
        "live.capabilities",
        &["live", "capabilities"],
    ),
    (
        "privilege/live-no-new-privileges",
        "live.noNewPrivileges",
        &["live", "no_new_privileges"],
    ),
    ("privilege/live-seccomp", "live.seccomp", &["live", "seccomp"]),
    ("privilege/is-root", "user", &["live", "user"]),
    (
        "privilege/can-become-root",
        "mounts",
        &["live", "live.mounts", "mounts"],
    ),
    ("privilege/can-become-root", "capabilities", &["live"]),
    (
        "privilege/can-become-root",
        "setuid",
        &["live", "no_new_privileges"],
    ),
    ("privilege/can-become-root", "groups", &["live", "user"]),
    ("privilege/foreign-process", "live.processes", &["live"]),
    ("config/no-host-namespaces", "namespaces.network", &["network"]),
    ("config/no-host-namespaces", "namespaces.pid", &["pid"]),
    ("config/no-host-namespaces", "namespaces.ipc", &["ipc"]),
    (
        "privilege/not-privileged",
        "privileged",
        &["capabilities", "seccomp", "masked_paths"],
    ),
    (
        "privilege/baseline-capabilities",
        "capabilities",
        &["capabilities"],
    ),
    (
        "privilege/minimal-capabilities",
        "capabilities",
        &["capabilities"],
    ),
    ("config/no-host-paths", "mounts", &["mounts"]),
    ("config/volume-types", "mounts", &["mounts"]),
    ("config/no-host-ports", "ports", &["ports"]),
    ("privilege/apparmor-on", "apparmor", &["apparmor"]),
    ("config/proc-masked", "maskedPaths", &["masked_paths"]),
    ("config/proc-masked", "readonlyPaths", &["readonly_paths"]),
    ("privilege/seccomp-on", "seccomp", &["seccomp"]),
    ("config/safe-sysctls", "sysctls", &["sysctls"]),
    (
        "privilege/no-escalation",
        "noNewPrivileges",
        &["no_new_privileges"],
    ),
    ("privilege/non-root", "user.uid", &["user"]),
];

/// The same of an instance in group 0: then it matters which files that group may write.
const READS_IN_GROUP_0: &[(&str, &str, &[&str])] = &[(
    "privilege/can-become-root",
    "groups",
    &["live", "user", "mounts", "rootfs_readonly"],
)];

/// Rules that read no evidence of an instance: they are about the policy, the agent or the controllers, and never pass or fail by
/// what an instance is.
fn reads_nothing(rule: &rules::Rule) -> bool {
    rule.control == Control::Host
        || [
            &rules::AMBIGUOUS,
            &rules::UNKNOWN_INSTANCE,
            &rules::UNSUPPORTED_RULE,
        ]
        .contains(&rule)
}

#[test]
fn every_rule_has_its_evidence_in_the_table_and_all_evidence_is_read() {
    let listed: BTreeSet<&str> = READS.iter().map(|(rule, _, _)| *rule).collect();
    let judged: BTreeSet<&str> = rules::ALL
        .iter()
        .filter(|rule| !reads_nothing(rule))
        .map(|rule| rule.id)
        .collect();
    assert_eq!(listed, judged);
    let read: BTreeSet<&str> = READS
        .iter()
        .flat_map(|(_, _, evidence)| *evidence)
        .copied()
        .collect();
    let removable: BTreeSet<&str> = REMOVALS.iter().map(|(name, _)| *name).collect();
    assert_eq!(read, removable);
}

/// The set under which every rule is judged, and its ideal instance.
fn strict(workload: &PolicyObject) -> Option<(Compiled, Instance)> {
    let Spec::Workload(spec) = &workload.spec else {
        return None;
    };
    let mut spec = (**spec).clone();
    spec.hosts = Labels::default();
    let object = PolicyObject {
        spec: Spec::Workload(Box::new(spec.clone())),
        ..workload.clone()
    };
    let guardrail = read(&guardrail("strict", "{ profile: restricted }")).remove(0);
    let instance = ideal(&spec, &image());
    Some((compile([&object, &guardrail], &Labels::default(), 1), instance))
}

/// The instance, in group 0 with a root file system that it cannot write to.
fn in_group_0(mut instance: Instance) -> Instance {
    if let Evidence::Seen(user) = &mut instance.config.user {
        user.gid = Evidence::Seen(0);
    }
    if let Evidence::Seen(live) = &mut instance.live {
        live.processes[0].gids = [0; 4];
    }
    instance.config.rootfs_readonly = Evidence::Seen(true);
    instance
}

fn passing_without(compiled: &Compiled, instance: &Instance, removed: &BTreeSet<&str>) -> Vec<String> {
    passing_as(READS, compiled, instance, removed)
}

fn passing_as(
    reads: &[(&str, &str, &[&str])],
    compiled: &Compiled,
    instance: &Instance,
    removed: &BTreeSet<&str>,
) -> Vec<String> {
    let judgement = judged(compiled, instance);
    let lacks = |rule: &str, field: &str| {
        reads.iter().any(|(of, at, evidence)| {
            *of == rule && *at == field && evidence.iter().any(|name| removed.contains(name))
        })
    };
    judgement
        .checks
        .iter()
        .filter(|check| check.result == Outcome::Pass && lacks(check.rule.as_str(), &check.field))
        .map(named)
        .collect()
}

#[test]
fn each_rule_passes_with_its_evidence_and_not_without() {
    let object = read(&workload(
        "web",
        "{ image: web }",
        &format!("{{ images: [ {A} ] }}"),
    ))
    .remove(0);
    let (compiled, clean) = strict(&object).unwrap();
    let passing = |instance: &Instance| with(&judged(&compiled, instance), Outcome::Pass);
    for (rule, field, _) in READS {
        // Fields of the user are judged one by one, and told together only where none can be.
        let told = passing(&clean)
            .iter()
            .any(|name| name.starts_with(&format!("{rule} {field}")));
        assert!(told, "{rule} {field} does not pass: {:?}", passing(&clean));
    }
    for (name, remove) in REMOVALS {
        let mut instance = clean.clone();
        remove(&mut instance);
        let passing = passing_without(&compiled, &instance, &[*name].into());
        assert!(passing.is_empty(), "without {name}: {passing:?}");
    }
    let member = in_group_0(clean);
    assert!(
        passing(&member).contains(&"privilege/can-become-root groups".to_owned()),
        "{:?}",
        passing(&member)
    );
    for (name, remove) in REMOVALS {
        let mut instance = member.clone();
        remove(&mut instance);
        let passing = passing_as(READS_IN_GROUP_0, &compiled, &instance, &[*name].into());
        assert!(passing.is_empty(), "in group 0, without {name}: {passing:?}");
    }
}

#[test]
fn all_that_was_not_observed_is_listed_and_nothing_else() {
    let object = read(&workload(
        "web",
        "{ image: web }",
        &format!("{{ images: [ {A} ] }}"),
    ))
    .remove(0);
    let (_, clean) = strict(&object).unwrap();
    assert_eq!(clean.unobserved(), []);
    let mut all = BTreeSet::new();
    for (name, remove) in REMOVALS {
        let mut instance = clean.clone();
        remove(&mut instance);
        let listed = instance.unobserved();
        let [only] = listed.as_slice() else {
            panic!("without {name}: {listed:?}")
        };
        assert_eq!(only.reason, "taken away", "{name}");
        assert!(
            all.insert(only.what),
            "{name} shows as what another one does: {only:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_lost_its_evidence_never_passes(object in objects::object(), lost in prop::collection::btree_set(0..REMOVALS.len(), 1..5)) {
        let Some((compiled, instance)) = strict(&object) else { return Ok(()) };
        let removed = lost.iter().map(|place| REMOVALS[*place].0).collect();
        for (reads, mut instance) in [(READS, instance.clone()), (READS_IN_GROUP_0, in_group_0(instance))] {
            for place in &lost {
                REMOVALS[*place].1(&mut instance);
            }
            let passing = passing_as(reads, &compiled, &instance, &removed);
            prop_assert!(passing.is_empty(), "without {:?}: {:?}", removed, passing);
        }
    }
}
