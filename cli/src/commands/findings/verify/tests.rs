//! A controller that does not tell the truth, in each way there is: told in its own words, and the honest one passes.

#![allow(clippy::unwrap_used)]

use jiff::SignedDuration;
use proptest::prelude::*;
use verger_policy::digest::Digest;
use verger_policy::drift::{Check, Outcome};
use verger_policy::finding::{
    Chain, Finding, FindingUid, Lifecycle, Standing, SubjectClass, Told, Transition, fold,
};
use verger_policy::model::{Control, Mode, Severity, printable};
use verger_policy::rules;
use verger_seal::{AgentKey, FindingsHead};

use std::collections::BTreeMap;

use super::account::Account;
use super::enrolments::{Enrolled, Enrolments};
use super::judge::{self, Known, Verdict};
use super::listing::{self, Differences};
use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn cluster() -> Digest {
    Digest::of(b"cluster")
}

fn agent(name: &str) -> AgentId {
    name.parse().unwrap()
}

fn key(seed: u8) -> AgentKey {
    AgentKey::from_scalar([seed; 32]).unwrap()
}

fn key_digest(seed: u8) -> Digest {
    Digest::of(&key(seed).public_info())
}

/// An audit in which this was done to hosts, each under the key of seed 1; members signed so many of its rows.
pub(super) fn enrolments(rows: &[(&str, &str)], signed: Option<u64>) -> Enrolments {
    Enrolments::of_rows(rows, &key_digest(1), signed)
}

/// What somebody remembers who saw these hosts.
pub(super) fn seen_hosts(names: &[&str]) -> Seen {
    let head = seen(&Host::of(1));
    Seen {
        audit: None,
        hosts: names.iter().map(|name| (agent(name), head.clone())).collect(),
        headless: BTreeSet::new(),
    }
}

fn row(number: u8) -> Transition {
    let rule = rules::IS_ROOT.rule_id();
    let at = now() - SignedDuration::from_mins(9);
    Transition {
        at,
        uid: FindingUid(Digest::of(&[number])),
        subject: SubjectClass::Workload("payments/web".parse().unwrap()),
        image: None,
        check: Check {
            control: Control::Privilege,
            rule,
            field: format!("processes[{number}]").into(),
            result: Outcome::Fail,
            expected: Some("1000".to_owned()),
            actual: Some("0".to_owned()),
            reason: "it is root".into(),
            severity: Severity::High,
            decided_by: None,
        },
        lifecycle: Lifecycle::Open,
        wanted: Mode::Monitor,
        effective: Mode::Monitor,
        epoch: 1,
        affected: 1,
        samples: Vec::new(),
        evaluated: 2,
        occurrences: 3,
        first_seen: at,
        reopened: 0,
    }
}

/// A host as its agent knows it, and the controller's account of it.
struct Host {
    name: &'static str,
    key: u8,
    chain: Chain,
    standing: Standing,
    account: Account,
}

impl Host {
    fn new(name: &'static str, key: u8) -> Self {
        Self {
            name,
            key,
            chain: Chain::START,
            standing: Standing::default(),
            account: Account {
                last_sequence: 0,
                chain: Some(Chain::START.digest),
                head: None,
                not_kept: 0,
                silent: false,
                rows: BTreeMap::new(),
            },
        }
    }

    fn of(count: u8) -> Self {
        let mut host = Self::new("web-1", 1);
        for number in 0..count {
            host.tell(row(number));
        }
        host.sign(now());
        host
    }

    /// Tells a change to an honest controller.
    fn tell(&mut self, row: Transition) {
        self.chain = self.chain.then(&row.digest());
        self.standing.note(&row);
        self.account.last_sequence = self.chain.sequence;
        self.account.chain = Some(self.chain.digest);
        self.account.rows.insert(row.uid, row);
    }

    fn head(&mut self, at: Timestamp) -> FindingsHead {
        FindingsHead {
            cluster: cluster(),
            agent: agent(self.name),
            told: Told {
                chain: self.chain,
                open: self.standing.count(),
                table: self.standing.digest(),
            },
            at,
        }
    }

    fn sign(&mut self, at: Timestamp) {
        let head = self.head(at);
        self.account.head = Some(key(self.key).sign_head(&head));
    }
}

/// What is known of host `web-1`.
fn known(name: &AgentId) -> Known<'_> {
    Known {
        cluster: cluster(),
        agent: name,
        enrolled: Enrolled::Under(key_digest(1)),
        seen: None,
        now: now(),
    }
}

