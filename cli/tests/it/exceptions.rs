//! `exceptions`: what is lifted, until when, and whether anything needs it.

use jiff::{SignedDuration, Timestamp};
use verger_proto::cluster::v1 as pb;
use verger_seal::ChainHead;

use crate::cluster::Cluster;
use crate::freshness;
use crate::program::Program;

const DAY: i64 = 24;

/// An exception for workload `web` that began a day ago and ends in so many hours.
fn exception(name: &str, rule: &str, ends_in_hours: i64) -> String {
    let at =
        |hours: i64| (Timestamp::now() + SignedDuration::from_hours(hours)).strftime("%Y-%m-%dT%H:%M:%SZ");
    format!(
        "---\napiVersion: verger/v1\nkind: Exception\nmetadata: {{ name: {name} }}\nspec: {{ rules: [ {rule} ], scope: {{ workload: \
         web }}, owner: \"Ann\", reason: \"because\", ticket: T-1, notBefore: {}, notAfter: {} }}\n",
        at(-DAY),
        at(ends_in_hours)
    )
}

fn host() -> pb::Host {
    pb::Host {
        agent_id: "web-1".to_owned(),
        connected: true,
        epoch: 1,
        ..Default::default()
    }
}

/// What the agent says of an instance of which one failing check is lifted by `by`.
fn instance(by: &str) -> pb::Instance {
    let checks = format!(
        r#"[{{"control":"privilege","rule":"privilege/is-root","field":"user","result":"excepted","expected":"another uid than 0","actual":"0","reason":"r","decidedBy":{{"kind":"Exception","name":"{by}"}}}}]"#
    );
    pb::Instance {
        agent_id: "web-1".to_owned(),
        runtime: "docker".to_owned(),
        id: "cd".repeat(32),
        workloads: vec!["web".to_owned()],
        entitled: true,
        excepted: 1,
        epoch: 1,
        judged: Some(verger_wire::timestamp(Timestamp::now())),
        checks_json: checks.into_bytes().into(),
        ..Default::default()
    }
}

fn names(value: &serde_json::Value) -> Vec<&str> {
    let rows = value.as_array().unwrap();
    rows.iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[test]
fn exceptions_are_listed_with_who_sealed_them_and_those_that_end_soon_end_with_1() {
    let program = Program::new();
    let _cluster = Cluster::start(&program);
    let drafts = [
        exception("long", "privilege/is-root", 60 * DAY),
        exception("short", "config/mounts", 3 * DAY),
    ];
    let file = program.write("e.yaml", drafts.concat());
    program.run(&["apply", "-f", &file]).ends(0);

    let listed = program.run(&["exceptions", "list", "-o", "json"]).ends(0).json();
    assert_eq!(names(&listed), ["long", "short"]);
    let row = &listed[1];
    assert_eq!(
        (&row["state"], &row["owner"], &row["ticket"], &row["sealedBy"][0]),
        (&"inForce".into(), &"Ann".into(), &"T-1".into(), &"ann".into())
    );
    assert_eq!(row["scope"]["workload"], "web");
    let table = program.run(&["exceptions", "list", "-o", "wide"]).ends(0).out;
    assert!(table.contains("in force") && table.contains("because"), "{table}");

    let soon = program
        .run(&["exceptions", "expiring", "-o", "json"])
        .ends(1)
        .json();
    assert_eq!(names(&soon), ["short"]);
    assert!(soon[0]["secondsLeft"].as_i64().unwrap() > 2 * 86_400);
    program
        .run(&["exceptions", "expiring", "--within", "2d", "--workload", "web"])
        .ends(0);
    let none = program
        .run(&["exceptions", "list", "--workload", "other", "-o", "json"])
        .ends(0)
        .json();
    assert_eq!(names(&none), Vec::<&str>::new());
    program
        .run(&["exceptions", "expiring", "--within", "soon"])
        .ends(2);
    program.run(&["exceptions", "list", "--workload", "W"]).ends(2);
}

#[test]
fn what_nothing_needs_is_unused_and_what_no_host_vouches_for_cannot_be_told() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let drafts = [
        exception("idle", "config/mounts", 60 * DAY),
        exception("needed", "privilege/is-root", 60 * DAY),
    ];
    let file = program.write("e.yaml", drafts.concat());
    program.run(&["apply", "-f", &file]).ends(0);
    {
        let mut world = cluster.world();
        world.only_good_hosts = true;
        world.hosts = vec![host()];
        world.instances = vec![instance("needed")];
    }
    let unused = |code: i32| {
        program
            .run(&["exceptions", "unused", "-o", "json"])
            .ends(code)
            .json()
    };
    let said = unused(1);
    assert_eq!(names(&said), ["idle"]);
    assert_eq!(said[0]["use"]["usage"], "unused");

    // While a host is away nobody can say; what is known to be needed stays so.
    cluster.world().hosts[0].connected = false;
    let said = unused(3);
    assert_eq!(names(&said), ["idle"]);
    assert_eq!(said[0]["use"]["usage"], "unknown");
    assert!(
        said[0]["use"]["why"].as_str().unwrap().contains("web-1"),
        "{said}"
    );

    cluster.world().hosts[0].connected = true;
    cluster.world().instances = vec![instance("another")];
    let said = unused(1);
    assert_eq!(names(&said), ["idle", "needed"]);
    assert!(
        said[1]["use"]["why"]
            .as_str()
            .unwrap()
            .contains("Exception/another"),
        "{said}"
    );
}

#[test]
fn time_is_that_of_the_members_where_this_machine_differs() {
    let program = Program::new();
    let cluster = freshness::cluster(&program);
    let file = program.write("e.yaml", exception("e", "config/mounts", 2));
    program.run(&["apply", "-f", &file]).ends(0);
    let state = || {
        let ran = program.run(&["exceptions", "list", "-o", "json"]).ends(0);
        (ran.json()[0]["state"].as_str().unwrap().to_owned(), ran.err)
    };
    let (epoch, root) = {
        let world = cluster.world();
        (world.set.epoch(), world.set.root())
    };
    for (ago, expected) in [
        (SignedDuration::ZERO, "inForce"),
        (SignedDuration::from_hours(-3), "over"),
        (SignedDuration::from_hours(25), "notYet"),
    ] {
        cluster.world().stamp = Some(freshness::stamp(&program, epoch, root, ChainHead::START, ago));
        let (state, err) = state();
        assert_eq!(state, expected);
        assert_eq!(err.contains("clock says"), !ago.is_zero(), "{err}");
    }
}
