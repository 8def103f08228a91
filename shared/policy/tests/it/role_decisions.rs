//! What the compiled form of roles decides, held against the plain one.

use std::collections::BTreeMap;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use verger_policy::draft;
use verger_policy::model::*;
use verger_policy::roles::{Ask, Because, CompiledRoles, Subject, Why, plain};

const NAMES: &[&str] = &["a", "a/b", "a/b/c", "a-b/c", "a.b", "b", "b/c", "c"];
const PATTERNS: &[&str] = &[
    "a", "a/*", "a/b", "a/b/*", "a-b/*", "a.b", "b", "b/*", "c", "d", "e", "f", "g",
];

fn object(name: &str, spec: Spec) -> PolicyObject {
    PolicyObject {
        metadata: Metadata {
            name: name.parse().unwrap(),
            labels: Labels::default(),
            annotations: BTreeMap::new(),
        },
        spec,
    }
}

fn read(text: &str) -> Vec<PolicyObject> {
    draft::read("o.yaml", text.as_bytes()).unwrap()
}

fn bind(name: &str, role: &str, subjects: &str, more: &str) -> Vec<PolicyObject> {
    read(&format!(
        "apiVersion: verger/v1\nkind: RoleBinding\nmetadata: {{ name: {name} }}\nspec: {{ role: {role}, subjects: [ {subjects} ]{more} }}\n"
    ))
}

fn person(name: &str) -> Subject {
    Subject::person(name.parse().unwrap())
}

fn local(uid: u32, host: Labels) -> Subject {
    Subject::local(LocalUid::new(uid).unwrap(), host)
}

fn workload(verb: Verb, name: &str) -> Ask {
    Ask::one(
        verb,
        Resource::Workload,
        Some(name.parse().unwrap()),
        Labels::default(),
    )
}

/// Decides, and checks that it is what the plain form says, whole.
#[track_caller]
fn decide(objects: &[PolicyObject], subject: &Subject, ask: &Ask) -> bool {
    let compiled = CompiledRoles::compile(objects);
    let told = compiled.explain(subject, ask);
    assert_eq!(told, plain::decide(objects, subject, ask), "{ask} by {subject:?}");
    let ruling = compiled.decide(subject, ask.verb, ask.resource, ask.single.as_ref());
    assert_eq!(ruling.allowed, told.allowed);
    let why = Because::from(ruling.why);
    assert!(told.because.contains(&why), "{why} is not in {told}");
    ruling.allowed
}

#[test]
fn nothing_bound_lets_everybody_do_what_means_something() {
    let status = Ask::all(Verb::Get, Resource::Status);
    assert!(decide(&[], &person("ada"), &status));
    assert!(!decide(
        &[],
        &person("ada"),
        &Ask::all(Verb::Ack, Resource::Status)
    ));
    let one = Ask::one(
        Verb::Get,
        Resource::Status,
        Some("a".parse().unwrap()),
        Labels::default(),
    );
    assert!(!decide(&[], &person("ada"), &one), "it has no names");
    let others = bind("b", "viewer", "person/bob", "");
    assert!(!decide(&others, &person("ada"), &status));
    assert!(decide(&others, &person("bob"), &status));
    let of_no_role = bind("b", "viewers", "person/ada", "");
    assert!(
        !decide(&of_no_role, &person("ada"), &status),
        "and still roles are in force"
    );
}

#[test]
fn a_deny_to_a_group_wins_over_what_the_person_is_allowed() {
    let careful = read(
        "apiVersion: verger/v1\nkind: Role\nmetadata: { name: careful }\nspec: { rules: [ { effect: deny, verbs: [ delete ], resources: [ Workload ], names: [ payments/* ] } ] }\n",
    );
    let objects = [
        careful,
        bind("admins", "admin", "person/ada", ""),
        bind("all", "careful", "group/staff", ""),
    ]
    .concat();
    let mut ada = person("ada");
    let web = workload(Verb::Delete, "payments/web");
    assert!(decide(&objects, &ada, &web));
    ada.groups.insert("staff".parse().unwrap());
    assert!(!decide(&objects, &ada, &web));
    assert!(
        decide(&objects, &ada, &workload(Verb::Delete, "payments")),
        "what is above is not below"
    );
    assert!(!decide(
        &objects,
        &ada,
        &Ask::all(Verb::Delete, Resource::Workload)
    ));
    let compiled = CompiledRoles::compile(&objects);
    let single = web.single.as_ref();
    let ruling = compiled.decide(&ada, web.verb, web.resource, single);
    let Why::Rule { binding, role, .. } = ruling.why else {
        panic!("{ruling:?}")
    };
    assert_eq!((binding.as_str(), role.as_str()), ("all", "careful"));
}

