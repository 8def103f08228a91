//! `findings verify`: whether what the controllers show of findings is what the hosts' agents signed.
//!
//! Each agent signs where its findings stand. Here the rows that a controller shows are put together again and held against that,
//! the key against the audit and what was seen before, and the list that everybody reads against the rows; the audit against what
//! a majority of the members signed of it. Which hosts there must be, the audit says, and what was seen before. Of a controller's
//! own word nothing is taken.

mod account;
mod enrolments;
mod judge;
mod listing;
mod look;
mod memory;
mod missing;
mod tell;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;
use verger_policy::model::{AgentId, printable};

use self::look::{Looked, Question, look};
use self::memory::{Memory, Seen, SeenHead};
use self::missing::Missing;
use crate::args::{Format, VerifyFindingsArgs};
use crate::connect::Session;
use crate::exit::{Exit, Failure};

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
    let remembered = memory.recall()?;
    let before = if accept_shown {
        Seen::default()
    } else {
        remembered.clone()
    };
    let question = Question {
        host: host.as_ref(),
        before: &before,
        accept: accept_shown,
    };
    let mut looked = Vec::new();
    let mut away = Vec::new();
    for address in session.context().addresses.clone() {
        match Session::at(context, &address).await {
            Ok(session) => {
                let shown = look(&session, address.clone(), &question).await;
                looked.push(shown.with_context(|| printable(&address).into_owned())?);
            }
            Err(error) => away.push(format!("{address} was not asked: {error:#}")),
        }
    }
    miss_what_others_show(&mut looked, &question);
    if let Some(host) = host.as_ref().filter(|host| !is_known(host, &looked)) {
        return Err(Failure::input(format!(
            "--host: there is no host {}; `verger hosts` lists them",
            printable(host.as_str())
        ))
        .into());
    }
    let apart = apart(&looked);
    memory.keep(&shown(&looked, &question), accept_shown)?;
    memory.forget(&gone(&looked, &remembered, &question))?;
    tell::tell(&looked, &question, &apart, &away, format)
}

/// Whether a controller shows a host, or it is missed.
fn is_known(host: &AgentId, looked: &[Looked]) -> bool {
    looked
        .iter()
        .any(|looked| looked.verdicts.contains_key(host) || looked.missing.contains_key(host))
}

/// Each controller is to show what another one does.
fn miss_what_others_show(looked: &mut [Looked], question: &Question<'_>) {
    let shown: Vec<(String, BTreeSet<AgentId>)> = looked
        .iter()
        .map(|looked| (looked.address.clone(), looked.verdicts.keys().cloned().collect()))
        .collect();
    for one in looked {
        for (address, agents) in &shown {
            for agent in agents {
                let is_taken_out = one
                    .enrolments
                    .removed()
                    .any(|(removed, row)| removed == agent && one.enrolments.is_signed(row));
                if question.is_of(agent) && !is_taken_out && !one.verdicts.contains_key(agent) {
                    let why = || Missing::Elsewhere(address.clone());
                    one.missing.entry(agent.clone()).or_insert_with(why);
                }
            }
        }
    }
}

/// The hosts that were taken out, and are to be forgotten.
fn gone(looked: &[Looked], remembered: &Seen, question: &Question<'_>) -> Vec<AgentId> {
    let is_gone = |agent: &&AgentId| {
        looked.iter().any(|looked| {
            let by_row = looked.enrolments.removed().find(|(removed, _)| removed == agent);
            let is_out = by_row.is_some_and(|(_, row)| question.accept || looked.enrolments.is_signed(row));
            is_out && !looked.verdicts.contains_key(*agent)
        })
    };
    remembered.agents().filter(is_gone).cloned().collect()
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

/// What is to be remembered: what its own host signed, whatever else did not match; and the audit, where all that is in it was
/// looked at.
fn shown(looked: &[Looked], question: &Question<'_>) -> Seen {
    let mut seen = Seen::default();
    for looked in looked {
        let read = looked.enrolments.head.filter(|_| question.host.is_none());
        let heads = [seen.audit, read].into_iter().flatten();
        seen.audit = heads.max_by_key(|head| head.count);
        for (agent, verdict) in &looked.verdicts {
            let (Some(head), Some(key), false) = (&verdict.head, verdict.key, verdict.unremembered) else {
                // One that was made up is nothing to be missed.
                if verdict.problems.is_empty() {
                    seen.headless.insert(agent.clone());
                }
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
