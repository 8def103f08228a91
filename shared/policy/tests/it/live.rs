//! The live view against the configuration.

use verger_policy::compile::Compiled;
use verger_policy::drift::Outcome;
use verger_policy::facts::*;
use verger_policy::model::Rlimit;

use crate::judging::*;

fn plain() -> (Compiled, Instance) {
    let config = format!(
        "{{ images: [ {A} ], namespaces: {{ user: host }}, capabilities: [ NET_BIND_SERVICE ], mounts: [ {{ target: \
         /data, source: \"volume:data\", access: ro, options: [ nosuid ] }}, {{ target: /b, source: \"bind:/srv/b\", \
         access: rw }} ], limits: {{ rlimits: {{ nofile: {{ soft: 10, hard: 20 }} }} }} }}"
    );
    let compiled = compiled(&workload("web", "{ image: web }", &config));
    let instance = blessed(&compiled);
    let judgement = judged(&compiled, &instance);
    assert_eq!(failing(&judgement), Vec::<String>::new());
    (compiled, instance)
}

fn mount(target: &str, fstype: &str, options: &[&str]) -> LiveMount {
    LiveMount {
        target: target.to_owned(),
        fstype: fstype.to_owned(),
        root: "/".to_owned(),
        source: fstype.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        device: "0:99".to_owned(),
    }
}

/// A thread of the first process that is not like it.
fn thread(instance: &mut Instance, change: impl FnOnce(&mut ProcessFacts)) {
    let mut thread = process(instance).clone();
    thread.thread = Some(thread.pid + 1);
    change(&mut thread);
    live(instance).processes.push(thread);
}

type Change = fn(&mut Instance);

const ROWS: &[(&str, &str, Change)] = &[
    (
        "a capability beyond those given",
        "privilege/live-capabilities live.capabilities[CAP_NET_ADMIN]",
        |i| {
            process(i).caps.permitted |= 1 << 12;
        },
    ),
    (
        "a bounding set beyond those given",
        "privilege/live-capabilities live.capabilities[CAP_KILL]",
        |i| {
            process(i).caps.bounding |= 1 << 5;
        },
    ),
    (
        "NoNewPrivs off",
        "privilege/live-no-new-privileges live.noNewPrivileges",
        |i| process(i).no_new_privs = false,
    ),
    ("no seccomp filter", "privilege/live-seccomp live.seccomp", |i| {
        process(i).seccomp = SeccompMode::Disabled
    }),
    (
        "a hard limit raised",
        "config/live-limits live.limits[nofile]",
        |i| {
            process(i).limits = Evidence::Seen([("nofile", Rlimit { soft: 10, hard: 21 })].into());
        },
    ),
    ("another user", "config/live-user live.user", |i| {
        process(i).uids = [1001; 4]
    }),
    (
        "a namespace left",
        "config/live-namespaces live.namespaces[net]",
        |i| {
            let mut second = process(i).clone();
            second.pid += 1;
            seen(&mut second.namespaces).net = 99;
            live(i).processes.push(second);
        },
    ),
    (
        "a namespace left by a thread",
        "config/live-namespaces live.namespaces[mnt]",
        |i| thread(i, |thread| seen(&mut thread.namespaces).mnt = 99),
    ),
    ("a thread that is root", "privilege/is-root user", |i| {
        thread(i, |thread| thread.uids = [1000, 1000, 0, 1000]);
    }),
    (
        "a thread without a filter",
        "privilege/live-seccomp live.seccomp",
        |i| {
            thread(i, |thread| thread.seccomp = SeccompMode::Disabled);
        },
    ),
    (
        "a process from outside",
        "privilege/foreign-process live.processes",
        |i| {
            let mut foreign = process(i).clone();
            foreign.pid += 1;
            foreign.in_cgroup = false;
            foreign.shared_namespaces = ["mnt", "pid"].into();
            foreign.uids = [0; 4];
            foreign.caps.effective = u64::MAX;
            foreign.no_new_privs = false;
            foreign.seccomp = SeccompMode::Disabled;
            live(i).processes.push(foreign);
        },
    ),
    (
        "a mount made later",
        "config/live-mounts live.mounts[/tmp/x]",
        |i| {
            seen(&mut live(i).mounts).push(mount("/tmp/x", "tmpfs", &["rw"]));
        },
    ),
    (
        "a mount over a mount",
        "config/live-mounts live.mounts[/data]",
        |i| {
            seen(&mut live(i).mounts).push(mount("/data", "tmpfs", &["ro"]));
        },
    ),
    (
        "a mount over the root",
        "config/live-mounts live.mounts[/]",
        |i| {
            seen(&mut live(i).mounts).push(mount("/", "tmpfs", &["ro"]));
        },
    ),
    (
        "a mount over /proc/sys",
        "config/live-mounts live.mounts[/proc/sys]",
        |i| {
            seen(&mut live(i).mounts).retain(|mount| mount.target != "/proc/sys");
            seen(&mut live(i).mounts).push(mount("/proc/sys", "proc", &["rw"]));
        },
    ),
    (
        "/proc/sys made writable again",
        "config/live-mounts live.mounts[/proc/sys]",
        |i| {
            seen(&mut live(i).mounts).retain(|mount| mount.target != "/proc/sys");
        },
    ),
    (
        "a mount taken away",
        "config/live-mounts live.mounts[/data]",
        |i| {
            seen(&mut live(i).mounts).retain(|mount| mount.target != "/data");
        },
    ),
    (
        "a mount made writable",
        "config/live-mounts live.mounts[/data].access",
        |i| {
            seen(&mut live(i).mounts).retain(|mount| mount.target != "/data");
            seen(&mut live(i).mounts).push(mount("/data", "ext4", &["rw", "nosuid"]));
        },
    ),
    (
        "an option lost",
        "config/live-mounts live.mounts[/data].options",
        |i| {
            seen(&mut live(i).mounts).retain(|mount| mount.target != "/data");
            seen(&mut live(i).mounts).push(mount("/data", "ext4", &["ro"]));
        },
    ),
    (
        "the root made writable",
        "config/live-mounts live.mounts[/].access",
        |i| {
            seen(&mut live(i).mounts)[0] = mount("/", "overlay", &["rw"]);
        },
    ),
    (
        "a hosts file that is not the runtime's",
        "config/live-mounts live.mounts[/etc/hosts]",
        |i| {
            let mut hosts = mount("/etc/hosts", "ext4", &["rw"]);
            hosts.root = "/tmp/hosts".to_owned();
            seen(&mut live(i).mounts).push(hosts);
        },
    ),
    (
        "a device of the host",
        "config/live-mounts live.mounts[/dev/sda]",
        |i| {
            let mut disk = mount("/dev/sda", "devtmpfs", &["rw"]);
            disk.root = "/sda".to_owned();
            seen(&mut live(i).mounts).push(disk);
        },
    ),
];