fn judged(account: &Account) -> Verdict {
    judge::judge(&known(&agent("web-1")), account)
}

fn judged_with(account: &Account, enrolled: Enrolled, seen: Option<&SeenHead>) -> Verdict {
    let name = agent("web-1");
    let known = Known {
        enrolled,
        seen,
        ..known(&name)
    };
    judge::judge(&known, account)
}

fn seen(host: &Host) -> SeenHead {
    let mut standing = host.standing.clone();
    SeenHead {
        key: key_digest(host.key),
        chain: host.chain,
        table: standing.digest(),
        seen_at: now() - SignedDuration::from_hours(1),
    }
}

#[track_caller]
fn assert_clean(verdict: &Verdict) {
    let Verdict { problems, doubts, .. } = verdict;
    assert!(
        problems.is_empty() && doubts.is_empty(),
        "{problems:?} {doubts:?}"
    );
}

#[track_caller]
fn assert_told(verdict: &Verdict, wanted: &str) {
    assert!(
        verdict.problems.iter().any(|what| what.contains(wanted)),
        "{wanted}: {:?} {:?}",
        verdict.problems,
        verdict.doubts
    );
    for what in &verdict.problems {
        assert_eq!(printable(what), *what);
    }
}

#[test]
fn a_row_that_is_dropped_made_up_or_altered_is_told() {
    let honest = Host::of(5);
    assert_clean(&judged(&honest.account));
    let mut dropped = honest.account.clone();
    dropped.rows.remove(&row(2).uid);
    assert_told(
        &judged(&dropped),
        "hidden: the agent signed 5 that are not over, and 4",
    );
    let mut over = honest.account.clone();
    over.rows.get_mut(&row(2).uid).unwrap().lifecycle = Lifecycle::Resolved;
    assert_told(&judged(&over), "hidden");
    let mut made_up = honest.account.clone();
    made_up.rows.insert(row(9).uid, row(9));
    assert_told(&judged(&made_up), "made up");
    let mut altered = honest.account.clone();
    altered.rows.get_mut(&row(2).uid).unwrap().check.severity = Severity::Low;
    assert_told(&judged(&altered), "altered or exchanged");
    let mut exchanged = honest.account.clone();
    exchanged.rows.remove(&row(2).uid);
    exchanged.rows.insert(row(9).uid, row(9));
    assert_told(&judged(&exchanged), "altered or exchanged");
    // What is over may be dropped, as bounds demand.
    let mut resolved = Host::of(5);
    resolved.tell(Transition {
        lifecycle: Lifecycle::Resolved,
        ..row(2)
    });
    resolved.sign(now());
    assert_clean(&judged(&resolved.account));
    resolved.account.rows.remove(&row(2).uid);
    assert_clean(&judged(&resolved.account));
}

#[test]
fn a_tail_that_is_hidden_is_told() {
    let mut host = Host::of(3);
    let before = host.account.clone();
    host.tell(row(3));
    host.sign(now());
    assert_clean(&judged(&host.account));
    // The head of now over the rows of before.
    let mut cut = before.clone();
    cut.head = host.account.head.clone();
    assert_told(
        &judged(&cut),
        "told 4 changes and the controller shows those up to 3",
    );
    // All of before: the head gets old, and who saw the newer one knows.
    let name = agent("web-1");
    let later = Known {
        now: now() + SignedDuration::from_mins(4),
        ..known(&name)
    };
    let verdict = judge::judge(&later, &before);
    assert!(
        verdict.problems.is_empty() && verdict.doubts[0].contains("withheld"),
        "{verdict:?}"
    );
    let verdict = judged_with(&before, Enrolled::Unknown, Some(&seen(&host)));
    assert_told(&verdict, "an older state is shown than you saw before: number 3");
    // The same age of a host that the controllers say is silent is another thing, and not verified either.
    let silent = Account {
        silent: true,
        ..before
    };
    let verdict = judge::judge(&later, &silent);
    assert!(
        verdict.problems.is_empty() && verdict.doubts[0].contains("silent"),
        "{verdict:?}"
    );
}

