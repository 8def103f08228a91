//! Arbitrary valid policy objects, as nasty as the model allows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use verger_policy::compile::JUDGED_CONTROLS;
use verger_policy::digest::Digest;
use verger_policy::model::*;
use verger_policy::{model, rules};

const MAX: u64 = (1 << 53) - 1;

/// Any object of any kind.
pub(crate) fn object() -> BoxedStrategy<PolicyObject> {
    let spec = prop_oneof![
        4 => workload().prop_map(|workload| Spec::Workload(Box::new(workload))).boxed(),
        1 => guardrail().prop_map(Spec::Guardrail).boxed(),
        1 => exception().prop_map(Spec::Exception).boxed(),
        1 => (name(), labels()).prop_map(|(agent, labels)| {
            Spec::Host(HostObject { agent: agent.as_str().parse().unwrap(), labels })
        }).boxed(),
        1 => crate::roles::role().prop_map(Spec::Role).boxed(),
        1 => crate::roles::binding().prop_map(Spec::RoleBinding).boxed(),
    ];
    (name(), labels(), btree_map("[!-~]{1,12}", text(), 0..3), spec)
        .prop_map(|(name, labels, annotations, spec)| PolicyObject {
            metadata: Metadata {
                name,
                labels,
                annotations,
            },
            spec,
        })
        .boxed()
}

/// Objects with distinct keys and, for hosts, distinct agents.
pub(crate) fn objects(most: usize) -> impl Strategy<Value = Vec<PolicyObject>> {
    vec(object(), 0..most).prop_map(|objects| {
        let mut kept = BTreeMap::new();
        for mut object in objects {
            if let Spec::Host(host) = &mut object.spec {
                host.agent = object.metadata.name.as_str().parse().unwrap();
            }
            kept.insert(object.key(), object);
        }
        kept.into_values().collect()
    })
}

/// Text that YAML readers like to get wrong, and any other without NUL.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "",
            " ",
            "yes",
            "No",
            "on",
            "n",
            "~",
            "null",
            "true",
            "1",
            "1.0",
            "0x1f",
            "0o7",
            ".inf",
            "1e3",
            "12:30:45",
            "1_000",
            "- a",
            "a: b",
            "a:",
            "#",
            "a #b",
            "[",
            "{}",
            "&a",
            "*a",
            "!t",
            "|",
            ">",
            "%",
            "@",
            "`",
            "'",
            "\"",
            "\\",
            "\\u{1b}",
            "<<",
            "---",
            "...",
            "a\nb",
            "\n",
            "a\n\n b\n",
            "\t",
            "\r\n",
            "\u{1b}[2J",
            "\u{85}",
            "\u{2028}",
            "\u{feff}x",
            "\u{202e}abc",
            "ä\u{301}",
            "\u{1f600}",
            "any",
            "none",
            " lead",
            "trail ",
            "=",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z0-9:/._-]{1,16}",
        any::<String>().prop_map(|text| text.replace('\0', "")),
    ]
}

fn line() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.chars().filter(|c| !c.is_control()).take(300).collect())
}

fn sentence() -> impl Strategy<Value = String> {
    line().prop_map(|text| format!("{text}.").replace(|c| !model::is_printable(c), " "))
}

/// A valid name out of few, so that objects meet.
pub(crate) fn name() -> impl Strategy<Value = Name> {
    "[a-c][a-z0-9]?(/[a-z][a-z0-9.-]{0,3}[a-z0-9])?".prop_map(|text| text.parse().unwrap())
}

pub(crate) fn labels() -> impl Strategy<Value = Labels> {
    btree_map("[!-~]{1,8}", line(), 0..3).prop_map(Labels)
}

fn digest() -> impl Strategy<Value = Digest> {
    (0_u8..8).prop_map(|byte| Digest::of(&[byte]))
}

fn stated<T: Clone + std::fmt::Debug + 'static>(
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Stated<T>> {
    // Boxed: value trees are large, and the stack of a test is not.
    prop_oneof![2 => Just(Stated::Absent), 1 => Just(Stated::Any), 3 => value.prop_map(Stated::Is)].boxed()
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof!["(/[a-z~#: \\\\\"'é]{1,6}){1,3}", "(/[a-zA-Z0-9_-]{1,8}){1,4}"]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(Mode::ALL)
}

fn workload() -> impl Strategy<Value = Workload> {
    let hint = (
        option::of("[a-z]{1,5}(\\.[a-z]{2}(:5000)?)?/[a-z]{1,5}"),
        labels(),
    )
        .prop_map(|(image, labels)| ContainerHint { image, labels });
    let modes = (
        mode(),
        btree_map(prop::sample::select(Control::ALL), mode(), 0..3),
    )
        .prop_map(|(default, controls)| Modes { default, controls });
    let tighten = btree_set(prop::sample::select(Tighten::ALL), 0..4);
    (hint, labels(), option::of(modes), tighten, config().boxed()).prop_map(
        |(hint, hosts, mode, tighten, config)| Workload {
            hint,
            hosts,
            mode,
            tighten,
            config,
        },
    )
}

