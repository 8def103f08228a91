//! Checks of guardrails' own, in CEL.

use proptest::prelude::*;
use verger_policy::compile::{Compiled, compile};
use verger_policy::decide::{Request, Verdict, decide};
use verger_policy::drift::{Check, Judgement, Outcome, judge_process, judge_recorded};
use verger_policy::explain;
use verger_policy::expression::{Expression, FIELDS, MAX_MEMBERS, MAX_TEXT, Type};
use verger_policy::facts::{ConfigFacts, Evidence, Instance};
use verger_policy::lint::{Oddity, lint};
use verger_policy::model::{Control, GuardrailCheck, Labels, PolicyObject, Severity, Spec};
use verger_policy::set::PolicySet;
use verger_policy::{draft, rules};

use crate::judging::*;

const RULE: &str = "guardrail/g/c";

fn blessing() -> String {
    workload(
        "web",
        "{ image: web }",
        &format!("{{ images: [ {A} ], limits: {{ memory: 64Mi }} }}"),
    )
}

fn check(expression: &str, more: &str) -> String {
    guardrail(
        "g",
        &format!("{{ checks: [ {{ id: c, expression: '{expression}', message: it is not so{more} }} ] }}"),
    )
}

fn under(expression: &str, more: &str) -> (Compiled, Instance) {
    let compiled = compiled(&[blessing(), check(expression, more)].concat());
    let instance = blessed(&compiled);
    (compiled, instance)
}

fn said(judgement: &Judgement) -> &Check {
    judgement
        .checks
        .iter()
        .find(|check| check.rule.as_str() == RULE)
        .unwrap()
}

fn outcome(compiled: &Compiled, instance: &Instance) -> Outcome {
    said(&judged(compiled, instance)).result
}

#[test]
fn a_check_passes_fails_and_says_what_it_wanted() {
    let (compiled, mut instance) = under(
        "user.uid != 0",
        ", remedy: run it as somebody, severity: high, control: privilege",
    );
    assert_eq!(outcome(&compiled, &instance), Outcome::Pass);
    seen(&mut instance.config.user).uid = Evidence::Seen(0);
    let judgement = judged(&compiled, &instance);
    let check = said(&judgement);
    assert_eq!(
        (check.result, check.control, check.severity, &*check.field),
        (Outcome::Fail, Control::Privilege, Severity::High, "user.uid")
    );
    assert_eq!(
        (check.expected.as_deref(), check.actual.as_deref()),
        (Some("user.uid != 0"), Some("false"))
    );
    assert_eq!(check.decided_by.as_ref().unwrap().to_string(), "Guardrail/g");
    let sentence = explain::check(check);
    assert!(
        sentence.contains("it is not so; run it as somebody") && sentence.contains(RULE),
        "{sentence}"
    );
}

#[test]
fn what_could_not_be_seen_or_is_too_much_never_passes() {
    let (compiled, good) = under("limits.memory > 0 || true", "");
    assert_eq!(outcome(&compiled, &good), Outcome::Pass);
    let mut dark = good.clone();
    dark.config.limits.memory = Evidence::missing("the file was not read");
    let judgement = judged(&compiled, &dark);
    let check = said(&judgement);
    assert_eq!(check.result, Outcome::NotEvaluated);
    assert!(
        check.reason.contains("limits.memory: the file was not read"),
        "{}",
        check.reason
    );
    assert!(!check.is_opted_out());

    let (compiled, good) = under("size(command) >= 0", "");
    let argument = |length: usize| "x".repeat(length);
    for (argv, result) in [
        (vec![argument(1); MAX_MEMBERS], Outcome::Pass),
        (vec![argument(1); MAX_MEMBERS + 1], Outcome::Error),
        (vec![argument(MAX_TEXT)], Outcome::Pass),
        (vec![argument(MAX_TEXT + 1)], Outcome::Error),
    ] {
        let mut instance = good.clone();
        instance.config.command = Evidence::Seen(argv);
        assert_eq!(outcome(&compiled, &instance), result);
    }
    let (compiled, instance) = under("sysctls[\"kernel.x\"] == \"1\"", "");
    let judgement = judged(&compiled, &instance);
    assert_eq!(said(&judgement).result, Outcome::Error);
    assert!(said(&judgement).reason.contains("no key `kernel.x`"));
}

