//! Logins that take the place of others, hosts that go, and hosts that fall silent.

use verger_policy::finding::Lifecycle;

use super::*;
use crate::fuzz::transition;

fn open(member: &Member, rule: &str) -> usize {
    let findings = member.state.findings_after_uid(None);
    findings
        .filter(|finding| finding.rule.as_str() == rule && finding.lifecycle == Lifecycle::Open)
        .count()
}

#[test]
fn a_login_takes_the_place_of_the_one_before_it() {
    let mut member = Member::founded();
    assert_eq!(member.state.login("bob"), None);
    let login = |key: &[u8]| Action::CreateLogin {
        person: "bob".to_owned(),
        key: Digest::of(key),
    };
    assert_eq!(
        member.checked(&command(11, None, login(b"one"))),
        Response::LoginCreated
    );
    assert_eq!(member.state.login("bob").unwrap().key, Digest::of(b"one"));
    let recovered = Action::RecoverLogin {
        person: "bob".to_owned(),
        reason: "lost".to_owned(),
        key: Digest::of(b"two"),
    };
    assert_eq!(
        member.checked(&command(12, None, recovered)),
        Response::LoginCreated
    );
    assert_eq!(member.state.login("bob").unwrap().key, Digest::of(b"two"));
    assert_eq!(
        word(&Member::default().run(&command(1, None, login(b"x")))),
        "NOT_FOUNDED"
    );
}

#[test]
fn a_host_that_is_removed_leaves_nothing_and_comes_back_as_new() {
    let mut member = Member::founded();
    member.enrol("h1", b"key");
    member.enrol("h2", b"key");
    for agent in ["h1", "h2"] {
        member.tell(agent, vec![transition(1, Lifecycle::Open)]);
    }
    let remove = Action::RemoveHost {
        agent: "h1".parse().unwrap(),
    };
    for time in ["first", "again, after a lost answer"] {
        let asked = command(member.now(), Some("r"), remove.clone());
        assert_eq!(member.checked(&asked), Response::HostRemoved, "{time}");
    }
    let uid = transition(1, Lifecycle::Open).uid;
    let hosts: Vec<_> = member.state.finding(&uid).unwrap().hosts.into_keys().collect();
    assert_eq!(hosts, ["h2".parse().unwrap()]);
    assert_eq!(
        word(&member.checked(&command(member.now(), None, remove))),
        "UNKNOWN_AGENT"
    );
    member.enrol("h1", b"key");
    assert_eq!(
        member.state.host(&"h1".parse().unwrap()).unwrap().last_sequence,
        0
    );
}

#[test]
fn silence_is_a_finding_until_the_host_is_heard_of_again() {
    let mut member = Member::founded();
    member.enrol("h1", b"key");
    let tell = |silent| Action::TellSilence {
        agent: "h1".parse().unwrap(),
        silent,
        since: Some(at(5)),
    };
    member.checked(&command(20, None, tell(false)));
    assert_eq!(open(&member, "host/silent"), 0);
    assert_eq!(
        member.state.findings_after_uid(None).count(),
        0,
        "nothing to be over"
    );
    member.checked(&command(21, None, tell(true)));
    assert!(open(&member, "host/silent") == 1 && member.state.is_silent(&"h1".parse().unwrap()));
    // The agent itself has no say in it.
    let uid = member.state.findings_after_uid(None).next().unwrap().uid;
    let forged = Transition {
        uid,
        lifecycle: Lifecycle::Resolved,
        ..transition(1, Lifecycle::Open)
    };
    assert_eq!(word(&member.tell("h1", vec![forged])), "FORGED_FINDING");
    member.checked(&command(22, None, tell(false)));
    assert_eq!(open(&member, "host/silent"), 0);
    member.checked(&command(23, None, tell(true)));
    assert_eq!(open(&member, "host/silent"), 1);
}
