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
fn a_request_for_a_login_that_comes_late_undoes_no_revocation() {
    let mut member = Member::founded();
    let create = |id| {
        let action = Action::CreateLogin {
            person: "bob".to_owned(),
            key: Digest::of(b"key"),
        };
        command(11, Some(id), action)
    };
    let revoke = Action::RevokeLogin {
        person: "bob".to_owned(),
        reason: "left".to_owned(),
    };
    assert_eq!(member.checked(&create("r")), Response::LoginCreated);
    assert_eq!(member.checked(&command(12, Some("s"), revoke)), Response::Decided);
    let before = member.state.login("bob").cloned();
    assert!(before.as_ref().is_some_and(|login| login.revoked.is_some()));
    // Its copy, which another member had been given and nobody waited for any more.
    assert_eq!(member.checked(&create("r")), Response::LoginCreated);
    assert_eq!(member.state.login("bob").cloned(), before);
    // Another request is another will.
    assert_eq!(member.checked(&create("t")), Response::LoginCreated);
    assert!(
        member
            .state
            .login("bob")
            .is_some_and(|login| login.revoked.is_none())
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
        unrecorded: true,
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

fn word_of(subject: &str, issued: i64, groups: &[&str]) -> crate::Vouched {
    crate::Vouched {
        issuer: "https://id.example".to_owned(),
        subject: subject.to_owned(),
        issued: at(issued),
        groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
    }
}

fn log_in(subject: &str, issued: i64, key: &[u8], replaces: bool) -> Action {
    Action::LogIn {
        person: "bob".to_owned(),
        key: Digest::of(key),
        word: word_of(subject, issued, &["sre"]),
        ends: at(issued + 3_600),
        replaces,
    }
}

#[test]
fn a_word_of_an_identity_provider_serves_one_key_and_a_later_login_takes_a_later_word() {
    let mut member = Member::founded();
    let mut run = |now, action| word(&member.checked(&command(now, None, action)));
    assert_eq!(run(100, log_in("b-1", 100, b"one", false)), "done");
    // The answer was lost.
    assert_eq!(run(101, log_in("b-1", 100, b"one", false)), "done");
    // Somebody took the word, and has a key of his own.
    assert_eq!(run(102, log_in("b-1", 100, b"two", false)), "LOGIN_STALE");
    assert_eq!(run(103, log_in("b-1", 99, b"two", false)), "LOGIN_STALE");
    assert_eq!(run(104, log_in("b-1", 104, b"two", false)), "done");
    // The first one does not come back by being said again.
    assert_eq!(run(105, log_in("b-1", 100, b"one", false)), "LOGIN_STALE");
    let login = member.state.login("bob").unwrap();
    assert_eq!(login.key, Digest::of(b"two"));
    assert_eq!(login.groups(), ["sre".parse().unwrap()].into());
    assert_eq!(login.ends(), Some(at(104 + 3_600)));
}

#[test]
fn a_word_takes_no_name_that_is_somebody_elses_unless_that_is_configured() {
    let mut member = Member::founded();
    let local = Action::CreateLogin {
        person: "bob".to_owned(),
        key: Digest::of(b"local"),
    };
    member.checked(&command(50, None, local.clone()));
    let mut run = |now, action| word(&member.checked(&command(now, None, action)));
    assert_eq!(run(60, log_in("b-1", 60, b"one", false)), "LOGIN_TAKEN");
    // One from before the login that it would replace: whoever kept it does not undo what somebody decided since.
    assert_eq!(run(61, log_in("b-1", 49, b"one", true)), "LOGIN_STALE");
    assert_eq!(run(62, log_in("b-1", 62, b"one", true)), "done");
    assert_eq!(run(63, log_in("b-2", 63, b"two", false)), "LOGIN_TAKEN");
    // Whoever may give logins gives one in place of any.
    assert_eq!(run(64, local), "done");
    assert_eq!(run(65, log_in("b-1", 65, b"one", false)), "LOGIN_TAKEN");
    assert_eq!(member.state.login("bob").unwrap().key, Digest::of(b"local"));
}

#[test]
fn a_login_on_a_word_lives_twelve_hours_at_most_and_not_at_all_when_it_is_over() {
    let mut member = Member::founded();
    let long = |ends| Action::LogIn {
        person: "bob".to_owned(),
        key: Digest::of(b"one"),
        word: word_of("b-1", 100, &[]),
        ends: at(ends),
        replaces: false,
    };
    assert_eq!(
        word(&member.checked(&command(100, None, long(100)))),
        "LOGIN_OVER"
    );
    assert_eq!(member.state.login("bob"), None);
    member.checked(&command(100, None, long(90_000)));
    let ends = member.state.login("bob").unwrap().ends();
    assert_eq!(ends, Some(at(100 + crate::limits::VOUCHED_SECONDS)));
}

fn broken(person: &str, ends: i64) -> Action {
    Action::BreakGlass {
        person: person.to_owned(),
        reason: "roles are lost".to_owned(),
        key: Digest::of(person.as_bytes()),
        ends: at(ends),
    }
}

#[test]
fn broken_glass_is_a_finding_while_it_lasts_and_ends_by_itself_or_early() {
    let mut member = Member::founded();
    member.checked(&command(100, None, broken("ada", 700)));
    member.checked(&command(101, None, broken("bob", 900)));
    assert_eq!(open(&member, "host/break-glass"), 2, "one each");
    let finding = member.state.findings_after_uid(None).next().unwrap();
    assert_eq!(finding.check.severity, verger_policy::model::Severity::Critical);
    let held = member.state.login("break-glass.ada").unwrap();
    assert_eq!((held.ends(), held.key), (Some(at(700)), Digest::of(b"ada")));
    assert_eq!(member.state.login("ada"), None, "the usual login stays");
    // Time alone ends it, whatever moves it.
    member.checked(&command(699, None, Action::Tick { until: at(699) }));
    assert_eq!(open(&member, "host/break-glass"), 2);
    member.checked(&command(700, None, Action::Tick { until: at(700) }));
    assert_eq!(open(&member, "host/break-glass"), 1);
    assert_eq!(member.state.login("break-glass.ada"), None);
    let end = |person: &str| Action::EndBreakGlass {
        person: person.to_owned(),
    };
    assert_eq!(word(&member.checked(&command(701, None, end("bob")))), "done");
    assert_eq!(open(&member, "host/break-glass"), 0);
    for person in ["ada", "bob", "eve"] {
        assert_eq!(
            word(&member.checked(&command(702, None, end(person)))),
            "NO_BREAK_GLASS"
        );
    }
    // And again.
    member.checked(&command(800, None, broken("ada", 900)));
    assert_eq!(open(&member, "host/break-glass"), 1);
}

#[test]
fn broken_glass_lasts_hours_at_most_and_agents_have_no_say_in_it() {
    let mut member = Member::founded();
    member.enrol("h1", b"key");
    assert_eq!(
        word(&member.checked(&command(100, None, broken("ada", 100)))),
        "LOGIN_OVER"
    );
    assert_eq!(open(&member, "host/break-glass"), 0);
    member.checked(&command(100, None, broken("ada", 100_000)));
    let ends = member.state.login("break-glass.ada").unwrap().ends();
    assert_eq!(ends, Some(at(100 + crate::limits::BREAK_GLASS_SECONDS)));
    let uid = member.state.findings_after_uid(None).next().unwrap().uid;
    let forged = Transition {
        uid,
        lifecycle: Lifecycle::Resolved,
        ..transition(1, Lifecycle::Open)
    };
    assert_eq!(word(&member.tell("h1", vec![forged])), "FORGED_FINDING");
    assert_eq!(open(&member, "host/break-glass"), 1);
}

#[test]
fn no_other_login_has_a_name_of_a_break_glass_login() {
    let mut member = Member::founded();
    let name = "break-glass.ada".to_owned();
    for action in [
        Action::CreateLogin {
            person: name.clone(),
            key: Digest::of(b"k"),
        },
        Action::RecoverLogin {
            person: name.clone(),
            reason: "r".to_owned(),
            key: Digest::of(b"k"),
        },
        Action::LogIn {
            person: name.clone(),
            key: Digest::of(b"k"),
            word: word_of("b", 100, &[]),
            ends: at(200),
            replaces: true,
        },
        broken(&name, 200),
    ] {
        assert_eq!(word(&member.checked(&command(100, None, action))), "LOGIN_NAME");
    }
    assert_eq!(member.state.login(&name), None);
    // The name without the prefix is anybody's.
    member.checked(&command(101, None, broken("ada", 200)));
    assert!(member.state.login(&name).is_some());
}

#[test]
fn a_login_on_a_word_is_dropped_long_after_it_ended_and_a_revoked_one_never_is() {
    const LONG: i64 = crate::limits::ENDED_LOGIN_SECONDS;
    let mut member = Member::founded();
    let log_in = |person: &str, issued: i64| Action::LogIn {
        person: person.to_owned(),
        key: Digest::of(person.as_bytes()),
        word: word_of(person, issued, &[]),
        ends: at(issued + 3_600),
        replaces: false,
    };
    // More than go at once.
    let many: Vec<String> = (0..=crate::limits::DROPPED_AT_ONCE)
        .map(|number| format!("leaver-{number}"))
        .collect();
    for person in many.iter().map(String::as_str).chain(["banned", "bob"]) {
        assert_eq!(
            word(&member.checked(&command(100, None, log_in(person, 100)))),
            "done"
        );
    }
    let local = Action::CreateLogin {
        person: "local".to_owned(),
        key: Digest::of(b"local"),
    };
    member.checked(&command(101, None, local));
    let revoke = Action::RevokeLogin {
        person: "banned".to_owned(),
        reason: "left".to_owned(),
    };
    member.checked(&command(102, None, revoke));
    let held = |member: &Member| {
        let people = many.iter().map(String::as_str).chain(["banned", "bob", "local"]);
        people
            .filter(|person| member.state.login(person).is_some())
            .count()
    };
    let end = 100 + 3_600;
    let all = many.len() + 3;
    let tick = |member: &mut Member, now: i64| {
        // Time moves a step at once.
        for tick in crate::ticks(member.state.clock(), at(now), usize::MAX, "controller/c1") {
            member.checked(&tick);
        }
    };
    tick(&mut member, end + LONG - 1);
    assert_eq!(
        held(&member),
        all,
        "they have ended, and the names are theirs still"
    );
    let other = Action::LogIn {
        person: "bob".to_owned(),
        key: Digest::of(b"other"),
        word: word_of("another bob", end + LONG - 1, &[]),
        ends: at(end + LONG + 3_600),
        replaces: false,
    };
    assert_eq!(
        word(&member.checked(&command(end + LONG - 1, None, other))),
        "LOGIN_TAKEN"
    );
    // Bob comes back in time: what counts is when it ended last.
    let back = end + LONG - 1;
    assert_eq!(
        word(&member.checked(&command(back, None, log_in("bob", back)))),
        "done"
    );
    tick(&mut member, end + LONG);
    assert_eq!(
        held(&member),
        all - crate::limits::DROPPED_AT_ONCE,
        "some at once"
    );
    tick(&mut member, end + LONG + 1);
    assert_eq!(held(&member), 3);
    assert!(member.state.login("banned").unwrap().revoked.is_some());
    // Nor does its word come back with it.
    let again = log_in(&many[0], 100);
    assert_eq!(
        word(&member.checked(&command(end + LONG + 2, None, again))),
        "LOGIN_OVER"
    );
    tick(&mut member, back + 3_600 + LONG);
    assert_eq!(held(&member), 2, "bob's has ended, too");
}