#[test]
fn nothing_shown_where_something_was_is_told() {
    let host = Host::of(3);
    assert_clean(&judged_with(&host.account, Enrolled::Unknown, Some(&seen(&host))));
    let unchained = Account {
        chain: None,
        ..host.account.clone()
    };
    let verdict = judged(&unchained);
    assert!(
        verdict.problems.is_empty() && verdict.doubts[0].contains("does not show the chain"),
        "{verdict:?}"
    );
    let withheld = Account {
        head: None,
        ..host.account.clone()
    };
    let verdict = judged_with(&withheld, Enrolled::Unknown, Some(&seen(&host)));
    assert_told(&verdict, "withheld");
    let verdict = judged(&withheld);
    assert!(verdict.problems.is_empty() && verdict.doubts[0].contains("signed nothing yet"));
    // One that the audit does not have is made up, also if it says nothing.
    assert_told(&judged_with(&withheld, Enrolled::Never, None), "no enrolment");
}

#[test]
fn heads_of_two_hosts_that_are_exchanged_are_told() {
    let (one, mut two) = (Host::of(3), Host::new("web-2", 2));
    two.tell(row(0));
    two.sign(now());
    assert_clean(&judged(&one.account));
    let mut exchanged = one.account.clone();
    exchanged.head = two.account.head.clone();
    assert_told(&judged(&exchanged), "of host web-2, not of this one");
    // With all of the other's rows it is no better.
    assert_told(&judged(&two.account), "of host web-2, not of this one");
}

#[test]
fn another_key_is_told_by_the_audit_and_by_what_was_seen() {
    let honest = Host::of(3);
    let mut forged = Host {
        key: 7,
        ..Host::of(3)
    };
    forged.sign(now());
    for (enrolled, seen_before) in [
        (Enrolled::Under(key_digest(1)), None),
        (Enrolled::Unknown, Some(seen(&honest))),
    ] {
        assert_clean(&judged_with(&honest.account, enrolled, seen_before.as_ref()));
        let verdict = judged_with(&forged.account, enrolled, seen_before.as_ref());
        assert_told(&verdict, &format!("signed by key {}", key_digest(7)));
        assert!(verdict.head.is_none(), "nothing of it is remembered");
    }
    assert_told(
        &judged_with(&honest.account, Enrolled::Never, None),
        "no enrolment",
    );
    // Enrolled anew, by the audit: another life, whose numbers begin again.
    let mut anew = Host::new("web-1", 7);
    anew.tell(row(0));
    anew.sign(now());
    let verdict = judged_with(
        &anew.account,
        Enrolled::Under(key_digest(7)),
        Some(&seen(&honest)),
    );
    assert!(verdict.problems.is_empty() && verdict.unremembered, "{verdict:?}");
    assert!(verdict.doubts[0].contains("enrolled anew"), "{verdict:?}");
    assert_clean(&judged_with(&anew.account, Enrolled::Under(key_digest(7)), None));
    // By a row that the members have not signed it is a controller's word, and by what was seen it is known.
    let unsigned = Enrolled::Unsigned(key_digest(1), 9);
    let verdict = judged_with(&honest.account, unsigned, None);
    assert!(
        verdict.problems.is_empty() && verdict.doubts[0].contains("known by row 9 of the audit"),
        "{verdict:?}"
    );
    assert_clean(&judged_with(&honest.account, unsigned, Some(&seen(&honest))));
    assert_told(&judged_with(&forged.account, unsigned, None), "signed by key");
    // By nothing it is taken, and said to be.
    let verdict = judged_with(&honest.account, Enrolled::Unknown, None);
    assert!(
        verdict.problems.is_empty() && verdict.doubts[0].contains("taken as it is shown"),
        "{verdict:?}"
    );
    assert!(
        verdict.head.is_some() && !verdict.unremembered,
        "a later run compares"
    );
    // Altered after it was signed.
    let mut altered = honest.account.clone();
    let head = altered.head.as_mut().unwrap();
    head.statement = Host::of(2).head(now()).canonical_bytes();
    assert_told(&judged(&altered), "was altered");
}

#[test]
fn what_another_cluster_or_another_past_signed_is_told() {
    let mut host = Host::of(3);
    assert_clean(&judged(&host.account));
    let elsewhere = FindingsHead {
        cluster: Digest::of(b"another"),
        ..host.head(now())
    };
    let mut moved = host.account.clone();
    moved.head = Some(key(1).sign_head(&elsewhere));
    assert_told(&judged(&moved), "of another cluster");
    // The agent's disk was set back, and it made as many again.
    let before = seen(&host);
    let mut other = Host::new("web-1", 1);
    for number in [0, 1, 8] {
        other.tell(row(number));
    }
    other.sign(now());
    assert_clean(&judged(&other.account));
    let verdict = judged_with(&other.account, Enrolled::Unknown, Some(&before));
    assert_told(&verdict, "two different states under number 3");
    // And a controller whose chain is another one.
    host.account.chain = Some(other.chain.digest);
    assert_told(&judged(&host.account), "chains differ");
}