prop_compose! {
    fn config()(
        process in (stated(vec(text(), 1..4)), stated(env()), stated(user()), stated(path()), stated(capabilities())),
        images in btree_set(digest(), 1..4),
        kernel in (stated(any::<bool>()), stated(seccomp()), stated(prop::sample::select(Rootfs::ALL)), namespaces()),
        mounts in stated(vec(mount(), 0..4)),
        devices in stated(vec(device(), 0..3)),
        sysctls in stated(btree_map("[a-z]{1,5}\\.[a-z_/]{1,8}", text(), 0..3)),
        limits in limits(),
        ports in stated(vec(port(), 0..3)),
        paths in (stated(btree_set(path(), 0..3)), stated(btree_set(path(), 0..3))),
    ) -> Config {
        let (command, env, user, working_dir, capabilities) = process;
        let (no_new_privileges, seccomp, rootfs, namespaces) = kernel;
        let (masked_paths, readonly_paths) = paths;
        Config {
            images, command, env, user, working_dir, capabilities, no_new_privileges, seccomp, rootfs, namespaces,
            mounts: distinct(mounts, |mount| mount.target.clone()),
            devices: distinct(devices, |device| device.path.clone()),
            sysctls, limits,
            ports: distinct(ports, |port| port.listen.clone()),
            masked_paths, readonly_paths,
        }
    }
}

fn distinct<T>(list: Stated<Vec<T>>, key: impl Fn(&T) -> String) -> Stated<Vec<T>> {
    match list {
        Stated::Is(items) => {
            let by_key: BTreeMap<String, T> = items.into_iter().map(|item| (key(&item), item)).collect();
            Stated::Is(by_key.into_values().collect())
        }
        other => other,
    }
}

fn env() -> impl Strategy<Value = EnvRule> {
    let allow = btree_set("MY_[A-Z]{1,6}\\*?", 0..3);
    (btree_map("[A-Za-z_][A-Za-z0-9_.-]{0,8}", text(), 0..4), allow)
        .prop_map(|(require, allow)| EnvRule { require, allow })
}

fn user() -> impl Strategy<Value = UserSpec> {
    let id = || prop_oneof![0..3_u32, 0..u32::MAX];
    (id(), id(), btree_set(id(), 0..3)).prop_map(|(uid, gid, groups)| UserSpec { uid, gid, groups })
}

fn capabilities() -> impl Strategy<Value = std::collections::BTreeSet<String>> {
    btree_set(
        prop::sample::select(model::CAPABILITIES.as_slice()).prop_map(str::to_owned),
        0..5,
    )
}

fn seccomp() -> impl Strategy<Value = Seccomp> {
    prop_oneof![
        Just(Seccomp::Default),
        Just(Seccomp::Unconfined),
        digest().prop_map(Seccomp::Profile)
    ]
}

fn namespaces() -> impl Strategy<Value = Namespaces> {
    let mode = || {
        prop_oneof![
            Just(NamespaceMode::Own),
            Just(NamespaceMode::Host),
            name().prop_map(NamespaceMode::Workload)
        ]
    };
    let network = stated(prop_oneof![Just(NamespaceMode::None), mode()]);
    (
        network,
        stated(mode()),
        stated(mode()),
        stated(mode()),
        stated(mode()),
        stated(mode()),
    )
        .prop_map(|(network, ipc, pid, uts, user, cgroup)| Namespaces {
            network,
            ipc,
            pid,
            uts,
            user,
            cgroup,
        })
}

fn mount() -> impl Strategy<Value = Mount> {
    let source = prop_oneof![
        "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,8}".prop_map(MountSource::Volume),
        Just(MountSource::AnonymousVolume),
        path().prop_map(MountSource::Bind),
        Just(MountSource::Tmpfs),
    ];
    let options = prop::sample::subsequence(vec!["nodev", "noexec", "nosuid"], 0..=3)
        .prop_map(|options| options.into_iter().map(str::to_owned).collect());
    (
        path(),
        source,
        stated(prop::sample::select(Access::ALL)),
        options,
        stated(prop::sample::select(Propagation::ALL)),
    )
        .prop_map(|(target, source, access, options, propagation)| Mount {
            propagation: match source {
                MountSource::Tmpfs => Stated::Absent,
                _ => propagation,
            },
            target,
            source,
            access,
            options,
        })
}

fn device() -> impl Strategy<Value = Device> {
    (
        path(),
        prop::sample::select(vec!["r", "w", "m", "rw", "rm", "wm", "rwm"]),
    )
        .prop_map(|(path, access)| Device {
            path,
            access: access.to_owned(),
        })
}