#[test]
fn each_deviation_is_one_finding() {
    let (compiled, clean) = plain();
    for (what, expected, change) in ROWS {
        let mut instance = clean.clone();
        change(&mut instance);
        assert_eq!(failing(&judged(&compiled, &instance)), [*expected], "{what}");
    }
}

#[test]
fn what_a_process_may_do_to_itself_is_no_deviation() {
    let (compiled, mut instance) = plain();
    let process = process(&mut instance);
    process.caps = CapSets::default();
    process.limits = Evidence::Seen(
        [
            ("nofile", Rlimit { soft: 20, hard: 20 }),
            ("core", Rlimit { soft: 0, hard: 9 }),
        ]
        .into(),
    );
    process.seccomp = SeccompMode::Strict;
    assert_eq!(failing(&judged(&compiled, &instance)), Vec::<String>::new());
}

#[test]
fn mounts_below_a_bind_cannot_be_told_apart_and_are_one_check() {
    let (compiled, mut instance) = plain();
    for n in 0..50 {
        seen(&mut live(&mut instance).mounts).push(mount(&format!("/b/{n}"), "ext4", &["rw"]));
    }
    let judgement = judged(&compiled, &instance);
    assert_eq!(failing(&judgement), Vec::<String>::new());
    assert_eq!(
        result(&judgement, "config/live-mounts", "live.mounts[/b]/*"),
        Some(Outcome::NotEvaluated)
    );
    // Below a volume nothing comes along.
    seen(&mut live(&mut instance).mounts).push(mount("/data/sub", "tmpfs", &["rw"]));
    assert_eq!(
        failing(&judged(&compiled, &instance)),
        ["config/live-mounts live.mounts[/data/sub]"]
    );
}

#[test]
fn what_was_not_seen_live_is_not_evaluated() {
    let (compiled, mut instance) = plain();
    live(&mut instance).mounts = Evidence::missing("the process ended");
    process(&mut instance).limits = Evidence::missing("the process ended");
    let judgement = judged(&compiled, &instance);
    assert_eq!(
        with(&judgement, Outcome::NotEvaluated),
        ["config/live-limits live.limits", "config/live-mounts live.mounts"]
    );
    process(&mut instance).namespaces = Evidence::missing("no permission");
    let judgement = judged(&compiled, &instance);
    assert_eq!(
        result(&judgement, "config/live-namespaces", "live.namespaces"),
        Some(Outcome::NotEvaluated)
    );
    instance.live = Evidence::missing("no process");
    assert_eq!(
        with(&judged(&compiled, &instance), Outcome::NotEvaluated).len(),
        8
    );
}

#[test]
fn a_recorded_configuration_is_judged_without_the_live_rules() {
    let (compiled, instance) = plain();
    let judgement = verger_policy::drift::judge_recorded(&compiled, &instance, at());
    assert!(
        judgement
            .checks
            .iter()
            .all(|check| !check.field.starts_with("live."))
    );
    assert_eq!(with(&judgement, Outcome::NotEvaluated), Vec::<String>::new());
}
