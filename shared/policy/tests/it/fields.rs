//! Every field of the `config` block: one difference is one finding that names the field.

use std::collections::BTreeSet;

use verger_policy::compile::DEFAULTS;
use verger_policy::drift::Outcome;
use verger_policy::facts::*;
use verger_policy::model::{Access, Config, Control, Limits, Namespaces, Rlimit};

use crate::judging::*;

/// A policy that states every field, in a way that leaves room for a difference both ways.
fn stated() -> String {
    let config = format!(
        "{{ images: [ {A} ], command: [ /app, run ], env: {{ require: {{ MODE: fast }}, allow: [ \"APP_*\" ] }}, user: {{ \
         uid: 1000, gid: 1000, groups: [ 5 ] }}, workingDir: /work, capabilities: [ NET_BIND_SERVICE ], noNewPrivileges: \
         true, seccomp: default, rootfs: readOnly, namespaces: {{ network: own, ipc: own, pid: own, uts: own, user: own, \
         cgroup: own }}, mounts: [ {{ target: /data, source: \"volume:data\", access: ro, options: [ nosuid ] }} ], \
         devices: [ {{ path: /dev/fuse, access: rw }} ], sysctls: {{ net.ipv4.ip_forward: \"0\" }}, limits: {{ memory: \
         512Mi, pids: 200, cpu: 1.5, rlimits: {{ nofile: {{ soft: 10, hard: 20 }} }} }}, ports: [ {{ listen: 80/tcp, \
         publish: [ \"*:8080\" ] }} ], maskedPaths: [ /proc/kcore ], readonlyPaths: [ /proc/sys ] }}"
    );
    workload("web", "{ image: web }", &config)
}

type Change = fn(&mut Instance);

