//! Deciding what a host may.

use std::path::Path;

use serde_json::json;
use verger_policy::digest::Digest;
use verger_policy::model::printable;
use verger_proto::cluster::v1 as pb;

use crate::args::{Decision, Format};
use crate::connect::{Session, call, request_id};
use crate::consent::named;
use crate::exit::{Exit, Failure};
use crate::output::{document, emit, for_people, note};

/// Makes the same request until it is answered.
macro_rules! insist {
    ($session:ident . $rpc:ident, $request:expr) => {{
        let request = $request;
        $session
            .insist(|session| {
                let (mut client, request) = (session.cluster(), call(request.clone()));
                async move { client.$rpc(request).await }
            })
            .await
            .map(drop)
    }};
}

pub(in super::super) async fn decide(
    agent_id: String,
    decision: Decision,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let mut session = Session::open(context).await?;
    let request_id = request_id();
    let agent = agent_id.clone();
    let (word, said) = match decision {
        Decision::Approve { key } => {
            let key = key_of(&agent, Some(&key))?.map(|key| key.as_bytes().to_vec().into());
            let request = pb::ApproveHostRequest {
                request_id,
                agent_id,
                key: key.unwrap_or_default(),
            };
            insist!(session.approve_host, request)?;
            (
                "approved",
                "was let in: it takes its certificate the next time it asks",
            )
        }
        Decision::Reject { key } => {
            let keys = match key_of(&agent, key.as_deref())? {
                Some(key) => vec![key.as_bytes().to_vec().into()],
                None => waiting(&session, &agent).await?,
            };
            for (number, key) in keys.into_iter().enumerate() {
                let request = pb::RejectHostRequest {
                    request_id: format!("{request_id}-{number}"),
                    agent_id: agent_id.clone(),
                    key,
                };
                insist!(session.reject_host, request)?;
            }
            ("rejected", "was not let in")
        }
        Decision::Evict { reason } => {
            let request = pb::EvictHostRequest {
                request_id,
                agent_id,
                reason,
            };
            insist!(session.evict_host, request)?;
            ("evicted", "is shut out; it comes back only by a new token")
        }
        Decision::Ban { reason } => {
            let request = pb::BanHostRequest {
                request_id,
                agent_id,
                reason,
            };
            insist!(session.ban_host, request)?;
            (
                "banned",
                "is shut out, and no token lets its id or its key back in",
            )
        }
        Decision::Unban => {
            let request = pb::UnbanHostRequest { request_id, agent_id };
            insist!(session.unban_host, request)?;
            ("unbanned", "is no longer banned; it comes back by a new token")
        }
        Decision::Remove => {
            let request = pb::RemoveHostRequest { request_id, agent_id };
            insist!(session.remove_host, request)?;
            ("removed", "was taken out; it comes back only by a new token")
        }
    };
    if for_people(format) {
        note(&format!("{} {said}", printable(&agent)));
    } else {
        emit(&document(&json!({ "agent": agent, "decided": word }), format)?)?;
    }
    Ok(Exit::Clean)
}

fn key_of(agent: &str, key: Option<&str>) -> anyhow::Result<Option<Digest>> {
    named("--key", key, &format!("verger hosts {agent}"))
}

/// The keys of all who wait under an id.
async fn waiting(session: &Session, agent: &str) -> anyhow::Result<Vec<bytes::Bytes>> {
    let request = pb::GetHostRequest {
        agent_id: agent.to_owned(),
    };
    let answer = session
        .ask(request, async |session, request| {
            session.cluster().get_host(request).await
        })
        .await?
        .into_inner();
    let waiting = answer.host.unwrap_or_default().waiting;
    if waiting.is_empty() {
        return Err(Failure::input(format!("nobody waits for approval as {}", printable(agent))).into());
    }
    Ok(waiting.into_iter().map(|waiting| waiting.key).collect())
}
