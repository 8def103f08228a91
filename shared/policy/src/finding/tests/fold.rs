//! Rows of hosts, folded.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{Acknowledgement, Finding, FindingUid, Lifecycle, MAX_SAMPLES, Transition, fold};
use super::{Host, judgement, time};
use crate::digest::Digest;
use crate::drift::Outcome;
use crate::model::{AgentId, Mode, Severity};

type Rows = BTreeMap<AgentId, Transition>;

fn uid() -> FindingUid {
    FindingUid(Digest::of(b"uid"))
}

fn row(lifecycle: Lifecycle, affected: u64) -> Transition {
    let sent = Host::default()
        .round(0, &[judgement("a", Outcome::Fail)])
        .remove(0);
    Transition {
        lifecycle,
        affected,
        ..sent
    }
}

fn rows(rows: &[(&str, Transition)]) -> Rows {
    rows.iter()
        .map(|(agent, row)| (agent.parse().unwrap(), row.clone()))
        .collect()
}

fn folded(rows: &Rows, acknowledged: bool) -> Finding {
    let word = Acknowledgement {
        person: "ada".to_owned(),
        note: "seen".to_owned(),
        at: time(5),
    };
    fold(uid(), 9, rows, acknowledged.then_some(&word)).unwrap()
}

#[test]
fn no_rows_are_no_finding() {
    assert_eq!(fold(uid(), 1, &Rows::new(), None), None);
}

#[test]
fn open_on_one_host_is_open_and_resolved_is_resolved_everywhere() {
    use Lifecycle::{Acknowledged, Open, Resolved, Suppressed};
    for (states, wanted, acknowledged) in [
        (&[Open, Resolved, Suppressed][..], Open, Acknowledged),
        (&[Resolved, Suppressed], Suppressed, Suppressed),
        (&[Resolved, Resolved], Resolved, Resolved),
        (&[Suppressed], Suppressed, Suppressed),
        (&[Open], Open, Acknowledged),
    ] {
        let rows: Rows = (0..)
            .zip(states)
            .map(|(n, state)| (format!("h{n}").parse().unwrap(), row(*state, 1)))
            .collect();
        assert_eq!(folded(&rows, false).lifecycle, wanted, "{states:?}");
        assert_eq!(folded(&rows, true).lifecycle, acknowledged, "{states:?}");
    }
}

#[test]
fn hosts_are_counted_and_only_those_where_it_lasts_speak() {
    let mut over = row(Lifecycle::Resolved, 7);
    (over.wanted, over.effective, over.reopened, over.at) = (Mode::Enforce, Mode::Learn, 2, time(99));
    over.check.severity = Severity::Critical;
    let mut open = row(Lifecycle::Open, 3);
    (open.wanted, open.effective, open.reopened) = (Mode::Monitor, Mode::Monitor, 1);
    open.first_seen = time(-5);
    let finding = folded(&rows(&[("h1", over), ("h2", open)]), false);
    let counts: Vec<u64> = finding.hosts.values().map(|count| count.affected).collect();
    assert_eq!(counts, [0, 3]);
    assert_eq!(
        (finding.wanted, finding.effective),
        (Mode::Monitor, Mode::Monitor)
    );
    assert_eq!(
        (finding.check.severity, finding.reopened, finding.occurrences),
        (Severity::High, 3, 2)
    );
    assert_eq!(
        (finding.first_seen, finding.changed, finding.revision),
        (time(-5), time(99), 9)
    );
}

#[test]
fn the_worst_host_is_the_one_described() {
    let mut mild = row(Lifecycle::Open, 1);
    (mild.check.severity, mild.at) = (Severity::Low, time(50));
    let mut error = row(Lifecycle::Open, 1);
    (error.check.result, error.check.severity) = (Outcome::Error, Severity::Critical);
    let finding = folded(&rows(&[("h1", mild), ("h2", error)]), false);
    assert_eq!(
        (finding.check.result, finding.check.severity),
        (Outcome::Fail, Severity::Low)
    );
}

prop_compose! {
    fn any_row()(state in 0_usize..3, severity in 0_usize..5, at in 0_i64..50, affected in 0_u64..9, names in 0_usize..20)
        -> Transition
    {
        let lifecycle = [Lifecycle::Open, Lifecycle::Suppressed, Lifecycle::Resolved][state];
        let judgements: Vec<_> = (0..names.max(1)).map(|n| judgement(&n.to_string(), Outcome::Fail)).collect();
        let mut row = Host::default().round(at, &judgements).remove(0);
        (row.lifecycle, row.affected, row.check.severity) = (lifecycle, affected, Severity::ALL[severity]);
        row
    }
}

proptest! {
    #[test]
    fn the_order_in_which_hosts_report_is_immaterial(
        sent in proptest::collection::vec((0_u8..4, any_row()), 1..12),
        order in Just((0..4_u8).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let agent = |host: u8| -> AgentId { format!("h{host}").parse().unwrap() };
        let arrived: Rows = sent.iter().map(|(host, row)| (agent(*host), row.clone())).collect();
        // The same per host, hosts one after the other in another order.
        let mut grouped = Rows::new();
        for host in order {
            for (_, row) in sent.iter().filter(|(of, _)| *of == host) {
                grouped.insert(agent(host), row.clone());
            }
        }
        let finding = folded(&arrived, false);
        prop_assert_eq!(&finding, &folded(&grouped, false));
        prop_assert!(finding.samples.len() <= MAX_SAMPLES);
        let open = arrived.values().any(|row| row.lifecycle == Lifecycle::Open);
        let over = arrived.values().all(|row| row.lifecycle == Lifecycle::Resolved);
        prop_assert_eq!((finding.lifecycle == Lifecycle::Open, finding.lifecycle == Lifecycle::Resolved), (open, over));
        prop_assert_eq!(finding.hosts.len(), arrived.len());
    }
}
