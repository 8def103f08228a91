//! Checks about what reached the runtime past the proxy, as the tripwire keeps it.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use verger_policy::drift::{Check, Outcome};
use verger_policy::model::{Control, RuleId, Severity};
use verger_tripwire_protocol::{Record, Row};

const PAST_THE_PROXY: RuleId = RuleId::builtin("host/past-the-proxy");
/// So long after the last one it is over.
const OVER_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// One for each kind of thing that was asked for of late. `now` is by this host's clock, as the record is.
pub(super) fn checks(path: &Path, now: Timestamp) -> Vec<Check> {
    let record = match Record::read(path) {
        Ok(record) => record,
        Err(error) => {
            return vec![Check {
                field: "api".into(),
                result: Outcome::NotEvaluated,
                reason: format!("what the tripwire denied cannot be read: {error}").into(),
                ..of("", None)
            }];
        }
    };
    let mut latest: BTreeMap<String, &Row> = BTreeMap::new();
    let recent = record
        .strays
        .iter()
        .filter(|row| now.duration_since(row.last) < OVER_AFTER);
    for row in recent {
        let held = latest.entry(kind(&row.path)).or_insert(row);
        if held.last < row.last {
            *held = row;
        }
    }
    latest.iter().map(|(kind, row)| of(kind, Some(row))).collect()
}

/// What is asked for: the first word of a path after the version.
fn kind(path: &str) -> String {
    let is_version = |word: &&str| {
        let rest = word.strip_prefix('v').unwrap_or_default();
        rest.starts_with(|first: char| first.is_ascii_digit())
    };
    let mut words = path
        .split('/')
        .filter(|word| !word.is_empty())
        .skip_while(is_version);
    let word = words.next().unwrap_or("?");
    word.chars().filter(char::is_ascii_graphic).take(32).collect()
}

fn of(kind: &str, latest: Option<&Row>) -> Check {
    Check {
        control: Control::Host,
        rule: PAST_THE_PROXY,
        field: format!("api[{kind}]").into(),
        result: Outcome::Fail,
        expected: Some("nothing but what the proxy sends on".to_owned()),
        actual: latest.map(|row| match row.user.as_str() {
            "" => format!("{} {}", row.method, row.path),
            user => format!("{} {} by {user}", row.method, row.path),
        }),
        reason: "somebody reached the runtime by another way than the proxy, and was denied".into(),
        severity: Severity::High,
        decided_by: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn row(path: &str, last: i64) -> Row {
        Row {
            method: "POST".to_owned(),
            path: path.to_owned(),
            user: String::new(),
            first: at(0),
            last: at(last),
            count: 1,
        }
    }

    #[test]
    fn what_was_denied_of_late_fails_once_for_each_kind_and_is_over_after_an_hour() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("strays.json");
        assert!(checks(&path, at(0)).is_empty());
        let strays = vec![
            row("/v1.41/containers/create", 20),
            row("/containers/abc/exec", 10),
            row("/v1.41/info", 0),
            row("", 30),
        ];
        let record = Record {
            version: 1,
            strays,
            more: 0,
        };
        std::fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
        let found = |now| -> Vec<(String, String)> {
            let checks = checks(&path, at(now));
            let told = checks
                .into_iter()
                .map(|check| (check.field.to_string(), check.actual.unwrap()));
            told.collect()
        };
        let shown = |now| found(now).into_iter().map(|(field, _)| field).collect::<Vec<_>>();
        assert_eq!(shown(30), ["api[?]", "api[containers]", "api[info]"]);
        assert_eq!(found(30)[1].1, "POST /v1.41/containers/create");
        assert_eq!(shown(3_605), ["api[?]", "api[containers]"]);
        assert!(shown(3_630).is_empty());
    }

    #[test]
    fn a_record_that_cannot_be_read_is_not_evaluated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("strays.json");
        std::fs::write(&path, b"{").unwrap();
        let checks = checks(&path, at(0));
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].result, Outcome::NotEvaluated);
        assert!(checks[0].reason.contains("strays.json"));
    }
}
