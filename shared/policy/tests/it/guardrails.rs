//! The built-in profiles.

use verger_policy::compile::Compiled;
use verger_policy::drift::Outcome;
use verger_policy::facts::*;
use verger_policy::model::{Access, Mode, Propagation};
use verger_policy::rules;

use crate::judging::*;

/// A workload that lets everything be, so that only the guardrail speaks.
fn lenient() -> String {
    let config = format!(
        "{{ images: [ {A} ], command: any, env: any, user: any, workingDir: any, capabilities: any, noNewPrivileges: any, \
         seccomp: any, rootfs: any, namespaces: {{ network: any, ipc: any, pid: any, uts: any, user: any, cgroup: any }}, \
         mounts: any, devices: any, sysctls: any, limits: {{ memory: any, pids: any, cpu: any, rlimits: any }}, ports: \
         any, maskedPaths: any, readonlyPaths: any }}"
    );
    workload("web", "{ image: web }", &config)
}

fn under(spec: &str) -> (Compiled, Instance) {
    let compiled = compiled(&[lenient(), guardrail("g", spec)].concat());
    let mut instance = blessed(&compiled);
    instance.config.namespaces.user = Evidence::Seen(NamespaceOwner::Host);
    instance.live = Evidence::missing("not looked at");
    seen(&mut instance.config.user).host_uid = Evidence::Seen(1000);
    assert_eq!(failing(&judged(&compiled, &instance)), Vec::<String>::new());
    (compiled, instance)
}

type Change = fn(&mut Instance);

const BASELINE: &[(&str, Change)] = &[
    ("config/no-host-namespaces namespaces.network", |i| {
        i.config.namespaces.network = Evidence::Seen(NamespaceOwner::Host);
    }),
    ("config/no-host-namespaces namespaces.pid", |i| {
        i.config.namespaces.pid = Evidence::Seen(NamespaceOwner::Host)
    }),
    ("config/no-host-namespaces namespaces.ipc", |i| {
        i.config.namespaces.ipc = Evidence::Seen(NamespaceOwner::Host)
    }),
    (
        "privilege/baseline-capabilities capabilities[CAP_NET_ADMIN]",
        |i| {
            seen(&mut i.config.capabilities).given |= 1 << 12;
        },
    ),
    ("config/no-host-paths mounts[/h]", |i| {
        let origin = MountOrigin::Bind("/srv/h".to_owned());
        let facts = MountFacts {
            origin,
            access: Access::Ro,
            options: Default::default(),
            propagation: Evidence::Seen(Propagation::Rprivate),
            host_path: None,
        };
        seen(&mut i.config.mounts).insert("/h".to_owned(), facts);
    }),
    ("config/no-host-ports ports[80/tcp]", |i| {
        let publish = ["*:80".to_owned()].into();
        seen(&mut i.config.ports).push(PortFacts {
            listen: "80/tcp".to_owned(),
            publish,
        });
    }),
    ("privilege/apparmor-on apparmor", |i| {
        i.config.apparmor = Evidence::Seen(Some("unconfined".to_owned()))
    }),
    ("config/proc-masked maskedPaths", |i| {
        seen(&mut i.config.masked_paths).remove("/proc/kcore");
    }),
    ("config/proc-masked readonlyPaths", |i| {
        seen(&mut i.config.readonly_paths).remove("/proc/sys");
    }),
    ("privilege/seccomp-on seccomp", |i| {
        i.config.seccomp = Evidence::Seen(SeccompFacts::Unconfined)
    }),
    ("config/safe-sysctls sysctls[kernel.core_pattern]", |i| {
        seen(&mut i.config.sysctls).insert("kernel.core_pattern".to_owned(), "|/x".to_owned());
    }),
];

