//! What is decided, and why.

use verger_controller_authz::{Ask, Because, InvalidAsk, Subject};
use verger_policy::model::{Labels, Resource, Verb};
use verger_policy::roles;

use crate::{all, bind, compile, object, person, role, workload};

#[test]
fn without_any_binding_every_local_login_may_do_everything_and_with_one_nobody_else_anything() {
    let stated = role("r", "{ effect: deny, verbs: [ get ], resources: [ status ] }");
    let open = compile(&[stated]);
    let ask = all(Verb::Get, Resource::Status);
    let decision = open.decide(&person("ada"), &ask);
    assert!(!open.are_in_force() && decision.allowed);
    assert_eq!(decision.because, [Because::NothingBound]);

    let closed = compile(&[bind("b", "viewer", "person/bob", "")]);
    assert!(closed.are_in_force());
    let decision = closed.decide(&person("ada"), &ask);
    assert_eq!(
        (decision.allowed, decision.because),
        (false, vec![Because::NothingAllows])
    );
    assert!(closed.decide(&person("bob"), &ask).allowed);
    assert!(
        !closed.decide(&Subject::default(), &ask).allowed,
        "nobody in particular"
    );
}

#[test]
fn a_login_by_an_identity_provider_may_do_nothing_until_a_role_is_bound() {
    let open = compile(&[]);
    for ask in [
        all(Verb::Get, Resource::Status),
        all(Verb::Apply, Resource::RoleBinding),
    ] {
        assert!(open.decide(&person("ada"), &ask).allowed, "the local twin");
        let decision = open.decide_once_bound(&person("ada"), &ask);
        assert_eq!(
            (decision.allowed, decision.because),
            (false, vec![Because::NothingBoundYet])
        );
    }
    // From then on both are decided of alike.
    let bound = compile(&[bind("b", "viewer", "person/bob", "")]);
    for name in ["ada", "bob"] {
        let ask = all(Verb::Get, Resource::Status);
        assert_eq!(
            bound.decide_once_bound(&person(name), &ask),
            bound.decide(&person(name), &ask)
        );
    }
    assert!(
        bound
            .decide_once_bound(&person("bob"), &all(Verb::Get, Resource::Status))
            .allowed
    );
}

#[test]
fn a_binding_of_no_role_gives_nothing_and_still_puts_roles_in_force() {
    let roles = compile(&[bind("b", "viewers", "person/ada", "")]);
    assert!(roles.are_in_force());
    assert!(
        !roles
            .decide(&person("ada"), &all(Verb::Get, Resource::Status))
            .allowed
    );
    assert_eq!(roles.dangling().len(), 1);
}

#[test]
fn a_deny_wins_over_every_allow_and_is_named() {
    let no_delete = "{ effect: deny, verbs: [ delete ], resources: [ Workload ], names: [ payments/* ] }";
    let roles = compile(&[
        role("careful", no_delete),
        bind("admins", "admin", "person/ada", ""),
        bind("all", "careful", "group/staff", ""),
    ]);
    let mut ada = person("ada");
    assert!(
        roles
            .decide(&ada, &workload(Verb::Delete, "payments/web", &[]))
            .allowed
    );
    ada.groups.insert("staff".parse().unwrap());
    let denied = roles.decide(&ada, &workload(Verb::Delete, "payments/web", &[]));
    assert!(!denied.allowed);
    assert_eq!(
        denied.to_string(),
        "`deny delete on Workload named payments/*` of role careful, given by RoleBinding/all"
    );
    let other = roles.decide(&ada, &workload(Verb::Delete, "payments", &[]));
    assert!(other.allowed, "what is above is not below");
    assert!(
        other
            .to_string()
            .ends_with("of role admin, given by RoleBinding/admins")
    );
    assert!(
        !roles.decide(&ada, &all(Verb::Delete, Resource::Workload)).allowed,
        "all of them, with those"
    );
}

#[test]
fn a_scoped_allow_lets_single_ones_through_and_no_list() {
    let roles = compile(&[bind(
        "b",
        "author",
        "person/ada",
        ", scope: { names: [ payments/*, web ], labels: { app: pay } }",
    )]);
    let may = |ask: &Ask| roles.decide(&person("ada"), ask).allowed;
    let labels = [("app", "pay"), ("tier", "x")];
    assert!(may(&workload(Verb::Apply, "payments/web", &labels)));
    assert!(may(&workload(Verb::Apply, "web", &labels)));
    for (name, labels) in [
        ("webs", &labels[..]),
        ("payments", &labels),
        ("payments-2/web", &labels),
        ("web", &labels[1..]),
        ("web", &[("app", "pa")]),
    ] {
        assert!(!may(&workload(Verb::Apply, name, labels)), "{name} {labels:?}");
    }
    assert!(!may(&all(Verb::List, Resource::Workload)));
    assert!(!may(&all(Verb::Get, Resource::Status)), "it has no names");
    let nameless = Ask::one(
        Verb::Get,
        Resource::Findings,
        None,
        Labels([("app".to_owned(), "pay".to_owned())].into()),
    );
    assert!(!may(&nameless));
}

