//! What a controller accounts for of one host, and what it lists in public.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use tonic::{Code, Status};
use verger_policy::digest::Digest;
use verger_policy::finding::{Finding, FindingUid, Transition};
use verger_policy::model::AgentId;
use verger_proto::findings::v1 as pb;
use verger_proto::findings::v1::account_response::Part;
use verger_seal::SignedHead;
use verger_wire::{FromWire as _, InvalidMessage, digest};

use crate::connect::Session;

/// How often is asked again when a host tells more while it is accounted for.
const ATTEMPTS: u32 = 10;
/// How long is waited before that.
const PAUSE: Duration = Duration::from_millis(200);
/// The most rows of one host that are taken in: a controller keeps no more.
const MOST_ROWS: usize = 200_000;

/// The account of a host. All of it is a controller's word but what is signed.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) last_sequence: u64,
    /// The controllers' chain; none where they do not know it.
    pub(super) chain: Option<Digest>,
    pub(super) head: Option<SignedHead>,
    pub(super) not_kept: u64,
    pub(super) silent: bool,
    /// The last transition of each finding of this host.
    pub(super) rows: BTreeMap<FindingUid, Transition>,
}

/// Fetches the account of a host; none where there is no such host.
///
/// # Errors
/// When the controller does not answer, answers what has no meaning, or the host never stops telling.
pub(super) async fn fetch(session: &Session, agent: &AgentId) -> anyhow::Result<Option<Account>> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match fetch_once(session, agent).await {
            Ok(account) => return Ok(Some(account)),
            Err(error) => match error.downcast_ref::<Status>().map(Status::code) {
                Some(Code::NotFound) => return Ok(None),
                Some(Code::Aborted) if attempt < ATTEMPTS => tokio::time::sleep(PAUSE).await,
                // In the middle of it: the next one is asked from the beginning.
                Some(Code::Unavailable) if attempt < ATTEMPTS && session.turn_to_the_next().await.is_ok() => {
                }
                _ => return Err(error.context(format!("host {agent}"))),
            },
        }
    }
}

async fn fetch_once(session: &Session, agent: &AgentId) -> anyhow::Result<Account> {
    let request = pb::AccountRequest {
        agent_id: agent.to_string(),
    };
    let mut stream = session
        .ask(request, async |session, request| {
            session.findings().account(request).await
        })
        .await?
        .into_inner();
    let first = stream.message().await?.and_then(|message| message.part);
    let Some(Part::Host(host)) = first else {
        anyhow::bail!("the controller's account does not begin with the host");
    };
    let mut account = begun(host)?;
    while let Some(message) = stream.message().await? {
        let Some(Part::Rows(pb::AccountRows { rows })) = message.part else {
            anyhow::bail!("the controller's account holds something else than rows");
        };
        for row in rows {
            let row = Transition::from_wire(row).context("the controller's account cannot be read")?;
            let uid = row.uid;
            let twice = account.rows.insert(uid, row).is_some();
            anyhow::ensure!(!twice, "the controller's account has finding {uid} twice");
        }
        anyhow::ensure!(
            account.rows.len() <= MOST_ROWS,
            "the controller's account has more than {MOST_ROWS} findings"
        );
    }
    Ok(account)
}

fn begun(host: pb::HostAccount) -> Result<Account, InvalidMessage> {
    let pb::HostAccount {
        revision: _,
        last_sequence,
        chain,
        head,
        not_kept,
        silent,
        // Which key is the host's is not a controller's to say.
        key_digest: _,
    } = host;
    Ok(Account {
        last_sequence,
        chain: match &*chain {
            [] => None,
            bytes => Some(digest("chain", bytes)?),
        },
        head: head.map(SignedHead::from_wire).transpose()?,
        not_kept,
        silent,
        rows: BTreeMap::new(),
    })
}

/// The findings that everybody is shown: of all hosts, or of one.
///
/// # Errors
/// When the controller does not answer, or answers what has no meaning.
pub(super) async fn listed(
    session: &Session,
    agent: Option<&AgentId>,
) -> anyhow::Result<BTreeMap<FindingUid, Finding>> {
    let filter = pb::Filter {
        agent_id: agent.map(ToString::to_string).unwrap_or_default(),
        ..pb::Filter::default()
    };
    let mut found = BTreeMap::new();
    super::super::each(session, filter, |finding| {
        found.insert(finding.uid, finding);
    })
    .await?;
    Ok(found)
}