#[test]
fn what_cannot_be_verified_is_not_said_to_be() {
    let mut host = Host::of(3);
    assert_clean(&judged(&host.account));
    host.account.not_kept = 4;
    host.account.rows.remove(&row(1).uid);
    let verdict = judged(&host.account);
    assert!(verdict.problems.is_empty() && verdict.doubts[0].contains("no room for 4"));
    let mut telling = Host::of(3);
    telling.tell(row(4));
    let verdict = judged(&telling.account);
    assert!(verdict.problems.is_empty() && verdict.passing && verdict.doubts[0].contains("up to 4"));
    let mut ahead = Host::of(3);
    ahead.sign(now() + SignedDuration::from_hours(1));
    let verdict = judged(&ahead.account);
    assert!(
        verdict.problems.is_empty() && verdict.doubts[0].contains("clock"),
        "{verdict:?}"
    );
}

/// What an honest controller lists of these accounts.
fn listed(accounts: &BTreeMap<AgentId, Account>) -> BTreeMap<FindingUid, Finding> {
    let mut rows: BTreeMap<FindingUid, BTreeMap<AgentId, Transition>> = BTreeMap::new();
    for (agent, account) in accounts {
        for (uid, row) in &account.rows {
            rows.entry(*uid).or_default().insert(agent.clone(), row.clone());
        }
    }
    let folded = |(uid, rows): (&FindingUid, &BTreeMap<_, _>)| Some((*uid, fold(*uid, 7, rows, None)?));
    rows.iter().filter_map(folded).collect()
}

fn accounts() -> BTreeMap<AgentId, Account> {
    let mut two = Host::new("web-2", 2);
    for number in [2, 3, 9] {
        two.tell(Transition {
            affected: 5,
            ..row(number)
        });
    }
    [
        (agent("web-1"), Host::of(4).account),
        (agent("web-2"), two.account),
    ]
    .into()
}

#[test]
fn a_list_that_leaves_out_or_changes_what_the_accounts_hold_is_told() {
    let accounts = accounts();
    let honest = listed(&accounts);
    assert_eq!(listing::compare(&honest, &accounts), Differences::new());
    // Of one host alone less is known, and nothing is wrong with it.
    let one: BTreeMap<_, _> = accounts.clone().into_iter().take(1).collect();
    assert_eq!(listing::compare(&honest, &one), Differences::new());
    type Lie = fn(&mut BTreeMap<FindingUid, Finding>);
    let lies: [(Lie, &str, bool); 6] = [
        (|listed| drop(listed.remove(&row(2).uid)), "is not listed", true),
        (
            |listed| listed.get_mut(&row(2).uid).unwrap().lifecycle = Lifecycle::Resolved,
            "listed as over",
            true,
        ),
        (
            |listed| {
                let finding = listed.get_mut(&row(2).uid).unwrap();
                finding.hosts.remove(&agent("web-1")).unwrap();
            },
            "other counts",
            true,
        ),
        (
            |listed| {
                let finding = listed.get_mut(&row(2).uid).unwrap();
                finding.hosts.get_mut(&agent("web-1")).unwrap().affected = 0;
            },
            "other counts",
            true,
        ),
        (
            |listed| listed.get_mut(&row(2).uid).unwrap().check.severity = Severity::Low,
            "otherwise than its hosts have told it",
            // The other host's row could say so.
            false,
        ),
        (
            |listed| {
                let mut finding = listed[&row(2).uid].clone();
                finding.uid = row(50).uid;
                listed.insert(finding.uid, finding);
            },
            "has not told it",
            true,
        ),
    ];
    for (lie, wanted, shows_in_one) in lies {
        let mut listed = honest.clone();
        lie(&mut listed);
        let told = listing::compare(&listed, &accounts);
        assert_eq!(told.len(), 1, "{wanted}: {told:?}");
        assert!(
            told.values().all(|what| what.contains(wanted)),
            "{wanted}: {told:?}"
        );
        assert_eq!(
            !listing::compare(&listed, &one).is_empty(),
            shows_in_one,
            "{wanted}"
        );
    }
    // What controllers find themselves, and what a person acknowledged, is none of the agents'.
    let mut more = honest.clone();
    let mut own = honest[&row(2).uid].clone();
    own.rule = rules::SILENT.rule_id();
    own.check.rule = own.rule.clone();
    own.uid = row(60).uid;
    more.insert(own.uid, own);
    let finding = more.get_mut(&row(2).uid).unwrap();
    finding.lifecycle = Lifecycle::Acknowledged;
    finding.acknowledged = Some(verger_policy::finding::Acknowledgement {
        person: "ada".to_owned(),
        note: "known".to_owned(),
        at: now(),
    });
    assert_eq!(listing::compare(&more, &accounts), Differences::new());
}

