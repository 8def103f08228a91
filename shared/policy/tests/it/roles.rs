//! Roles and bindings: any of them, and what is wrong with drafts of them.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use verger_policy::draft;
use verger_policy::model::*;
use verger_policy::set::PolicySet;

use crate::objects::{labels, name};

fn pattern() -> impl Strategy<Value = NamePattern> {
    (name(), any::<bool>()).prop_map(|(name, below)| {
        format!("{name}{}", if below { "/*" } else { "" })
            .parse()
            .unwrap()
    })
}

fn scope() -> impl Strategy<Value = Scope> {
    (btree_set(pattern(), 0..3), labels()).prop_map(|(names, labels)| Scope { names, labels })
}

/// A rule that says something: of random pairs, what means anything together.
fn rule() -> impl Strategy<Value = RoleRule> {
    let resources = prop::sample::subsequence(Resource::ALL.to_vec(), 1..4);
    let picks = vec(any::<prop::sample::Index>(), 4);
    let effect = prop::sample::select(Effect::ALL.to_vec());
    (effect, resources, picks, scope()).prop_map(|(effect, resources, picks, scope)| RoleRule {
        effect,
        verbs: resources
            .iter()
            .zip(picks)
            .map(|(resource, pick)| *pick.get(resource.verbs()))
            .collect(),
        scope: if resources.iter().all(|resource| resource.has_names()) {
            scope
        } else {
            Scope::default()
        },
        resources: resources.into_iter().collect(),
    })
}

/// Any role.
pub(crate) fn role() -> impl Strategy<Value = Role> {
    btree_set(rule(), 1..4).prop_map(|rules| Role { rules })
}

/// Any binding, mostly of roles that are not there.
pub(crate) fn binding() -> impl Strategy<Value = RoleBinding> {
    let subject = prop_oneof![
        "[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?".prop_map(|name| format!("person/{name}")),
        name().prop_map(|name| format!("group/{name}")),
        (1..u32::MAX).prop_map(|uid| format!("local/{uid}")),
    ];
    let subjects = btree_set(subject.prop_map(|subject| subject.parse().unwrap()), 1..4);
    (name(), subjects, scope(), labels()).prop_map(|(role, subjects, scope, labels)| {
        let subjects: std::collections::BTreeSet<RoleSubject> = subjects;
        let is_local = |subject: &RoleSubject| matches!(subject, RoleSubject::Local(_));
        let hosts = match subjects.iter().any(is_local) {
            true => labels,
            false => Labels::default(),
        };
        RoleBinding {
            role,
            subjects,
            scope,
            hosts,
        }
    })
}

fn text(kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: verger/v1\nkind: {kind}\nmetadata: {{ name: {name} }}\nspec: {spec}\n")
}