const RESTRICTED: &[(&str, Change)] = &[
    ("config/volume-types mounts[/o]", |i| {
        let origin = MountOrigin::Other("nfs".to_owned());
        let facts = MountFacts {
            origin,
            access: Access::Ro,
            options: Default::default(),
            propagation: Evidence::Seen(Propagation::Rprivate),
            host_path: None,
        };
        seen(&mut i.config.mounts).insert("/o".to_owned(), facts);
    }),
    ("privilege/no-escalation noNewPrivileges", |i| {
        i.config.no_new_privileges = Evidence::Seen(false)
    }),
    ("privilege/non-root user.uid", |i| {
        let user = seen(&mut i.config.user);
        (user.uid, user.host_uid) = (Evidence::Seen(0), Evidence::Seen(100_000));
    }),
    ("privilege/minimal-capabilities capabilities[CAP_CHOWN]", |i| {
        seen(&mut i.config.capabilities).given |= 1
    }),
];

fn only_guardrails(compiled: &Compiled, instance: &Instance) -> Vec<String> {
    let judgement = judged(compiled, instance);
    let by = |check: &&verger_policy::drift::Check| {
        check
            .decided_by
            .as_ref()
            .is_some_and(|key| key.to_string() == "Guardrail/g")
    };
    judgement.failing().filter(by).map(named).collect()
}

#[test]
fn each_baseline_rule_finds_its_violation_and_nothing_else() {
    let (compiled, clean) = under("{ profile: baseline }");
    for (expected, change) in BASELINE {
        let mut instance = clean.clone();
        change(&mut instance);
        assert_eq!(only_guardrails(&compiled, &instance), [*expected]);
    }
    for (_, change) in RESTRICTED {
        let mut instance = clean.clone();
        change(&mut instance);
        assert_eq!(only_guardrails(&compiled, &instance), Vec::<String>::new());
    }
}

#[test]
fn restricted_finds_all_of_baseline_and_its_own() {
    let (compiled, clean) = under("{ profile: restricted }");
    for (expected, change) in BASELINE.iter().chain(RESTRICTED) {
        let mut instance = clean.clone();
        change(&mut instance);
        assert!(
            only_guardrails(&compiled, &instance).contains(&(*expected).to_owned()),
            "{expected}"
        );
    }
}

#[test]
fn a_privileged_container_is_found_though_no_setting_says_so() {
    let (compiled, mut instance) = under("{ rules: [ privilege/not-privileged ] }");
    seen(&mut instance.config.capabilities).given = capabilities::ALL;
    assert_eq!(only_guardrails(&compiled, &instance), Vec::<String>::new());
    instance.config.seccomp = Evidence::Seen(SeccompFacts::Unconfined);
    assert_eq!(
        only_guardrails(&compiled, &instance),
        ["privilege/not-privileged privileged"]
    );
}

#[test]
fn no_apparmor_profile_is_none_that_is_on() {
    let (compiled, mut instance) = under("{ rules: [ privilege/apparmor-on ] }");
    let said =
        |instance: &Instance| result(&judged(&compiled, instance), "privilege/apparmor-on", "apparmor");
    assert_eq!(said(&instance), Some(Outcome::Pass));
    instance.config.apparmor = Evidence::Seen(None);
    assert_eq!(said(&instance), Some(Outcome::NotEvaluated));
    instance.config.apparmor = Evidence::Seen(Some("unconfined".to_owned()));
    assert_eq!(said(&instance), Some(Outcome::Fail));
}

#[test]
fn what_is_privileged_is_told_though_something_else_was_not_seen() {
    let (compiled, mut instance) = under("{ rules: [ privilege/not-privileged ] }");
    let said = |instance: &Instance| {
        result(
            &judged(&compiled, instance),
            "privilege/not-privileged",
            "privileged",
        )
    };
    instance.config.masked_paths = Evidence::missing("not seen");
    assert_eq!(said(&instance), Some(Outcome::NotEvaluated));
    seen(&mut instance.config.capabilities).given = capabilities::ALL;
    assert_eq!(said(&instance), Some(Outcome::NotEvaluated));
    instance.config.seccomp = Evidence::Seen(SeccompFacts::Unconfined);
    assert_eq!(said(&instance), Some(Outcome::Fail));
}

