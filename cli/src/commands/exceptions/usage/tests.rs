#![allow(clippy::unwrap_used)]
use serde_json::json;
use verger_policy::draft;

use super::super::tests::exception;
use super::*;

const AT: &str = "2026-05-05T00:00:00Z";
const EPOCH: u64 = 3;

/// A set of exceptions `needed` (rule `privilege/is-root`, workload `web`) and whatever `more` says.
fn set(scope: &str, more: &str) -> PolicySet {
    let first = exception("needed", scope, "2026-05-01T00:00:00Z", "2026-05-10T00:00:00Z");
    let objects = draft::read("t.yaml", format!("{first}{more}").as_bytes()).unwrap();
    PolicySet::empty().change(objects, []).unwrap()
}

fn host(name: &str) -> pb::Host {
    pb::Host {
        agent_id: name.to_owned(),
        connected: true,
        epoch: EPOCH,
        ..Default::default()
    }
}

fn instance(host: &str) -> pb::Instance {
    pb::Instance {
        agent_id: host.to_owned(),
        runtime: "docker".to_owned(),
        id: "ab".repeat(32),
        workloads: vec!["web".to_owned()],
        entitled: true,
        passed: 7,
        epoch: EPOCH,
        judged: Some(verger_wire::timestamp("2026-05-04T00:00:00Z".parse().unwrap())),
        ..Default::default()
    }
}

fn check(result: &str, by: &str) -> Value {
    let by = match by {
        "" => Value::Null,
        name => json!({ "kind": "Exception", "name": name }),
    };
    json!({ "control": "privilege", "rule": "privilege/is-root", "field": "user", "result": result, "actual": "0", "decidedBy": by })
}

/// What is said of `needed`.
fn usage(set: &PolicySet, hosts: Vec<pb::Host>, instances: Vec<pb::Instance>, checks: Vec<Value>) -> Usage {
    let mut world = World::of(set, hosts, instances);
    for place in world.open_questions(of(set), AT.parse().unwrap()) {
        world.take_checks(place, checks.clone());
    }
    world.usage(of(set), AT.parse().unwrap())
}

fn of(set: &PolicySet) -> Sealed<'_> {
    let (entry, body) = set
        .parts()
        .find(|(entry, _)| entry.key.name.as_str() == "needed")
        .unwrap();
    let Spec::Exception(spec) = &body.unwrap().object().spec else {
        panic!("not an exception");
    };
    Sealed {
        key: &entry.key,
        spec,
        epoch: EPOCH,
    }
}

fn counted(excepted: u32, not_evaluated: u32, errors: u32) -> pb::Instance {
    pb::Instance {
        excepted,
        not_evaluated,
        errors,
        ..instance("web-1")
    }
}

fn is_unknown(usage: &Usage, why: &str) {
    assert!(
        matches!(usage, Usage::Unknown(text) if text.contains(why)),
        "{why}: {usage:?}"
    );
}

#[test]
fn an_exception_is_unused_only_where_every_host_has_said_that_nothing_needs_it() {
    let set = set("{ workload: web }", "");
    let clean = usage(&set, vec![host("web-1")], vec![instance("web-1")], Vec::new());
    assert!(
        matches!(&clean, Usage::Idle(why) if why.contains("1 running")),
        "{clean:?}"
    );
    let nothing = usage(&set, vec![host("web-1")], Vec::new(), Vec::new());
    assert_eq!(nothing, Usage::Idle("nothing that it is for runs".to_owned()));
    let lifted = usage(
        &set,
        vec![host("web-1")],
        vec![counted(1, 0, 0)],
        vec![check("excepted", "needed")],
    );
    assert_eq!(lifted, Usage::Lifts);
}