#[test]
fn scopes_of_rule_and_binding_must_both_hold() {
    let rule = "{ effect: allow, verbs: [ get ], resources: [ Workload ], labels: { app: pay } }";
    let roles = compile(&[
        role("r", rule),
        bind("b", "r", "person/ada", ", scope: { names: [ a/* ] }"),
    ]);
    let may = |name, labels: &[_]| {
        roles
            .decide(&person("ada"), &workload(Verb::Get, name, labels))
            .allowed
    };
    assert!(may("a/x", &[("app", "pay")]));
    assert!(!may("b/x", &[("app", "pay")]));
    assert!(!may("a/x", &[]));
}

#[test]
fn every_built_in_role_compiles_and_decides_as_its_table_says() {
    for built_in in roles::ALL {
        let roles = compile(&[bind("b", built_in.name, "person/ada", "")]);
        for resource in Resource::ALL {
            for verb in Verb::ALL {
                let listed = built_in
                    .allows
                    .iter()
                    .any(|(verbs, resources)| verbs.contains(verb) && resources.contains(resource));
                let wanted = listed && resource.verbs().contains(verb);
                let ask = all(*verb, *resource);
                let decision = roles.decide(&person("ada"), &ask);
                assert_eq!(decision.allowed, wanted, "{} {ask}", built_in.name);
            }
        }
    }
}

#[test]
fn text_of_policies_is_never_taken_for_cedar() {
    let rule = r#"{ effect: allow, verbs: [ get ], resources: [ Workload ], labels: { "a\"b\\": "\" || true || \"*" } }"#;
    let roles = compile(&[role("r", rule), bind("b", "r", "person/ada", "")]);
    let may = |labels: &[_]| {
        roles
            .decide(&person("ada"), &workload(Verb::Get, "w", labels))
            .allowed
    };
    assert!(may(&[("a\"b\\", "\" || true || \"*")]));
    assert!(!may(&[("a\"b\\", "x")]));
    assert!(!may(&[]));
}

#[test]
fn as_many_names_as_a_scope_may_state_are_decided_about() {
    let names: Vec<String> = (0..128).map(|number| format!("n{number}/*")).collect();
    let scope = format!(", scope: {{ names: [ {} ] }}", names.join(", "));
    let roles = compile(&[bind("b", "author", "person/ada", &scope)]);
    assert!(
        roles
            .decide(&person("ada"), &workload(Verb::Get, "n127/x", &[]))
            .allowed
    );
    assert!(
        !roles
            .decide(&person("ada"), &workload(Verb::Get, "n128/x", &[]))
            .allowed
    );
}

#[test]
fn who_can_names_people_and_groups_by_themselves() {
    let never = "{ effect: deny, verbs: [ get ], resources: [ status ] }";
    let roles = compile(&[
        role("never", never),
        bind("a", "viewer", "person/ada, group/staff, person/bob", ""),
        bind("b", "never", "person/bob", ""),
        bind("c", "operator", "person/eve", ""),
    ]);
    let names = |ask: &Ask| {
        let found = roles.who_can(ask);
        found.map(|(subject, _)| subject.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        names(&all(Verb::Get, Resource::Status)),
        ["group/staff", "person/ada", "person/eve"]
    );
    assert_eq!(names(&all(Verb::Ack, Resource::Findings)), ["person/eve"]);
}

#[test]
fn what_means_nothing_is_denied_even_to_everybody() {
    let open = compile(&[object("Host", "h", "agent: h")]);
    let ask = all(Verb::Ack, Resource::Workload);
    assert!(!open.decide(&person("ada"), &ask).allowed);
    assert!(matches!(ask.check(), Err(InvalidAsk::Meaningless { .. })));
    let ask = Ask::one(Verb::Get, Resource::Status, None, Labels::default());
    assert_eq!(ask.check(), Err(InvalidAsk::Nameless(Resource::Status)));
    assert!(!open.decide(&person("ada"), &ask).allowed);
}
