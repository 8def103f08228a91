//! Agents and members whose disks were set back.

use verger_policy::finding::Lifecycle;

use super::*;
use crate::fuzz::transition;

fn tell_anew(member: &mut Member, first_sequence: u64, transitions: Vec<Transition>) -> Response {
    let action = Action::Ingest {
        agent: "h1".parse().unwrap(),
        chain_before: None,
        head: None,
        first_sequence,
        transitions,
        anew: true,
    };
    member.checked(&command(member.now(), None, action))
}

fn told() -> Member {
    let mut member = Member::founded();
    for agent in ["h1", "h2"] {
        member.enrol(agent, b"key");
        let first = vec![transition(1, Lifecycle::Open), transition(2, Lifecycle::Open)];
        assert_eq!(member.tell(agent, first), Response::Ingested(2));
    }
    member
}

fn hosts_of(member: &Member, number: u8) -> Vec<String> {
    let uid = transition(number, Lifecycle::Open).uid;
    let finding = member.state.finding(&uid);
    let hosts = finding.map(|finding| finding.hosts).unwrap_or_default();
    hosts.keys().map(ToString::to_string).collect()
}

#[test]
fn what_a_host_tells_anew_is_all_there_is_of_it() {
    let mut member = told();
    let all = vec![transition(2, Lifecycle::Open), transition(3, Lifecycle::Open)];
    // The agent's disk was set back, or this member's: numbers that neither side has used.
    assert_eq!(tell_anew(&mut member, 9, all.clone()), Response::Ingested(10));
    assert_eq!(hosts_of(&member, 1), ["h2"], "another host's word stays");
    assert_eq!(hosts_of(&member, 2), ["h1", "h2"]);
    assert_eq!(hosts_of(&member, 3), ["h1"]);
    // The answer was lost: the repeat forgets nothing.
    let more = vec![transition(4, Lifecycle::Open)];
    assert_eq!(member.tell("h1", more), Response::Ingested(11));
    assert_eq!(tell_anew(&mut member, 9, all), Response::Ingested(11));
    assert_eq!(hosts_of(&member, 4), ["h1"]);
}

#[test]
fn without_the_word_a_gap_stays_a_gap() {
    let mut member = told();
    let action = Action::Ingest {
        agent: "h1".parse().unwrap(),
        chain_before: None,
        head: None,
        first_sequence: 9,
        transitions: vec![transition(3, Lifecycle::Open)],
        anew: false,
    };
    let refused = member.checked(&command(member.now(), None, action));
    assert_eq!(word(&refused), "SEQUENCE_GAP");
    assert_eq!(hosts_of(&member, 1), ["h1", "h2"]);
}
