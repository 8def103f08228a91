//! The live view against the configuration.

use std::collections::BTreeSet;

use verger_policy::compile::Compiled;
use verger_policy::drift::Outcome;
use verger_policy::facts::*;
use verger_policy::model::{Access, Rlimit};

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
        shared: false,
        slave: false,
        host_paths: Evidence::Seen(Default::default()),
    }
}

/// A mount of something that the host has at these paths.
fn bound(target: &str, options: &[&str], host_paths: &[&str]) -> LiveMount {
    LiveMount {
        host_paths: Evidence::Seen(host_paths.iter().map(|path| (*path).to_owned()).collect()),
        ..mount(target, "ext4", options)
    }
}

/// Puts a mount in the place of the one at its target.
fn replace(instance: &mut Instance, mount: LiveMount) {
    let mounts = seen(&mut live(instance).mounts);
    mounts.retain(|known| known.target != mount.target);
    mounts.push(mount);
}

const DATA: &str = "/var/lib/docker/volumes/data/_data";

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
            replace(i, mount("/proc/sys", "tmpfs", &["ro"]));
        },
    ),
    (
        "/proc/sys made writable in place",
        "config/live-mounts live.mounts[/proc/sys].access",
        |i| replace(i, mount("/proc/sys", "proc", &["rw"])),
    ),
    (
        "a mask taken away",
        "config/live-mounts live.mounts[/proc/keys]",
        |i| {
            seen(&mut live(i).mounts).retain(|mount| mount.target != "/proc/keys");
        },
    ),
    (
        "a mask made writable",
        "config/live-mounts live.mounts[/proc/acpi].access",
        |i| {
            replace(i, mount("/proc/acpi", "tmpfs", &["rw"]));
        },
    ),
    (
        "/sys made writable",
        "config/live-mounts live.mounts[/sys].access",
        |i| {
            replace(i, mount("/sys", "sysfs", &["rw"]));
        },
    ),
    (
        "cgroups made writable",
        "config/live-mounts live.mounts[/sys/fs/cgroup].access",
        |i| {
            replace(i, mount("/sys/fs/cgroup", "cgroup2", &["rw"]));
        },
    ),
    (
        "a controller made writable",
        "config/live-mounts live.mounts[/sys/fs/cgroup/cpu].access",
        |i| {
            replace(i, mount("/sys/fs/cgroup/cpu", "cgroup", &["rw"]));
        },
    ),
    (
        "/dev/shm of somebody else",
        "config/live-mounts live.mounts[/dev/shm]",
        |i| {
            replace(i, mount("/dev/shm", "tmpfs", &["rw"]));
        },
    ),
    (
        "another file system in the place of a volume",
        "config/live-mounts live.mounts[/data].source",
        |i| {
            replace(i, mount("/data", "tmpfs", &["ro", "nosuid"]));
        },
    ),
    (
        "another folder in the place of a volume",
        "config/live-mounts live.mounts[/data].source",
        |i| {
            replace(i, bound("/data", &["ro", "nosuid"], &["/etc"]));
        },
    ),
    (
        "another file system in the place of a bind",
        "config/live-mounts live.mounts[/b].source",
        |i| {
            replace(i, mount("/b", "tmpfs", &["rw"]));
        },
    ),
    (
        "a mount of the host's passed on to a bind",
        "config/live-mounts live.mounts[/b].propagation",
        |i| {
            replace(
                i,
                LiveMount {
                    slave: true,
                    ..bound("/b", &["rw"], &["/srv/b"])
                },
            );
        },
    ),
    (
        "a bind that passes mounts to the host",
        "config/live-mounts live.mounts[/b].propagation",
        |i| {
            replace(
                i,
                LiveMount {
                    shared: true,
                    ..bound("/b", &["rw"], &["/srv/b"])
                },
            );
        },
    ),
    (
        "a mount made later below a bind",
        "config/live-mounts live.mounts[/b/x]",
        |i| {
            replace(i, mount("/b/x", "tmpfs", &["rw"]));
        },
    ),
    (
        "a mount made later below a volume",
        "config/live-mounts live.mounts[/data/x]",
        |i| {
            replace(i, bound("/data/x", &["rw"], &["/etc"]));
        },
    ),
    (
        "/proc/sys uncovered",
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
            seen(&mut live(i).mounts).push(bound("/data", &["rw", "nosuid"], &[DATA]));
        },
    ),
    (
        "an option lost",
        "config/live-mounts live.mounts[/data].options",
        |i| {
            seen(&mut live(i).mounts).retain(|mount| mount.target != "/data");
            seen(&mut live(i).mounts).push(bound("/data", &["ro"], &[DATA]));
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
        "a list of users in a folder of Docker's",
        "config/live-mounts live.mounts[/etc/passwd]",
        |i| {
            let mut users = mount("/etc/passwd", "ext4", &["rw"]);
            users.root = format!("/var/lib/docker/containers/{}/passwd", "ab".repeat(32));
            seen(&mut live(i).mounts).push(users);
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
fn what_podman_binds_by_itself_is_the_runtimes_own() {
    let (compiled, mut instance) = plain();
    for (target, file) in [
        ("/etc/passwd", "passwd"),
        ("/etc/group", "group"),
        ("/etc/hosts", "hosts"),
        ("/run/.containerenv", ".containerenv"),
    ] {
        let mut own = mount(target, "ext4", &["rw"]);
        own.root = format!("/storage/overlay-containers/{}/userdata/{file}", "ab".repeat(32));
        seen(&mut live(&mut instance).mounts).push(own);
    }
    assert!(failing(&judged(&compiled, &instance)).is_empty());
}

#[test]
fn each_deviation_is_one_finding() {
    let (compiled, clean) = plain();
    for (what, expected, change) in ROWS {
        let mut instance = clean.clone();
        change(&mut instance);
        assert_eq!(failing(&judged(&compiled, &instance)), [*expected], "{what}");
    }
}

/// What somebody had started with an exec is found as anything else is; the reason says who it was.
#[test]
fn who_started_a_process_is_told_and_makes_no_other_finding_of_it() {
    let (compiled, clean) = plain();
    let started = StartedBy {
        exec: "ab".repeat(32),
        at: "2026-03-01T10:00:00.5Z".parse().unwrap(),
        caller: Some("local/1000".to_owned()),
    };
    let mut told = 0;
    for (what, expected, change) in ROWS {
        let mut by_itself = clean.clone();
        change(&mut by_itself);
        let mut by_somebody = by_itself.clone();
        for process in &mut live(&mut by_somebody).processes {
            process.started_by = Some(started.clone());
        }
        let (mut before, after) = (judged(&compiled, &by_itself), judged(&compiled, &by_somebody));
        for (before, after) in before.checks.iter_mut().zip(&after.checks) {
            if before.result == Outcome::Fail && before.reason != after.reason {
                let says = format!(
                    "{}. The process was started by local/1000 at 2026-03-01T10:00:00Z (exec abababababab)",
                    before.reason
                );
                assert_eq!(after.reason, says, "{what}");
                before.reason = after.reason.clone();
                told += 1;
            }
        }
        assert_eq!(before, after, "{what} {expected}");
    }
    // All that is of a process, and nothing that is of mounts.
    assert_eq!(told, 11);
}

#[test]
fn who_started_a_process_is_told_in_words_that_can_be_shown() {
    let started = StartedBy {
        exec: "\u{1b}é".repeat(32),
        at: "2026-03-01T10:00:00Z".parse().unwrap(),
        caller: Some("\u{1b}[2J".to_owned()),
    };
    assert!(!started.to_string().contains('\u{1b}'));
    let past = StartedBy {
        exec: "ab".repeat(32),
        caller: None,
        ..started
    };
    assert_eq!(
        past.to_string(),
        "somebody past the proxy at 2026-03-01T10:00:00Z (exec abababababab)"
    );
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
fn mounts_below_a_bind_came_with_it_where_the_host_has_them() {
    let (compiled, mut instance) = plain();
    for n in 0..50 {
        let came = bound(
            &format!("/b/{n}"),
            &["rw"],
            &["/elsewhere", &format!("/srv/b/{n}")],
        );
        seen(&mut live(&mut instance).mounts).push(came.clone());
        // The host has two over each other there.
        seen(&mut live(&mut instance).mounts).push(came);
    }
    let judgement = judged(&compiled, &instance);
    assert_eq!(failing(&judgement), Vec::<String>::new());
    assert_eq!(
        result(&judgement, "config/live-mounts", "live.mounts"),
        Some(Outcome::Pass)
    );
}

#[test]
fn a_tmpfs_is_its_own_where_the_host_has_it_nowhere() {
    let (compiled, mut instance) = plain();
    let facts = MountFacts {
        origin: MountOrigin::Tmpfs,
        access: Access::Rw,
        options: Default::default(),
        propagation: Evidence::missing("of no account"),
        host_path: None,
    };
    seen(&mut instance.config.mounts).insert("/scratch".to_owned(), facts);
    let source = |host_paths: Evidence<BTreeSet<String>>| {
        let mut instance = instance.clone();
        let scratch = mount("/scratch", "tmpfs", &["rw"]);
        replace(
            &mut instance,
            LiveMount {
                host_paths,
                ..scratch
            },
        );
        let judgement = judged(&compiled, &instance);
        result(&judgement, "config/live-mounts", "live.mounts[/scratch].source")
    };
    assert_eq!(source(Evidence::Seen(BTreeSet::new())), None);
    // The host's /run is a tmpfs as well.
    let hosts = Evidence::Seen(["/run".to_owned()].into());
    assert_eq!(source(hosts), Some(Outcome::Fail));
    assert_eq!(source(Evidence::missing("not read")), Some(Outcome::NotEvaluated));
}

#[test]
fn what_a_bind_is_of_is_not_evaluated_where_it_cannot_be_told() {
    let not_evaluated = |change: Change| {
        let (compiled, mut instance) = plain();
        change(&mut instance);
        let judgement = judged(&compiled, &instance);
        assert_eq!(failing(&judgement), Vec::<String>::new());
        with(&judgement, Outcome::NotEvaluated)
    };
    // A symbolic link leads elsewhere, and so does an intruder.
    let linked = not_evaluated(|i| replace(i, bound("/b", &["rw"], &["/releases/5"])));
    assert_eq!(linked, ["config/live-mounts live.mounts[/b].source"]);
    let below = not_evaluated(|i| {
        replace(i, bound("/b/1", &["rw"], &["/releases/5/1"]));
        replace(i, bound("/b/2", &["rw"], &["/releases/5/2"]));
    });
    assert_eq!(below, ["config/live-mounts live.mounts[/b]/*"]);
    let blind = not_evaluated(|i| {
        for mount in seen(&mut live(i).mounts) {
            mount.host_paths = Evidence::missing("not read");
        }
    });
    assert_eq!(
        blind,
        [
            "config/live-mounts live.mounts[/b].source",
            "config/live-mounts live.mounts[/data].source"
        ]
    );
    let unknown_kernel = not_evaluated(|i| {
        live(i).kernel_paths = Evidence::missing("not read");
        seen(&mut live(i).mounts).retain(|mount| mount.target != "/proc/keys");
    });
    assert_eq!(unknown_kernel, ["config/live-mounts live.mounts[/proc/keys]"]);
    let own_path = not_evaluated(|i| {
        seen(&mut i.config.masked_paths).insert("/opt/secret".to_owned());
    });
    assert_eq!(own_path, ["config/live-mounts live.mounts[/opt/secret]"]);
}

#[test]
fn what_runtimes_mount_and_what_the_kernel_lacks_is_no_deviation() {
    let (compiled, mut instance) = plain();
    for own in [
        mount("/sys", "sysfs", &["ro"]),
        mount("/sys/fs/cgroup", "tmpfs", &["rw"]),
        mount("/sys/fs/cgroup/cpu", "cgroup", &["ro"]),
        mount("/dev", "tmpfs", &["rw"]),
        LiveMount {
            source: "shm".to_owned(),
            ..mount("/dev/shm", "tmpfs", &["rw"])
        },
        LiveMount {
            root: "/null".to_owned(),
            ..mount("/proc/keys", "tmpfs", &["rw"])
        },
        LiveMount {
            slave: true,
            ..bound("/data", &["ro", "nosuid"], &[DATA])
        },
    ] {
        replace(&mut instance, own);
    }
    seen(&mut live(&mut instance).mounts).retain(|mount| mount.target != "/proc/kcore");
    seen(&mut live(&mut instance).kernel_paths).insert("/proc/kcore".to_owned(), false);
    seen(&mut instance.config.mounts)
        .get_mut("/data")
        .unwrap()
        .propagation = Evidence::Seen(verger_policy::model::Propagation::Rslave);
    let judgement = judged(&compiled, &instance);
    assert_eq!(failing(&judgement), Vec::<String>::new());
    assert_eq!(
        result(&judgement, "config/live-mounts", "live.mounts"),
        Some(Outcome::Pass)
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
        [
            "config/live-limits live.limits",
            "config/live-mounts live.mounts",
            "privilege/can-become-root mounts"
        ]
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
        13,
        "eight rules about the live view, effective root and four ways to it"
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