#[track_caller]
fn problems(text: &str) -> Vec<String> {
    let problems = draft::read("p.yaml", text.as_bytes()).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn of_role(rules: &str) -> Vec<String> {
    problems(&text("Role", "r", &format!("{{ rules: {rules} }}")))
}

#[test]
fn every_problem_of_a_role_is_told_at_once() {
    assert_eq!(
        of_role("[ { effect: alow, verbs: [ gt ], resources: [ Workloads, audit ], name: x } ]"),
        [
            "p.yaml:4:28: spec.rules[0].effect: unknown word `alow`; did you mean `allow`? Write one of: allow, deny",
            "p.yaml:4:43: spec.rules[0].verbs[0]: unknown word `gt`; did you mean `get`? Write one of: ack, administer, apply, approve, attach, ban, build, commit, connect, copy-in, copy-out, create, delete, disconnect, evict, exec, export, get, kill, list, load, logs, mount, pause, propose, prune, pull, push, reach-host, rename, renew, restart, revoke, rotate, sign, start, stop, tag, unpause, update, wait, watch, withdraw",
            "p.yaml:4:62: spec.rules[0].resources[0]: unknown word `Workloads`; did you mean `Workload`? Write one of: Exception, Guardrail, Host, Role, RoleBinding, Workload, audit, certificates, containers, findings, hosts, images, instances, members, networks, proposals, runtime, set, snapshots, status, tokens, trust-root, volumes",
            "p.yaml:4:82: spec.rules[0].name: unknown field `name`; did you mean `names`?",
        ]
    );
    assert_eq!(
        of_role("[ {} ]"),
        [
            "p.yaml:4:18: spec.rules[0].effect: is missing; add `effect: allow`",
            "p.yaml:4:18: spec.rules[0].verbs: is missing; add `verbs: [ get, list ]`",
            "p.yaml:4:18: spec.rules[0].resources: is missing; add `resources: [ Workload ]`",
        ]
    );
    assert_eq!(
        of_role("[]"),
        ["p.yaml:4:16: spec.rules: allows and denies nothing; state at least one rule"]
    );
    assert_eq!(
        of_role("[ { effect: deny, verbs: [], resources: [ Role ], names: [] } ]"),
        [
            "p.yaml:4:41: spec.rules[0].verbs: is empty, and so fits nothing; name at least one",
            "p.yaml:4:73: spec.rules[0].names: is empty, and so fits nothing; list names, or remove it",
        ]
    );
}

#[test]
fn a_rule_that_says_less_than_it_seems_to_is_refused() {
    let with = |rest: &str| of_role(&format!("[ {{ effect: allow, {rest} }} ]"));
    assert_eq!(
        with("verbs: [ get, ack ], resources: [ Workload, status ]"),
        [
            "p.yaml:4:67: spec.rules[0].resources: the verb `ack` means nothing on any of these; remove the verb, or add one of: findings"
        ]
    );
    assert_eq!(
        with("verbs: [ get ], resources: [ Workload, tokens ]"),
        [
            "p.yaml:4:62: spec.rules[0].resources: `tokens` knows none of the verbs; remove it, or add one of: create"
        ]
    );
    assert_eq!(
        with("verbs: [ get ], resources: [ Workload, status ], names: [ web ]"),
        [
            "p.yaml:4:62: spec.rules[0].resources: `status` has no names and no labels, so nothing of it is within the rule's scope; state `status` in a rule without `names` and `labels`"
        ]
    );
    assert!(with("verbs: [ get ], resources: [ Workload ], names: [ \"*\" ]")[0].contains("is not valid"));
    assert!(with("verbs: [ get ], resources: [ Workload ], names: [ \"a*\" ]")[0].contains("is not valid"));
    let rule = "{ effect: allow, verbs: [ get ], resources: [ status ] }";
    assert_eq!(
        of_role(&format!("[ {rule}, {rule} ]")),
        ["p.yaml:4:76: spec.rules[1]: the same rule is in the list twice; keep one of the two"]
    );
}

#[test]
fn nobody_can_say_what_a_built_in_role_is() {
    let rules = "{ rules: [ { effect: allow, verbs: [ get ], resources: [ status ] } ] }";
    assert_eq!(
        problems(&text("Role", "viewer", rules)),
        ["p.yaml:3:19: metadata.name: `viewer` is a built-in role; give the role another name"]
    );
    assert!(draft::read("p.yaml", text("Role", "team/viewer", rules).as_bytes()).is_ok());
    assert!(
        draft::read("p.yaml", text("Host", "viewer", "{ agent: a }").as_bytes()).is_ok(),
        "other kinds have names of their own"
    );
    let canonical = br#"verger/v1/object~{"apiVersion":"verger/v1","kind":"Role","metadata":{"name":"admin"},"spec":{"rules":[{"effect":"allow","resources":["status"],"verbs":["get"]}]}}"#;
    let bytes: Vec<u8> = canonical
        .iter()
        .map(|byte| if *byte == b'~' { 0 } else { *byte })
        .collect();
    assert!(PolicyObject::from_canonical(&bytes).is_err());
    let other = String::from_utf8(bytes).unwrap().replace("admin", "admins");
    assert!(PolicyObject::from_canonical(other.as_bytes()).is_ok());
}

#[test]
fn every_problem_of_a_binding_is_told_at_once() {
    let with = |spec: &str| problems(&text("RoleBinding", "b", spec));
    assert_eq!(
        with("{ role: \"a b\", subjects: [ ada, person/a/b, person/Ada, group/ ], scope: {} }"),
        [
            "p.yaml:4:15: spec.role: `a b` is not valid: a name is made of a-z, 0-9, `-` and `.`, starts and ends with a letter or digit, parts are joined by `/`; write a path of DNS labels, as in payments/web",
            "p.yaml:4:34: spec.subjects[0]: `ada` is not valid: a subject is written person/NAME, group/NAME or local/UID; write person/NAME, as in the certificate, group/NAME, or local/UID",
            "p.yaml:4:39: spec.subjects[1]: `person/a/b` is not valid: what follows the slash is not a name; write person/NAME, as in the certificate, group/NAME, or local/UID",
            "p.yaml:4:51: spec.subjects[2]: `person/Ada` is not valid: what follows the slash is not a name; write person/NAME, as in the certificate, group/NAME, or local/UID",
            "p.yaml:4:63: spec.subjects[3]: `group/` is not valid: what follows the slash is not a name; write person/NAME, as in the certificate, group/NAME, or local/UID",
            "p.yaml:4:80: spec.scope: leaves nothing out; state `names` or `labels`, or remove it",
        ]
    );
    assert_eq!(
        with("{ subjects: [] }"),
        [
            "p.yaml:4:7: spec.role: is missing; add `role: viewer`",
            "p.yaml:4:19: spec.subjects: names nobody; name at least one person, group or local user",
        ]
    );
}

#[test]
fn a_binding_for_some_hosts_has_a_local_user_to_be_for() {
    let with = |spec: &str| problems(&text("RoleBinding", "b", spec));
    assert_eq!(
        with("{ role: viewer, subjects: [ person/ada ], hosts: { zone: a } }"),
        [
            "p.yaml:4:56: spec.hosts: narrows nothing: no subject is a local user; remove it, or name a local user: people and groups call the cluster, and no host"
        ]
    );
    assert_eq!(
        with("{ role: viewer, subjects: [ local/1 ], hosts: {} }"),
        ["p.yaml:4:53: spec.hosts: leaves no host out; state labels of hosts, or remove it"]
    );
    for subject in [
        "local/0",
        "local/01",
        "local/+1",
        "local/4294967295",
        "local/ada",
        "local/",
    ] {
        let told = with(&format!("{{ role: viewer, subjects: [ {subject} ] }}"));
        assert!(told[0].contains("is not the number of a user"), "{told:?}");
    }
}

#[test]
fn names_of_people_are_those_that_certificates_can_have() {
    let fits = |name: &str| format!("person/{name}").parse::<RoleSubject>().is_ok();
    let long = "a".repeat(64);
    for good in ["a", "ada", "ada.l", "7", &long] {
        assert!(fits(good), "{good}");
    }
    let long = "a".repeat(65);
    for bad in ["", "-a", "a.", "A", "a_b", "a b", "é", &long] {
        assert!(!fits(bad), "{bad}");
    }
}

#[test]
fn an_agent_is_sent_who_may_do_what_on_its_host() {
    let rules = "{ rules: [ { effect: allow, verbs: [ get ], resources: [ status ] } ] }";
    let texts = [
        text("Role", "r", rules),
        text("RoleBinding", "b", "{ role: r, subjects: [ person/ada ] }"),
        text(
            "RoleBinding",
            "elsewhere",
            "{ role: r, subjects: [ local/1000 ], hosts: { zone: a } }",
        ),
        text("Host", "h", "{ agent: h }"),
    ];
    let objects = draft::read("p.yaml", texts.join("---\n").as_bytes()).unwrap();
    let set = PolicySet::empty().change(objects, []).unwrap();
    let nowhere = Labels::default();
    let needed: Vec<String> = set
        .needed_by(&nowhere)
        .map(|entry| entry.key.to_string())
        .collect();
    assert_eq!(needed, ["Host/h", "Role/r", "RoleBinding/b"]);
    let narrowed = set.narrowed_to(&nowhere);
    assert_eq!(narrowed.missing_for(&nowhere).count(), 0);
    assert_eq!(
        narrowed.root(),
        set.root(),
        "agents still know that they are there"
    );
    let bodies = |set: &PolicySet| set.parts().filter(|(_, body)| body.is_some()).count();
    assert_eq!((bodies(&set), bodies(&narrowed)), (4, 3));
}

#[test]
fn roles_and_scopes_are_bounded() {
    let names = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("n{number}")).collect();
        let spec = format!(
            "{{ role: viewer, subjects: [ person/a ], scope: {{ names: [ {} ] }} }}",
            names.join(", ")
        );
        text("RoleBinding", "b", &spec)
    };
    assert!(draft::read("p.yaml", names(MAX_ROLE_WORDS).as_bytes()).is_ok());
    assert_eq!(
        problems(&names(MAX_ROLE_WORDS + 1)),
        [
            "p.yaml:4:63: spec.scope.names: has 129 entries; the limit is 128; tell them apart by a label, or by what is above them: NAME/*"
        ]
    );
    let rules: Vec<String> = (0..=MAX_ROLE_WORDS)
        .map(|number| {
            format!("{{ effect: allow, verbs: [ get ], resources: [ Host ], names: [ n{number} ] }}")
        })
        .collect();
    assert!(of_role(&format!("[ {} ]", rules.join(", ")))[0].contains("has 129 entries; the limit is 128"));
}
