//! Containers of a real daemon (Docker 20.10, cgroup v1): the parsers, blessing, and what is judged of them.

use std::collections::BTreeMap;

use verger_policy::bless::{BlessError, bless};
use verger_policy::compile::{Compiled, compile};
use verger_policy::drift::Outcome;
use verger_policy::facts::inspect::Inspected;
use verger_policy::facts::oci::OciConfig;
use verger_policy::facts::*;
use verger_policy::model::{Access, Control, Labels};

use crate::judging::*;

macro_rules! container {
    ($name:literal) => {
        Container {
            inspect: include_bytes!(concat!("../fixtures/", $name, ".inspect.json")),
            config: include_bytes!(concat!("../fixtures/", $name, ".config.json")),
            mountinfo: include_bytes!(concat!("../fixtures/", $name, ".mountinfo")),
            status: include_bytes!(concat!("../fixtures/", $name, ".status")),
        }
    };
}

struct Container {
    inspect: &'static [u8],
    config: &'static [u8],
    mountinfo: &'static [u8],
    status: &'static [u8],
}

const PLAIN: Container = container!("plain");
const HARDENED: Container = container!("hardened");
const HOST: Container = container!("host");
const DONOR: Container = container!("donor");
const JOINED: Container = container!("joined");
const ODD: Container = container!("odd");

/// Whether the kernel of the fixtures has this path: its containers have a mount over it then.
fn has(path: &str) -> bool {
    let target = format!(" {path} ");
    HARDENED
        .mountinfo
        .windows(target.len())
        .any(|part| part == target.as_bytes())
}

/// With where the host of the fixtures has them.
fn on_host(mounts: Vec<LiveMount>) -> Vec<LiveMount> {
    let host = b"1 0 254:0 / / rw shared:3 - ext4 /dev/vda rw\n\
                 2 1 254:0 /run/netns /run/netns rw shared:3 - ext4 /dev/vda rw\n\
                 3 2 0:4 net:[4026532177] /run/netns/vgrt rw shared:9 - nsfs nsfs rw\n";
    let host = HostMounts::of(proc::mountinfo(host).unwrap());
    let placed = |mount: LiveMount| LiveMount {
        host_paths: host.paths_of(&mount),
        ..mount
    };
    mounts.into_iter().map(placed).collect()
}

impl Container {
    fn inspected(&self) -> Inspected {
        inspect::parse(self.inspect).unwrap()
    }

    fn oci(&self) -> OciConfig {
        oci::parse(self.config).unwrap()
    }

    fn image() -> Evidence<ImageDefaults> {
        Evidence::Seen(
            image::parse(include_bytes!("../fixtures/image.inspect.json"))
                .unwrap()
                .defaults,
        )
    }

    fn live(&self) -> LiveFacts {
        let status = proc::status(self.status).unwrap();
        let inspected = self.inspected();
        LiveFacts {
            init_pid: inspected.pid.unwrap(),
            processes: vec![ProcessFacts {
                pid: inspected.pid.unwrap(),
                thread: None,
                start_ticks: 1,
                comm: status.comm,
                in_cgroup: true,
                shared_namespaces: Default::default(),
                namespaces: Evidence::Seen(NamespaceIds {
                    mnt: 1,
                    pid: 1,
                    net: 1,
                    ipc: 1,
                    uts: 1,
                    user: 1,
                    cgroup: 1,
                }),
                uids: status.uids,
                gids: status.gids,
                groups: status.groups,
                caps: status.caps,
                no_new_privs: status.no_new_privs,
                seccomp: status.seccomp,
                host_user_namespace: Evidence::Seen(true),
                limits: Evidence::Seen(BTreeMap::new()),
                started_by: None,
            }],
            mounts: Evidence::Seen(on_host(proc::mountinfo(self.mountinfo).unwrap())),
            // The kernel that the containers ran on has only these.
            kernel_paths: Evidence::Seen(
                RUNTIME_MASKED_PATHS
                    .iter()
                    .chain(RUNTIME_READONLY_PATHS)
                    .map(|path| ((*path).to_owned(), has(path)))
                    .collect(),
            ),
        }
    }

    fn instance(&self) -> Instance {
        merge::instance(
            self.inspected(),
            Some(self.oci()),
            Self::image(),
            Evidence::Seen(self.live()),
        )
    }

    fn by_inspection_alone(&self) -> Instance {
        merge::instance(
            self.inspected(),
            None,
            Self::image(),
            Evidence::missing("not looked at"),
        )
    }
}

