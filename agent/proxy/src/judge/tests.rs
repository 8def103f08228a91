#![allow(clippy::unwrap_used)]

use verger_policy::compile::compile;
use verger_policy::draft;

use super::*;

const IMAGE: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn policy(roles: &str) -> Policy {
    let text = format!(
        "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: payments/web, labels: {{ app: payments }} }}\nspec:\n  match: {{ container: {{ labels: {{ app: payments }} }} }}\n  config: {{ images: [ \"{IMAGE}\" ], command: any, env: any, user: any }}\n{roles}"
    );
    let objects = draft::read("p.yaml", text.as_bytes()).unwrap();
    let host = Labels([("zone".to_owned(), "a".to_owned())].into());
    Policy {
        roles: CompiledRoles::compile(&objects),
        compiled: compile(&objects, &host, 1),
        host,
        withheld: None,
    }
}

fn bind(role: &str, subject: &str, more: &str) -> String {
    format!(
        "---\napiVersion: verger/v1\nkind: RoleBinding\nmetadata: {{ name: b }}\nspec: {{ role: {role}, subjects: [ {subject} ]{more} }}\n"
    )
}

fn known(image: &str, label: &str) -> Known {
    let text = format!(
        r#"{{"Id":"{}","Name":"/shop","Image":"{image}","Config":{{"Image":"x","Labels":{{"app":"{label}"}}}}}}"#,
        "a".repeat(64)
    );
    crate::container(text.as_bytes()).unwrap()
}

fn ask(policy: &Policy, uid: u32, verb: Verb, known: Known) -> Result<(), String> {
    let on = On::Container("shop".to_owned());
    let subjects = Subjects {
        containers: [("shop".to_owned(), known)].into(),
        ..Subjects::default()
    };
    decide(policy, &Caller::Local(uid), &[Wish { verb, on }], &subjects).map_err(|refusal| refusal.message)
}

#[test]
fn a_scope_holds_what_is_of_a_workload_by_its_image_and_nothing_by_its_labels() {
    let policy = policy(&bind("admin", "local/1000", ", scope: { names: [ payments/* ] }"));
    assert_eq!(ask(&policy, 1000, Verb::Exec, known(IMAGE, "payments")), Ok(()));
    assert_eq!(
        ask(&policy, 1000, Verb::Exec, known(IMAGE, "other")),
        Ok(()),
        "dropping a label evades nothing"
    );
    let other = IMAGE.replace('b', "c");
    let told = ask(&policy, 1000, Verb::Exec, known(&other, "payments")).unwrap_err();
    assert_eq!(
        told,
        "verger: local/1000 may not exec container shop, which claims to be of workload payments/web and has no image of it, (no rule allows it)"
    );
    let told = ask(&policy, 1001, Verb::Exec, known(IMAGE, "payments")).unwrap_err();
    assert_eq!(
        told,
        "verger: local/1001 may not exec container shop of workload payments/web (no rule allows it)"
    );
}

#[test]
fn root_may_do_everything_and_nobody_else_while_nothing_is_bound() {
    let policy = policy("");
    assert_eq!(ask(&policy, 0, Verb::Exec, known(IMAGE, "payments")), Ok(()));
    for uid in [1, 1000, u32::MAX] {
        assert!(ask(&policy, uid, Verb::Get, known(IMAGE, "payments")).is_err());
    }
}

#[test]
fn without_policy_root_looks_and_does_nothing_else() {
    let mut policy = policy(&bind("admin", "local/1000", ""));
    assert_eq!(ask(&policy, 1000, Verb::Get, known(IMAGE, "x")), Ok(()));
    policy.withheld = Some("the ledger was set back".to_owned());
    assert_eq!(ask(&policy, 0, Verb::Get, known(IMAGE, "x")), Ok(()));
    let told = ask(&policy, 0, Verb::Stop, known(IMAGE, "x")).unwrap_err();
    assert!(told.contains("the ledger was set back"), "{told}");
    assert!(ask(&policy, 1000, Verb::Get, known(IMAGE, "x")).is_err());
}

#[test]
fn what_was_not_resolved_is_refused_to_everybody() {
    let policy = policy(&bind("admin", "local/1000", ""));
    for on in [On::Container("x".to_owned()), On::Exec("x".to_owned()), On::Made] {
        let wish = Wish { verb: Verb::Get, on };
        for uid in [0, 1000] {
            assert!(decide(&policy, &Caller::Local(uid), [&wish], &Subjects::default()).is_err());
        }
    }
}

