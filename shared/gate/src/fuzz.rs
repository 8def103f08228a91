//! Fuzz targets: questions and answers, as whoever reached the socket might send them.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use bolero::check;
use verger_fuzz::Damaged;

use crate::glass::Glass;
use crate::tighten::Tightening;
use crate::{Answer, Document, FrameError, answer, glass, question};

#[test]
fn hostile_questions_are_refused_in_plain_words_or_asked_again_to_the_same() {
    let seed =
        br#"{"version":3,"operation":"create","id":"0123456789ab","bundle":"/run/bundle","pidFile":""}"#;
    check!()
        .with_generator(Damaged::json([seed]))
        .with_iterations(10_000)
        .for_each(|bytes| match question(bytes) {
            Ok(read) => {
                let again = serde_json::to_vec(&read).unwrap();
                assert_eq!(question(&again).unwrap(), read);
            }
            Err(error) => assert!(!error.to_string().contains(char::is_control)),
        });
}

#[test]
fn hostile_answers_allow_only_where_they_say_so() {
    let seeds = [
        br#""allow""#.as_slice(),
        br#"{"refuse":"it is not blessed"}"#,
        br#"{"tighten":{"tightening":{"capabilities":["CAP_KILL"],"noNewPrivileges":true,"seccomp":"{}"},"sha256":"00"}}"#,
    ];
    check!()
        .with_generator(Damaged::json(seeds))
        .with_iterations(10_000)
        .for_each(|bytes| match answer(bytes) {
            Ok(read) => {
                let said: serde_json::Value = serde_json::from_slice(bytes).unwrap();
                assert_eq!(read == Answer::Allow, said == "allow", "{said}");
            }
            Err(error) => assert!(matches!(error, FrameError::Malformed(_))),
        });
}

#[test]
fn hostile_documents_are_tightened_whole_or_refused() {
    let seeds = [
        br#"{"root":{"path":"/r"},"process":{"args":["/a"],"capabilities":{"bounding":["CAP_KILL","CAP_SYS_ADMIN"]}},"linux":{"seccomp":null}}"#.as_slice(),
        br#"{"process":{"capabilities":null,"noNewPrivileges":false},"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW"}}}"#,
    ];
    let tightening = Tightening {
        capabilities: Some(BTreeSet::from(["CAP_KILL".to_owned()])),
        no_new_privileges: true,
        read_only_rootfs: true,
        seccomp: Some(r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#.to_owned()),
    };
    check!()
        .with_generator(Damaged::json(seeds))
        .with_iterations(10_000)
        .for_each(|bytes| match tightening.applied(Document::Config, bytes) {
            Ok(after) => {
                // A value of serde_json takes no number that is too large for it, and keeps one key for itself.
                let value = serde_json::from_slice::<serde_json::Value>;
                let Ok(read) = value(&after) else {
                    let is_kept = String::from_utf8_lossy(&after).contains("$serde_json::private");
                    assert!(is_kept || value(bytes).is_err());
                    return;
                };
                for set in ["bounding", "effective", "inheritable", "permitted", "ambient"] {
                    let held = read["process"]["capabilities"][set].as_array();
                    assert!(
                        held.is_none_or(|held| held.iter().all(|one| one == "CAP_KILL")),
                        "{read}"
                    );
                }
                assert!(
                    read.get("process")
                        .is_none_or(|process| process["noNewPrivileges"] == true)
                );
                assert!(read.get("root").is_none_or(|root| root["readonly"] == true));
                assert_eq!(
                    read["linux"]["seccomp"],
                    serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO"})
                );
                assert_eq!(tightening.applied(Document::Config, &after).unwrap(), after);
            }
            Err(error) => assert!(!error.to_string().contains(char::is_control)),
        });
}

#[test]
fn hostile_words_about_the_glass_are_refused_or_bounded_and_written_again_to_the_same() {
    let seed = br#"{"version":1,"reason":"away","who":"uid 0","boot":"b","from":1,"until":3601,"record":"/x/launched.jsonl"}"#;
    check!()
        .with_generator(Damaged::json([seed]))
        .with_iterations(10_000)
        .for_each(|bytes| match Glass::parse(bytes) {
            Ok(glass) => {
                let latest = glass.from.saturating_add(glass::MOST_SECONDS);
                assert!(!glass.holds(&glass.boot, latest));
                let again = serde_json::to_vec(&glass).unwrap();
                assert_eq!(Glass::parse(&again).unwrap(), glass);
            }
            Err(error) => assert!(!error.contains(char::is_control)),
        });
}

#[test]
fn hostile_records_of_what_was_launched_give_lines_that_are_whole() {
    let line = b"{\"at\":7,\"operation\":\"create\",\"id\":\"abc\"}\n";
    check!()
        .with_generator(Damaged::lines([line.as_slice()]))
        .with_iterations(10_000)
        .for_each(|bytes| {
            let read = glass::lines(bytes);
            let again: Vec<u8> = read
                .iter()
                .flat_map(|launched| [serde_json::to_vec(launched).unwrap(), b"\n".to_vec()].concat())
                .collect();
            assert_eq!(glass::lines(&again), read);
        });
}
