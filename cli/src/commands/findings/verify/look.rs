//! What one controller shows of all hosts, asked for and judged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use verger_policy::finding::FindingUid;
use verger_policy::model::{AgentId, printable};

use super::account::{self, Account};
use super::enrolments::{Enrolled, Enrolments};
use super::judge::{self, Known, Verdict};
use super::listing::{self, Differences};
use super::memory::Seen;
use super::missing::{Missing, Said, missing};
use crate::commands::hosts;
use crate::connect::Session;
use crate::exit::{Exit, Failure};

/// How often is looked again at what hosts change meanwhile.
const ATTEMPTS: u32 = 4;
/// How long is waited before that.
const PAUSE: Duration = Duration::from_secs(1);

/// What one controller showed, judged.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) address: String,
    pub(super) verdicts: BTreeMap<AgentId, Verdict>,
    pub(super) differences: Differences,
    /// Hosts that are not shown, and must be, or were seen before.
    pub(super) missing: BTreeMap<AgentId, Missing>,
    pub(super) enrolments: Enrolments,
}

/// What is asked of every controller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    /// Of this host alone.
    pub(super) host: Option<&'a AgentId>,
    /// What this person saw before.
    pub(super) before: &'a Seen,
    /// What is shown is taken on purpose.
    pub(super) accept: bool,
}

impl Question<'_> {
    /// Whether it is of this host.
    pub(super) fn is_of(&self, agent: &AgentId) -> bool {
        self.host.is_none_or(|host| host == agent)
    }
}

/// Asks one controller, again where hosts told more meanwhile.
pub(super) async fn look(
    session: &Session,
    address: String,
    question: &Question<'_>,
) -> anyhow::Result<Looked> {
    let Question { host, before, accept } = *question;
    let mut enrolments = Enrolments::read(session, before.audit).await?;
    let mut is_read_again = false;
    let mut differences: Option<BTreeSet<FindingUid>> = None;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let accounts = accounts(session, host).await?;
        let listed = account::listed(session, host).await?;
        let verdicts = judged(session, &accounts, &enrolments, before);
        // Only what differs each time: a finding may change between the two answers, and not for ever.
        let mut differing = listing::compare(&listed, &accounts);
        if let Some(known) = &differences {
            differing.retain(|uid, _| known.contains(uid));
        }
        let shown = accounts.keys().cloned().collect();
        let mut missing = missing(&shown, before, &enrolments, accept);
        missing.retain(|agent, _| question.is_of(agent));
        if !is_read_again && is_contradicted(&verdicts, &missing, &enrolments) {
            is_read_again = true;
            enrolments = Enrolments::read(session, before.audit).await?;
            continue;
        }
        let passing = verdicts.values().any(|verdict| verdict.passing) || !differing.is_empty();
        if passing && attempt < ATTEMPTS {
            differences = Some(differing.into_keys().collect());
            tokio::time::sleep(PAUSE).await;
            continue;
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

/// Whether hosts and audit do not fit: somebody may have joined, or been taken out, since the audit was read.
fn is_contradicted(
    verdicts: &BTreeMap<AgentId, Verdict>,
    missing: &BTreeMap<AgentId, Missing>,
    enrolments: &Enrolments,
) -> bool {
    verdicts
        .keys()
        .any(|agent| enrolments.of(agent) == Enrolled::Never)
        || missing.values().any(|why| matches!(why.say(), Said::Problem(_)))
}

async fn accounts(session: &Session, host: Option<&AgentId>) -> anyhow::Result<BTreeMap<AgentId, Account>> {
    let agents = match host {
        Some(host) => BTreeSet::from([host.clone()]),
        None => named(session).await?,
    };
    let mut accounts = BTreeMap::new();
    for agent in agents {
        // Of a host that waits for approval there is none.
        if let Some(account) = account::fetch(session, &agent).await? {
            accounts.insert(agent, account);
        }
    }
    Ok(accounts)
}

fn judged(
    session: &Session,
    accounts: &BTreeMap<AgentId, Account>,
    enrolments: &Enrolments,
    before: &Seen,
) -> BTreeMap<AgentId, Verdict> {
    let cluster = session.context().cluster();
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
    accounts.iter().map(judged).collect()
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
