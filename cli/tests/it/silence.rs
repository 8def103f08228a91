//! Silence is no pass: what a host that is away said before, or of a runtime that it cannot read, does not count.

use verger_proto::cluster::v1 as pb;

use crate::cluster::Cluster;
use crate::program::Program;

fn host(name: &str) -> pb::Host {
    pb::Host {
        agent_id: name.to_owned(),
        last_seen: Some(prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        }),
        connected: true,
        ..Default::default()
    }
}

fn instance(host: &str, failed: u32) -> pb::Instance {
    pb::Instance {
        agent_id: host.to_owned(),
        runtime: "docker".to_owned(),
        id: "cd".repeat(32),
        name: "shop".to_owned(),
        passed: 9,
        failed,
        judged: Some(prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        }),
        ..Default::default()
    }
}

fn shown(program: &Program, code: i32) -> serde_json::Value {
    let table = program.run(&["instances", "-o", "wide"]).ends(code).out;
    let shown = program.run(&["instances", "-o", "json"]).ends(code).json()[0].clone();
    let state = shown["state"].as_str().unwrap();
    let first_word = state.split(' ').next().unwrap();
    assert!(table.contains(first_word), "{state}: {table}");
    assert_eq!(table.contains("clean"), state == "clean", "{table}");
    shown
}

#[test]
fn instances_of_a_host_that_is_away_or_blind_are_not_evaluated() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    cluster.world().hosts = vec![host("web-1")];
    cluster.world().instances = vec![instance("web-1", 0)];
    assert_eq!(shown(&program, 0)["state"], "clean");

    cluster.world().hosts[0].connected = false;
    let away = "not evaluated (host away since 2023-11-14T22:13:20Z)";
    let said = shown(&program, 3);
    assert_eq!(
        (&said["state"], &said["silence"]),
        (&away.into(), &"host away since 2023-11-14T22:13:20Z".into())
    );
    cluster.world().instances = vec![instance("web-1", 2)];
    assert_eq!(shown(&program, 3)["state"], format!("{away}; before: 2 failed"));

    cluster.world().instances = vec![instance("web-1", 0)];
    cluster.world().hosts[0].connected = true;
    cluster.world().hosts[0]
        .unreadable
        .insert("docker".to_owned(), "permission denied".to_owned());
    assert_eq!(
        shown(&program, 3)["state"],
        "not evaluated (runtime unreadable: permission denied)"
    );
    // Another runtime's blindness says nothing of this one.
    cluster.world().hosts[0].unreadable = [("libvirt".to_owned(), "gone".to_owned())].into();
    assert_eq!(shown(&program, 0)["state"], "clean");
    cluster.world().hosts.clear();
    assert_eq!(shown(&program, 3)["state"], "not evaluated (host not known)");
}

#[test]
fn one_instance_is_shown_with_its_hosts_silence() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    cluster.world().hosts = vec![host("web-1")];
    let one = ["instances", "evil", "--host", "web-1"];
    assert!(program.run(&one).ends(0).out.contains("1 failed"));
    cluster.world().hosts[0].connected = false;
    let shown = program.run(&[&one[..], &["-o", "json"]].concat()).ends(3).json();
    assert_eq!(
        shown["silence"], "host away since 2023-11-14T22:13:20Z",
        "{shown}"
    );
}

#[test]
fn of_a_host_that_is_away_it_is_said_since_when() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    cluster.world().hosts = vec![host("web-1")];
    assert!(!program.run(&["hosts"]).ends(0).out.contains("away"));
    cluster.world().hosts[0].connected = false;
    for args in [&["hosts", "-o", "wide"][..], &["hosts", "web-1", "-o", "wide"]] {
        let said = program.run(args).ends(0).out;
        assert!(said.contains("away since"), "{said}");
    }
    let object = program.run(&["hosts", "web-1", "-o", "json"]).ends(0).json();
    assert_eq!(
        (&object["state"], &object["awaySince"]),
        (&"away".into(), &"2023-11-14T22:13:20Z".into())
    );
}

#[test]
fn a_host_that_is_gone_for_good_is_taken_out_by_name_alone() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    program.run(&["hosts", "--remove"]).ends(2);
    assert!(cluster.world().removed.is_empty());
    let removed = program.run(&["hosts", "web-1", "--remove"]).ends(0);
    assert!(removed.err.contains("web-1 was taken out"), "{}", removed.err);
    assert_eq!(cluster.world().removed, ["web-1"]);
}