#[test]
fn a_person_has_what_roles_say_of_the_name_and_the_groups_and_nothing_while_nothing_is_bound() {
    let ask = |policy: &Policy, name: &str, groups: &[&str]| {
        let caller = Caller::Person {
            name: name.parse().unwrap(),
            groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        };
        let subjects = Subjects {
            containers: [("shop".to_owned(), known(IMAGE, "payments"))].into(),
            ..Subjects::default()
        };
        let wish = Wish {
            verb: Verb::Exec,
            on: On::Container("shop".to_owned()),
        };
        decide(policy, &caller, [&wish], &subjects).map_err(|refusal| refusal.message)
    };
    let bound = policy(&bind("admin", "person/ada, group/sre", ""));
    assert_eq!(ask(&bound, "ada", &[]), Ok(()));
    assert_eq!(ask(&bound, "bob", &["sre"]), Ok(()));
    assert_eq!(
        ask(&bound, "bob", &["dev"]).unwrap_err(),
        "verger: person/bob may not exec container shop of workload payments/web (no rule allows it)"
    );
    // At controllers they may do everything.
    let told = ask(&policy(""), "ada", &[]).unwrap_err();
    assert!(told.ends_with("(no role is bound to anybody)"), "{told}");
    let withheld = Policy {
        withheld: Some("it is behind".to_owned()),
        ..policy(&bind("admin", "person/ada", ""))
    };
    assert!(
        ask(&withheld, "ada", &[])
            .unwrap_err()
            .ends_with("(it is behind)")
    );
}

#[test]
fn whoever_may_not_list_everything_is_shown_what_he_may_look_at() {
    let other = IMAGE.replace('b', "c");
    let entry = |id: char, image: &str| {
        format!(
            r#"{{"Id":"{}","Names":["/x"],"Image":"a","ImageID":"{image}","Labels":{{}},"Kept":[1,{{"a":null}}]}}"#,
            id.to_string().repeat(64)
        )
    };
    // Podman's are without the name of the algorithm.
    let bare = entry('3', IMAGE.trim_start_matches("sha256:"));
    let list = format!("[{},{},{bare}]", entry('1', IMAGE), entry('2', &other));
    let seen = |policy: &Policy, uid: u32| {
        narrowed(policy, &Caller::Local(uid), list.as_bytes()).map(|own| {
            let own: Vec<Value> = serde_json::from_slice(&own).unwrap();
            let ids = own.iter().map(|one| one["Id"].as_str().unwrap()[..1].to_owned());
            (
                ids.collect::<String>(),
                own.iter().all(|one| one["Kept"][1]["a"].is_null()),
            )
        })
    };
    let scoped = policy(&bind(
        "viewer",
        "local/1000",
        ", scope: { names: [ payments/* ] }",
    ));
    assert_eq!(seen(&scoped, 1000), Some(("13".to_owned(), true)));
    assert_eq!(seen(&scoped, 1001), None, "nothing is his to see");
    let elsewhere = policy(&bind("viewer", "local/1000", ", scope: { names: [ other/* ] }"));
    assert_eq!(seen(&elsewhere, 1000), None);
    let denied = policy(&format!(
        "{}---\napiVersion: verger/v1\nkind: Role\nmetadata: {{ name: unlisted }}\nspec: {{ rules: [ {{ effect: deny, verbs: [ list ], resources: [ containers ] }} ] }}\n---\napiVersion: verger/v1\nkind: RoleBinding\nmetadata: {{ name: c }}\nspec: {{ role: unlisted, subjects: [ local/1000 ] }}\n",
        bind("viewer", "local/1000", ", scope: { names: [ payments/* ] }")
    ));
    assert_eq!(seen(&denied, 1000), None, "a rule says that he may list nothing");
    // Who may look at something is told that there is none of it; who may look at nothing is not.
    let none = |policy: &Policy, uid: u32| narrowed(policy, &Caller::Local(uid), b"[]");
    assert_eq!(none(&scoped, 1000).as_deref(), Some(&b"[]"[..]));
    assert_eq!(none(&scoped, 1001), None);
    assert_eq!(none(&elsewhere, 1000), None);
    assert_eq!(none(&denied, 1000), None);
    for no_list in ["{}", "[", "null"] {
        assert_eq!(
            narrowed(&scoped, &Caller::Local(1000), no_list.as_bytes()),
            None,
            "{no_list}"
        );
    }
}
