//! Findings: filters, and a watch that survives a lost stream.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use verger_proto::findings::v1 as pb;

use crate::cluster::Cluster;
use crate::program::Program;

pub(crate) fn finding(seed: u8, revision: u64, name: &str) -> pb::WatchResponse {
    let at = Some(prost_types::Timestamp {
        seconds: 1_700_000_000,
        nanos: 0,
    });
    let finding = pb::Finding {
        uid: vec![seed; 32].into(),
        revision,
        subject: Some(pb::Subject {
            class: Some(pb::subject::Class::Workload("shop/web".to_owned())),
        }),
        image: format!("sha256:{}", "a".repeat(64)),
        check: Some(pb::Check {
            control: "config".to_owned(),
            rule: "config/env".to_owned(),
            field: "env[MODE]".to_owned(),
            result: "fail".to_owned(),
            expected: Some("fast".to_owned()),
            actual: Some(format!("slow{name}")),
            reason: "it differs".to_owned(),
            severity: "medium".to_owned(),
            decided_by: Some(verger_proto::policy::v1::ObjectKey {
                kind: "Workload".to_owned(),
                name: "shop/web".to_owned(),
            }),
        }),
        lifecycle: pb::Lifecycle::Open.into(),
        acknowledged: None,
        wanted: "monitor".to_owned(),
        effective: "monitor".to_owned(),
        hosts: [(
            "web-1".to_owned(),
            pb::HostCount {
                affected: 1,
                evaluated: 2,
            },
        )]
        .into(),
        samples: vec![pb::Sample {
            runtime: "docker".to_owned(),
            id: "ab".repeat(32),
            name: name.to_owned(),
        }],
        first_seen: at,
        changed: at,
        reopened: 0,
        occurrences: 1,
    };
    pb::WatchResponse {
        finding: Some(finding),
        revision,
        r#type: pb::watch_response::Type::Changed.into(),
    }
}

fn bookmark(revision: u64) -> pb::WatchResponse {
    pb::WatchResponse {
        finding: None,
        revision,
        r#type: pb::watch_response::Type::Bookmark.into(),
    }
}

/// One that is there no more: its uid is all that is told.
fn gone(seed: u8, revision: u64) -> pb::WatchResponse {
    pb::WatchResponse {
        finding: Some(pb::Finding {
            uid: vec![seed; 32].into(),
            revision,
            ..pb::Finding::default()
        }),
        revision,
        r#type: pb::watch_response::Type::Deleted.into(),
    }
}

#[test]
fn a_watch_resumes_after_a_lost_stream_without_loss_or_repeat() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    cluster.world().streams.extend([
        vec![finding(1, 3, ""), bookmark(3), gone(4, 6), finding(2, 7, "")],
        // The batch of revision 7 was cut in two: it comes again, whole.
        vec![
            finding(2, 7, ""),
            finding(3, 7, ""),
            bookmark(7),
            finding(1, 9, ""),
        ],
    ]);
    let mut command = program.command(&["findings", "watch", "-o", "jsonl", "--control", "config"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = child.stdout.take().unwrap();
    let (lines, printed) = mpsc::sync_channel(16);
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(out).lines() {
            if lines.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    let mut seen = Vec::new();
    for _ in 0..4 {
        let line = printed
            .recv_timeout(Duration::from_secs(60))
            .expect("a finding is printed at once");
        let object: Value = serde_json::from_str(&line).unwrap();
        seen.push((
            object["uid"].as_str().unwrap()[..2].to_owned(),
            object["revision"].as_u64().unwrap(),
        ));
        assert_eq!(
            (&object["state"], &object["hosts"]["web-1"]["affected"]),
            (&"open".into(), &1.into())
        );
        assert_eq!(
            (&object["expected"], &object["decidedBy"]),
            (&"fast".into(), &"Workload/shop/web".into())
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    assert!(printed.try_recv().is_err(), "nothing is printed twice");
    let wanted =
        [("01", 3), ("02", 7), ("03", 7), ("01", 9)].map(|(uid, revision)| (uid.to_owned(), revision));
    assert_eq!(seen, wanted);
    let world = cluster.world();
    let asked: Vec<u64> = world
        .watched
        .iter()
        .map(|request| request.after_revision)
        .collect();
    assert_eq!(asked, [0, 3]);
    assert_eq!(world.watched[1].filter.as_ref().unwrap().controls, ["config"]);
}

#[test]
fn findings_are_listed_in_every_format_and_never_act_on_a_terminal() {
    let program = Program::new();
    let cluster = Cluster::start(&program);
    cluster
        .world()
        .streams
        .push_back(vec![finding(1, 3, "\u{1b}[31m\r\n\u{202e}")]);
    for format in ["table", "wide", "json", "yaml", "jsonl", "name"] {
        let ran = program.run(&["findings", "list", "-o", format]).ends(0);
        assert!(ran.out.contains("010101010101"), "{format}: {}", ran.out);
        assert!(
            !ran.out.contains(['\u{1b}', '\r', '\u{202e}']),
            "{format}: {}",
            ran.out
        );
    }
    let listed = program.run(&["findings", "list", "-o", "json"]).ends(0).json();
    let keys = [
        "uid",
        "revision",
        "state",
        "control",
        "rule",
        "severity",
        "subject",
        "image",
        "field",
        "expected",
        "actual",
        "reason",
        "decidedBy",
        "hosts",
        "samples",
        "firstSeen",
        "changed",
        "reopened",
        "occurrences",
    ];
    for key in keys {
        assert!(!listed[0][key].is_null(), "{key}");
    }
}

#[test]
fn slips_in_filters_and_uids_are_named_before_the_cluster_is_asked() {
    let program = Program::new();
    for (args, wanted) in [
        (
            &["findings", "list", "--state", "closed"][..],
            "open, acknowledged",
        ),
        (&["findings", "watch", "--control", "privileges"], "privilege"),
        (&["findings", "list", "--workload", "Shop"], "--workload"),
    ] {
        assert!(program.run(args).ends(2).err.contains(wanted), "{wanted}");
    }
    let _cluster = Cluster::start(&program);
    assert!(
        program
            .run(&["findings", "show", "xyz"])
            .ends(2)
            .err
            .contains("64 hex digits")
    );
    assert!(
        program
            .run(&["findings", "show", "0123456789"])
            .ends(1)
            .err
            .contains("there is no finding")
    );
}