/// One change of a clean instance, and the only field it may raise.
const ROWS: &[(&str, &str, Change)] = &[
    ("images", "config/image images", |i| {
        i.image = Evidence::Seen(B.parse().unwrap())
    }),
    ("command", "config/command command", |i| {
        seen(&mut i.config.command).push("--debug".to_owned())
    }),
    ("env", "config/env env[LD_PRELOAD]", |i| {
        seen(&mut i.config.env)
            .0
            .insert("LD_PRELOAD".to_owned(), "/x.so".to_owned());
    }),
    ("env", "config/env env[MODE]", |i| {
        seen(&mut i.config.env)
            .0
            .insert("MODE".to_owned(), "slow".to_owned());
    }),
    ("env", "config/env env[MODE]", |i| {
        seen(&mut i.config.env).0.remove("MODE");
    }),
    ("env", "config/env env[TZ]", |i| {
        seen(&mut i.config.env)
            .0
            .insert("TZ".to_owned(), "CET".to_owned());
    }),
    ("user", "config/user user.uid", |i| {
        seen(&mut i.config.user).uid = Evidence::Seen(1001)
    }),
    ("user", "config/user user.gid", |i| {
        seen(&mut i.config.user).gid = Evidence::Seen(1001)
    }),
    ("user", "config/user user.groups", |i| {
        seen(&mut seen(&mut i.config.user).groups).insert(999);
    }),
    ("workingDir", "config/working-dir workingDir", |i| {
        i.config.working_dir = Evidence::Seen("/".to_owned())
    }),
    (
        "capabilities",
        "config/capabilities capabilities[CAP_NET_ADMIN]",
        |i| {
            seen(&mut i.config.capabilities).given |= 1 << capabilities::number("NET_ADMIN").unwrap();
        },
    ),
    (
        "capabilities",
        "config/capabilities capabilities[CAP_NET_BIND_SERVICE]",
        |i| {
            seen(&mut i.config.capabilities).given = 0;
        },
    ),
    (
        "capabilities",
        "config/capabilities capabilities[CAP_FUTURE]",
        |i| {
            seen(&mut i.config.capabilities)
                .unnamed
                .insert("CAP_FUTURE".to_owned());
        },
    ),
    (
        "noNewPrivileges",
        "config/no-new-privileges noNewPrivileges",
        |i| {
            i.config.no_new_privileges = Evidence::Seen(false);
        },
    ),
    ("seccomp", "config/seccomp seccomp", |i| {
        i.config.seccomp = Evidence::Seen(SeccompFacts::Unconfined)
    }),
    ("rootfs", "config/rootfs rootfs", |i| {
        i.config.rootfs_readonly = Evidence::Seen(false)
    }),
    (
        "namespaces.network",
        "config/namespaces namespaces.network",
        |i| {
            i.config.namespaces.network = Evidence::Seen(NamespaceOwner::Host);
        },
    ),
    ("namespaces.ipc", "config/namespaces namespaces.ipc", |i| {
        i.config.namespaces.ipc = Evidence::Seen(NamespaceOwner::Instance("0".repeat(64)));
    }),
    ("namespaces.pid", "config/namespaces namespaces.pid", |i| {
        i.config.namespaces.pid = Evidence::Seen(NamespaceOwner::Host);
    }),
    ("namespaces.uts", "config/namespaces namespaces.uts", |i| {
        i.config.namespaces.uts = Evidence::Seen(NamespaceOwner::Host);
    }),
    ("namespaces.user", "config/namespaces namespaces.user", |i| {
        i.config.namespaces.user = Evidence::Seen(NamespaceOwner::Host);
    }),
    ("namespaces.cgroup", "config/namespaces namespaces.cgroup", |i| {
        i.config.namespaces.cgroup = Evidence::Seen(NamespaceOwner::Host);
    }),
    ("mounts", "config/mounts mounts[/more]", |i| {
        let facts = MountFacts {
            origin: MountOrigin::Tmpfs,
            access: Access::Rw,
            options: BTreeSet::new(),
            propagation: Evidence::Seen(verger_policy::model::Propagation::Rprivate),
            host_path: None,
        };
        seen(&mut i.config.mounts).insert("/more".to_owned(), facts);
    }),
    ("mounts", "config/mounts mounts[/data]", |i| {
        seen(&mut i.config.mounts).clear()
    }),
    ("mounts", "config/mounts mounts[/data].source", |i| {
        seen(&mut i.config.mounts).get_mut("/data").unwrap().origin = MountOrigin::Volume("other".to_owned());
    }),
    ("mounts", "config/mounts mounts[/data].access", |i| {
        seen(&mut i.config.mounts).get_mut("/data").unwrap().access = Access::Rw;
    }),
    ("mounts", "config/mounts mounts[/data].options", |i| {
        seen(&mut i.config.mounts)
            .get_mut("/data")
            .unwrap()
            .options
            .clear();
    }),
    ("mounts", "config/mounts mounts[/data].propagation", |i| {
        seen(&mut i.config.mounts).get_mut("/data").unwrap().propagation =
            Evidence::Seen(verger_policy::model::Propagation::Rshared);
    }),
    ("devices", "config/devices devices[/dev/kvm]", |i| {
        let facts = DeviceFacts {
            access: "rw".to_owned(),
            host_path: Evidence::Seen("/dev/kvm".to_owned()),
        };
        seen(&mut i.config.devices).insert("/dev/kvm".to_owned(), facts);
    }),
    ("devices", "config/devices devices[/dev/fuse]", |i| {
        seen(&mut i.config.devices).clear()
    }),
    ("devices", "config/devices devices[/dev/fuse].access", |i| {
        seen(&mut i.config.devices).get_mut("/dev/fuse").unwrap().access = "rwm".to_owned();
    }),
    ("devices", "config/devices devices[/dev/fuse].source", |i| {
        seen(&mut i.config.devices)
            .get_mut("/dev/fuse")
            .unwrap()
            .host_path = Evidence::Seen("/dev/sda".to_owned());
    }),
    ("sysctls", "config/sysctls sysctls[net.ipv4.ip_forward]", |i| {
        seen(&mut i.config.sysctls).insert("net.ipv4.ip_forward".to_owned(), "1".to_owned());
    }),
    ("sysctls", "config/sysctls sysctls[kernel.msgmax]", |i| {
        seen(&mut i.config.sysctls).insert("kernel.msgmax".to_owned(), "1".to_owned());
    }),
    ("limits.memory", "config/limits limits.memory", |i| {
        i.config.limits.memory = Evidence::Seen(None)
    }),
    ("limits.pids", "config/limits limits.pids", |i| {
        i.config.limits.pids = Evidence::Seen(Some(201))
    }),
    ("limits.cpu", "config/limits limits.cpu", |i| {
        i.config.limits.cpu = Evidence::Seen(Some(1501))
    }),
    ("limits.rlimits", "config/limits limits.rlimits[nofile]", |i| {
        seen(&mut i.config.limits.rlimits).insert(
            "nofile".to_owned(),
            Rlimit {
                soft: 10,
                hard: u64::MAX,
            },
        );
    }),
    ("limits.rlimits", "config/limits limits.rlimits[core]", |i| {
        seen(&mut i.config.limits.rlimits).insert("core".to_owned(), Rlimit { soft: 0, hard: 0 });
    }),
    ("ports", "config/ports ports[80/tcp]", |i| {
        seen(&mut i.config.ports)[0].publish = ["127.0.0.1:8080".to_owned()].into();
    }),
    ("ports", "config/ports ports[22/tcp]", |i| {
        let publish = ["*:22".to_owned()].into();
        seen(&mut i.config.ports).push(PortFacts {
            listen: "22/tcp".to_owned(),
            publish,
        });
    }),
    (
        "maskedPaths",
        "config/masked-paths maskedPaths[/proc/kcore]",
        |i| seen(&mut i.config.masked_paths).clear(),
    ),
    (
        "readonlyPaths",
        "config/readonly-paths readonlyPaths[/proc/sys]",
        |i| {
            seen(&mut i.config.readonly_paths).clear();
        },
    ),
];