#[test]
fn a_check_of_commands_holds_for_what_is_started_in_an_instance_and_not_for_the_instance() {
    let (compiled, mut instance) = under("exec.size() == 0 || exec[0] in [\"true\", \"/bin/health\"]", "");
    for (argv, passes) in [
        (&["true"][..], true),
        (&["/bin/health", "-q"], true),
        (&["sh", "-c", "true"], false),
    ] {
        instance.config.command = Evidence::Seen(argv.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(outcome(&compiled, &instance), Outcome::Pass);
        let judged = judge_process(&compiled, &instance, at()).remove(0);
        let wanted = if passes { Outcome::Pass } else { Outcome::Fail };
        assert_eq!(said(&judged).result, wanted, "{argv:?}");
    }
    instance.config.command = Evidence::missing("it is not read");
    let judged = judge_process(&compiled, &instance, at()).remove(0);
    assert_eq!(said(&judged).result, Outcome::NotEvaluated);
}

/// An expression that is true whatever the field says.
fn harmless(field: &verger_policy::expression::Field) -> String {
    let name = field.name;
    match field.of {
        Type::Bool => format!("{name} || true"),
        Type::Int => format!("{name} == {name}"),
        _ => format!("size({name}) >= 0"),
    }
}

#[test]
fn no_check_passes_of_which_a_single_field_is_missing_and_each_passes_where_it_is_seen() {
    for field in FIELDS {
        let (compiled, good) = under(&harmless(field), "");
        let mut bright = good.clone();
        bright.config.apparmor = Evidence::Seen(None);
        seen(&mut bright.config.user).host_uid = Evidence::Seen(1000);
        assert_eq!(outcome(&compiled, &bright), Outcome::Pass, "{}", field.name);
        let dark = Instance {
            config: ConfigFacts::missing("not looked at"),
            image: Evidence::missing("not looked at"),
            ..good
        };
        let judgement = judge_recorded(&compiled, &dark, at());
        let check = said(&judgement);
        assert_eq!(check.result, Outcome::NotEvaluated, "{}", field.name);
        assert_eq!(check.field, field.name);
    }
}

#[test]
fn values_of_environment_variables_are_no_field() {
    let (compiled, mut instance) = under("!(\"DEBUG\" in env)", "");
    seen(&mut instance.config.env)
        .0
        .insert("DEBUG".to_owned(), "s3cret".to_owned());
    let judgement = judged(&compiled, &instance);
    assert_eq!(said(&judgement).result, Outcome::Fail);
    assert!(!format!("{:?}", said(&judgement)).contains("s3cret"));
    let (compiled, instance) = under("!(\"s3cret\" in env)", "");
    assert_eq!(outcome(&compiled, &instance), Outcome::Pass);
}

#[test]
fn an_exception_lifts_it_by_its_rule_until_its_last_second() {
    let excepted = exception("e", &format!("[ {RULE} ]"), "{ workload: web }", "");
    let drafts = [blessing(), check("user.uid == 0", ""), excepted].concat();
    let compiled = compiled(&drafts);
    let instance = blessed(&compiled);
    for (moment, result) in [
        ("2026-04-30T23:59:59Z", Outcome::Fail),
        ("2026-05-01T00:00:00Z", Outcome::Excepted),
        ("2026-06-30T23:59:59Z", Outcome::Excepted),
        ("2026-07-01T00:00:00Z", Outcome::Fail),
    ] {
        let judgement = judge_recorded(&compiled, &instance, moment.parse().unwrap());
        assert_eq!(said(&judgement).result, result, "{moment}");
    }
    let set = PolicySet::empty().change(read(&drafts), []).unwrap();
    let odd = |set: &PolicySet| -> Vec<Oddity> {
        let lints = lint(set, at()).into_iter();
        lints
            .map(|lint| lint.oddity)
            .filter(|oddity| matches!(oddity, Oddity::NoSuchCheck { .. }))
            .collect()
    };
    assert_eq!(odd(&set), Vec::new());
    let other = exception("e", "[ guardrail/g/other ]", "{ workload: web }", "");
    let set = set.change(read(&other), []).unwrap();
    assert_eq!(
        odd(&set),
        [Oddity::NoSuchCheck {
            rule: "guardrail/g/other".parse().unwrap()
        }]
    );
}

#[test]
fn where_it_is_enforced_a_launch_is_denied_and_what_holds_is_allowed() {
    for (mode, expected) in [("monitor", Verdict::Reported), ("enforce", Verdict::Denied)] {
        let text = format!(
            "{{ mode: {mode}, checks: [ {{ id: c, expression: 'limits.memory <= 67108864', message: m }} ] }}"
        );
        let compiled = compiled(&[blessing(), guardrail("g", &text)].concat());
        let good = Instance {
            live: Evidence::missing("nothing runs"),
            ..blessed(&compiled)
        };
        let verdict = |instance: &Instance| {
            let decision = decide(&compiled, &Request::Launch { instance }, at());
            let ours = decision.because.iter().any(|check| check.rule.as_str() == RULE);
            (decision.verdict, ours)
        };
        assert_eq!(verdict(&good), (Verdict::Allowed, false));
        let mut greedy = good.clone();
        greedy.config.limits.memory = Evidence::Seen(None);
        assert_eq!(verdict(&greedy), (expected, true));
    }
}

#[test]
fn labels_of_workloads_are_the_sealed_ones_and_what_is_unknown_has_none() {
    let expression =
        "size(workloads) > 0 && workloads.all(w, has(w.labels.team) && w.labels.team == \"pay\")";
    let labelled = blessing().replace("{ name: web }", "{ name: web, labels: { team: pay } }");
    for (drafts, result) in [(labelled, Outcome::Pass), (blessing(), Outcome::Fail)] {
        let compiled = compiled(&[drafts, check(expression, "")].concat());
        let mut instance = blessed(&compiled);
        assert_eq!(outcome(&compiled, &instance), result);
        // A container may say of itself what it likes.
        instance.labels.0.insert("team".to_owned(), "pay".to_owned());
        assert_eq!(outcome(&compiled, &instance), result);
        instance.image = Evidence::Seen(B.parse().unwrap());
        instance.image_name = None;
        assert_eq!(outcome(&compiled, &instance), Outcome::Fail);
    }
}

fn problem(text: &str) -> String {
    let problems = draft::read("g.yaml", text.as_bytes()).unwrap_err();
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn slips_are_told_at_the_line_and_column_of_the_file() {
    let said = problem(&check("user.uuid != 0", ""));
    assert!(
        said.starts_with("g.yaml:5:41: spec.checks[0].expression: "),
        "{said}"
    );
    assert!(said.contains("did you mean `user.uid`?"), "{said}");
    let several = guardrail(
        "g",
        "\n  checks:\n    - id: c\n      message: m\n      expression: |\n        seccomp &&\n        user.uuid == 0",
    );
    let said = problem(&several);
    assert!(said.contains("line 2, column 1 of the expression"), "{said}");
    for (spec, what) in [
        ("{ checks: [] }", "is an empty list"),
        (
            "{ checks: [ { id: a/b, expression: seccomp, message: m } ] }",
            "has a slash",
        ),
        (
            "{ checks: [ { id: c, expression: seccomp } ] }",
            "message: is missing",
        ),
        (
            "{ checks: [ { id: c, expression: seccomp, message: m, control: files } ] }",
            "unknown word `files`",
        ),
        (
            "{ checks: [ { id: c, expression: seccomp, message: m }, { id: c, expression: seccomp, message: m } ] }",
            "the same id",
        ),
        ("{ rules: [ guardrail/g/c ] }", "holds where that guardrail does"),
        (
            "{ checks: [ { id: c, expression: \"mounts.all(m, env.all(e, e != m.target && e != m.source))\", message: m } ] }",
            "steps; the limit",
        ),
    ] {
        let said = problem(&guardrail("g", spec));
        assert!(said.contains(what), "{spec}: {said}");
    }
    let dear = |id: usize| {
        format!("{{ id: c{id}, expression: \"mounts.all(m, env.all(e, e != 'x'))\", message: m }}")
    };
    let all: Vec<String> = (0..8).map(dear).collect();
    let said = problem(&guardrail("g", &format!("{{ checks: [ {} ] }}", all.join(", "))));
    assert!(said.contains("judging all of them may take"), "{said}");
    let long = guardrail(
        &vec!["a".repeat(60); 4].join("/"),
        "{ checks: [ { id: long-name, expression: seccomp, message: m } ] }",
    );
    assert!(
        problem(&long).contains("too long for a rule"),
        "{}",
        problem(&long)
    );
    let no_check = exception("e", "[ guardrail/g ]", "{ workload: web }", "");
    assert!(
        problem(&no_check).contains("names no check"),
        "{}",
        problem(&no_check)
    );
}

#[test]
fn what_says_nothing_is_warned_of() {
    let set = PolicySet::empty()
        .change(read(&check("seccomp || true", "")), [])
        .unwrap();
    let lints: Vec<String> = lint(&set, at()).iter().map(ToString::to_string).collect();
    assert!(
        lints
            .iter()
            .any(|text| text.contains("the check c, which is true of everything")),
        "{lints:?}"
    );
}

/// A guardrail as another version may have sealed it.
fn sealed(expression: &str) -> PolicyObject {
    let mut objects = read(&check("seccomp", ""));
    let Spec::Guardrail(guardrail) = &mut objects[0].spec else {
        panic!("not a guardrail")
    };
    guardrail.checks[0].expression = expression.to_owned();
    let bytes = objects[0].canonical_bytes();
    PolicyObject::from_canonical(&bytes).unwrap()
}

#[test]
fn what_this_version_cannot_read_is_an_error_of_everything_and_not_a_pass() {
    let guardrail = sealed("image.matches('^sha256')");
    let compiled = compile(
        read(&blessing()).iter().chain([&guardrail]),
        &Labels::default(),
        1,
    );
    let judgement = judged(&compiled, &blessed(&compiled));
    let check = said(&judgement);
    assert_eq!(check.result, Outcome::Error);
    assert!(
        check.reason.contains("cannot read it") && check.reason.contains("regular expressions"),
        "{}",
        check.reason
    );
    let set = PolicySet::empty().change([guardrail], []).unwrap();
    assert!(matches!(&lint(&set, at())[0].oddity, Oddity::UnreadableCheck { check, .. } if check == "c"));
}

#[test]
fn sealed_checks_that_are_too_dear_together_are_errors_and_the_first_ones_are_judged() {
    let mut objects = read(&check("seccomp", ""));
    let Spec::Guardrail(guardrail) = &mut objects[0].spec else {
        panic!("not a guardrail")
    };
    let dear = GuardrailCheck {
        expression: "mounts.all(m, env.all(e, e != 'x'))".to_owned(),
        ..guardrail.checks[0].clone()
    };
    guardrail.checks = (0..9)
        .map(|number| GuardrailCheck {
            id: format!("c{number}"),
            ..dear.clone()
        })
        .collect();
    let object = PolicyObject::from_canonical(&objects[0].canonical_bytes()).unwrap();
    let compiled = compile(read(&blessing()).iter().chain([&object]), &Labels::default(), 1);
    let judgement = judged(&compiled, &blessed(&compiled));
    let own = judgement
        .checks
        .iter()
        .filter(|check| check.rule.as_str().starts_with("guardrail/"));
    let results: Vec<Outcome> = own.map(|check| check.result).collect();
    assert_eq!(results.len(), 9);
    assert_eq!((results[0], results[8]), (Outcome::Pass, Outcome::Error));
}

#[test]
fn canonical_bytes_of_checks_are_those_of_version_1() {
    let text = guardrail(
        "g",
        "\n  checks:\n    - { id: b, expression: \"user.uid != 0\", message: no root, control: privilege, severity: high, remedy: another user }\n    \
         - { id: a, expression: seccomp, message: no filter }",
    );
    let object = &read(&text)[0];
    let frozen = r#"{"apiVersion":"verger/v1","kind":"Guardrail","metadata":{"name":"g"},"spec":{"checks":[{"expression":"seccomp","id":"a","message":"no filter"},{"control":"privilege","expression":"user.uid != 0","id":"b","message":"no root","remedy":"another user","severity":"high"}]}}"#;
    let bytes = object.canonical_bytes();
    assert_eq!(
        std::str::from_utf8(&bytes)
            .unwrap()
            .strip_prefix("verger/v1/object\0")
            .unwrap(),
        frozen
    );
    assert_eq!(&PolicyObject::from_canonical(&bytes).unwrap(), object);
    let written = draft::write(object);
    assert_eq!(
        &draft::read("w", written.as_bytes()).unwrap()[0],
        object,
        "{written}"
    );
}

#[test]
fn no_built_in_rule_is_taken_for_a_check() {
    assert!(rules::ALL.iter().all(|rule| !rule.id.starts_with("guardrail/")));
    let check = |id: &str| GuardrailCheck {
        id: id.to_owned(),
        expression: String::new(),
        message: String::new(),
        control: None,
        severity: None,
        remedy: None,
    };
    assert_eq!(
        check("c").rule(&"a/b".parse().unwrap()).unwrap().as_str(),
        "guardrail/a/b/c"
    );
}

proptest! {
    /// Whatever is missing of an instance, a check that looks at it does not pass.
    #[test]
    fn a_check_never_passes_on_what_is_missing(
        fields in proptest::collection::btree_set(0..FIELDS.len(), 1..4),
        gone in 0..FIELDS.len(),
        any_of in any::<bool>(),
    ) {
        let parts: Vec<String> = fields.iter().map(|place| format!("({})", harmless(&FIELDS[*place]))).collect();
        let text = parts.join(if any_of { " || " } else { " && " });
        prop_assert!(Expression::read(&text).is_ok(), "{text}");
        let (compiled, mut instance) = under(&text, "");
        instance.config.apparmor = Evidence::Seen(None);
        seen(&mut instance.config.user).host_uid = Evidence::Seen(1000);
        prop_assert_eq!(outcome(&compiled, &instance), Outcome::Pass);
        let reason = "gone";
        let missing = ConfigFacts::missing(reason);
        let config = &mut instance.config;
        let name = FIELDS[gone].name;
        match name.split('.').next().unwrap() {
            "ambientCapabilities" | "capabilities" => config.capabilities = missing.capabilities,
            "apparmor" => config.apparmor = missing.apparmor,
            "command" | "exec" => config.command = missing.command,
            "devices" => config.devices = missing.devices,
            "env" => config.env = missing.env,
            "image" | "workloads" => instance.image = Evidence::missing(reason),
            "limits" => config.limits = missing.limits,
            "maskedPaths" => config.masked_paths = missing.masked_paths,
            "mounts" => config.mounts = missing.mounts,
            "namespaces" => config.namespaces = missing.namespaces,
            "noNewPrivileges" => config.no_new_privileges = missing.no_new_privileges,
            "ports" => config.ports = missing.ports,
            "readonlyPaths" => config.readonly_paths = missing.readonly_paths,
            "rootfsReadOnly" => config.rootfs_readonly = missing.rootfs_readonly,
            "seccomp" => config.seccomp = missing.seccomp,
            "sysctls" => config.sysctls = missing.sysctls,
            "user" => config.user = missing.user,
            "workingDir" => config.working_dir = missing.working_dir,
            other => panic!("no evidence is known of {other}"),
        }
        let judgement = judge_recorded(&compiled, &instance, at());
        let result = said(&judgement).result;
        if fields.contains(&gone) {
            prop_assert_eq!(result, Outcome::NotEvaluated, "{}: {}", name, text);
        }
        prop_assert!(matches!(result, Outcome::Pass | Outcome::NotEvaluated));
    }
}
