use super::*;

fn id(name: &str) -> AgentId {
    name.parse().expect("an id")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn heard(sessions: u32, since: Instant, version: Option<&str>) -> Heard {
    Heard {
        sessions,
        at: at(7),
        since: Some(since),
        status: version.map(|version| {
            Box::new(Seen {
                version: version.to_owned(),
                ..Seen::default()
            })
        }),
    }
}

#[test]
fn who_heard_an_agent_last_is_believed_and_sessions_are_added() {
    let fleet = Fleet::default();
    let agent = id("h1");
    fleet.note(&agent, at(1), |seen| {
        seen.version = "1".to_owned();
        seen.sessions = 1;
    });
    let later = Instant::now() + std::time::Duration::from_secs(1);
    assert!(!fleet.told("c2", 9, true, vec![(agent.clone(), heard(1, later, Some("2")))]));
    let seen = fleet.of(&agent);
    assert_eq!(
        (seen.version.as_str(), seen.sessions, seen.last),
        ("2", 2, Some(at(7)))
    );
    assert_eq!(fleet.voice(&agent).heard, Some(later));
    assert!(fleet.quiet_since(later).is_empty());
    // A member that is silent has no sessions any more, and what it heard was heard.
    assert!(!fleet.lose(Instant::now() - std::time::Duration::from_secs(1), |_| true));
    assert!(fleet.lose(later, |_| true));
    assert!(!fleet.lose(later, |_| true), "once");
    let seen = fleet.of(&agent);
    assert_eq!((seen.version.as_str(), seen.sessions), ("2", 1));
    assert!(
        fleet.told("c2", 9, false, Vec::new()),
        "it has to tell everything"
    );
    // One that is none any more has told nothing.
    assert!(fleet.lose(later, |member| member != "c2"));
    assert_eq!(fleet.of(&agent).version, "1");
    assert_eq!(fleet.quiet_since(later), [agent].into());
}

#[test]
fn what_did_not_change_is_kept_and_what_was_lost_is_asked_for() {
    let fleet = Fleet::default();
    let (one, two) = (id("h1"), id("h2"));
    let now = Instant::now();
    // Of a run that has told nothing yet everything is asked for.
    assert!(fleet.told("c2", 9, false, vec![(one.clone(), heard(1, now, Some("1")))]));
    assert_eq!(fleet.of(&one).version, "");
    assert!(!fleet.told("c2", 9, true, vec![(one.clone(), heard(1, now, Some("1")))]));
    assert!(!fleet.told("c2", 9, false, vec![(one.clone(), heard(0, now, None))]));
    let seen = fleet.of(&one);
    assert_eq!((seen.version.as_str(), seen.sessions), ("1", 0));
    assert!(fleet.told("c2", 9, false, vec![(two.clone(), heard(1, now, None))]));
    // Another run of it.
    assert!(fleet.told("c2", 10, false, Vec::new()));
    assert!(!fleet.told("c2", 10, true, vec![(two.clone(), heard(1, now, Some("3")))]));
    assert_eq!(
        (fleet.of(&one).version.as_str(), fleet.of(&two).version.as_str()),
        ("", "3")
    );
}

#[test]
fn a_word_that_says_nothing_new_is_no_change() {
    let fleet = Fleet::default();
    let agent = id("h1");
    fleet.note(&agent, at(1), |seen| seen.sessions += 1);
    let changes = fleet.of(&agent).changes;
    fleet.alive(&agent, at(2));
    assert_eq!(
        (fleet.of(&agent).changes, fleet.of(&agent).last),
        (changes, Some(at(2)))
    );
    fleet.ended(&agent);
    assert_eq!(fleet.of(&agent).changes, changes + 1);
    assert_eq!(fleet.heard_here_of(|of, _| *of == agent).len(), 1);
    fleet.keep(|_| false);
    assert!(fleet.heard_here_of(|_, _| true).is_empty());
}
