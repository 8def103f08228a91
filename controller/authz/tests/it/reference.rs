//! Cedar, the compiled form and a naive evaluation of deny > allow > default say the same of any small set.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use verger_controller_authz::{Ask, Because, Roles, Subject};
use verger_policy::model::*;
use verger_policy::roles::{CompiledRoles, plain};

use crate::{bind, role};

const NAMES: &[&str] = &["a", "a/b", "a/b/c", "ab", "b"];
const PATTERNS: &[&str] = &["a", "a/*", "a/b", "a/b/*", "b"];
const PEOPLE: &[&str] = &["ada", "bob"];
const GROUPS: &[&str] = &["staff", "sre"];
const ROLES: &[&str] = &[
    "r0", "r1", "r2", "viewer", "operator", "author", "approver", "admin", "none",
];

fn labels() -> impl Strategy<Value = Labels> {
    let one = (
        prop::sample::select(vec!["k", "l"]),
        prop::sample::select(vec!["v", "w"]),
    );
    vec(one, 0..3).prop_map(|labels| {
        let owned = labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        Labels(owned.collect())
    })
}

fn scope() -> impl Strategy<Value = Scope> {
    let patterns = btree_set(prop::sample::select(PATTERNS.to_vec()), 0..2);
    let some = (patterns, labels()).prop_map(|(names, labels)| Scope {
        names: names.into_iter().map(|name| name.parse().unwrap()).collect(),
        labels,
    });
    prop_oneof![Just(Scope::default()), some]
}

/// More than drafts let through: verbs that mean nothing, and scopes on what has no names.
fn rule() -> impl Strategy<Value = RoleRule> {
    let verbs = btree_set(prop::sample::select(Verb::ALL.to_vec()), 1..4);
    let resources = btree_set(
        prop::sample::select(vec![
            Resource::Workload,
            Resource::Findings,
            Resource::Status,
            Resource::Set,
            Resource::Proposals,
            Resource::Containers,
        ]),
        1..4,
    );
    let effect = prop_oneof![2 => Just(Effect::Allow), 1 => Just(Effect::Deny)];
    (effect, verbs, resources, scope()).prop_map(|(effect, verbs, resources, scope)| RoleRule {
        effect,
        verbs,
        resources,
        scope,
    })
}

/// Sealed labels of a host, or those of the hosts that a binding is for.
fn hosts() -> impl Strategy<Value = Labels> {
    prop::sample::select(vec![
        vec![],
        vec![("zone", "a")],
        vec![("zone", "a"), ("tier", "b")],
    ])
    .prop_map(|labels| {
        let owned = labels
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        Labels(owned.collect())
    })
}

fn objects() -> impl Strategy<Value = Vec<PolicyObject>> {
    let subjects: Vec<RoleSubject> = PEOPLE
        .iter()
        .map(|name| format!("person/{name}"))
        .chain(GROUPS.iter().map(|name| format!("group/{name}")))
        .chain(["local/1000".to_owned(), "local/1001".to_owned()])
        .map(|subject| subject.parse().unwrap())
        .collect();
    let binding = (
        prop::sample::select(ROLES.to_vec()),
        btree_set(prop::sample::select(subjects), 1..3),
        scope(),
        hosts(),
    );
    let stated = vec(btree_set(rule(), 1..4), 3);
    (stated, vec(binding, 0..5)).prop_map(|(stated, bindings)| {
        let mut objects = Vec::new();
        let any = "{ effect: allow, verbs: [ get ], resources: [ status ] }";
        for (number, rules) in stated.into_iter().enumerate() {
            let mut object = role(&format!("r{number}"), any);
            object.spec = Spec::Role(Role { rules });
            objects.push(object);
        }
        for (number, (role, subjects, scope, hosts)) in bindings.into_iter().enumerate() {
            let mut object = bind(&format!("b{number}"), role, "person/x", "");
            object.spec = Spec::RoleBinding(RoleBinding {
                role: role.parse().unwrap(),
                subjects,
                scope,
                hosts,
            });
            objects.push(object);
        }
        objects
    })
}

fn subject() -> impl Strategy<Value = Subject> {
    let groups = btree_set(prop::sample::select(GROUPS.to_vec()), 0..3);
    let person = (prop::sample::select(PEOPLE.to_vec()), groups).prop_map(|(name, groups)| Subject {
        person: Some(name.parse().unwrap()),
        groups: groups.into_iter().map(|group| group.parse().unwrap()).collect(),
        local: None,
    });
    let uid = (1_000..1_003_u32).prop_map(|uid| LocalUid::new(uid).unwrap());
    let local = (uid, hosts()).prop_map(|(uid, hosts)| Subject::local(uid, hosts));
    prop_oneof![2 => person, 1 => local]
}

fn ask() -> impl Strategy<Value = Ask> {
    let power = prop::sample::select(vec![
        (Verb::Get, Resource::Workload),
        (Verb::Apply, Resource::Workload),
        (Verb::List, Resource::Findings),
        (Verb::Ack, Resource::Findings),
        (Verb::Get, Resource::Status),
        (Verb::Sign, Resource::Set),
        (Verb::Withdraw, Resource::Proposals),
        (Verb::Ack, Resource::Workload),
        (Verb::Exec, Resource::Containers),
        (Verb::List, Resource::Containers),
    ]);
    let single = (
        prop::option::weighted(0.9, prop::sample::select(NAMES.to_vec())),
        labels(),
    );
    (power, prop::option::weighted(0.7, single)).prop_map(|((verb, resource), single)| {
        let single = single.filter(|_| resource.has_names());
        match single {
            None => Ask::all(verb, resource),
            Some((name, labels)) => Ask::one(verb, resource, name.map(|name| name.parse().unwrap()), labels),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn decisions_are_those_of_a_naive_evaluation(
        objects in objects(), asks in vec((subject(), ask()), 8),
    ) {
        let roles = Roles::compile(&objects).unwrap();
        let compiled = CompiledRoles::compile(&objects);
        for (subject, ask) in asks {
            let decision = roles.decide(&subject, &ask);
            prop_assert_eq!(&decision, &plain::decide(&objects, &subject, &ask), "{} by {:?}", ask, subject);
            prop_assert_eq!(&decision, &compiled.explain(&subject, &ask), "{} by {:?}", ask, subject);
            prop_assert!(!decision.because.is_empty());
            let wanted = if decision.allowed { Effect::Allow } else { Effect::Deny };
            for because in &decision.because {
                match because {
                    Because::Rule(given) => prop_assert_eq!(given.rule.effect, wanted),
                    Because::Unevaluated(given) => prop_assert!(false, "{} errs", given),
                    Because::NothingBound => prop_assert!(decision.allowed),
                    Because::NothingAllows | Because::NothingBoundYet | Because::Meaningless => {
                        prop_assert!(!decision.allowed);
                    }
                }
            }
        }
    }

    #[test]
    fn the_order_of_objects_means_nothing(objects in objects(), subject in subject(), ask in ask()) {
        let mut turned = objects.clone();
        turned.reverse();
        let decide = |objects: &[PolicyObject]| Roles::compile(objects).unwrap().decide(&subject, &ask);
        prop_assert_eq!(decide(&objects), decide(&turned));
    }
}
