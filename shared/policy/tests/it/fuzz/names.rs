//! Names, words and digests, wherever they come from.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use bolero::check;
use verger_fuzz::Damaged;
use verger_policy::digest::Digest;
use verger_policy::model::{
    AgentId, Control, Kind, Mode, Name, ObjectKey, RuleId, RuntimeKind, Severity, printable, printable_within,
};

use super::assert_short;

const NAMES: &[&str] = &[
    "payments/web",
    "privilege/is-root",
    "Workload/payments/web",
    "edge-1",
    "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "docker",
    "enforce",
    "critical",
];

/// One spelling each: what is accepted is written back as it was.
fn parse<T: FromStr<Err: Display> + Display + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => {
            assert_eq!(value.to_string(), text);
            assert_short(text);
        }
        Err(error) => assert_short(&error.to_string()),
    }
}

#[test]
fn hostile_names_and_words_are_refused_or_written_back_the_same() {
    check!()
        .with_generator(Damaged::bytes(NAMES))
        .with_iterations(10_000)
        .for_each(|input| {
            let text = input.text();
            parse::<Name>(&text);
            parse::<AgentId>(&text);
            parse::<RuleId>(&text);
            parse::<ObjectKey>(&text);
            parse::<Digest>(&text);
            parse::<Kind>(&text);
            parse::<RuntimeKind>(&text);
            parse::<Control>(&text);
            parse::<Mode>(&text);
            parse::<Severity>(&text);
        });
}

#[test]
fn hostile_text_is_printable_once_escaped_and_no_longer_than_asked() {
    check!()
        .with_generator(Damaged::bytes(NAMES))
        .with_iterations(10_000)
        .for_each(|input| {
            let text = input.text();
            let shown = printable(&text);
            assert_eq!(printable(&shown), shown);
            let cut = printable_within(&text, 60);
            assert!(cut.chars().count() <= 60 * "\\u{10ffff}".len() + 1, "{cut}");
            assert_short(&cut);
        });
}
