//! What exceptions lift, for whom and for how long.

use jiff::Timestamp;
use verger_policy::compile::Compiled;
use verger_policy::drift::{Outcome, judge};
use verger_policy::facts::{Evidence, Instance};

use crate::judging::*;

/// A workload whose instance runs as root, and these exceptions.
fn with_root(exceptions: &str) -> (Compiled, Instance) {
    let config = format!("{{ images: [ {A} ], user: {{ uid: 0, gid: 0 }}, namespaces: {{ user: host }} }}");
    let compiled = compiled(&[workload("web", "{ image: web }", &config), exceptions.to_owned()].concat());
    let instance = blessed(&compiled);
    (compiled, instance)
}

fn is_root(compiled: &Compiled, instance: &Instance, at: &str) -> Outcome {
    let at: Timestamp = at.parse().unwrap();
    result(&judge(compiled, instance, at), "privilege/is-root", "user").unwrap()
}

#[test]
fn an_exception_lifts_its_rule_while_it_holds_and_no_longer() {
    let (compiled, instance) = with_root(&exception("e", "[ privilege/is-root ]", "{ workload: web }", ""));
    for (at, outcome) in [
        ("2026-04-30T23:59:59Z", Outcome::Fail),
        ("2026-05-01T00:00:00Z", Outcome::Excepted),
        ("2026-06-30T23:59:59Z", Outcome::Excepted),
        ("2026-07-01T00:00:00Z", Outcome::Fail),
    ] {
        assert_eq!(is_root(&compiled, &instance, at), outcome, "{at}");
    }
    let judgement = judged(&compiled, &instance);
    let check = judgement
        .checks
        .iter()
        .find(|check| check.result == Outcome::Excepted)
        .unwrap();
    assert_eq!(check.decided_by.as_ref().unwrap().to_string(), "Exception/e");
    assert_eq!(
        (check.expected.as_deref(), check.actual.as_deref()),
        (Some("another uid than 0"), Some("0"))
    );
}

#[test]
fn scopes_grant_by_digest_only() {
    for (scope, outcome) in [
        ("{ workload: web }".to_owned(), Outcome::Excepted),
        ("{ workload: other }".to_owned(), Outcome::Fail),
        (format!("{{ image: {A} }}"), Outcome::Excepted),
        (format!("{{ image: {B} }}"), Outcome::Fail),
        (format!("{{ workload: web, image: {B} }}"), Outcome::Fail),
    ] {
        let (compiled, instance) = with_root(&exception("e", "[ privilege/is-root ]", &scope, ""));
        assert_eq!(
            is_root(&compiled, &instance, "2026-06-01T00:00:00Z"),
            outcome,
            "{scope}"
        );
    }
    // Meeting the hints obliges; it entitles to nothing.
    let (compiled, mut instance) =
        with_root(&exception("e", "[ privilege/is-root ]", "{ workload: web }", ""));
    instance.image = Evidence::Seen(B.parse().unwrap());
    assert_eq!(
        is_root(&compiled, &instance, "2026-06-01T00:00:00Z"),
        Outcome::Fail
    );
    instance.image = Evidence::missing("not known");
    assert_eq!(
        is_root(&compiled, &instance, "2026-06-01T00:00:00Z"),
        Outcome::Fail
    );
}

#[test]
fn other_rules_and_other_values_are_not_lifted() {
    for (rules, more, outcome) in [
        ("[ privilege/can-become-root ]", "", Outcome::Fail),
        (
            "[ privilege/is-root ]",
            "  values: [ \"0\" ]\n",
            Outcome::Excepted,
        ),
        ("[ privilege/is-root ]", "  values: [ \"1\" ]\n", Outcome::Fail),
    ] {
        let (compiled, instance) = with_root(&exception("e", rules, "{ workload: web }", more));
        assert_eq!(
            is_root(&compiled, &instance, "2026-06-01T00:00:00Z"),
            outcome,
            "{rules} {more}"
        );
    }
}

#[test]
fn an_exception_that_lifts_nothing_any_more_is_told() {
    let exceptions = [
        exception("needed", "[ privilege/is-root ]", "{ workload: web }", ""),
        exception("idle", "[ config/mounts ]", "{ workload: web }", ""),
        exception("elsewhere", "[ config/mounts ]", "{ workload: other }", ""),
    ];
    let (compiled, instance) = with_root(&exceptions.concat());
    let judgement = judged(&compiled, &instance);
    let idle: Vec<&str> = judgement
        .unneeded_exceptions
        .iter()
        .map(|name| name.as_str())
        .collect();
    assert_eq!(idle, ["idle"]);
}

#[test]
fn an_exception_for_other_hosts_is_not_compiled() {
    let (compiled, instance) = with_root(&exception(
        "e",
        "[ privilege/is-root ]",
        "{ workload: web, hosts: { zone: x } }",
        "",
    ));
    assert_eq!(compiled.exceptions().len(), 0);
    assert_eq!(
        is_root(&compiled, &instance, "2026-06-01T00:00:00Z"),
        Outcome::Fail
    );
}
