//! How many findings are kept, and of what is not kept somebody is told.

use verger_policy::finding::Lifecycle;
use verger_policy::rules::TOO_MANY_FINDINGS;

use super::*;
use crate::{FindingChange, Place, limits};

const MOST: u8 = limits::FINDINGS_PER_AGENT as u8;

fn told(numbers: impl IntoIterator<Item = u8>, lifecycle: Lifecycle) -> Vec<Transition> {
    numbers
        .into_iter()
        .map(|number| crate::fuzz::transition(number, lifecycle))
        .collect()
}

fn world() -> Member {
    let mut member = Member::founded();
    member.enrol("h1", b"key");
    member.enrol("h2", b"key");
    member
}

impl Member {
    fn holds(&self, number: u8) -> bool {
        let uid = crate::fuzz::transition(number, Lifecycle::Open).uid;
        self.state.finding(&uid).is_some()
    }

    fn too_many(&self) -> Option<verger_policy::finding::Finding> {
        let mut findings = self.state.findings_after_uid(None);
        findings.find(|finding| finding.rule == TOO_MANY_FINDINGS.rule_id())
    }

    fn changes(&self, after: u64) -> Vec<FindingChange> {
        self.state
            .findings_changed(&Place::after(after))
            .unwrap()
            .collect()
    }
}

#[test]
fn a_container_that_varies_names_jams_nothing_and_the_first_resolved_give_their_places() {
    let mut member = world();
    for number in 0..3 * MOST {
        assert!(matches!(
            member.tell("h1", told([number], Lifecycle::Open)),
            Response::Ingested(_)
        ));
        member.pass(1);
        let over = member.tell("h1", told([number], Lifecycle::Resolved));
        assert_eq!(over, Response::Ingested(2 * (u64::from(number) + 1)));
    }
    assert_eq!(
        member.state.findings_after_uid(None).count(),
        limits::FINDINGS_PER_AGENT
    );
    assert!(
        (2 * MOST..3 * MOST).all(|number| member.holds(number)),
        "the last ones"
    );
    assert_eq!(member.too_many(), None, "nothing that holds is unknown");
    assert_eq!(member.rebuilt(), member.state);
}

#[test]
fn where_all_are_open_the_stream_goes_on_and_what_is_not_kept_is_a_finding_until_the_agent_tells_all_again() {
    let mut member = world();
    assert_eq!(
        member.tell("h1", told(0..MOST, Lifecycle::Open)),
        Response::Ingested(MOST.into())
    );
    assert_eq!(member.too_many(), None);
    let more = told(MOST..MOST + 3, Lifecycle::Open);
    assert_eq!(member.tell("h1", more), Response::Ingested(u64::from(MOST) + 3));
    let finding = member.too_many().unwrap();
    assert_eq!((finding.lifecycle, finding.occurrences), (Lifecycle::Open, 3));
    assert!(finding.check.actual.unwrap().starts_with("3 changes"));
    assert!(finding.hosts.contains_key(&"h1".parse().unwrap()));
    assert!(!member.holds(MOST));
    // What is known goes on being told, and the other host is not concerned.
    member.tell("h1", told([0], Lifecycle::Suppressed));
    member.tell("h2", told([MOST], Lifecycle::Open));
    assert!(member.holds(MOST));
    // Room again: later ones are kept; of those that were not, nobody knows that they are over.
    member.tell("h1", told([0, 1], Lifecycle::Resolved));
    member.tell("h1", told([MOST + 5, MOST + 6], Lifecycle::Open));
    assert!(member.holds(MOST + 5) && member.holds(MOST + 6) && !member.holds(0));
    assert_eq!(member.too_many().unwrap().occurrences, 3);
    member.tell("h1", told([MOST + 7], Lifecycle::Resolved));
    assert_eq!(
        member.too_many().unwrap().occurrences,
        3,
        "over, and never known: nothing is lost"
    );
    assert_eq!(member.rebuilt(), member.state);

    let before = member.state.revision();
    member.enrol("h1", b"another key");
    assert_eq!(
        (
            member.too_many(),
            member.state.host(&"h1".parse().unwrap()).unwrap().not_kept
        ),
        (None, 0)
    );
    let changes = member.changes(before);
    let gone = changes.iter().filter(|change| change.now.is_none()).count();
    assert_eq!(
        gone,
        limits::FINDINGS_PER_AGENT + 1,
        "watchers are told of each: {changes:?}"
    );
    assert_eq!(member.rebuilt(), member.state);
}

#[test]
fn resolved_findings_are_kept_for_thirty_days_and_dropped_some_at_a_time() {
    let mut member = world();
    let some = limits::DROPPED_AT_ONCE as u8 + 2;
    member.tell("h1", told(0..some, Lifecycle::Open));
    member.tell("h2", told([0], Lifecycle::Open));
    member.tell("h1", told(0..some, Lifecycle::Resolved));
    member.pass(limits::RESOLVED_SECONDS);
    assert!((0..some).all(|number| member.holds(number)));
    let before = member.state.revision();
    member.pass(1);
    let dropped = (1..some).filter(|number| !member.holds(*number)).count();
    assert!(
        (1..some as usize - 1).contains(&dropped),
        "bounded work: {dropped}"
    );
    member.pass(1);
    assert!((1..some).all(|number| !member.holds(number)));
    assert!(member.holds(0), "it holds on another host");
    let changes = member.changes(before);
    assert_eq!(changes.len(), some as usize);
    let kept: Vec<_> = changes.iter().filter_map(|change| change.now.as_ref()).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].finding.hosts.len(), 1);
    assert!(kept[0].shrunk > before && kept[0].turned <= before);
    assert_eq!(member.rebuilt(), member.state);
}

#[test]
fn an_open_one_is_kept_however_long_and_a_resolved_one_from_when_it_was_resolved_last() {
    let mut member = world();
    member.tell("h1", told([1, 2], Lifecycle::Open));
    member.tell("h1", told([1], Lifecycle::Resolved));
    member.pass(limits::RESOLVED_SECONDS - 60);
    member.tell("h1", told([1], Lifecycle::Open));
    member.pass(600);
    member.tell("h1", told([1], Lifecycle::Resolved));
    member.pass(600);
    member.tell("h1", told([1], Lifecycle::Resolved));
    member.pass(limits::RESOLVED_SECONDS - 600);
    assert!(member.holds(1) && member.holds(2));
    member.pass(1);
    assert!(!member.holds(1) && member.holds(2));
}

#[test]
fn a_watcher_from_before_what_is_remembered_of_gone_findings_must_list_again() {
    let mut member = world();
    let before = member.state.revision();
    for round in 0..3 {
        let numbers = round * MOST..(round + 1) * MOST;
        member.tell("h1", told(numbers, Lifecycle::Open));
        member.enrol("h1", &[round]);
    }
    assert!(member.state.findings_changed(&Place::after(before)).is_none());
    assert!(member.rebuilt().findings_changed(&Place::after(before)).is_none());
    assert_eq!(member.changes(member.state.revision()), []);
    let beginning = Place::beginning(member.state.revision());
    assert_eq!(
        member.state.findings_changed(&beginning).unwrap().count(),
        0,
        "from nothing is never too old"
    );
}
