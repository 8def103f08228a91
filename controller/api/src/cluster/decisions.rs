//! What people decide of hosts, and what is told of it.

use std::collections::BTreeMap;

use tonic::{Code, Status};
use verger_controller_state::{Action, Asked, Host, Refused, Response as Answer, Standing, State, Verdict};
use verger_policy::model::{AgentId, Resource, Verb};
use verger_proto::cluster::v1 as pb;
use verger_wire::{digest, digest_bytes, timestamp};

use super::{Cluster, agent_id};
use crate::authorizer::{Caller, of_host};
use crate::status::{answered_otherwise, invalid, not_found, with_reason};

/// Of which host something is asked, and under which id of a request.
pub(super) struct Which {
    request_id: String,
    pub(super) agent: AgentId,
}

impl Which {
    pub(super) fn of(request_id: String, agent: &str) -> Result<Self, Status> {
        let agent = agent_id(agent)?;
        Ok(Self { request_id, agent })
    }
}

impl Cluster {
    /// Lets in a host that waits, or refuses it.
    pub(super) async fn answer_host(
        &self,
        caller: Caller,
        which: Which,
        key: &[u8],
        approved: bool,
    ) -> Result<(), Status> {
        let action = Action::DecideHost {
            agent: which.agent.clone(),
            key: digest("key", key).map_err(invalid)?,
            approved,
        };
        self.decide_host(caller, Verb::Approve, which, action).await
    }

    /// Carries out what somebody who may decides of a host.
    pub(super) async fn decide_host(
        &self,
        caller: Caller,
        verb: Verb,
        which: Which,
        action: Action,
    ) -> Result<(), Status> {
        let Which { request_id, agent } = which;
        let permit = caller
            .may_all(|state| vec![of_host(state.set(), verb, Resource::Hosts, &agent)])
            .await?;
        let answer = permit
            .asker()
            .propose(&*self.replicated, &*self.ambient, &request_id, action)
            .await?;
        match answer {
            Answer::Decided => Ok(()),
            other => Err(not_decided(&other)),
        }
    }
}

/// Why nothing was decided. What keeps a host out is no want of a right of who decides.
pub(super) fn not_decided(answer: &Answer) -> Status {
    match answer {
        Answer::Refused(Refused::UnknownAgent) => not_found("enrolled host of this agent"),
        Answer::Refused(
            why @ (Refused::Banned { .. }
            | Refused::OtherKey(_)
            | Refused::CopiedIdentity(_)
            | Refused::NoMachine(_)),
        ) => with_reason(Code::FailedPrecondition, why.word(), why.to_string()),
        other => answered_otherwise(other),
    }
}

/// Who waits, by agent.
pub(super) type Waiting<'a> = BTreeMap<&'a AgentId, Vec<&'a Asked>>;

pub(super) fn waiting(state: &State) -> Waiting<'_> {
    let mut waiting = Waiting::new();
    for (agent, asked) in state.waiting() {
        waiting.entry(agent).or_default().push(asked);
    }
    waiting
}

pub(super) fn waits(asked: &Asked) -> pb::WaitingHost {
    pb::WaitingHost {
        key: digest_bytes(&asked.key),
        since: Some(timestamp(asked.at)),
    }
}

/// A message that says what a host may, and nothing else.
pub(super) fn standing(host: Option<&Host>) -> pb::Host {
    let (standing, verdict) = match host.map(|host| &host.standing) {
        None => (pb::Standing::Waiting, None),
        Some(Standing::Enrolled) => (pb::Standing::Enrolled, None),
        Some(Standing::Evicted(verdict)) => (pb::Standing::Evicted, Some(verdict)),
        Some(Standing::Banned(verdict)) => (pb::Standing::Banned, Some(verdict)),
    };
    let mut message = pb::Host {
        standing: standing.into(),
        ..pb::Host::default()
    };
    if let Some(Verdict { by, at, reason }) = verdict {
        message.standing_by = by.clone();
        message.standing_since = Some(timestamp(*at));
        message.standing_reason = reason.clone();
    }
    message
}