#[test]
fn each_difference_is_one_finding_that_names_its_field() {
    let compiled = compiled(&stated());
    let clean = blessed(&compiled);
    assert_eq!(failing(&judged(&compiled, &clean)), Vec::<String>::new());
    for (_, expected, change) in ROWS {
        let mut instance = clean.clone();
        change(&mut instance);
        assert_ne!(instance, clean, "{expected}: the row changes nothing");
        // The live view follows the configuration: what is tested here is the configuration.
        instance.live = Evidence::missing("not looked at");
        let judgement = judged(&compiled, &instance);
        assert_eq!(failing_of(&judgement, Control::Config), [*expected]);
        let check = judgement
            .failing()
            .find(|check| check.control == Control::Config)
            .unwrap();
        assert_eq!(check.decided_by.as_ref().unwrap().to_string(), "Workload/web");
        assert!(check.expected.is_some() && check.actual.is_some(), "{expected}");
    }
}

/// Breaks the build, then the test, when a field of the model has no row.
#[test]
fn every_field_has_a_row_a_default_and_a_check() {
    let Config {
        images: _,
        command: _,
        env: _,
        user: _,
        working_dir: _,
        capabilities: _,
        no_new_privileges: _,
        seccomp: _,
        rootfs: _,
        namespaces:
            Namespaces {
                network: _,
                ipc: _,
                pid: _,
                uts: _,
                user: _,
                cgroup: _,
            },
        mounts: _,
        devices: _,
        sysctls: _,
        limits:
            Limits {
                memory: _,
                pids: _,
                cpu: _,
                rlimits: _,
            },
        ports: _,
        masked_paths: _,
        readonly_paths: _,
    } = Config::default();
    // What is destructured above, as policy files write it.
    let fields: BTreeSet<&str> = [
        "images",
        "command",
        "env",
        "user",
        "workingDir",
        "capabilities",
        "noNewPrivileges",
        "seccomp",
        "rootfs",
        "namespaces.network",
        "namespaces.ipc",
        "namespaces.pid",
        "namespaces.uts",
        "namespaces.user",
        "namespaces.cgroup",
        "mounts",
        "devices",
        "sysctls",
        "limits.memory",
        "limits.pids",
        "limits.cpu",
        "limits.rlimits",
        "ports",
        "maskedPaths",
        "readonlyPaths",
    ]
    .into();
    assert_eq!(
        ROWS.iter().map(|(field, ..)| *field).collect::<BTreeSet<_>>(),
        fields
    );
    assert_eq!(
        DEFAULTS.iter().map(|row| row.field).collect::<BTreeSet<_>>(),
        fields
    );

    let compiled = compiled(&stated());
    let judgement = judged(&compiled, &blessed(&compiled));
    let passed: BTreeSet<&str> = judgement
        .checks
        .iter()
        .filter(|check| check.control == Control::Config && check.result == Outcome::Pass)
        // What is asked of every instance is of no field.
        .filter(|check| check.decided_by.is_some())
        .map(|check| &*check.field)
        .filter(|field| !field.starts_with("live."))
        .collect();
    assert_eq!(passed, fields);
}