fn blessing(instance: &Instance) -> Compiled {
    let object = bless(instance, "it".parse().unwrap()).unwrap();
    // What a person reads and signs is the text.
    let text = verger_policy::draft::write(&object);
    let read = verger_policy::draft::read("draft.yaml", text.as_bytes()).unwrap();
    assert_eq!(read, std::slice::from_ref(&object), "{text}");
    compile(&read, &Labels::default(), 1)
}

#[test]
fn what_is_blessed_is_clean_but_for_root() {
    for (name, container, root) in [
        ("plain", PLAIN, true),
        ("hardened", HARDENED, false),
        ("host", HOST, true),
        ("donor", DONOR, true),
    ] {
        let instance = container.instance();
        let judgement = judged(&blessing(&instance), &instance);
        let expected: &[&str] = if root { &["privilege/is-root user"] } else { &[] };
        assert_eq!(failing(&judgement), expected, "{name}");
        let unjudged: Vec<String> = with(&judgement, Outcome::NotEvaluated);
        assert_eq!(unjudged, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_blessing_states_only_what_differs_from_the_defaults() {
    let object = bless(&HARDENED.instance(), "it".parse().unwrap()).unwrap();
    let text = verger_policy::draft::write(&object);
    for absent in [
        "noNewPrivileges",
        "seccomp",
        "rootfs",
        "network",
        "cgroup",
        "sysctls",
        "devices",
        "maskedPaths",
    ] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
    for present in [
        "CAP_NET_BIND_SERVICE",
        "volume:fx-data",
        "MODE",
        "tmpfs",
        "64Mi",
        "1500m",
    ] {
        assert!(text.contains(present), "{present} in {text}");
    }
}

#[test]
fn what_cannot_be_stated_is_not_blessed() {
    let joined = bless(&JOINED.instance(), "it".parse().unwrap());
    assert!(
        matches!(
            joined,
            Err(BlessError::CannotBeStated {
                field: "namespaces.network",
                ..
            })
        ),
        "{joined:?}"
    );
    let odd = bless(&ODD.instance(), "it".parse().unwrap());
    assert!(
        matches!(odd, Err(BlessError::CannotBeStated { field: "devices", .. })),
        "{odd:?}"
    );
    let mut without_image = PLAIN.instance();
    without_image.image = Evidence::missing("x");
    assert!(matches!(
        bless(&without_image, "it".parse().unwrap()),
        Err(BlessError::NoImage(_))
    ));
    // `any` would mean every value; a relative path is none to a policy; a limit beyond 2^53 would be rounded.
    let mut any = HARDENED.instance();
    any.config.working_dir = Evidence::Seen("any".to_owned());
    let mut relative = HARDENED.instance();
    relative.config.working_dir = Evidence::Seen("srv".to_owned());
    let mut huge = HARDENED.instance();
    huge.config.limits.memory = Evidence::Seen(Some((1 << 53) + 1));
    for instance in [any, relative, huge] {
        let refused = bless(&instance, "it".parse().unwrap());
        assert!(
            matches!(
                refused,
                Err(BlessError::CannotBeStated {
                    field: "workingDir",
                    ..
                } | BlessError::Invalid(_))
            ),
            "{refused:?}"
        );
    }
}

#[test]
fn another_container_of_the_same_image_differs_field_by_field() {
    let compiled = blessing(&PLAIN.instance());
    let judgement = judged(&compiled, &HARDENED.instance());
    let config = failing_of(&judgement, Control::Config);
    for expected in [
        "config/command command",
        "config/env env[MODE]",
        "config/user user.uid",
        "config/working-dir workingDir",
        "config/limits limits.memory",
        "config/limits limits.pids",
        "config/limits limits.cpu",
        "config/limits limits.rlimits[nofile]",
        "config/mounts mounts[/data]",
        "config/mounts mounts[/scratch]",
        "config/mounts mounts[/tmp]",
        "config/namespaces namespaces.cgroup",
        "config/ports ports[80/tcp]",
        "config/ports ports[90/udp]",
        "config/rootfs rootfs",
        "config/no-new-privileges noNewPrivileges",
        "config/capabilities capabilities[CAP_CHOWN]",
    ] {
        // The command of both is the same; everything else differs.
        let there =
            config.contains(&expected.to_owned()) || failing(&judgement).contains(&expected.to_owned());
        assert_eq!(there, expected != "config/command command", "{expected}");
    }
    // The runtime's own variables, mounts, kernel parameters and groups are no difference.
    assert!(
        !config
            .iter()
            .any(|name| name.contains("HOSTNAME") || name.contains("/etc/") || name.contains("sysctls"))
    );
}

#[test]
fn the_parsers_see_what_the_container_was_started_with() {
    let facts = HARDENED.instance().config;
    let user = facts.user.seen().unwrap();
    assert_eq!((user.uid.seen(), user.gid.seen()), (Some(&1000), Some(&1000)));
    assert_eq!(user.groups.seen().unwrap().len(), 0);
    assert_eq!(
        facts
            .env
            .seen()
            .unwrap()
            .0
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>(),
        ["MODE", "PATH"]
    );
    assert_eq!(
        capabilities::list(facts.capabilities.seen().unwrap().given),
        "CAP_NET_BIND_SERVICE"
    );
    let mounts = facts.mounts.seen().unwrap();
    assert_eq!(
        mounts.keys().map(String::as_str).collect::<Vec<_>>(),
        ["/data", "/scratch", "/tmp"]
    );
    assert_eq!(mounts["/data"].origin, MountOrigin::Volume("fx-data".to_owned()));
    assert_eq!(mounts["/scratch"].origin, MountOrigin::AnonymousVolume);
    assert_eq!(
        (&mounts["/tmp"].origin, mounts["/tmp"].options.len()),
        (&MountOrigin::Tmpfs, 3)
    );
    assert_eq!(facts.limits.memory, Evidence::Seen(Some(64 << 20)));
    assert_eq!(
        (facts.limits.pids, facts.limits.cpu),
        (Evidence::Seen(Some(100)), Evidence::Seen(Some(1500)))
    );
    let ports = facts.ports.seen().unwrap();
    assert_eq!(
        (
            ports[0].listen.as_str(),
            ports[0].publish.first().unwrap().as_str()
        ),
        ("80/tcp", "*:8080")
    );
    assert_eq!(
        (
            ports[1].listen.as_str(),
            ports[1].publish.first().unwrap().as_str()
        ),
        ("90/udp", "127.0.0.1:9090")
    );
    assert_eq!(ports[0].publish.len(), 1);

    let facts = ODD.instance().config;
    assert_eq!(facts.command.seen().unwrap()[..2], ["/sbin/docker-init", "--"]);
    assert_eq!(facts.namespaces.network, Evidence::Seen(NamespaceOwner::Isolated));
    assert_eq!(facts.seccomp, Evidence::Seen(SeccompFacts::Unconfined));
    assert!(facts.masked_paths.seen().unwrap().is_empty());
    let mounts = facts.mounts.seen().unwrap();
    assert_eq!(
        mounts.keys().map(String::as_str).collect::<Vec<_>>(),
        ["/host-etc", "/hostrun"]
    );
    assert_eq!(mounts["/hostrun"].access, Access::Ro);
    let devices = facts.devices.seen().unwrap();
    assert_eq!(
        devices.keys().map(String::as_str).collect::<Vec<_>>(),
        ["/dev/xnull", "c 42:7"]
    );
    assert_eq!(
        (
            devices["/dev/xnull"].access.as_str(),
            devices["c 42:7"].access.as_str()
        ),
        ("rw", "rm")
    );
    assert_eq!(
        devices["/dev/xnull"].host_path,
        Evidence::Seen("/dev/null".to_owned())
    );
    assert_eq!(facts.user.seen().unwrap().groups, Evidence::Seen([999].into()));

    let donor = DONOR.inspected().id;
    let namespaces = JOINED.instance().config.namespaces;
    for owner in [namespaces.network, namespaces.ipc, namespaces.pid] {
        assert_eq!(owner, Evidence::Seen(NamespaceOwner::Instance(donor.clone())));
    }
    let namespaces = HOST.instance().config.namespaces;
    for owner in [
        namespaces.network,
        namespaces.ipc,
        namespaces.pid,
        namespaces.uts,
        namespaces.user,
    ] {
        assert_eq!(owner, Evidence::Seen(NamespaceOwner::Host));
    }
    assert_eq!(HOST.instance().config.mounts.seen().unwrap().len(), 0);
}

/// What an inspection says and what the kernel got agree wherever the inspection can know.
#[test]
fn inspection_and_oci_config_agree() {
    fn same<T: PartialEq + std::fmt::Debug>(what: &str, asked: &Evidence<T>, given: &Evidence<T>) {
        if let (Evidence::Seen(asked), Evidence::Seen(given)) = (asked, given) {
            assert_eq!(asked, given, "{what}");
        }
    }
    for (name, container) in [
        ("plain", PLAIN),
        ("hardened", HARDENED),
        ("host", HOST),
        ("donor", DONOR),
        ("joined", JOINED),
        ("odd", ODD),
    ] {
        let (asked, given) = (
            container.by_inspection_alone().config,
            container.instance().config,
        );
        same(name, &asked.command, &given.command);
        same(name, &asked.working_dir, &given.working_dir);
        same(name, &asked.capabilities, &given.capabilities);
        same(name, &asked.no_new_privileges, &given.no_new_privileges);
        same(name, &asked.rootfs_readonly, &given.rootfs_readonly);
        for (asked, given) in [
            (&asked.namespaces.network, &given.namespaces.network),
            (&asked.namespaces.ipc, &given.namespaces.ipc),
            (&asked.namespaces.pid, &given.namespaces.pid),
            (&asked.namespaces.uts, &given.namespaces.uts),
            (&asked.namespaces.user, &given.namespaces.user),
            (&asked.namespaces.cgroup, &given.namespaces.cgroup),
        ] {
            same(name, asked, given);
        }
        same(name, &asked.mounts, &given.mounts);
        same(name, &asked.devices, &given.devices);
        same(name, &asked.limits.rlimits, &given.limits.rlimits);
        same(name, &asked.limits.memory, &container.oci().config.limits.memory);
        same(name, &asked.limits.cpu, &container.oci().config.limits.cpu);
        same(name, &asked.limits.pids, &container.oci().config.limits.pids);
        same(name, &asked.masked_paths, &given.masked_paths);
        same(name, &asked.readonly_paths, &given.readonly_paths);
        same(name, &asked.ports, &given.ports);
        let (asked, given) = (asked.user.seen().unwrap(), given.user.seen().unwrap());
        same(name, &asked.uid, &given.uid);
        same(name, &asked.gid, &given.gid);
        same(name, &asked.host_uid, &given.host_uid);
    }
}

#[test]
fn a_privileged_container_is_known_from_its_inspection() {
    let inspected = inspect::parse(include_bytes!("../fixtures/privileged.inspect.json")).unwrap();
    let config = &inspected.config;
    assert_eq!(config.capabilities.seen().unwrap().given, capabilities::ALL);
    assert_eq!(config.seccomp, Evidence::Seen(SeccompFacts::Unconfined));
    assert!(config.masked_paths.seen().unwrap().is_empty());
    assert!(config.devices.seen().unwrap().contains_key("a *:*"));
    assert_eq!(inspected.pid, None);
}

#[test]
fn an_oci_config_alone_says_what_it_does_not_know() {
    let plain = PLAIN.instance();
    let instance = merge::from_oci(
        PLAIN.oci(),
        plain.image.clone(),
        None,
        Container::image(),
        Labels::default(),
    );
    let judgement = verger_policy::drift::judge_recorded(&blessing(&plain), &instance, at());
    assert_eq!(
        with(&judgement, Outcome::NotEvaluated),
        [
            "config/ports ports",
            "config/root-path root.path",
            "config/seccomp seccomp",
            "config/user user.groups"
        ]
    );
    assert_eq!(failing(&judgement), ["privilege/is-root user"]);
    assert_eq!(instance.id.id, plain.id.id);
}

#[test]
fn a_mount_made_from_outside_and_a_process_from_outside_are_found() {
    let mut instance = HARDENED.instance();
    let compiled = blessing(&instance);
    let mut text = HARDENED.mountinfo.to_vec();
    text.extend(b"999 173 0:99 / /opt/evil\\040dir rw,relatime - tmpfs tmpfs rw\n");
    live(&mut instance).mounts = Evidence::Seen(on_host(proc::mountinfo(&text).unwrap()));
    let mut foreign = process(&mut instance).clone();
    foreign.in_cgroup = false;
    live(&mut instance).processes.push(foreign);
    assert_eq!(
        failing(&judged(&compiled, &instance)),
        [
            "config/live-mounts live.mounts[/opt/evil dir]",
            "privilege/foreign-process live.processes",
        ]
    );
}

#[test]
fn volatile_parts_make_no_difference() {
    let compiled = blessing(&PLAIN.instance());
    let id = PLAIN.inspected().id;
    let renamed = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.replace(&id, &"e".repeat(64))
            .replace(&id[..12], &"e".repeat(12))
            .into_bytes()
    };
    let instance = merge::instance(
        inspect::parse(&renamed(PLAIN.inspect)).unwrap(),
        Some(oci::parse(&renamed(PLAIN.config)).unwrap()),
        Container::image(),
        Evidence::Seen(PLAIN.live()),
    );
    assert_eq!(instance.id.id, "e".repeat(64));
    assert_eq!(failing(&judged(&compiled, &instance)), ["privilege/is-root user"]);
}
