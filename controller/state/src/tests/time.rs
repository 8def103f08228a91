//! The replicated time.

use verger_policy::finding::Lifecycle;
use verger_policy::rules::CONTROLLER_CLOCK;

use super::*;

fn look(member: &mut Member, seconds: i64) -> Response {
    let note = "n".to_owned();
    member.checked(&command(seconds, None, Action::AckFinding { uid: uid(), note }))
}

fn told(member: &Member) -> Option<Lifecycle> {
    let mut findings = member.state.findings_after_uid(None);
    let of_clock = findings.find(|finding| finding.rule == CONTROLLER_CLOCK.rule_id());
    of_clock.map(|finding| finding.lifecycle)
}

#[test]
fn a_clock_years_ahead_expires_nothing_and_is_a_finding_until_it_is_set() {
    let mut member = Member::founded();
    for _ in 0..50 {
        look(&mut member, 10 * 365 * 86_400);
    }
    assert_eq!(member.state.clock(), at(10));
    let held = member.state.held_back().unwrap();
    assert_eq!((held.offered, held.since), (at(10 * 365 * 86_400), at(10)));
    assert_eq!(told(&member), Some(Lifecycle::Open));
    let good = member.change(0, &key());
    let applied = member.checked(&command(11, None, good));
    assert!(
        matches!(applied, Response::SetApplied { .. }),
        "its seal has not ended: {applied:?}"
    );
    look(&mut member, 12);
    assert_eq!(member.state.clock(), at(12), "a right clock is in effect at once");
    assert_eq!(told(&member), Some(Lifecycle::Open), "it was a moment ago");
    member.pass(2 * crate::limits::STEP_SECONDS);
    assert_eq!(
        (member.state.held_back(), told(&member)),
        (None, Some(Lifecycle::Resolved))
    );
    assert_eq!(member.rebuilt(), member.state);
}

#[test]
fn agents_have_no_say_in_what_controllers_tell() {
    let mut member = Member::founded();
    member.enrol("h1", b"key");
    look(&mut member, 10 * 365 * 86_400);
    let own = member.state.findings_after_uid(None).next().unwrap();
    let mut forged = crate::fuzz::transition(1, Lifecycle::Resolved);
    (forged.uid, forged.check.rule) = (own.uid, own.rule);
    forged.check.field = own.check.field;
    (forged.subject, forged.image) = (own.subject, None);
    assert!(forged.is_consistent(&member.state.cluster().unwrap().id));
    let good = crate::fuzz::transition(2, Lifecycle::Open);
    let answer = member.tell("h1", vec![good.clone(), forged]);
    assert_eq!(answer, Response::Refused(Refused::ForgedFinding));
    assert!(member.state.finding(&good.uid).is_none(), "nothing of it");
    let mut foreign = good.clone();
    foreign.uid = uid();
    let answer = member.tell("h1", vec![foreign]);
    assert_eq!(
        answer,
        Response::Refused(Refused::ForgedFinding),
        "another fault's uid"
    );
    assert_eq!(member.tell("h1", vec![good]), Response::Ingested(1));
}
