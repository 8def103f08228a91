//! The gate decides a launch as everything else that asks the policy does.

use proptest::prelude::*;
use verger_policy::drift::judge;
use verger_policy::facts::{MountFacts, MountOrigin, NamespaceOwner, SeccompFacts};
use verger_policy::model::{Access, Labels, Propagation};

use super::*;

type Change = fn(&mut Instance);

/// What differs from the blessing, or from what guardrails ask, or cannot be seen.
const CHANGES: &[Change] = &[
    |i| user(i).uid = Evidence::Seen(0),
    |i| i.config.command = Evidence::Seen(vec!["/bin/sh".to_owned()]),
    |i| i.config.namespaces.network = Evidence::Seen(NamespaceOwner::Host),
    |i| i.config.seccomp = Evidence::Seen(SeccompFacts::Unconfined),
    |i| i.config.no_new_privileges = Evidence::Seen(false),
    |i| i.config.limits.memory = Evidence::Seen(None),
    |i| {
        if let Evidence::Seen(capabilities) = &mut i.config.capabilities {
            // CAP_SYS_ADMIN (capabilities(7)).
            capabilities.given |= 1 << 21;
        }
    },
    |i| {
        if let Evidence::Seen(mounts) = &mut i.config.mounts {
            let bind = MountFacts {
                origin: MountOrigin::Bind("/etc".to_owned()),
                access: Access::Ro,
                options: Default::default(),
                propagation: Evidence::Seen(Propagation::Rprivate),
                host_path: Some("/etc".to_owned()),
            };
            mounts.insert("/host".to_owned(), bind);
        }
    },
    |i| i.image = Evidence::Seen(Digest::of(b"another image")),
    |i| {
        i.image = Evidence::Seen(Digest::of(b"another image"));
        i.image_name = None;
    },
    |i| i.config.limits.memory = Evidence::missing("not read"),
    |i| i.config.command = Evidence::missing("not read"),
    |i| i.config.env = Evidence::missing("not read"),
];

const GUARDRAILS: &[&str] = &[
    "profile: baseline",
    "profile: restricted",
    "profile: restricted, mode: enforce",
    "profile: baseline, unknown: refuse",
    "unknown: report",
    "checks: [ { id: limited, expression: 'limits.memory <= 67108864', message: m } ]",
    "mode: enforce, checks: [ { id: nobody, expression: 'user.uid != 0', message: m, control: privilege } ]",
    "mode: enforce, checks: [ { id: key, expression: 'sysctls.x == command[0]', message: m } ]",
];

const RULES: &[&str] = &[
    "config/user",
    "config/command",
    "privilege/is-root",
    "privilege/non-root",
    "config/no-host-namespaces",
    "config/limits",
    "config/unknown-instance",
    "guardrail/g0/limited",
    "guardrail/g0/nobody",
];

fn exception(number: usize, rule: &str) -> String {
    format!(
        "\n---\napiVersion: verger/v1\nkind: Exception\nmetadata: {{ name: e{number} }}\nspec: {{ rules: [ {rule} ], scope: {{ image: {IMAGE} }}, \
         owner: o, reason: r, ticket: t, notBefore: 2026-01-02T00:00:00Z, notAfter: 2026-01-03T00:00:00Z }}\n"
    )
}