/// Field, its own spelling of `any`, and what then is not looked at.
#[test]
fn any_is_not_evaluated_and_never_passes() {
    for field in [
        "command",
        "env",
        "user",
        "workingDir",
        "capabilities",
        "noNewPrivileges",
        "seccomp",
        "rootfs",
        "mounts",
        "devices",
        "sysctls",
        "ports",
        "maskedPaths",
        "readonlyPaths",
    ] {
        let compiled = compiled(&workload(
            "web",
            "{ image: web }",
            &format!("{{ images: [ {A} ], {field}: any }}"),
        ));
        let judgement = judged(&compiled, &blessed(&compiled));
        let check = judgement
            .checks
            .iter()
            .find(|check| check.field == field)
            .unwrap();
        assert_eq!(check.result, Outcome::NotEvaluated, "{field}");
        assert!(check.reason.contains("`any`"), "{field}: {}", check.reason);
    }
}

#[test]
fn what_was_not_observed_is_not_evaluated_and_never_passes() {
    let compiled = compiled(&stated());
    let mut instance = blessed(&compiled);
    instance.config = ConfigFacts::missing("the runtime is silent");
    instance.image = Evidence::missing("the runtime is silent");
    instance.live = Evidence::missing("the runtime is silent");
    let judgement = judged(&compiled, &instance);
    assert!(
        judgement
            .checks
            .iter()
            .all(|check| check.result == Outcome::NotEvaluated),
        "{:?}",
        judgement.checks
    );
    assert!(
        judgement
            .checks
            .iter()
            .all(|check| check.reason == "the runtime is silent")
    );
}

#[test]
fn absent_fields_mean_the_image_or_the_least_privilege() {
    let compiled = compiled(&workload(
        "web",
        "{ image: web }",
        &format!("{{ images: [ {A} ] }}"),
    ));
    let clean = blessed(&compiled);
    assert_eq!(failing(&judged(&compiled, &clean)), Vec::<String>::new());
    let rows: &[(&str, Change)] = &[
        ("config/command command", |i| {
            seen(&mut i.config.command).push("x".to_owned())
        }),
        ("config/env env[TZ]", |i| seen(&mut i.config.env).0.clear()),
        ("config/env env[NEW]", |i| {
            seen(&mut i.config.env).0.insert("NEW".to_owned(), "1".to_owned());
        }),
        ("config/user user.uid", |i| {
            seen(&mut i.config.user).uid = Evidence::Seen(0)
        }),
        ("config/user user.groups", |i| {
            seen(&mut seen(&mut i.config.user).added_groups).insert("docker".to_owned());
        }),
        ("config/working-dir workingDir", |i| {
            i.config.working_dir = Evidence::Seen("/tmp".to_owned())
        }),
        ("config/capabilities capabilities[CAP_CHOWN]", |i| {
            seen(&mut i.config.capabilities).given = 1
        }),
        ("config/limits limits.memory", |i| {
            i.config.limits.memory = Evidence::Seen(Some(1))
        }),
        ("config/masked-paths maskedPaths[/proc/keys]", |i| {
            seen(&mut i.config.masked_paths).remove("/proc/keys");
            seen(&mut live(i).mounts).retain(|mount| mount.target != "/proc/keys");
        }),
    ];
    for (expected, change) in rows {
        let mut instance = clean.clone();
        change(&mut instance);
        assert_eq!(
            failing_of(&judged(&compiled, &instance), Control::Config),
            [*expected]
        );
    }
}