#[test]
fn a_local_user_has_what_is_bound_to_him_on_that_host_and_of_the_runtime_alone() {
    let exec = |name: &str| {
        let name = Some(name.parse().unwrap());
        Ask::one(Verb::Exec, Resource::Containers, name, Labels::default())
    };
    let zone = |zone: &str| Labels([("zone".to_owned(), zone.to_owned())].into());
    assert!(
        !decide(&[], &local(1_000, zone("a")), &exec("payments/web")),
        "while nothing is bound, nobody let him in"
    );
    let objects = bind(
        "b",
        "admin",
        "local/1000, person/ada",
        ", scope: { names: [ payments/* ] }, hosts: { zone: a }",
    );
    let may = |uid, host, ask: &Ask| decide(&objects, &local(uid, host), ask);
    assert!(may(1_000, zone("a"), &exec("payments/web")));
    assert!(!may(1_000, zone("b"), &exec("payments/web")));
    assert!(!may(1_000, Labels::default(), &exec("payments/web")));
    assert!(!may(1_001, zone("a"), &exec("payments/web")));
    assert!(!may(1_000, zone("a"), &exec("other/web")));
    let unknown = Ask::all(Verb::Exec, Resource::Containers);
    assert!(!may(1_000, zone("a"), &unknown), "of no workload");
    let everywhere = bind("b", "admin", "local/1000", "");
    assert!(decide(&everywhere, &local(1_000, zone("b")), &unknown));
    for resource in Resource::ALL {
        for verb in resource.verbs() {
            let ask = Ask::all(*verb, *resource);
            assert_eq!(
                decide(&everywhere, &local(1_000, zone("b")), &ask),
                resource.is_of_runtime(),
                "{ask}"
            );
        }
    }
    assert!(
        decide(&objects, &person("ada"), &exec("payments/web")),
        "`hosts` narrows nothing of what a person has"
    );
}

#[test]
fn what_is_of_no_workload_is_within_every_scope_of_a_deny() {
    let deny = read(
        "apiVersion: verger/v1\nkind: Role\nmetadata: { name: careful }\nspec: { rules: [ { effect: deny, verbs: [ exec ], resources: [ containers ], names: [ payments/* ] } ] }\n",
    );
    let objects = [
        deny,
        bind("all", "admin", "local/1000", ""),
        bind("careful", "careful", "local/1000", ""),
    ]
    .concat();
    let me = local(1_000, Labels::default());
    let unknown = |verb| Ask::all(verb, Resource::Containers);
    assert!(!decide(&objects, &me, &unknown(Verb::Exec)));
    assert!(decide(&objects, &me, &unknown(Verb::Stop)));
}

#[test]
fn a_name_that_begins_like_another_is_not_below_it() {
    let scope = ", scope: { names: [ a/*, a/b/*, a-b/* ] }";
    let objects = bind("b", "author", "person/ada", scope);
    for (name, wanted) in [
        ("a", false),
        ("a/b", true),
        ("a/b/c", true),
        ("a/z", true),
        ("a-b", false),
        ("a-b/c", true),
        ("a-bc/d", false),
        ("a.b", false),
        ("ab/c", false),
    ] {
        let ask = workload(Verb::Apply, name);
        assert_eq!(decide(&objects, &person("ada"), &ask), wanted, "{name}");
    }
}

#[test]
fn the_bindings_of_one_person_are_found_by_name_however_many() {
    let mut objects = bind("all", "viewer", "person/ada", ", scope: { labels: { k: v } }");
    for number in 0..200 {
        let scope = format!(", scope: {{ names: [ n{number}/*, m{number} ] }}");
        objects.extend(bind(&format!("b{number}"), "author", "person/ada", &scope));
    }
    let ada = person("ada");
    for (name, wanted) in [
        ("n7/x/y", true),
        ("n7", false),
        ("m199", true),
        ("m199/x", false),
        ("n200/x", false),
    ] {
        assert_eq!(
            decide(&objects, &ada, &workload(Verb::Apply, name)),
            wanted,
            "{name}"
        );
    }
    assert!(
        !decide(&objects, &ada, &Ask::all(Verb::List, Resource::Workload)),
        "no scope lets a list through"
    );
    let nameless = Ask::one(Verb::Apply, Resource::Workload, None, Labels::default());
    assert!(!decide(&objects, &ada, &nameless));
}

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

