//! The auditor proves itself on planted defects: a history with a transition taken in twice, lost, or out of order is
//! called wrong, and a sound one is not.
#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use verger_policy::finding::{Acknowledgement, fold};

use super::super::audit::tests::finding;
use super::*;
use crate::scene::HOST;

/// The row after a transition of one finding: opened so many times, told at this second, at this revision.
fn row(reopened: u32, second: i64, revision: u64) -> Finding {
    let told = finding("one", reopened, second);
    let rows = [(HOST.parse().unwrap(), told.transition())].into();
    let row = fold(told.uid, revision, &rows, None).unwrap();
    Finding {
        first_seen: Timestamp::from_second(1).unwrap(),
        occurrences: u64::from(reopened) + 1,
        ..row
    }
}

/// The same row, with a person's word on it.
fn with_word(row: &Finding, note: &str, revision: u64) -> Finding {
    Finding {
        revision,
        lifecycle: Lifecycle::Acknowledged,
        acknowledged: Some(Acknowledgement {
            person: "ann".to_owned(),
            note: note.to_owned(),
            at: Timestamp::from_second(99).unwrap(),
        }),
        ..row.clone()
    }
}

fn history(shown: &[Finding]) -> History {
    let mut history = History::default();
    shown.iter().for_each(|row| history.take(row.clone()));
    history
}

fn rows(row: &Finding) -> BTreeMap<FindingUid, Finding> {
    [(row.uid, row.clone())].into()
}

#[test]
fn a_sound_history_is_sound_also_over_a_resumed_stream() {
    let first = row(0, 10, 3);
    let (one, two) = (with_word(&first, "word 1", 4), with_word(&first, "word 2", 5));
    let again = row(1, 20, 9);
    let mut history = history(&[first, one, two.clone()]);
    history.resume();
    history.take(two);
    history.take(again.clone());
    assert_eq!(history.wrong, Vec::<String>::new());
    assert_eq!(history.ends_with(&rows(&again)), Vec::<String>::new());
    assert_eq!(history.changes, 4);
}

#[test]
fn a_transition_taken_in_twice_is_found_although_the_row_is_the_same() {
    let wrong = history(&[row(1, 20, 7), row(1, 20, 8)]).wrong;
    assert!(
        wrong[0].contains("revision 7, and again at revision 8"),
        "{wrong:?}"
    );
    // Also where it takes a person's word back.
    let (first, worded) = (row(1, 20, 7), with_word(&row(1, 20, 7), "word 1", 8));
    let wrong = history(&[first, worded, row(1, 20, 9)]).wrong;
    assert!(wrong[0].contains("again at revision 9"), "{wrong:?}");
}

#[test]
fn a_change_shown_twice_on_one_stream_is_found() {
    let wrong = history(&[row(1, 20, 7), row(1, 20, 7)]).wrong;
    assert!(wrong[0].contains("shown twice"), "{wrong:?}");
}

#[test]
fn transitions_out_of_order_are_found() {
    for (later, wanted) in [
        (row(2, 19, 9), "came after what was told"),
        (row(0, 21, 9), "it had opened 1 times"),
        (row(2, 21, 6), "was shown after revision 7"),
    ] {
        let wrong = history(&[row(1, 20, 7), later]).wrong;
        assert!(wrong.len() == 1 && wrong[0].contains(wanted), "{wrong:?}");
    }
}

#[test]
fn what_was_never_shown_and_what_is_gone_are_found() {
    let (first, second) = (row(0, 10, 3), row(1, 20, 9));
    let lost = history(std::slice::from_ref(&first)).ends_with(&rows(&second));
    assert!(
        lost[0].contains("revision 9, the last one shown of revision 3"),
        "{lost:?}"
    );
    let never = History::default().ends_with(&rows(&second));
    assert!(never[0].contains("was never shown"), "{never:?}");
    let gone = history(&[first]).ends_with(&BTreeMap::new());
    assert!(gone[0].contains("is not there"), "{gone:?}");
}