#[test]
fn what_runtimes_add_themselves_is_no_difference() {
    let compiled = compiled(&workload(
        "web",
        "{ image: web }",
        &format!("{{ images: [ {A} ] }}"),
    ));
    let mut instance = blessed(&compiled);
    seen(&mut instance.config.env)
        .0
        .insert("PATH".to_owned(), RUNTIME_PATH.to_owned());
    for (name, value) in RUNTIME_SYSCTLS {
        seen(&mut instance.config.sysctls).insert((*name).to_owned(), (*value).to_owned());
    }
    let volume = MountFacts {
        origin: MountOrigin::AnonymousVolume,
        access: Access::Rw,
        options: BTreeSet::new(),
        propagation: Evidence::Seen(verger_policy::model::Propagation::Rslave),
        host_path: None,
    };
    seen(&mut instance.config.mounts).insert("/cache".to_owned(), volume.clone());
    seen(&mut instance.config.masked_paths).insert("/proc/interrupts".to_owned());
    let none = Vec::<String>::new();
    instance.live = Evidence::missing("not looked at");
    assert_eq!(failing(&judged(&compiled, &instance)), none);

    seen(&mut instance.config.sysctls)
        .insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "80".to_owned());
    seen(&mut instance.config.mounts).insert("/elsewhere".to_owned(), volume);
    seen(&mut instance.config.env)
        .0
        .insert("PATH".to_owned(), "/evil:/bin".to_owned());
    assert_eq!(
        failing(&judged(&compiled, &instance)),
        [
            "config/env env[PATH]",
            "config/mounts mounts[/elsewhere]",
            "config/sysctls sysctls[net.ipv4.ip_unprivileged_port_start]",
        ]
    );
}