#[test]
fn controllers_that_show_different_things_under_one_number_are_told_apart() {
    let looked = |address: &str, host: &Host| Looked {
        address: address.to_owned(),
        verdicts: [(agent("web-1"), judged(&host.account))].into(),
        differences: Differences::new(),
        missing: BTreeMap::new(),
        enrolments: Enrolments::default(),
    };
    let (one, more) = (Host::of(3), Host::of(4));
    // One that is behind is no liar.
    assert!(apart(&[looked("c1:1", &one), looked("c2:1", &more), looked("c3:1", &one)]).is_empty());
    let mut other = Host::new("web-1", 1);
    for number in [0, 1, 8] {
        other.tell(row(number));
    }
    other.sign(now());
    let told = apart(&[looked("c1:1", &one), looked("c2:1", &other)]);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("c1:1 and c2:1 show different states under number 3"),
        "{told:?}"
    );
}

#[test]
fn a_host_that_one_controller_shows_is_missed_at_the_others() {
    let account = Host::of(3).account;
    let looked = |address: &str, shown: &[&str], rows: &[(&str, &str)]| Looked {
        address: address.to_owned(),
        verdicts: shown.iter().map(|name| (agent(name), judged(&account))).collect(),
        differences: Differences::new(),
        missing: BTreeMap::new(),
        enrolments: enrolments(rows, Some(rows.len() as u64)),
    };
    let before = Seen::default();
    let missed = |host: Option<&AgentId>, taken_out: bool| {
        let rows = [("enrol", "web-2"), ("remove-host", "web-2")];
        let rows = if taken_out { &rows[..] } else { &rows[..1] };
        let question = Question {
            host,
            before: &before,
            accept: false,
        };
        let mut all = [
            looked("c1:1", &["web-1", "web-2"], &rows[..1]),
            looked("c2:1", &["web-1"], rows),
        ];
        miss_what_others_show(&mut all, &question);
        assert!(all[0].missing.is_empty());
        all[1].missing.clone()
    };
    let wanted = [(agent("web-2"), Missing::Elsewhere("c1:1".to_owned()))].into();
    assert_eq!(missed(None, false), wanted);
    assert_eq!(missed(Some(&agent("web-2")), false), wanted);
    assert!(missed(Some(&agent("web-1")), false).is_empty());
    // The other one is behind.
    assert!(missed(None, true).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever one thing is changed of what the controller shows of a host's rows, it does not pass.
    #[test]
    fn any_single_change_of_the_rows_is_found(count in 1_u8..40, chosen in 0_u8..40, kind in 0..9) {
        let honest = Host::of(count).account;
        let verdict = judged(&honest);
        prop_assert!(verdict.problems.is_empty() && verdict.doubts.is_empty());
        let uid = row(chosen % count).uid;
        let mut changed = honest.clone();
        let mut row_of = changed.rows[&uid].clone();
        match kind {
            0 => drop(changed.rows.remove(&uid)),
            1 => drop(changed.rows.insert(row(99).uid, row(99))),
            2 => row_of.lifecycle = Lifecycle::Resolved,
            3 => row_of.lifecycle = Lifecycle::Suppressed,
            4 => row_of.affected += 1,
            5 => row_of.check.actual = None,
            6 => row_of.at += SignedDuration::from_millis(1),
            7 => row_of.occurrences = 0,
            _ => row_of.epoch += 1,
        }
        if kind > 1 {
            changed.rows.insert(uid, row_of);
        }
        prop_assert!(!judged(&changed).problems.is_empty());
    }
}
