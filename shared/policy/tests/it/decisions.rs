//! Decisions, explanations and plans.

use verger_policy::compile::Compiled;
use verger_policy::decide::{Decision, Request, Verdict, decide};
use verger_policy::drift::Outcome;
use verger_policy::explain;
use verger_policy::facts::{Evidence, Instance};
use verger_policy::plan::plan;

use crate::judging::*;

fn launch(compiled: &Compiled, instance: &Instance) -> Decision {
    decide(compiled, &Request::Launch { instance }, at())
}

fn moded(mode: &str) -> String {
    workload("web", "{ image: web }", &format!("{{ images: [ {A} ] }}"))
        .replace("  config:", &format!("  mode: {mode}\n  config:"))
}

#[test]
fn enforce_denies_monitor_reports_and_learn_lets_pass() {
    for (mode, verdict) in [
        ("{ default: enforce }", Verdict::Denied),
        ("{ default: monitor }", Verdict::Reported),
        ("{ default: learn }", Verdict::Reported),
        ("{ default: monitor, config: enforce }", Verdict::Denied),
        ("{ default: enforce, config: monitor }", Verdict::Reported),
    ] {
        let compiled = compiled(&moded(mode));
        let mut instance = blessed(&compiled);
        assert_eq!(launch(&compiled, &instance).verdict, Verdict::Allowed, "{mode}");
        seen(&mut instance.config.command).push("x".to_owned());
        let decision = launch(&compiled, &instance);
        assert_eq!(decision.verdict, verdict, "{mode}");
        assert_eq!(decision.deciding().unwrap().rule.as_str(), "config/command");
    }
}

#[test]
fn an_exception_lets_in_what_enforce_would_deny() {
    let policy = [
        moded("{ default: enforce }"),
        exception("e", "[ config/command ]", "{ workload: web }", ""),
    ]
    .concat();
    let compiled = compiled(&policy);
    let mut instance = blessed(&compiled);
    seen(&mut instance.config.command).push("x".to_owned());
    let decision = launch(&compiled, &instance);
    assert_eq!(decision.verdict, Verdict::Allowed);
    assert_eq!(
        decision
            .excepted_by
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["Exception/e"]
    );
    // Something else beside it is still denied: deny wins.
    seen(&mut instance.config.command).clear();
    instance.config.rootfs_readonly = Evidence::Seen(false);
    assert_eq!(launch(&compiled, &instance).verdict, Verdict::Denied);
}

#[test]
fn unknown_instances_are_refused_where_a_guardrail_says_so() {
    for (says, verdict) in [
        ("unknown: refuse", Verdict::Denied),
        ("unknown: report", Verdict::Reported),
        ("mode: enforce, unknown: refuse", Verdict::Denied),
        ("mode: enforce, unknown: report", Verdict::Reported),
    ] {
        let compiled = compiled(&guardrail("g", &format!("{{ {says} }}")));
        let web = crate::judging::compiled(&moded("{ default: enforce }"));
        let decision = launch(&compiled, &blessed(&web));
        assert_eq!(decision.verdict, verdict, "{says}");
    }
}

#[test]
fn a_set_may_refuse_where_anything_of_it_says_so_of_what_is_judged() {
    use verger_policy::decide::may_refuse;
    for (policy, may) in [
        (String::new(), false),
        (moded("{ default: monitor }"), false),
        (moded("{ default: monitor, files: enforce }"), false),
        (moded("{ default: monitor, privilege: enforce }"), true),
        (guardrail("g", "{ unknown: report }"), false),
        (guardrail("g", "{ unknown: refuse }"), true),
        (guardrail("g", "{ mode: enforce, unknown: report }"), true),
    ] {
        assert_eq!(may_refuse(&compiled(&policy)), may, "{policy}");
    }
}

#[test]
fn ambiguous_instances_are_refused_where_one_workload_enforces() {
    let (a, b) = (
        moded("{ default: enforce }"),
        moded("{ default: monitor }").replace("name: web", "name: web2"),
    );
    let compiled = compiled(&[a, b].concat());
    let decision = launch(&compiled, &blessed(&compiled));
    assert_eq!(
        (decision.verdict, decision.deciding().unwrap().rule.as_str()),
        (Verdict::Denied, "config/ambiguous")
    );
}

#[test]
fn explanations_name_rule_object_difference_and_remedy() {
    let compiled = compiled(&moded("{ default: enforce }"));
    let mut instance = blessed(&compiled);
    instance.name = "evil\u{1b}[31m".to_owned();
    instance.config.rootfs_readonly = Evidence::Seen(false);
    let lines = explain::decision(&launch(&compiled, &instance));
    assert_eq!(lines.len(), 1);
    for part in [
        "evil\\u{1b}[31m is denied",
        "rootfs should be readOnly and is writable",
        "config/rootfs",
        "Workload/web",
        "--read-only",
    ] {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
    let lines = explain::judgement(&judged(&compiled, &instance));
    assert!(lines[0].contains("its image digest is listed"), "{}", lines[0]);
    assert!(lines.last().unwrap().contains("1 fail"), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains('\u{1b}')));
}

#[test]
fn a_plan_tells_what_flips_and_counts_what_does_not() {
    let before = compiled(&moded("{ default: enforce }"));
    let after = compiled(&moded("{ default: enforce }").replace("images:", "command: [ /new ], images:"));
    let clean = blessed(&before);
    let mut stranger = clean.clone();
    (stranger.id.id, stranger.image, stranger.image_name) = ("2".repeat(64), Evidence::missing("x"), None);
    let plan = plan(&before, &after, [&clean, &stranger], at());
    assert_eq!((plan.flips.len(), plan.unchanged), (1, 1));
    let flip = &plan.flips[0];
    assert_eq!(flip.verdict, (Verdict::Allowed, Verdict::Denied));
    assert_eq!(flip.checks.len(), 1);
    assert_eq!(
        (
            &*flip.checks[0].field,
            flip.checks[0].before,
            flip.checks[0].after
        ),
        ("command", Outcome::Pass, Outcome::Fail)
    );
    let none = verger_policy::plan::plan(&before, &before, [&clean, &stranger], at());
    assert_eq!((none.flips.len(), none.unchanged), (0, 2));
}

#[test]
fn a_wish_is_known_before_anything_it_is_for_runs() {
    use verger_policy::drift::wishes;
    use verger_policy::model::{Control, Mode};
    assert_eq!(wishes(&compiled(""))[&Control::Config], Mode::Monitor);
    let idle = compiled(&moded("{ default: monitor, config: enforce, files: enforce }"));
    let held = wishes(&idle);
    assert_eq!(
        (
            held[&Control::Config],
            held[&Control::Privilege],
            held[&Control::Files]
        ),
        (Mode::Enforce, Mode::Monitor, Mode::Enforce)
    );
    let strict = compiled(
        "apiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: g }\nspec: { profile: baseline, mode: enforce }\n",
    );
    assert_eq!(wishes(&strict)[&Control::Privilege], Mode::Enforce);
}