#[test]
fn values_of_the_environment_are_never_shown() {
    let compiled = compiled(&stated());
    let mut instance = blessed(&compiled);
    let env = &mut seen(&mut instance.config.env).0;
    for name in ["MODE", "TZ", "PASSWORD"] {
        env.insert(name.to_owned(), "hunter2".to_owned());
    }
    let judgement = judged(&compiled, &instance);
    assert_eq!(failing(&judgement).len(), 3);
    let text = format!(
        "{judgement:?} {:?} {}",
        verger_policy::explain::judgement(&judgement),
        serde_json::to_string(&judgement).unwrap()
    );
    for secret in ["hunter2", "fast", "UTC"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn names_of_image_users_are_compared_as_they_were_asked_for() {
    let compiled = compiled(&workload(
        "web",
        "{ image: web }",
        &format!("{{ images: [ {A} ] }}"),
    ));
    let none = Vec::<String>::new();
    let rows = [
        (
            "nobody",
            Evidence::Seen("nobody".to_owned()),
            (65534, 65534),
            vec![],
            none.clone(),
        ),
        (
            "nobody",
            Evidence::Seen("0".to_owned()),
            (0, 0),
            vec!["config/user user".to_owned()],
            none.clone(),
        ),
        (
            "nobody",
            Evidence::missing("only an OCI config"),
            (65534, 65534),
            vec![],
            vec!["config/user user".to_owned()],
        ),
        (
            "1000",
            Evidence::Seen("1000".to_owned()),
            (1000, 50),
            vec![],
            none.clone(),
        ),
        (
            "1000:1000",
            Evidence::Seen("1000:1000".to_owned()),
            (1000, 1000),
            vec![],
            none.clone(),
        ),
        (
            "1000:1000",
            Evidence::missing("only an OCI config"),
            (1000, 1000),
            vec![],
            none.clone(),
        ),
        ("", Evidence::Seen("root".to_owned()), (0, 0), vec![], none),
    ];
    for (image_user, requested, (uid, gid), fail, unevaluated) in rows {
        let mut instance = blessed(&compiled);
        seen(&mut instance.image_defaults).user = image_user.to_owned();
        let user = seen(&mut instance.config.user);
        (user.uid, user.gid) = (Evidence::Seen(uid), Evidence::Seen(gid));
        user.requested = requested;
        instance.live = Evidence::missing("not looked at");
        let judgement = judged(&compiled, &instance);
        let of_user = |list: Vec<String>| {
            list.into_iter()
                .filter(|name| name.starts_with("config/user"))
                .collect::<Vec<_>>()
        };
        assert_eq!(of_user(failing(&judgement)), fail, "{image_user}");
        assert_eq!(
            of_user(with(&judgement, Outcome::NotEvaluated)),
            unevaluated,
            "{image_user}"
        );
    }
}

#[test]
fn ten_thousand_members_are_folded_into_a_bounded_number_of_checks() {
    let compiled = compiled(&stated());
    let mut instance = blessed(&compiled);
    for n in 0..10_000 {
        seen(&mut instance.config.env)
            .0
            .insert(format!("N{n}\u{1b}[2J{}", "x".repeat(500)), "v".to_owned());
    }
    let judgement = judged(&compiled, &instance);
    assert_eq!(judgement.failing().count(), 65);
    let rest = judgement.failing().find(|check| check.field == "(more)").unwrap();
    assert_eq!(rest.actual.as_deref(), Some("9936 more"));
    assert!(
        judgement
            .checks
            .iter()
            .all(|check| check.field.chars().all(|c| c != '\u{1b}') && check.field.len() < 400)
    );
}

#[test]
fn shared_namespaces_are_those_of_the_named_workload() {
    let proxy = workload(
        "proxy",
        "{ labels: { app: proxy } }",
        &format!("{{ images: [ {B} ] }}"),
    );
    let web = workload(
        "web",
        "{ image: web }",
        &format!("{{ images: [ {A} ], namespaces: {{ network: \"workload:proxy\" }} }}"),
    );
    let compiled = compiled(&[web, proxy].concat());
    let host = |image: &str| {
        let mut web = verger_policy::ideal::ideal(
            &compiled.workload(&"web".parse().unwrap()).unwrap().spec,
            &image_of(),
        );
        let mut peer = web.clone();
        peer.id.id = "0".repeat(64);
        peer.image = Evidence::Seen(image.parse().unwrap());
        peer.image_name = None;
        peer.labels.0.insert("app".to_owned(), "proxy".to_owned());
        web.name = "web".to_owned();
        HostFacts {
            observed_at: at(),
            instances: [(web.id.clone(), web), (peer.id.clone(), peer)].into(),
            unreadable: Default::default(),
        }
    };
    fn image_of() -> ImageDefaults {
        image()
    }
    for (image, expected) in [(B, Outcome::Pass), (A, Outcome::Fail)] {
        let facts = host(image);
        let web = facts
            .instances
            .values()
            .find(|instance| instance.name == "web")
            .unwrap();
        let judgement =
            verger_policy::drift::judge_among(&compiled, web, verger_policy::drift::Peers::of(&facts), at());
        assert_eq!(
            result(&judgement, "config/namespaces", "namespaces.network"),
            Some(expected),
            "{image}"
        );
    }
    let facts = host(B);
    let web = facts
        .instances
        .values()
        .find(|instance| instance.name == "web")
        .unwrap();
    assert_eq!(
        result(&judged(&compiled, web), "config/namespaces", "namespaces.network"),
        Some(Outcome::NotEvaluated)
    );
}

/// What is stated of a mount's propagation, what it is, and whether that is a difference.
#[test]
fn propagation_is_private_for_a_bind_and_never_shared_unless_that_is_stated() {
    use verger_policy::model::Propagation::{self, *};
    let rows: &[(&str, &str, Propagation, bool)] = &[
        ("bind:/srv/b", "", Rprivate, true),
        ("bind:/srv/b", "", Private, false),
        ("bind:/srv/b", "", Rslave, false),
        ("bind:/srv/b", "", Rshared, false),
        ("bind:/srv/b", ", propagation: rslave", Rslave, true),
        ("bind:/srv/b", ", propagation: rslave", Rprivate, false),
        ("bind:/srv/b", ", propagation: rshared", Rshared, true),
        ("volume:v", "", Rprivate, true),
        ("volume:v", "", Rslave, true),
        ("volume:v", "", Shared, false),
        ("volume:v", ", propagation: rprivate", Rslave, false),
    ];
    for (source, stated, is, clean) in rows {
        let compiled = compiled(&workload(
            "web",
            "{ image: web }",
            &format!("{{ images: [ {A} ], mounts: [ {{ target: /m, source: \"{source}\"{stated} }} ] }}"),
        ));
        let mut instance = blessed(&compiled);
        let mount = seen(&mut instance.config.mounts).get_mut("/m").unwrap();
        mount.propagation = Evidence::Seen(*is);
        let expected: &[&str] = if *clean {
            &[]
        } else {
            &["config/mounts mounts[/m].propagation"]
        };
        let judgement = judged(&compiled, &instance);
        assert_eq!(
            failing_of(&judgement, Control::Config),
            expected,
            "{source}{stated} {is}"
        );
    }
    let any = compiled(&workload(
        "web",
        "{ image: web }",
        &format!(
            "{{ images: [ {A} ], mounts: [ {{ target: /m, source: \"bind:/b\", propagation: any }} ] }}"
        ),
    ));
    let judgement = judged(&any, &blessed(&any));
    assert_eq!(
        result(&judgement, "config/mounts", "mounts[/m].propagation"),
        Some(Outcome::NotEvaluated)
    );
}