/// Of no name, of a few, and of more than are found by name.
fn scope() -> impl Strategy<Value = Scope> {
    let names = |most| btree_set(prop::sample::select(PATTERNS.to_vec()), 0..most);
    let names = prop_oneof![4 => names(3), 1 => names(13)];
    let some = (names, labels()).prop_map(|(names, labels)| Scope {
        names: names.into_iter().map(|name| name.parse().unwrap()).collect(),
        labels,
    });
    prop_oneof![1 => Just(Scope::default()), 4 => some]
}

fn rule() -> impl Strategy<Value = RoleRule> {
    let verbs = btree_set(
        prop::sample::select(vec![Verb::Get, Verb::Apply, Verb::Ack, Verb::List, Verb::Exec]),
        1..3,
    );
    let resources = btree_set(
        prop::sample::select(vec![
            Resource::Workload,
            Resource::Findings,
            Resource::Status,
            Resource::Containers,
        ]),
        1..3,
    );
    let effect = prop_oneof![4 => Just(Effect::Allow), 1 => Just(Effect::Deny)];
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
    let subjects: Vec<RoleSubject> = [
        "person/ada",
        "person/bob",
        "group/staff",
        "group/sre",
        "local/1000",
        "local/1001",
    ]
    .map(|subject| subject.parse().unwrap())
    .to_vec();
    let binding = (
        prop::sample::select(vec!["r0", "r1", "r2", "viewer", "author", "none"]),
        btree_set(prop::sample::select(subjects), 1..3),
        scope(),
        hosts(),
    );
    let roles = vec(btree_set(rule(), 1..4), 3);
    (roles, vec(binding, 0..80)).prop_map(|(roles, bindings)| {
        let roles = roles.into_iter().enumerate();
        let roles = roles.map(|(number, rules)| object(&format!("r{number}"), Spec::Role(Role { rules })));
        let bindings = bindings.into_iter().enumerate();
        let bindings = bindings.map(|(number, (role, subjects, scope, hosts))| {
            let role = role.parse().unwrap();
            let binding = RoleBinding {
                role,
                subjects,
                scope,
                hosts,
            };
            object(&format!("b{number}"), Spec::RoleBinding(binding))
        });
        roles.chain(bindings).collect()
    })
}

fn subject() -> impl Strategy<Value = Subject> {
    let person = prop::option::weighted(0.9, prop::sample::select(vec!["ada", "bob", "eve"]));
    let groups = btree_set(prop::sample::select(vec!["staff", "sre", "none"]), 0..3);
    let person = (person, groups).prop_map(|(person, groups)| Subject {
        person: person.map(|name| name.parse().unwrap()),
        groups: groups.into_iter().map(|group| group.parse().unwrap()).collect(),
        local: None,
    });
    let local = (1_000..1_003_u32, hosts()).prop_map(|(uid, hosts)| local(uid, hosts));
    prop_oneof![2 => person, 1 => local]
}

fn ask() -> impl Strategy<Value = Ask> {
    let power = prop::sample::select(vec![
        (Verb::Get, Resource::Workload),
        (Verb::Apply, Resource::Workload),
        (Verb::List, Resource::Findings),
        (Verb::Ack, Resource::Findings),
        (Verb::Get, Resource::Status),
        (Verb::Ack, Resource::Workload),
        (Verb::Exec, Resource::Containers),
        (Verb::List, Resource::Containers),
    ]);
    let name = prop::option::weighted(0.9, prop::sample::select(NAMES.to_vec()));
    let single = prop::option::weighted(0.8, (name, labels()));
    (power, single).prop_map(|((verb, resource), single)| match single {
        None => Ask::all(verb, resource),
        Some((name, labels)) => Ask::one(verb, resource, name.map(|name| name.parse().unwrap()), labels),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_compiled_form_decides_as_the_plain_one(
        objects in objects(), asks in vec((subject(), ask()), 16),
    ) {
        for (subject, ask) in asks {
            decide(&objects, &subject, &ask);
        }
    }

    #[test]
    fn the_order_of_objects_means_nothing_to_it(objects in objects(), subject in subject(), ask in ask()) {
        let turned: Vec<PolicyObject> = objects.iter().rev().cloned().collect();
        let compiled = [&objects, &turned].map(CompiledRoles::compile);
        let rulings = compiled.each_ref().map(|roles| roles.decide(&subject, ask.verb, ask.resource, ask.single.as_ref()));
        prop_assert_eq!(rulings[0], rulings[1]);
    }
}
