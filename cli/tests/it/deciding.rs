//! Deciding what hosts and logins may: what is asked of the cluster, and what is shown of it.

use verger_policy::digest::Digest;
use verger_proto::cluster::v1 as pb;

use crate::cluster::Cluster;
use crate::program::Program;

fn key(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn bytes(name: &str) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(key(name).as_bytes())
}

fn host(name: &str, standing: pb::Standing) -> pb::Host {
    pb::Host {
        agent_id: name.to_owned(),
        standing: standing.into(),
        ..Default::default()
    }
}

fn waiting(name: &str) -> pb::WaitingHost {
    pb::WaitingHost {
        key: bytes(name),
        since: Some(prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        }),
    }
}

#[test]
fn a_host_that_waits_is_shown_with_its_key_and_let_in_by_it() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    cluster.world().hosts = vec![pb::Host {
        waiting: vec![waiting("k")],
        ..host("web-1", pb::Standing::Waiting)
    }];
    assert!(program.run(&["hosts"]).ends(0).out.contains("waits for approval"));
    let shown = program.run(&["hosts", "web-1"]).ends(0).out;
    let line = format!("verger hosts web-1 --approve --key {}", key("k"));
    assert!(shown.contains(&line), "{shown}");
    let object = program.run(&["hosts", "web-1", "-o", "json"]).ends(0).json();
    assert_eq!(
        (&object["state"], &object["waiting"][0]["key"]),
        (&"waiting".into(), &key("k").to_string().into())
    );

    program.run(&["hosts", "web-1", "--approve"]).ends(2);
    let odd = program
        .run(&["hosts", "web-1", "--approve", "--key", "k"])
        .ends(2);
    assert!(
        odd.err.contains("--key") && odd.err.contains("verger hosts web-1"),
        "{}",
        odd.err
    );
    assert!(cluster.world().decided.is_empty());
    let named = key("k").to_string();
    let approved = program
        .run(&["hosts", "web-1", "--approve", "--key", &named])
        .ends(0);
    assert!(approved.err.contains("web-1 was let in"), "{}", approved.err);
    assert_eq!(cluster.world().decided, [["approve", "web-1", &named]]);
}

#[test]
fn everybody_who_waits_under_an_id_is_rejected_unless_one_is_named() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    cluster.world().hosts = vec![
        pb::Host {
            waiting: vec![waiting("k1"), waiting("k2")],
            ..host("web-1", pb::Standing::Waiting)
        },
        host("web-2", pb::Standing::Enrolled),
    ];
    let named = key("k2").to_string();
    program
        .run(&["hosts", "web-1", "--reject", "--key", &named])
        .ends(0);
    assert_eq!(cluster.world().decided, [["reject", "web-1", &named]]);
    program.run(&["hosts", "web-1", "--reject"]).ends(0);
    assert_eq!(cluster.world().decided.len(), 3);
    let nobody = program.run(&["hosts", "web-2", "--reject"]).ends(2);
    assert!(nobody.err.contains("nobody waits"), "{}", nobody.err);
}

#[test]
fn who_shut_a_host_out_when_and_why_is_shown_and_nothing_of_it_is_raw() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    let decided = |name: &str, standing| pb::Host {
        standing_by: "person/ada".to_owned(),
        standing_since: waiting("k").since,
        standing_reason: "stolen\u{1b}[31m".to_owned(),
        ..host(name, standing)
    };
    cluster.world().hosts = vec![
        decided("web-1", pb::Standing::Evicted),
        decided("web-2", pb::Standing::Banned),
    ];
    for (name, word) in [("web-1", "evicted"), ("web-2", "banned")] {
        let shown = program.run(&["hosts", name]).ends(0).out;
        let told = format!("{word} by person/ada at 2023-11-14T22:13:20Z: stolen");
        assert!(shown.contains(&told) && !shown.contains('\u{1b}'), "{shown}");
        let object = program.run(&["hosts", name, "-o", "json"]).ends(0).json();
        assert_eq!(
            (&object["state"], &object["standingBy"]),
            (&word.into(), &"person/ada".into())
        );
    }
    // What ran there last is no pass.
    cluster.world().instances = vec![pb::Instance {
        agent_id: "web-1".to_owned(),
        id: "cd".repeat(32),
        passed: 9,
        judged: waiting("k").since,
        ..Default::default()
    }];
    let shown = program.run(&["instances", "-o", "json"]).ends(3).json()[0].clone();
    assert_eq!(shown["state"], "not evaluated (host evicted)");
}

#[test]
fn a_host_is_shut_out_kept_out_and_let_go_by_name_alone() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    program.run(&["hosts", "web-1", "--ban"]).ends(2);
    for (args, said) in [
        (&["--evict"][..], "is shut out"),
        (&["--evict", "--reason", "stolen"], "is shut out"),
        (&["--ban", "--reason", "hostile"], "no token lets"),
        (&["--unban"], "no longer banned"),
    ] {
        let ran = program.run(&[&["hosts", "web-1"], args].concat()).ends(0);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
    assert_eq!(
        cluster.world().decided,
        [
            ["evict", "web-1", ""],
            ["evict", "web-1", "stolen"],
            ["ban", "web-1", "hostile"],
            ["unban", "web-1", ""]
        ]
    );
    let object = program
        .run(&["hosts", "web-1", "--evict", "-o", "json"])
        .ends(0)
        .json();
    assert_eq!(object["decided"], "evicted");
}

#[test]
fn a_login_is_revoked_with_a_reason() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    program.run(&["context", "revoke", "--person", "bob"]).ends(2);
    let revoked = program
        .run(&["context", "revoke", "--person", "bob", "--reason", "left"])
        .ends(0);
    assert!(
        revoked.err.contains("no login of bob serves any more"),
        "{}",
        revoked.err
    );
    assert_eq!(cluster.world().decided, [["revoke", "bob", "left"]]);
}
