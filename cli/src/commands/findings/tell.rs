//! A finding told to a person.

use std::fmt::Write as _;

use verger_policy::drift::{Outcome, rule_of};
use verger_policy::explain;
use verger_policy::finding::{Acknowledgement, Finding, HostCount, Lifecycle, SubjectClass};
use verger_policy::model::printable;

use super::record::{subject, word};

/// Every field, one a line.
pub(super) fn show(finding: &Finding) -> String {
    let check = &finding.check;
    let mut lines: Vec<(&str, String)> = vec![
        ("uid", finding.uid.to_string()),
        ("state", word(&finding.lifecycle)),
        ("rule", format!("{} ({})", check.rule, check.severity)),
        ("subject", subject(&finding.subject)),
        (
            "image",
            finding
                .image
                .map_or_else(|| "-".to_owned(), |image| image.to_string()),
        ),
        ("field", check.field.to_string()),
        (
            "expected",
            check.expected.clone().unwrap_or_else(|| "-".to_owned()),
        ),
        ("actual", check.actual.clone().unwrap_or_else(|| "-".to_owned())),
        ("reason", check.reason.to_string()),
        (
            "decided by",
            check
                .decided_by
                .as_ref()
                .map_or_else(|| "the rule itself".to_owned(), ToString::to_string),
        ),
        (
            "mode",
            format!("{} wanted, {} in effect", finding.wanted, finding.effective),
        ),
        ("first seen", finding.first_seen.to_string()),
        (
            "changed",
            format!("{} (revision {})", finding.changed, finding.revision),
        ),
        (
            "seen",
            format!(
                "{} times, reopened {} times",
                finding.occurrences, finding.reopened
            ),
        ),
    ];
    if let Some(Acknowledgement { person, note, at }) = &finding.acknowledged {
        lines.push(("acknowledged", format!("by {person} at {at}: {note}")));
    }
    for (host, HostCount { affected, evaluated }) in &finding.hosts {
        lines.push(("host", format!("{host}: {affected} of {evaluated} instances")));
    }
    for sample in &finding.samples {
        lines.push(("instance", format!("{} {}", sample.instance, sample.name)));
    }
    lines.into_iter().fold(String::new(), |mut text, (name, value)| {
        writeln!(text, "{:<14}{}", format!("{name}:"), printable(&value)).expect("a String takes everything");
        text
    })
}

/// What it means, which rule decided, and what to do.
pub(super) fn explain(finding: &Finding) -> String {
    let check = &finding.check;
    let who = match &finding.subject {
        SubjectClass::Workload(name) => format!("instances of Workload/{name}"),
        SubjectClass::Unknown(Some(image)) => format!("instances of no workload, of image {image}"),
        SubjectClass::Unknown(None) => "instances of no workload".to_owned(),
        SubjectClass::Host => "the host itself".to_owned(),
    };
    let affected: u64 = finding
        .hosts
        .values()
        .fold(0, |sum, count| sum.saturating_add(count.affected));
    let hosts: Vec<String> = finding.hosts.keys().map(ToString::to_string).collect();
    let mut lines = vec![format!(
        "This is about {who}: {affected} affected, on {}.",
        listed(&hosts)
    )];
    lines.push(explain::check(check));
    if let Some(rule) = rule_of(check) {
        lines.push(format!("Why the rule is there: {}.", rule.reason));
        if check.result != Outcome::Fail {
            lines.push(format!("Remedy: {}.", rule.remedy));
        }
        if !rule.standards.is_empty() {
            lines.push(format!("The same is asked for by {}.", rule.standards.join(", ")));
        }
    }
    lines.push(match finding.lifecycle {
        Lifecycle::Open => format!(
            "It is open since {}. To let it wait: verger findings ack {} --note WHY. To permit it for a time, seal an \
             Exception for {}.",
            finding.first_seen,
            &finding.uid.to_string()[..12],
            check.rule
        ),
        Lifecycle::Acknowledged => match &finding.acknowledged {
            Some(Acknowledgement { person, note, at }) => format!("{person} acknowledged it at {at}: {note}"),
            None => "It is acknowledged.".to_owned(),
        },
        Lifecycle::Suppressed => "An exception in force lifts it; when that ends, the finding opens again by itself.".to_owned(),
        Lifecycle::Resolved => format!("It is resolved since {}: every affected instance passed, or is gone.", finding.changed),
    });
    lines
        .into_iter()
        .map(|line| format!("{}\n", printable(&line)))
        .collect()
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "no host".to_owned(),
        few if few.len() <= 5 => few.join(", "),
        many => format!("{} and {} more hosts", many[..5].join(", "), many.len() - 5),
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use verger_policy::digest::Digest;
    use verger_policy::drift::Check;
    use verger_policy::facts::InstanceId;
    use verger_policy::finding::{FindingUid, Sample};
    use verger_policy::model::{Control, Mode, RuntimeKind, Severity};
    use verger_policy::rules;

    use super::*;

    /// A finding whose uid begins with `seed`.
    pub(in super::super) fn finding(seed: u8, revision: u64) -> Finding {
        let at = Timestamp::UNIX_EPOCH;
        Finding {
            uid: FindingUid(Digest::from_bytes([seed; 32])),
            revision,
            control: Control::Privilege,
            rule: rules::IS_ROOT.rule_id(),
            subject: SubjectClass::Workload("payments/web".parse().expect("a name")),
            image: None,
            check: Check {
                control: Control::Privilege,
                rule: rules::IS_ROOT.rule_id(),
                field: "user.uid".into(),
                result: Outcome::Fail,
                expected: Some("1000".to_owned()),
                actual: Some("0\u{1b}[31m\r\n".to_owned()),
                reason: "it is root".into(),
                severity: Severity::High,
                decided_by: None,
            },
            lifecycle: Lifecycle::Open,
            acknowledged: None,
            wanted: Mode::Monitor,
            effective: Mode::Monitor,
            hosts: BTreeMap::from([(
                "web-1".parse().expect("an id"),
                HostCount {
                    affected: 1,
                    evaluated: 2,
                },
            )]),
            samples: vec![Sample {
                instance: InstanceId {
                    runtime: RuntimeKind::Docker,
                    id: "ab".repeat(32),
                },
                name: "evil\u{202e}\u{1b}]0;x\u{7}".to_owned(),
            }],
            first_seen: at,
            changed: at,
            reopened: 0,
            occurrences: 1,
        }
    }

    #[test]
    fn bytes_of_a_container_are_escaped() {
        for text in [show(&finding(1, 7)), explain(&finding(1, 7))] {
            assert!(!text.contains(['\u{1b}', '\r', '\u{202e}', '\u{7}']), "{text}");
        }
        assert!(show(&finding(1, 7)).contains("evil\\u{202e}"));
    }

    #[test]
    fn an_explanation_names_rule_remedy_and_what_to_do_next() {
        let text = explain(&finding(1, 7));
        for wanted in [
            "privilege/is-root",
            "Remedy",
            "Workload/payments/web",
            "web-1",
            "findings ack 010101010101",
        ] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
    }
}
