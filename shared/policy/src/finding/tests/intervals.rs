//! When something is sent, and when it is only counted.

use super::super::Lifecycle;
use super::{Host, id, judgement, time};
use crate::drift::Outcome;
use crate::model::Severity;

#[test]
fn the_first_is_sent_at_once_and_repeats_at_growing_intervals() {
    let mut host = Host::default();
    let minutes: Vec<i64> = (0..=400)
        .filter(|minute| !host.rounds(minute * 60, &[("a", Outcome::Fail)]).is_empty())
        .collect();
    assert_eq!(minutes, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363]);
    assert_eq!(host.table.values().next().unwrap().occurrences, 401);
}

#[test]
fn a_repeat_is_counted_and_need_not_be_stored() {
    let mut host = Host::default();
    host.rounds(0, &[("a", Outcome::Fail)]);
    let quiet = host.look(5, &[judgement("a", Outcome::Fail)]);
    assert_eq!(
        (quiet.transitions.len(), quiet.changed.len(), quiet.counted.len()),
        (0, 0, 1)
    );
    assert_eq!(quiet.counted[0].occurrences, 2);
    let well = host.look(5, &[judgement("a", Outcome::Pass)]);
    assert_eq!(
        (well.transitions.len(), well.changed.len(), well.counted.len()),
        (1, 1, 0)
    );
}

#[test]
fn other_instances_are_stored_at_once_and_sent_soon() {
    let mut host = Host::default();
    host.rounds(0, &[("a", Outcome::Fail)]);
    let both = [judgement("a", Outcome::Fail), judgement("b", Outcome::Fail)];
    let early = host.look(3, &both);
    assert_eq!((early.transitions.len(), early.changed.len()), (0, 1));
    assert_eq!(early.changed[0].affected, [id("a"), id("b")].into());
    host.round(3, &both);
    assert_eq!(host.round(9, &both), []);
    let sent = host.round(10, &both);
    assert_eq!((sent[0].affected, sent[0].samples.len()), (2, 2));
    assert_eq!(
        host.rounds(20, &[("b", Outcome::Fail)]),
        [(Lifecycle::Open, 1, 0)]
    );
    assert_eq!(host.rounds(30, &[("b", Outcome::Fail)]), []);
}

#[test]
fn a_storm_of_short_lived_instances_is_throttled() {
    let mut host = Host::default();
    let sent: usize = (0..600)
        .map(|second| host.rounds(second, &[(&second.to_string(), Outcome::Fail)]).len())
        .sum();
    assert!((10..=60).contains(&sent), "{sent} in ten minutes");
}

#[test]
fn a_worse_check_is_sent_at_once_and_another_one_soon() {
    let mut host = Host::default();
    host.rounds(0, &[("a", Outcome::Fail)]);
    let mut other = judgement("a", Outcome::Fail);
    other.checks[0].actual = Some("7".to_owned());
    assert_eq!(host.round(1, &[other.clone()]), []);
    assert_eq!(
        host.round(10, &[other.clone()])[0].check.actual.as_deref(),
        Some("7")
    );
    other.checks[0].severity = Severity::Critical;
    assert_eq!(
        host.round(11, &[other.clone()])[0].check.severity,
        Severity::Critical
    );
    // A second instance with a lesser check does not displace the one told.
    assert_eq!(
        host.round(12, &[other.clone(), judgement("b", Outcome::Fail)]),
        []
    );
    let sent = host.round(22, &[other, judgement("b", Outcome::Fail)]);
    assert_eq!(
        (sent[0].affected, sent[0].check.severity),
        (2, Severity::Critical)
    );
}

#[test]
fn a_new_epoch_says_nothing() {
    let mut host = Host::default();
    host.rounds(0, &[("a", Outcome::Fail)]);
    let judgements = [judgement("a", Outcome::Fail)];
    let round = super::Round {
        cluster: super::cluster(),
        epoch: 2,
        at: time(1),
        judgements: &judgements,
        unjudged: &host.unjudged,
        unreadable: &host.unreadable,
        host: &[],
        effective: &host.effective,
    };
    let later = super::reconcile(&host.table, &round);
    assert_eq!((later.transitions.len(), later.counted[0].epoch), (0, 2));
}

#[test]
fn a_clock_set_back_silences_nothing() {
    let mut host = Host::default();
    host.rounds(0, &[("a", Outcome::Fail)]);
    let ten_years = 10 * 365 * 86_400;
    assert_eq!(
        host.rounds(-ten_years, &[("a", Outcome::Fail)]),
        [(Lifecycle::Open, 1, 0)]
    );
    assert_eq!(
        host.rounds(1 - ten_years, &[("a", Outcome::Pass)]),
        [(Lifecycle::Resolved, 0, 0)]
    );
}

#[test]
fn hostile_texts_are_cut_and_still_recognised() {
    let mut host = Host::default();
    let mut long = judgement("a", Outcome::Fail);
    long.name = "n".repeat(1 << 20);
    long.checks[0].actual = Some("\u{202e}".repeat(1 << 18));
    long.checks[0].field = "x".repeat(1 << 18).into();
    let sent = host.round(0, &[long.clone()]);
    assert!(sent[0].check.actual.as_ref().unwrap().len() <= super::super::MAX_TEXT_BYTES);
    assert!(sent[0].check.field.len() <= super::super::MAX_FIELD_BYTES);
    assert!(sent[0].samples[0].name.len() <= super::super::MAX_SAMPLE_NAME_BYTES);
    assert_eq!(host.round(30, &[long.clone()]), []);
    long.checks[0].result = Outcome::Pass;
    assert_eq!(host.round(31, &[long])[0].lifecycle, Lifecycle::Resolved);
}
