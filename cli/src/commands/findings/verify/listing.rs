//! Whether what everybody is shown of findings is what the accounts of the hosts make of them. Pure.
//!
//! A controller could account for everything here and leave a finding out of `verger findings list`.

use std::collections::BTreeMap;

use verger_policy::finding::{Finding, FindingUid, HostCount, Lifecycle, Transition, fold};
use verger_policy::model::AgentId;
use verger_policy::rules;

use super::account::Account;

/// What does not match, by finding, with the hosts whose rows say otherwise.
pub(super) type Differences = BTreeMap<FindingUid, String>;

/// Compares what is listed with the accounts of hosts: of all there are, or of some.
pub(super) fn compare(
    listed: &BTreeMap<FindingUid, Finding>,
    accounts: &BTreeMap<AgentId, Account>,
) -> Differences {
    let mut rows: BTreeMap<FindingUid, BTreeMap<AgentId, Transition>> = BTreeMap::new();
    for (agent, account) in accounts {
        for (uid, row) in &account.rows {
            rows.entry(*uid).or_default().insert(agent.clone(), row.clone());
        }
    }
    let mut differences = Differences::new();
    for (uid, rows) in &rows {
        if let Some(what) = hidden_or_altered(listed.get(uid), rows, accounts) {
            differences.insert(*uid, what);
        }
    }
    for (uid, finding) in listed {
        // What controllers find themselves, no agent tells.
        if rules::is_of_controllers(&finding.rule) {
            continue;
        }
        let told = rows.get(uid);
        let mut made_up = finding.hosts.keys().filter(|agent| {
            accounts.contains_key(*agent) && !told.is_some_and(|rows| rows.contains_key(*agent))
        });
        if let Some(agent) = made_up.next() {
            differences.insert(
                *uid,
                format!("it is listed of host {agent}, which has not told it"),
            );
        }
    }
    differences
}

fn hidden_or_altered(
    listed: Option<&Finding>,
    rows: &BTreeMap<AgentId, Transition>,
    accounts: &BTreeMap<AgentId, Account>,
) -> Option<String> {
    let lasting = rows.iter().find(|(_, row)| row.lifecycle != Lifecycle::Resolved);
    let Some(listed) = listed else {
        // What is over may have been dropped since.
        let (agent, _) = lasting?;
        return Some(format!("host {agent} has told it, and it is not listed"));
    };
    for (agent, row) in rows {
        let affected = if row.lifecycle == Lifecycle::Resolved {
            0
        } else {
            row.affected
        };
        let told = HostCount {
            affected,
            evaluated: row.evaluated,
        };
        if listed.hosts.get(agent) != Some(&told) {
            return Some(format!(
                "it is listed with other counts than host {agent} has told"
            ));
        }
    }
    if let Some((agent, row)) = lasting {
        let hidden = matches!(
            (row.lifecycle, listed.lifecycle),
            (_, Lifecycle::Resolved) | (Lifecycle::Open, Lifecycle::Suppressed)
        );
        if hidden {
            return Some(format!(
                "host {agent} has told that it lasts, and it is listed as over"
            ));
        }
    }
    // Where the rows of all its hosts are here, all that is said of it follows from them.
    if listed.hosts.keys().all(|agent| accounts.contains_key(agent)) {
        let folded = fold(listed.uid, listed.revision, rows, listed.acknowledged.as_ref());
        if folded.as_ref() != Some(listed) {
            return Some("it is listed otherwise than its hosts have told it".to_owned());
        }
    }
    None
}