fn limits() -> impl Strategy<Value = Limits> {
    let amount = || {
        prop_oneof![
            1..=MAX,
            (1_u64..4096).prop_map(|n| n << 20),
            Just(MAX),
            Just(1_500)
        ]
    };
    let bound = || prop_oneof![0..=MAX, Just(u64::MAX)];
    let rlimit = (bound(), bound()).prop_map(|(a, b)| Rlimit {
        soft: a.min(b),
        hard: a.max(b),
    });
    let names = prop::sample::select(vec!["nofile", "core", "stack", "as"]).prop_map(str::to_owned);
    (
        stated(amount()),
        stated(amount()),
        stated(amount()),
        stated(btree_map(names, rlimit, 0..3)),
    )
        .prop_map(|(memory, pids, cpu, rlimits)| Limits {
            memory,
            pids,
            cpu,
            rlimits,
        })
}

fn port() -> impl Strategy<Value = Port> {
    let place = (
        prop::sample::select(vec!["*", "127.0.0.1", "[::1]", "[fe80::1:2]"]),
        1_u16..,
    )
        .prop_map(|(address, port)| format!("{address}:{port}"));
    let publish = prop_oneof![Just(Publish::None), btree_set(place, 1..3).prop_map(Publish::At)];
    (1_u16.., prop::sample::select(vec!["tcp", "udp", "sctp"]), publish).prop_map(
        |(number, protocol, publish)| Port {
            listen: format!("{number}/{protocol}"),
            publish,
        },
    )
}

fn rule(guardrail: bool) -> impl Strategy<Value = RuleId> {
    let all: Vec<RuleId> = rules::ALL
        .iter()
        .filter(|rule| match guardrail {
            true => rule.is_guardrail(),
            // What is about the host no exception lifts.
            false => rule.control != Control::Host,
        })
        .map(|rule| rule.rule_id())
        .collect();
    prop::sample::select(all)
}

/// A check of a guardrail's own, yet without an id.
fn check() -> impl Strategy<Value = GuardrailCheck> {
    const EXPRESSIONS: &[&str] = &[
        "user.uid != 0",
        "mounts.all(m, m.access == \"ro\")",
        "size(env) < 9\n  && !seccomp",
    ];
    (
        prop::sample::select(EXPRESSIONS),
        sentence(),
        option::of(prop::sample::select(JUDGED_CONTROLS)),
        option::of(prop::sample::select(Severity::ALL)),
        option::of(sentence()),
    )
        .prop_map(
            |(expression, message, control, severity, remedy)| GuardrailCheck {
                id: String::new(),
                expression: expression.to_owned(),
                message,
                control,
                severity,
                remedy,
            },
        )
}

fn guardrail() -> impl Strategy<Value = Guardrail> {
    let selector = (labels(), labels()).prop_map(|(hosts, workloads)| Selector { hosts, workloads });
    (
        selector,
        option::of(prop::sample::select(Profile::ALL)),
        btree_set(rule(true), 0..4),
        prop::collection::btree_map("[a-z][a-z0-9-]{0,8}[a-z]", check(), 0..3),
        option::of(mode()),
        prop::sample::select(UnknownInstances::ALL),
    )
        .prop_map(|(select, profile, rules, checks, mode, unknown)| {
            let checks: Vec<GuardrailCheck> = checks
                .into_iter()
                .map(|(id, check)| GuardrailCheck { id, ..check })
                .collect();
            let unknown = (profile.is_none() && rules.is_empty() || mode.is_some()).then_some(unknown);
            Guardrail {
                select,
                profile,
                rules,
                checks,
                mode,
                unknown,
            }
        })
}

fn exception() -> impl Strategy<Value = Exception> {
    let scope =
        (option::of(name()), digest(), any::<bool>(), labels()).prop_map(|(workload, image, both, hosts)| {
            let image = (workload.is_none() || both).then_some(image);
            ExceptionScope {
                workload,
                image,
                hosts,
            }
        });
    let window =
        (any::<bool>(), 0_i64..4_000_000_000, 1_i64..=90 * 86_400).prop_map(|(stated, begin, length)| {
            let at = |second| Timestamp::from_second(second).unwrap();
            (stated.then(|| at(begin)), at(begin + length))
        });
    (
        btree_set(rule(false), 1..4),
        option::of(btree_set(text(), 1..3)),
        scope,
        (sentence(), sentence(), sentence()),
        window,
    )
        .prop_map(
            |(rules, values, scope, (owner, reason, ticket), (not_before, not_after))| Exception {
                rules,
                values,
                scope,
                owner,
                reason,
                ticket,
                not_before,
                not_after,
            },
        )
}
