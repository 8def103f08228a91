//! `findings verify`: whether what the controllers show of findings is what the hosts' agents signed.
//!
//! Each agent signs where its findings stand. Here the rows that a controller shows are put together again and held against that,
//! the key against the audit and what was seen before, and the list that everybody reads against the rows. Of a controller's own
//! word nothing is taken.

mod account;
mod enrolments;
mod judge;
mod listing;
mod memory;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use verger_policy::finding::FindingUid;
use verger_policy::model::{AgentId, printable};

use self::account::Account;
use self::enrolments::Enrolments;
use self::judge::{FIRST_SIGHT, Known, Verdict};
use self::listing::Differences;
use self::memory::{Memory, Seen, SeenHead};
use crate::args::{Format, VerifyFindingsArgs};
use crate::commands::hosts;
use crate::connect::Session;
use crate::exit::{Exit, Failure};
use crate::output::{Column, Sheet, emit, for_people, note, print};

/// How often is looked again at what hosts change meanwhile.
const ATTEMPTS: u32 = 4;
/// How long is waited before that.
const PAUSE: Duration = Duration::from_secs(1);

const COLUMNS: &[Column] = &[
    Column::new("HOST"),
    Column::new("RESULT"),
    Column::new("NOT OVER"),
    Column::new("CHANGES"),
    Column::new("SIGNED"),
    Column::wide("KEY"),
    Column::wide("KEY KNOWN BY"),
    Column::wide("CONTROLLER"),
];

/// What one controller showed, judged.
struct Looked {
    address: String,
    verdicts: BTreeMap<AgentId, Verdict>,
    differences: Differences,
    /// Hosts that were seen before, and are not shown; and whether the audit has them taken out.
    missing: BTreeMap<AgentId, bool>,
    enrolments: Enrolments,
}

pub(super) async fn verify(
    args: VerifyFindingsArgs,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let VerifyFindingsArgs { host, accept_shown } = args;
    let host = host
        .map(|host| host.parse::<AgentId>())
        .transpose()
        .map_err(|error| Failure::input(format!("--host: {error}")))?;
    let session = Session::open(context).await?;
    let memory = Memory::beside(session.place(), session.context().cluster());
    // Before any request: what another run sees meanwhile may be newer than the answers.
    let before = if accept_shown {
        Seen::default()
    } else {
        memory.recall()?
    };
    let mut looked = Vec::new();
    let mut away = Vec::new();
    for address in session.context().addresses.clone() {
        match Session::at(context, &address).await {
            Ok(session) => looked.push(look(&session, address, host.as_ref(), &before).await?),
            Err(error) => away.push(format!("{address} was not asked: {error:#}")),
        }
    }
    let apart = apart(&looked);
    memory.keep(&shown(&looked), accept_shown)?;
    let gone: Vec<AgentId> = looked
        .iter()
        .flat_map(|looked| &looked.missing)
        .filter(|(_, removed)| **removed)
        .map(|(agent, _)| agent.clone())
        .collect();
    memory.forget(&gone)?;
    tell(&looked, &apart, &away, format)
}

/// Asks one controller, again where hosts told more meanwhile.
async fn look(
    session: &Session,
    address: String,
    host: Option<&AgentId>,
    before: &Seen,
) -> anyhow::Result<Looked> {
    let enrolments = Enrolments::read(session, before.audit).await?;
    let cluster = session.context().cluster();
    let mut differences: Option<BTreeSet<FindingUid>> = None;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let agents = match host {
            Some(host) => BTreeSet::from([host.clone()]),
            None => named(session).await?,
        };
        let mut accounts = BTreeMap::new();
        for agent in agents {
            if let Some(account) = account::fetch(session, &agent).await? {
                accounts.insert(agent, account);
            }
        }
        let listed = account::listed(session, host).await?;
        let now = Timestamp::now();
        let judged = |(agent, account): (&AgentId, &Account)| {
            let known = Known {
                cluster,
                agent,
                enrolled: enrolments.of(agent),
                seen: before.hosts.get(agent),
                now,
            };
            (agent.clone(), judge::judge(&known, account))
        };
        let verdicts: BTreeMap<AgentId, Verdict> = accounts.iter().map(judged).collect();
        // Only what differs each time: a finding may change between the two answers, and not for ever.
        let mut differing = listing::compare(&listed, &accounts);
        if let Some(known) = &differences {
            differing.retain(|uid, _| known.contains(uid));
        }
        let passing = verdicts.values().any(|verdict| verdict.passing) || !differing.is_empty();
        if passing && attempt < ATTEMPTS {
            differences = Some(differing.into_keys().collect());
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let is_meant = |agent: &&AgentId| host.is_none_or(|host| host == *agent);
        let missing = before
            .hosts
            .keys()
            .filter(is_meant)
            .filter(|agent| !verdicts.contains_key(*agent))
            .map(|agent| (agent.clone(), enrolments.is_removed(agent)))
            .collect();
        let is_known = |host: &&AgentId| verdicts.contains_key(*host) || before.hosts.contains_key(*host);
        if let Some(host) = host.filter(|host| !is_known(host)) {
            return Err(Failure::input(format!(
                "--host: there is no host {}; `verger hosts` lists them",
                printable(host.as_str())
            ))
            .into());
        }
        return Ok(Looked {
            address,
            verdicts,
            differences: differing,
            missing,
            enrolments,
        });
    }
}

/// The hosts that a controller names.
async fn named(session: &Session) -> anyhow::Result<BTreeSet<AgentId>> {
    let hosts = hosts::all(session).await?;
    hosts
        .into_iter()
        .map(|host| {
            host.agent_id.parse().map_err(|_| {
                let name = printable(&host.agent_id).into_owned();
                Failure::new(
                    Exit::Violation,
                    format!("the controller names a host `{name}`, which no host can be called"),
                )
                .into()
            })
        })
        .collect()
}

