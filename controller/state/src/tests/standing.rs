//! Hosts that wait, are shut out, kept out and let back in; logins that are revoked.

use verger_policy::finding::Lifecycle;

use super::*;
use crate::fuzz::transition;
use crate::{Standing, limits};

fn agent(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn key(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

/// A request by a host, with everything that may differ.
#[derive(Clone, Copy)]
struct Host {
    token: &'static str,
    agent: &'static str,
    key: &'static str,
    machine: Option<&'static str>,
}

const WEB: Host = Host {
    token: "t1",
    agent: "h1",
    key: "k1",
    machine: Some("m1"),
};

impl Member {
    fn at_once(&mut self, action: Action) -> Response {
        let now = self.now();
        self.checked(&command(now, None, action))
    }

    fn token(&mut self, id: &str, agent_id: &str, approval: bool) {
        let expires = at(self.now() + 500);
        let made = self.at_once(Action::CreateToken {
            id: id.to_owned(),
            secret_hash: Digest::of(b"s"),
            agent: agent(agent_id),
            expires,
            approval,
        });
        assert_eq!(made, Response::TokenCreated(id.to_owned()));
    }

    fn ask(&mut self, host: Host) -> Response {
        self.at_once(Action::Enrol {
            token_id: host.token.to_owned(),
            secret_hash: Digest::of(b"s"),
            agent: agent(host.agent),
            key: key(host.key),
            machine: host.machine.map(key),
        })
    }

    fn decide(&mut self, host: Host, approved: bool) -> Response {
        self.at_once(Action::DecideHost {
            agent: agent(host.agent),
            key: key(host.key),
            approved,
        })
    }

    fn evict(&mut self, name: &str) -> Response {
        self.at_once(Action::EvictHost {
            agent: agent(name),
            reason: "stolen".to_owned(),
        })
    }

    fn ban(&mut self, name: &str) -> Response {
        self.at_once(Action::BanHost {
            agent: agent(name),
            reason: "hostile".to_owned(),
        })
    }

    /// Enrols with a token of its own.
    fn enrolled(host: Host) -> Self {
        let mut member = Self::founded();
        member.token(host.token, host.agent, false);
        assert_eq!(member.ask(host), Response::Enrolled);
        member
    }

    fn serves(&self, host: Host) -> Result<(), &'static str> {
        let served = self.state.serves(&agent(host.agent), &key(host.key));
        served.map(drop).map_err(|refused| refused.word())
    }
}

#[test]
fn a_host_that_needs_approval_is_nothing_until_a_person_names_its_key() {
    let mut member = Member::founded();
    member.token("t1", "h1", true);
    assert_eq!(member.ask(WEB), Response::AwaitsApproval);
    assert_eq!(member.ask(WEB), Response::AwaitsApproval, "as often as it asks");
    assert!(member.state.host(&agent("h1")).is_none());
    assert_eq!(member.serves(WEB), Err("UNKNOWN_AGENT"));
    let waiting = member.state.waiting();
    assert_eq!((waiting.len(), waiting[0].1.key), (1, key("k1")));
    // Nobody else takes its place, and nobody else is let in by its approval.
    let thief = Host { key: "k2", ..WEB };
    assert_eq!(word(&member.ask(thief)), "TOKEN_REFUSED");
    assert_eq!(word(&member.decide(thief, true)), "NOT_WAITING");
    assert!(member.state.host(&agent("h1")).is_none());

    assert_eq!(member.decide(WEB, true), Response::Decided);
    assert_eq!(member.serves(WEB), Ok(()));
    assert_eq!(member.ask(WEB), Response::Enrolled, "it fetches its certificate");
    assert!(member.state.waiting().is_empty());
    assert_eq!(word(&member.decide(WEB, true)), "NOT_WAITING");
}

#[test]
fn who_waits_waits_for_a_day_and_no_longer() {
    let mut member = Member::founded();
    member.token("t1", "h1", true);
    member.ask(WEB);
    member.pass(limits::WAITING_SECONDS - 1);
    assert_eq!(member.ask(WEB), Response::AwaitsApproval);
    member.pass(1);
    assert_eq!(word(&member.ask(WEB)), "TOKEN_REFUSED");
    assert_eq!(word(&member.decide(WEB, true)), "NOT_WAITING");
    assert!(member.state.waiting().is_empty());
}

#[test]
fn who_was_rejected_is_told_so_and_comes_in_by_another_token_only() {
    let mut member = Member::founded();
    member.token("t1", "h1", true);
    member.ask(WEB);
    assert_eq!(member.decide(WEB, false), Response::Decided);
    assert_eq!(word(&member.ask(WEB)), "REJECTED");
    assert_eq!(word(&member.decide(WEB, true)), "NOT_WAITING");
    assert!(member.state.host(&agent("h1")).is_none() && member.state.waiting().is_empty());
    member.token("t2", "h1", false);
    assert_eq!(member.ask(Host { token: "t2", ..WEB }), Response::Enrolled);
}

#[test]
fn an_evicted_host_is_nothing_and_comes_back_as_the_same_one() {
    let mut member = Member::enrolled(WEB);
    member.tell("h1", vec![transition(1, Lifecycle::Open)]);
    assert_eq!(member.evict("h1"), Response::Decided);
    assert_eq!(member.serves(WEB), Err("EVICTED"));
    assert_eq!(member.serves(Host { key: "k2", ..WEB }), Err("UNKNOWN_AGENT"));
    let Standing::Evicted(verdict) = &member.state.host(&agent("h1")).unwrap().standing else {
        panic!("it is evicted");
    };
    assert_eq!((&*verdict.by, &*verdict.reason), ("person/ada", "stolen"));
    // What it told is evidence; it tells no more.
    let uid = transition(1, Lifecycle::Open).uid;
    assert!(member.state.finding(&uid).is_some());
    let told = member.tell("h1", vec![transition(2, Lifecycle::Open)]);
    assert_eq!(word(&told), "UNKNOWN_AGENT");
    assert_eq!(
        word(&member.ask(WEB)),
        "TOKEN_REFUSED",
        "the spent token lets nobody back in"
    );

    member.token("t2", "h1", false);
    assert_eq!(member.ask(Host { token: "t2", ..WEB }), Response::Enrolled);
    assert_eq!(member.serves(WEB), Ok(()));
    assert_eq!(
        member.tell("h1", vec![transition(2, Lifecycle::Open)]),
        Response::Ingested(2),
        "its numbers go on"
    );
    assert!(member.state.finding(&uid).is_some());
}

#[test]
fn nobody_is_told_that_a_host_is_silent_that_was_shut_out() {
    let mut member = Member::enrolled(WEB);
    let silent = Action::TellSilence {
        agent: agent("h1"),
        silent: true,
        since: None,
        unrecorded: true,
    };
    member.at_once(silent.clone());
    assert!(member.state.is_silent(&agent("h1")));
    member.evict("h1");
    assert!(!member.state.is_silent(&agent("h1")));
    assert_eq!(word(&member.at_once(silent)), "UNKNOWN_AGENT");
}

#[test]
fn neither_the_id_nor_the_key_of_a_banned_host_is_let_in_until_the_ban_is_lifted() {
    let mut member = Member::enrolled(WEB);
    assert_eq!(member.ban("h1"), Response::Decided);
    assert_eq!(member.serves(WEB), Err("BANNED"));
    member.token("t2", "h1", false);
    member.token("t3", "h2", false);
    let same_id = Host {
        token: "t2",
        key: "k2",
        ..WEB
    };
    let same_key = Host {
        token: "t3",
        agent: "h2",
        machine: None,
        ..WEB
    };
    for host in [Host { token: "t2", ..WEB }, same_id, same_key] {
        assert_eq!(word(&member.ask(host)), "BANNED");
    }
    assert_eq!(member.state.hosts().count(), 1);
    // Nor by way of what would forget the ban.
    assert_eq!(word(&member.evict("h1")), "BANNED");
    let remove = Action::RemoveHost { agent: agent("h1") };
    assert_eq!(word(&member.at_once(remove)), "BANNED");
    // Another key under another id is nobody's business.
    let twin = Host {
        key: "k3",
        machine: Some("m3"),
        ..same_key
    };
    assert_eq!(member.ask(twin), Response::Enrolled);

    let unban = |name: &str| Action::UnbanHost { agent: agent(name) };
    assert_eq!(word(&member.at_once(unban("h2"))), "NOT_BANNED");
    assert_eq!(member.at_once(unban("h1")), Response::Decided);
    assert_eq!(
        member.serves(WEB),
        Err("EVICTED"),
        "its certificate does not come back"
    );
    assert_eq!(member.ask(Host { token: "t2", ..WEB }), Response::Enrolled);
}

#[test]
fn a_ban_keeps_out_who_waits_already() {
    let mut member = Member::enrolled(WEB);
    member.evict("h1");
    member.token("t2", "h1", true);
    let back = Host { token: "t2", ..WEB };
    assert_eq!(member.ask(back), Response::AwaitsApproval);
    member.ban("h1");
    assert_eq!(word(&member.ask(back)), "BANNED");
    assert_eq!(word(&member.decide(back, true)), "BANNED");
    member.at_once(Action::UnbanHost { agent: agent("h1") });
    assert_eq!(member.decide(back, true), Response::Decided);
    assert_eq!(member.serves(WEB), Ok(()));
}

#[test]
fn another_key_under_a_known_id_is_refused_and_its_token_stays_unspent() {
    let mut member = Member::enrolled(WEB);
    member.token("t2", "h1", false);
    let other = Host {
        token: "t2",
        key: "k2",
        ..WEB
    };
    let refused = member.ask(other);
    assert_eq!(word(&refused), "OTHER_KEY");
    let Response::Refused(refused) = refused else {
        panic!("refused");
    };
    assert!(
        refused.to_string().contains("verger hosts h1 --evict"),
        "{refused}"
    );
    assert_eq!(member.serves(WEB), Ok(()), "the one that is there stays");
    member.evict("h1");
    assert_eq!(member.ask(other), Response::Enrolled);
    assert_eq!(member.serves(WEB), Err("UNKNOWN_AGENT"));
}

#[test]
fn of_two_who_wait_under_one_id_one_is_let_in() {
    let mut member = Member::founded();
    member.token("t1", "h1", true);
    member.token("t2", "h1", true);
    let second = Host {
        token: "t2",
        key: "k2",
        machine: Some("m2"),
        ..WEB
    };
    assert_eq!(member.ask(WEB), Response::AwaitsApproval);
    assert_eq!(member.ask(second), Response::AwaitsApproval);
    assert_eq!(member.state.waiting().len(), 2);
    assert_eq!(member.decide(second, true), Response::Decided);
    assert_eq!(word(&member.decide(WEB, true)), "OTHER_KEY");
    assert_eq!(word(&member.ask(WEB)), "OTHER_KEY");
    assert_eq!(member.decide(WEB, false), Response::Decided);
    assert_eq!(member.serves(second), Ok(()));
}

#[test]
fn an_identity_belongs_to_the_machine_it_was_enrolled_on() {
    let mut member = Member::enrolled(WEB);
    member.token("t2", "h1", false);
    let copy = Host {
        token: "t2",
        machine: Some("m2"),
        ..WEB
    };
    assert_eq!(word(&member.ask(copy)), "COPIED_IDENTITY");
    let tell = Action::TellCopy {
        agent: agent("h1"),
        machine: Some(key("m2")),
    };
    for _ in 0..2 {
        assert_eq!(member.at_once(tell.clone()), Response::CopyTold);
        assert!(member.state.is_told_of_copy(&agent("h1"), Some(&key("m2"))));
    }
    let findings: Vec<_> = member.state.findings_after_uid(None).collect();
    assert_eq!(
        (findings.len(), findings[0].rule.as_str()),
        (1, "host/copied-identity")
    );
    // The agent itself has no say in it.
    let forged = Transition {
        uid: findings[0].uid,
        lifecycle: Lifecycle::Resolved,
        ..transition(1, Lifecycle::Open)
    };
    assert_eq!(word(&member.tell("h1", vec![forged])), "FORGED_FINDING");
    // Nor does anybody get round it by not saying.
    let mute = Host {
        machine: None,
        ..copy
    };
    let refused = member.ask(mute);
    assert_eq!(word(&refused), "NO_MACHINE");
    let Response::Refused(refused) = refused else {
        panic!("refused");
    };
    assert!(
        refused.to_string().contains("systemd-machine-id-setup"),
        "{refused}"
    );
    // The benign twin: the same machine.
    let same = Host {
        machine: WEB.machine,
        ..copy
    };
    assert_eq!(member.ask(same), Response::Enrolled);
    let is_on = |member: &Member, machine: Option<&str>| {
        let machine = machine.map(key);
        let host = member.state.host(&agent("h1")).unwrap();
        host.is_on(machine.as_ref())
    };
    assert!(is_on(&member, WEB.machine) && !is_on(&member, Some("m2")) && !is_on(&member, None));
    // A host that moved is let in by who knows that it did.
    member.evict("h1");
    member.token("t3", "h1", false);
    assert_eq!(member.ask(Host { token: "t3", ..copy }), Response::Enrolled);
    assert!(member.state.host(&agent("h1")).unwrap().is_on(Some(&key("m2"))));
    assert!(!member.state.is_told_of_copy(&agent("h1"), Some(&key("m2"))));
}

#[test]
fn a_host_without_a_machine_id_is_bound_to_none_until_it_joins_with_one() {
    let host = |token, machine| Host {
        token,
        machine,
        ..WEB
    };
    let mut member = Member::enrolled(host("t1", None));
    let is_on = |member: &Member, machine: Option<&str>| {
        let machine = machine.map(key);
        member.state.host(&agent("h1")).unwrap().is_on(machine.as_ref())
    };
    assert!(is_on(&member, None) && is_on(&member, Some("m1")));
    member.token("t2", "h1", false);
    assert_eq!(member.ask(host("t2", Some("m1"))), Response::Enrolled);
    assert!(is_on(&member, Some("m1")) && !is_on(&member, None));
    // One that waits is held against it when it is let in, too.
    member.evict("h1");
    member.token("t3", "h1", true);
    assert_eq!(member.ask(host("t3", None)), Response::AwaitsApproval);
    member.token("t4", "h1", false);
    assert_eq!(member.ask(host("t4", Some("m1"))), Response::Enrolled);
    assert_eq!(word(&member.decide(host("t3", None), true)), "NO_MACHINE");
}

#[test]
fn that_a_key_was_used_without_a_word_of_the_machine_is_told_as_that() {
    let mut member = Member::enrolled(WEB);
    let tell = Action::TellCopy {
        agent: agent("h1"),
        machine: None,
    };
    assert_eq!(member.at_once(tell), Response::CopyTold);
    assert!(member.state.is_told_of_copy(&agent("h1"), None));
    let finding = member.state.findings_after_uid(None).next().unwrap();
    let actual = finding.check.actual.unwrap();
    assert!(actual.contains("does not say"), "{actual}");
}

#[test]
fn a_host_that_lost_its_machines_id_hides_no_copy_of_it() {
    let mut member = Member::enrolled(WEB);
    let (h1, m2) = (agent("h1"), key("m2"));
    let tell = |member: &mut Member, machine: Option<Digest>| {
        let agent = agent("h1");
        assert_eq!(
            member.at_once(Action::TellCopy { agent, machine }),
            Response::CopyTold
        );
    };
    let told = |member: &Member| {
        let of = |machine| member.state.is_told_of_copy(&h1, machine);
        (of(None), of(Some(&m2)))
    };
    tell(&mut member, None);
    assert_eq!(told(&member), (true, false));
    tell(&mut member, Some(m2));
    assert_eq!(told(&member), (true, true));
    let findings: Vec<_> = member.state.findings_after_uid(None).collect();
    let says: Vec<_> = findings
        .iter()
        .map(|finding| finding.check.actual.as_deref().unwrap())
        .collect();
    assert!(
        says.len() == 2 && says.iter().any(|says| says.contains("on another one")),
        "{says:?}"
    );
    // Bound anew, it is over; the other way round they are two, too.
    for first in [Some(m2), None] {
        member.evict("h1");
        let token = if first.is_some() { "t2" } else { "t3" };
        member.token(token, "h1", false);
        assert_eq!(member.ask(Host { token, ..WEB }), Response::Enrolled);
        assert_eq!(told(&member), (false, false));
        tell(&mut member, first);
        assert_eq!(told(&member), (first.is_none(), first.is_some()));
    }
}

#[test]
fn a_revoked_login_serves_under_no_key_until_another_is_given() {
    let mut member = Member::founded();
    let revoke = |person: &str| Action::RevokeLogin {
        person: person.to_owned(),
        reason: "left".to_owned(),
    };
    let give = |person: &str, text: &str| Action::CreateLogin {
        person: person.to_owned(),
        key: key(text),
    };
    member.at_once(give("bob", "k1"));
    for person in ["bob", "founder"] {
        assert_eq!(member.at_once(revoke(person)), Response::Decided);
        let login = member.state.login(person).unwrap();
        let verdict = login.revoked.as_ref().unwrap();
        assert_eq!((&*verdict.by, &*verdict.reason), ("person/ada", "left"));
    }
    assert_eq!(member.state.login("bob").unwrap().key, key("k1"));
    member.at_once(give("bob", "k2"));
    assert!(member.state.login("bob").unwrap().revoked.is_none());
}

#[test]
fn a_providers_word_gives_no_revoked_login_back_until_that_is_lifted() {
    let mut member = Member::founded();
    let log_in = |issued: i64, text: &str| Action::LogIn {
        person: "bob".to_owned(),
        key: key(text),
        ends: at(10_000),
        replaces: true,
        word: crate::Vouched {
            issuer: "https://id.example".to_owned(),
            subject: "1".to_owned(),
            issued: at(issued),
            groups: Default::default(),
        },
    };
    let lift = || Action::RestoreLogin {
        person: "bob".to_owned(),
    };
    assert_eq!(member.at_once(log_in(11, "k1")), Response::LoginCreated);
    let not = Response::Refused(Refused::NotRevoked("bob".to_owned()));
    assert_eq!(member.at_once(lift()), not);
    member.at_once(Action::RevokeLogin {
        person: "bob".to_owned(),
        reason: "left".to_owned(),
    });
    let refused = Response::Refused(Refused::LoginRevoked("bob".to_owned()));
    assert_eq!(member.at_once(log_in(12, "k2")), refused);
    assert_eq!(member.at_once(lift()), Response::Decided);
    let login = member.state.login("bob").unwrap();
    assert!(login.revoked.is_none() && login.key != key("k1"), "{login:?}");
    assert_eq!(member.at_once(log_in(13, "k3")), Response::LoginCreated);
    assert_eq!(member.state.login("bob").unwrap().key, key("k3"));
}

#[test]
fn a_decision_asked_for_again_is_answered_the_same() {
    let mut member = Member::enrolled(WEB);
    let evict = Action::EvictHost {
        agent: agent("h1"),
        reason: String::new(),
    };
    let now = member.now();
    let asked = command(now, Some("r"), evict);
    assert_eq!(member.checked(&asked), Response::Decided);
    member.token("t2", "h1", false);
    member.ask(Host { token: "t2", ..WEB });
    assert_eq!(member.checked(&asked), Response::Decided, "a lost answer");
    assert_eq!(member.serves(WEB), Ok(()), "what came after it stays");
}

#[test]
fn stored_bytes_of_decisions_never_change() {
    let name = || agent("h1");
    let digest = Digest::from_bytes([0xab; 32]);
    let ab = "ab".repeat(32);
    let text = || "r".to_owned();
    for (action, frozen) in [
        (
            Action::DecideHost {
                agent: name(),
                key: digest,
                approved: true,
            },
            format!("c20228 0a026831 1220{ab} 1801"),
        ),
        (
            Action::EvictHost {
                agent: name(),
                reason: text(),
            },
            "ca0207 0a026831 120172".to_owned(),
        ),
        (
            Action::BanHost {
                agent: name(),
                reason: text(),
            },
            "d20207 0a026831 120172".to_owned(),
        ),
        (
            Action::UnbanHost { agent: name() },
            "d20206 0a026831 1801".to_owned(),
        ),
        (
            Action::RevokeLogin {
                person: "p".to_owned(),
                reason: text(),
            },
            "da0206 0a0170 120172".to_owned(),
        ),
        (
            Action::TellCopy {
                agent: name(),
                machine: Some(digest),
            },
            format!("e20226 0a026831 1220{ab}"),
        ),
        (
            Action::TellCopy {
                agent: name(),
                machine: None,
            },
            "e20204 0a026831".to_owned(),
        ),
        (
            Action::Enrol {
                token_id: "t".to_owned(),
                secret_hash: digest,
                agent: name(),
                key: digest,
                machine: Some(digest),
            },
            format!("6a6e 0a0174 1220{ab} 1a026831 2220{ab} a20120{ab}"),
        ),
    ] {
        let command = command(2, None, action);
        let hex: String = command
            .encode()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let head = "080110d00f1a0a706572736f6e2f616461";
        assert_eq!(hex, format!("{head}{}", frozen.replace(' ', "")), "{command:?}");
        assert_eq!(Command::decode(command.encode()).unwrap(), command);
    }
}

/// Of a token that is waited by, a host that is banned and a login that is revoked.
#[test]
fn stored_bytes_of_what_was_decided_never_change() {
    let mut member = Member::enrolled(WEB);
    member.token("t2", "h2", true);
    member.ask(Host {
        token: "t2",
        agent: "h2",
        key: "k2",
        machine: Some("m2"),
    });
    member.ban("h1");
    member.at_once(Action::RevokeLogin {
        person: "bob".to_owned(),
        reason: "left".to_owned(),
    });
    let row = |tree: Tree, key: &[u8]| -> String {
        let value = &member.rows[&(tree, key.to_vec())];
        value.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let token = stored::TokenRow::decode(member.rows[&(Tree::Tokens, b"t2".to_vec())].as_slice()).unwrap();
    assert!(token.approval && token.asked_ms == 10_000, "{token:?}");
    let by = "person/ada";
    let text = |tag: &str, text: &str| format!("{tag}{:02x}{}", text.len(), hex(text));
    let time = "904e";
    let host = format!(
        "0801 10{time} 1a20{} a20120{} a80102 {} b801{time} {} f20120{}",
        key("k1").hex(),
        key("m1").hex(),
        text("b201", by),
        text("c201", "hostile"),
        "00".repeat(32)
    );
    assert_eq!(row(Tree::Hosts, b"h1"), host.replace(' ', ""));
    let login = format!(
        "0801 1220{} 18{time} {} a801{time} {}",
        "00".repeat(32),
        text("a201", by),
        text("b201", "left")
    );
    assert_eq!(row(Tree::Logins, b"bob"), login.replace(' ', ""));
    let token = format!(
        "0801 1220{} 1a026832 20{} 2801 a00101 aa0120{} b20120{} b801{time}",
        Digest::of(b"s").hex(),
        varint(10_000 + limits::WAITING_SECONDS as u64 * 1_000),
        key("k2").hex(),
        key("m2").hex(),
    );
    assert_eq!(row(Tree::Tokens, b"t2"), token.replace(' ', ""));
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn varint(mut number: u64) -> String {
    let mut out = String::new();
    while number >= 0x80 {
        out.push_str(&format!("{:02x}", number & 0x7f | 0x80));
        number >>= 7;
    }
    format!("{out}{number:02x}")
}
