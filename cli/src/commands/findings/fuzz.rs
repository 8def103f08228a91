//! Fuzz target: findings of a controller, whose texts come from containers.

#![allow(clippy::unwrap_used)]

use bolero::check;
use prost::Message as _;
use verger_fuzz::Damaged;
use verger_policy::finding::{Acknowledgement, Lifecycle};
use verger_wire::IntoWire as _;

use super::tell::tests::finding;
use super::*;
use crate::output::fuzz::{FORMATS, assert_shown};

#[test]
fn hostile_findings_are_refused_or_told_in_one_line_a_field() {
    let mut acknowledged = finding(2, 8);
    acknowledged.lifecycle = Lifecycle::Acknowledged;
    acknowledged.acknowledged = Some(Acknowledgement {
        person: "ada".to_owned(),
        note: "known\u{1b}[2J".to_owned(),
        at: acknowledged.changed,
    });
    let seeds = [finding(1, 7), acknowledged].map(|finding| {
        let message: pb::Finding = (&finding).into_wire();
        message.encode_to_vec()
    });
    check!()
        .with_generator(Damaged::proto(seeds))
        .with_iterations(3_000)
        .for_each(|bytes| {
            let Ok(message) = pb::Finding::decode(&**bytes) else {
                return;
            };
            let finding = match Finding::from_wire(message) {
                Ok(finding) => finding,
                Err(error) => return assert_shown(&error.to_string()),
            };
            for text in [tell::show(&finding), tell::explain(&finding)] {
                assert_shown(&text);
            }
            assert_eq!(
                tell::show(&finding).lines().count(),
                14 + usize::from(finding.acknowledged.is_some())
                    + finding.hosts.len()
                    + finding.samples.len()
            );
            for wide in [false, true] {
                let line = record::line(&finding, wide);
                assert_shown(&line);
                assert_eq!(line.lines().count(), 1);
            }
            let mut sheet = Sheet::one(record::COLUMNS);
            record::push(&mut sheet, &finding);
            for format in FORMATS {
                assert_shown(&sheet.render(format).unwrap());
            }
        });
}

#[test]
fn counts_of_a_controller_that_lies_are_added_up_without_a_crash() {
    let mut finding = finding(1, 7);
    for host in ["h1", "h2"] {
        let count = verger_policy::finding::HostCount {
            affected: u64::MAX,
            evaluated: u64::MAX,
        };
        finding.hosts.insert(host.parse().unwrap(), count);
    }
    assert!(record::line(&finding, true).contains(&u64::MAX.to_string()));
    assert!(tell::explain(&finding).contains(&u64::MAX.to_string()));
}