#[test]
fn every_guardrail_rule_is_judged() {
    for rule in rules::ALL.iter().filter(|rule| rule.is_guardrail()) {
        let (compiled, instance) = under(&format!("{{ rules: [ {} ] }}", rule.id));
        let judgement = judged(&compiled, &instance);
        let checks: Vec<_> = judgement
            .checks
            .iter()
            .filter(|check| check.rule.as_str() == rule.id)
            .collect();
        assert!(
            !checks.is_empty() && checks.iter().all(|check| check.result == Outcome::Pass),
            "{}: {checks:?}",
            rule.id
        );
    }
}

#[test]
fn a_port_that_a_workload_states_is_on_the_known_list() {
    let config = format!("{{ images: [ {A} ], ports: [ {{ listen: 80/tcp, publish: [ \"*:80\" ] }} ] }}");
    let compiled = compiled(
        &[
            workload("web", "{ image: web }", &config),
            guardrail("g", "{ profile: baseline }"),
        ]
        .concat(),
    );
    assert_eq!(
        failing(&judged(&compiled, &blessed(&compiled))),
        Vec::<String>::new()
    );
}

#[test]
fn a_guardrail_selects_by_the_labels_of_workload_objects_only() {
    let selecting = guardrail(
        "g",
        "{ select: { workloads: { tier: web } }, profile: baseline, mode: enforce }",
    );
    let labelled = lenient().replace("{ name: web }", "{ name: web, labels: { tier: web } }");
    for (policy, rules) in [(lenient(), 0), (labelled, 1)] {
        let compiled = compiled(&[policy, selecting.clone()].concat());
        let mut instance = blessed(&compiled);
        // A label of the container changes nothing.
        instance.labels.0.insert("tier".to_owned(), "web".to_owned());
        let judgement = judged(&compiled, &instance);
        let found = judgement
            .checks
            .iter()
            .filter(|check| check.rule.as_str() == "privilege/seccomp-on")
            .count();
        assert_eq!(found, rules);
        let mode = if rules == 1 { Mode::Enforce } else { Mode::Monitor };
        assert_eq!(judgement.wanted(verger_policy::model::Control::Config), mode);
    }
}

/// Drafts refuse such rules; a set that a later version made may hold them.
#[test]
fn a_rule_this_version_does_not_know_is_not_evaluated() {
    let mut objects = read(&guardrail("g", "{ rules: [ privilege/seccomp-on ] }"));
    let verger_policy::model::Spec::Guardrail(spec) = &mut objects[0].spec else {
        panic!("a guardrail")
    };
    spec.rules.insert("privilege/of-tomorrow".parse().unwrap());
    let later = verger_policy::compile::compile(&objects, &Default::default(), 1);
    let judgement = judged(&later, &blessed(&compiled(&lenient())));
    let found = result(
        &judgement,
        "config/unsupported-rule",
        "rules[privilege/of-tomorrow]",
    );
    assert_eq!(found, Some(Outcome::NotEvaluated));
}

#[test]
fn a_wish_to_enforce_a_control_that_is_not_judged_is_not_lost() {
    use verger_policy::model::{Control, Mode};
    let wanted = |mode: &str| {
        let text = workload("web", "{ image: web }", &format!("{{ images: [ {A} ] }}"));
        let text = text.replace("spec:\n", &format!("spec:\n  mode: {mode}\n"));
        let compiled = compiled(&text);
        judged(&compiled, &blessed(&compiled)).wanted
    };
    let some = wanted("{ default: monitor, files: enforce }");
    assert!(some.contains(&(Control::Files, Mode::Enforce)), "{some:?}");
    assert!(
        !some.iter().any(|(control, _)| *control == Control::Channels),
        "{some:?}"
    );
    let all = wanted("{ default: enforce }");
    assert_eq!(all.len(), Control::ALL.len(), "{all:?}");
    assert!(all.iter().all(|(_, mode)| *mode == Mode::Enforce));
}