/// Where controllers show different things as signed under one number.
fn apart(looked: &[Looked]) -> Vec<String> {
    let mut apart = Vec::new();
    for (place, one) in looked.iter().enumerate() {
        for other in &looked[place + 1..] {
            for (agent, verdict) in &one.verdicts {
                let heads = (
                    verdict.head.as_ref(),
                    other
                        .verdicts
                        .get(agent)
                        .and_then(|verdict| verdict.head.as_ref()),
                );
                let (Some(a), Some(b)) = heads else { continue };
                let same_number = a.told.chain.sequence == b.told.chain.sequence;
                if same_number && a.told != b.told {
                    apart.push(format!(
                        "host {agent}: {} and {} show different states under number {}",
                        one.address, other.address, a.told.chain.sequence
                    ));
                }
            }
        }
    }
    apart
}

/// What is to be remembered: what its own host signed, whatever else did not match.
fn shown(looked: &[Looked]) -> Seen {
    let mut seen = Seen::default();
    for looked in looked {
        let heads = [seen.audit, looked.enrolments.head].into_iter().flatten();
        seen.audit = heads.max_by_key(|head| head.count);
        for (agent, verdict) in &looked.verdicts {
            let (Some(head), Some(key), false) = (&verdict.head, verdict.key, verdict.unremembered) else {
                continue;
            };
            let is_newer = |held: &SeenHead| held.chain.sequence <= head.told.chain.sequence;
            if seen.hosts.get(agent).is_none_or(is_newer) {
                let head = SeenHead {
                    key,
                    chain: head.told.chain,
                    table: head.told.table,
                    seen_at: Timestamp::now(),
                };
                seen.hosts.insert(agent.clone(), head);
            }
        }
    }
    seen
}

const MATCHES: &str = "verified";
const DIFFERS: &str = "DOES NOT MATCH";
const OPEN: &str = "not verified";

fn tell(looked: &[Looked], apart: &[String], away: &[String], format: Format) -> anyhow::Result<Exit> {
    let mut sheet = Sheet::list(COLUMNS, "no host has joined: there is nothing to verify");
    let (mut problems, mut doubts) = (apart.to_vec(), away.to_vec());
    for Looked {
        address,
        verdicts,
        differences,
        missing,
        enrolments,
    } in looked
    {
        for (agent, verdict) in verdicts {
            if verdict.known_by == FIRST_SIGHT {
                note(&format!(
                    "host {agent}: its key is taken as it is shown, and remembered"
                ));
            }
            push(&mut sheet, address, agent, verdict);
            let of = |what: &String| format!("host {agent}: {what}");
            problems.extend(verdict.problems.iter().map(of));
            doubts.extend(verdict.doubts.iter().map(of));
        }
        for (agent, removed) in missing {
            if *removed {
                note(&format!(
                    "host {agent} was taken out, by the audit; it is forgotten here"
                ));
            } else {
                problems.push(format!(
                    "host {agent} is hidden: you saw it before, and no row of the audit takes it out"
                ));
            }
        }
        problems.extend(differences.iter().map(|(uid, what)| {
            format!("`verger findings list` does not tell the truth about finding {uid}: {what}")
        }));
        if let Some(why) = &enrolments.unread {
            note(&format!(
                "{address}: keys are held against what you saw before, not against the audit: {why}"
            ));
        }
    }
    print(&sheet, format)?;
    if for_people(format) {
        let lines = |head: &str, what: &[String]| -> String {
            what.iter()
                .map(|what| format!("\n{head}: {}\n", printable(what)))
                .collect()
        };
        emit(&(lines("DOES NOT MATCH", &problems) + &lines("not verified", &doubts)))?;
    } else {
        for (head, what) in [("does not match", &problems), ("not verified", &doubts)] {
            what.iter().for_each(|what| note(&format!("{head}: {what}")));
        }
    }
    Ok(if !problems.is_empty() {
        Exit::Violation
    } else if !doubts.is_empty() {
        Exit::NotEvaluated
    } else {
        Exit::Clean
    })
}

fn push(sheet: &mut Sheet, address: &str, agent: &AgentId, verdict: &Verdict) {
    let Verdict {
        problems,
        doubts,
        head,
        key,
        known_by,
        passing: _,
        unremembered: _,
    } = verdict;
    let result = match (problems.is_empty(), doubts.is_empty()) {
        (false, _) => DIFFERS,
        (true, false) => OPEN,
        (true, true) => MATCHES,
    };
    let told = head.as_ref().map(|head| head.told);
    let cell = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let cells = vec![
        agent.to_string(),
        result.to_owned(),
        cell(told.map(|told| told.open.to_string())),
        cell(told.map(|told| told.chain.sequence.to_string())),
        cell(head.as_ref().map(|head| head.at.to_string())),
        cell(key.map(|key| key.to_string())),
        (*known_by).to_owned(),
        address.to_owned(),
    ];
    let object = json!({
        "host": agent.to_string(),
        "controller": address,
        "result": match result {
            MATCHES => "verified",
            DIFFERS => "mismatch",
            _ => "notVerified",
        },
        "open": told.map(|told| told.open),
        "sequence": told.map(|told| told.chain.sequence),
        "chain": told.map(|told| told.chain.digest.to_string()),
        "table": told.map(|told| told.table.to_string()),
        "signedAt": head.as_ref().map(|head| head.at.to_string()),
        "key": key.map(|key| key.to_string()),
        "keyKnownBy": known_by,
        "problems": problems,
        "doubts": doubts,
    });
    sheet.push(agent.to_string(), cells, object);
}