const MOMENTS: [&str; 4] = [
    "2026-01-01T23:59:59Z",
    "2026-01-02T00:00:00Z",
    "2026-01-02T23:59:59Z",
    "2026-01-03T00:00:00Z",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// What is launched where labels are not read would be launched under any labels that it may have: whichever workload they make it.
    #[test]
    fn what_is_launched_without_labels_is_launched_under_any(
        modes in prop::array::uniform2(prop::sample::select(&["monitor", "enforce"][..])),
        rival in prop::sample::select(&[LAX, "    command: [ /other ]\n    limits: { memory: 64Mi }\n"][..]),
        hint in prop::sample::select(&[None, Some("shop/web")][..]),
        refuses in any::<bool>(),
        changes in prop::collection::vec(prop::sample::select(CHANGES), 0..3),
        label in prop::sample::select(&["web", "lax", "other"][..]),
    ) {
        let mut objects = with_rival(modes[0], modes[1], rival);
        for object in &mut objects {
            if let Spec::Workload(workload) = &mut object.spec {
                workload.hint.image = hint.map(str::to_owned);
            }
        }
        if refuses {
            objects.extend(draft::read_at("g.yaml", b"apiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: g }\nspec: { unknown: refuse }\n", now()).unwrap());
        }
        let compiled = compile(&objects, &Labels::default(), 7);
        let mut docker = labelled(&objects);
        changes.iter().for_each(|change| change(&mut docker));
        let mut podman = docker.clone();
        podman.id.runtime = RuntimeKind::Podman;
        podman.labels = Labels::default();
        docker.labels = Labels([("tier".to_owned(), label.to_owned())].into());
        let launched = |instance: &Instance| decide(&compiled, &MADE, Ok(instance), now());
        if launched(&podman).is_ok()
            && let Err(refusal) = launched(&docker)
        {
            // That several claim it is no fault of its own: it has passed what each of them enforces.
            prop_assert!(
                refusal.checks().iter().all(|check| check.rule.as_str() == "config/ambiguous"),
                "{refusal}"
            );
        }
    }

    /// What `judge` finds wrong with an instance that runs, the gate refuses to launch, where it is enforced, and nothing else but what
    /// cannot be seen; `plan` and `explain` deny the same.
    #[test]
    fn the_gate_refuses_what_is_judged_to_be_wrong(
        mode in prop::sample::select(&["monitor", "enforce"][..]),
        guardrails in prop::collection::vec(prop::sample::select(GUARDRAILS), 0..3),
        lifted in prop::collection::btree_set(prop::sample::select(RULES), 0..4),
        changes in prop::collection::vec(prop::sample::select(CHANGES), 0..3),
        moment in prop::sample::select(&MOMENTS[..]),
    ) {
        let guardrails = guardrails.iter().enumerate().map(|(number, spec)| {
            format!("\n---\napiVersion: verger/v1\nkind: Guardrail\nmetadata: {{ name: g{number} }}\nspec: {{ {spec} }}\n")
        });
        let exceptions = lifted.iter().enumerate().map(|(number, rule)| exception(number, rule));
        let objects = policy(mode, &guardrails.chain(exceptions).collect::<String>());
        let compiled = compile(&objects, &Labels::default(), 7);
        let mut instance = blessed(&objects);
        changes.iter().for_each(|change| change(&mut instance));
        let at: Timestamp = moment.parse().unwrap();

        let judgement = judge(&compiled, &instance, at);
        let enforced = |check: &&Check| is_enforced(&compiled, &judgement, check);
        let wrong = judgement.checks.iter().filter(enforced).any(|check| {
            // Of what does not run yet there is no live view to look at.
            let of_live = check.rule.as_str().contains("/live-") || check.rule.as_str() == "privilege/foreign-process";
            !of_live && matches!(check.result, Outcome::Fail | Outcome::Error)
        });
        let request = Request::Launch { instance: &instance };
        let denied = verger_policy::decide::decide(&compiled, &request, at).verdict == Verdict::Denied;
        prop_assert_eq!(denied, wrong);

        match decide(&compiled, &MADE, Ok(&instance), at) {
            Ok(()) => prop_assert!(!wrong, "launched: {:?}", judgement.failing().collect::<Vec<_>>()),
            Err(refusal) => {
                let unseen = |check: &Check| check.result == Outcome::NotEvaluated && !check.is_opted_out();
                prop_assert!(
                    wrong || refusal.checks().iter().all(unseen) && !refusal.checks().is_empty(),
                    "refused: {refusal}"
                );
            }
        }
    }
}

#[test]
fn what_an_exception_lifts_is_launched_until_its_last_second() {
    let guardrail = "\n---\napiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: g }\nspec: { mode: enforce, rules: [ privilege/non-root ], checks: [ { id: \
                     nobody, expression: 'user.uid != 0', message: run as somebody } ] }\n";
    let lifted = exception(
        0,
        "privilege/non-root, guardrail/g/nobody, config/user, privilege/is-root, privilege/can-become-root, config/namespaces",
    );
    let objects = policy(
        "enforce",
        &format!("    namespaces: {{ user: host }}\n{guardrail}{lifted}"),
    );
    let compiled = compile(&objects, &Labels::default(), 7);
    let mut root = blessed(&objects);
    user(&mut root).uid = Evidence::Seen(0);
    user(&mut root).host_uid = Evidence::Seen(0);
    let said = |moment: &str| {
        decide(&compiled, &MADE, Ok(&root), moment.parse().unwrap())
            .err()
            .map(|refusal| refusal.to_string())
    };
    let rules = |moment: &str| -> Vec<String> {
        let refusal = decide(&compiled, &MADE, Ok(&root), moment.parse().unwrap()).unwrap_err();
        refusal
            .checks()
            .iter()
            .map(|check| check.rule.to_string())
            .collect()
    };
    for moment in ["2026-01-01T23:59:59Z", "2026-01-03T00:00:00Z"] {
        let rules = rules(moment);
        for rule in ["guardrail/g/nobody", "privilege/non-root", "config/user"] {
            assert!(rules.iter().any(|found| found == rule), "{moment}: {rules:?}");
        }
    }
    for moment in ["2026-01-02T00:00:00Z", "2026-01-02T23:59:59Z"] {
        assert_eq!(said(moment), None, "{moment}");
    }
}

#[test]
fn a_check_that_looks_at_a_process_holds_for_every_process_and_another_does_not() {
    let guardrail = |expression: &str| {
        format!(
            "\n---\napiVersion: verger/v1\nkind: Guardrail\nmetadata: {{ name: g }}\nspec: {{ mode: enforce, checks: [ {{ id: c, expression: \
             '{expression}', message: m }} ] }}\n"
        )
    };
    for (expression, refused) in [
        ("user.uid != 1000", true),
        (
            "limits.pids < 1 || !(\"CAP_CHOWN\" in capabilities) && false",
            true,
        ),
        ("limits.memory < 1", false),
    ] {
        let objects = policy("monitor", &guardrail(expression));
        let instance = blessed(&objects);
        let text = said(&objects, &MADE, &instance).unwrap();
        let told = format!(": m, as not {expression} (Guardrail/g)");
        assert!(text.contains("guardrail/g/c") && text.contains(&told), "{text}");
        assert_eq!(
            said(&objects, &PROCESS, &instance).is_some(),
            refused,
            "{expression}"
        );
    }
}
