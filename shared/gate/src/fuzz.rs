//! Fuzz targets: questions and answers, as whoever reached the socket might send them.

#![allow(clippy::unwrap_used)]

use bolero::check;
use verger_fuzz::Damaged;

use crate::glass::Glass;
use crate::{Answer, FrameError, answer, glass, question};

#[test]
fn hostile_questions_are_refused_in_plain_words_or_asked_again_to_the_same() {
    let seed =
        br#"{"version":2,"operation":"create","id":"0123456789ab","bundle":"/run/bundle","pidFile":""}"#;
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
    let seeds = [br#""allow""#.as_slice(), br#"{"refuse":"it is not blessed"}"#];
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
