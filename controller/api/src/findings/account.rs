//! The account of one host: what its agent signed, and the rows that must make up what was signed.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use verger_controller_state::{Host, State};
use verger_policy::finding::FindingUid;
use verger_policy::model::AgentId;
use verger_proto::findings::v1 as pb;
use verger_proto::findings::v1::account_response::Part;
use verger_wire::{IntoWire as _, digest_bytes};

use super::LOOK;
use crate::authorizer::Permit;
use crate::ports::{Replicated, read};
use crate::status::{not_found, with_reason};
use crate::watch::Stream;

/// Messages that wait for a slow reader.
const AHEAD: usize = 4;

/// Gives the account, rows in the order of uids. Writers come between; where the host tells more meanwhile, the rows are no
/// longer those of the head, and it ends with that; as it does where the caller may not read it any more.
pub(super) fn give(
    replicated: Arc<dyn Replicated>,
    permit: Permit,
    agent: AgentId,
) -> Result<Stream<pb::AccountResponse>, Status> {
    let first = read(&*replicated, |state| {
        let host = state.host(&agent)?;
        Some((told(host), account(state, &agent, host)))
    });
    let (begun, first) = first.ok_or_else(|| not_found("host of this name"))?;
    let (ready, messages) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut next = Ok(Some((Part::Host(first), None)));
        while let Ok(Some((part, after))) = next {
            let message = pb::AccountResponse { part: Some(part) };
            if ready.send(Ok(message)).await.is_err() {
                return;
            }
            next = read(&*replicated, |state| {
                permit.holds(state)?;
                if state.host(&agent).map(told) != Some(begun) {
                    return Err(with_reason(
                        Code::Aborted,
                        "CHANGED_MEANWHILE",
                        "the host told more meanwhile; ask again",
                    ));
                }
                Ok(rows(state, &agent, after))
            });
        }
        if let Err(status) = next {
            // Who is gone needs no answer.
            drop(ready.send(Err(status)).await);
        }
    });
    Ok(Box::pin(ReceiverStream::new(messages)))
}

/// What changes with all that a host tells.
fn told(host: &Host) -> (u64, Option<verger_policy::digest::Digest>) {
    (host.last_sequence, host.chain)
}

fn account(state: &State, agent: &AgentId, host: &Host) -> pb::HostAccount {
    let Host {
        enrolled: _,
        key,
        last_sequence,
        not_kept,
        machine: _,
        standing: _,
        chain,
        head,
    } = host;
    pb::HostAccount {
        revision: state.revision(),
        last_sequence: *last_sequence,
        chain: chain.as_ref().map(digest_bytes).unwrap_or_default(),
        head: head.as_ref().map(|head| head.into_wire()),
        not_kept: *not_kept,
        silent: state.is_silent(agent),
        key_digest: digest_bytes(key),
    }
}

/// The rows after a uid, as many as are looked at in one go, and the last uid; none where there are no more.
fn rows(state: &State, agent: &AgentId, after: Option<FindingUid>) -> Option<(Part, Option<FindingUid>)> {
    let rows: Vec<_> = state.told_by(agent, after).take(LOOK).collect();
    let last = rows.last()?.uid;
    let rows = rows.into_iter().map(|row| row.into_wire()).collect();
    Some((Part::Rows(pb::AccountRows { rows }), Some(last)))
}