#[test]
fn what_was_not_said_leaves_it_open() {
    let set = set("{ workload: web }", "");
    let with = |change: &dyn Fn(&mut pb::Host)| {
        let mut changed = host("web-2");
        change(&mut changed);
        usage(
            &set,
            vec![host("web-1"), changed],
            vec![instance("web-1")],
            Vec::new(),
        )
    };
    assert!(matches!(with(&|_| ()), Usage::Idle(_)));
    is_unknown(&with(&|host| host.connected = false), "web-2");
    is_unknown(&with(&|host| host.epoch = EPOCH - 1), "epoch 2");
    is_unknown(
        &with(&|host| _ = host.unreadable.insert("docker".to_owned(), "denied".to_owned())),
        "unreadable",
    );
    // A host that was put out is asked for nothing any more.
    let banned = |host: &mut pb::Host| {
        host.connected = false;
        host.set_standing(pb::Standing::Banned);
    };
    assert!(matches!(with(&banned), Usage::Idle(_)));

    let one = |instance: pb::Instance, checks| usage(&set, vec![host("web-1")], vec![instance], checks);
    let mut behind = instance("web-1");
    behind.epoch = EPOCH - 1;
    is_unknown(&one(behind, Vec::new()), "not judged under epoch 3");
    let mut unjudged = instance("web-1");
    unjudged.judged = None;
    is_unknown(&one(unjudged, Vec::new()), "not judged");
    let mut before = instance("web-1");
    before.judged = Some(verger_wire::timestamp("2026-04-30T00:00:00Z".parse().unwrap()));
    is_unknown(&one(before, Vec::new()), "since the exception began");
    is_unknown(
        &one(counted(0, 1, 0), vec![check("notEvaluated", "")]),
        "not evaluated",
    );
    is_unknown(&one(counted(0, 0, 1), vec![check("error", "")]), "not evaluated");
    // The agent had no room for all checks, or the controller left some out.
    is_unknown(
        &one(counted(2, 0, 0), vec![check("excepted", "other")]),
        "not all",
    );
    is_unknown(&one(counted(1, 0, 0), Vec::new()), "not all");
}

#[test]
fn what_another_lifts_as_well_is_named() {
    let set = set("{ workload: web }", "");
    let said = usage(
        &set,
        vec![host("web-1")],
        vec![counted(1, 0, 0)],
        vec![check("excepted", "first")],
    );
    assert!(
        matches!(&said, Usage::Idle(why) if why.contains("Exception/first")),
        "{said:?}"
    );
}

#[test]
fn hosts_and_images_that_it_is_not_for_say_nothing_of_it() {
    let hosts = "---\napiVersion: verger/v1\nkind: Host\nmetadata: { name: web-1 }\nspec: { agent: web-1, labels: { zone: eu } }\n";
    let set_ = set("{ workload: web, hosts: { zone: eu } }", hosts);
    let mut away = host("web-2");
    away.connected = false;
    let said = usage(
        &set_,
        vec![host("web-1"), away],
        vec![instance("web-1")],
        Vec::new(),
    );
    assert!(matches!(said, Usage::Idle(_)), "{said:?}");

    let image = format!("{{ workload: web, image: \"sha256:{}\" }}", "a".repeat(64));
    let set_ = set(&image, "");
    let mut other = counted(1, 0, 0);
    other.image = format!("sha256:{}", "b".repeat(64));
    let said = usage(
        &set_,
        vec![host("web-1")],
        vec![other],
        vec![check("excepted", "needed")],
    );
    assert_eq!(said, Usage::Idle("nothing that it is for runs".to_owned()));
    // An image that is not known may be that one.
    let mut unknown = counted(0, 1, 0);
    unknown.image.clear();
    let said = usage(
        &set_,
        vec![host("web-1")],
        vec![unknown],
        vec![check("notEvaluated", "")],
    );
    is_unknown(&said, "not evaluated");
}

#[test]
fn a_finding_that_it_suppresses_tells_that_it_is_used_and_time_tells_that_it_is_over() {
    let set = set("{ workload: web }", "");
    let mut world = World::of(&set, vec![host("web-1")], Vec::new());
    world.lifting.insert(of(&set).key.clone());
    let at = |text: &str| world.usage(of(&set), text.parse().unwrap());
    assert_eq!(at(AT), Usage::Lifts);
    assert_eq!(at("2026-05-09T23:59:59Z"), Usage::Lifts);
    assert!(matches!(at("2026-05-10T00:00:00Z"), Usage::Idle(why) if why.contains("over since")));
    is_unknown(&at("2026-04-30T23:59:59Z"), "begins at");
}
