//! Changes of the policy set: every object that changes is asked about, and nobody may lock everybody out.

use std::sync::Arc;

use bytes::Bytes;
use tonic::Status;
use verger_controller_authz::{Ask, check_change};
use verger_controller_state::Refused;
use verger_policy::digest::Digest;
use verger_policy::finding::{Finding, SubjectClass};
use verger_policy::model::{AgentId, Kind, Labels, ObjectKey, PolicyObject, Resource, Verb};
use verger_policy::set::PolicySet;

use super::{Caller, Permit};
use crate::asking::is_request_id;
use crate::ports::read;
use crate::status::{refused, roles_unsafe, unavailable};

/// How a change is brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// At once.
    Apply,
    /// Put forward for others to sign.
    Propose,
    /// Signed, as others have put it forward.
    Sign,
}

impl Way {
    /// The verbs for what is put in, and for what is taken out.
    const fn verbs(self) -> (Verb, Verb) {
        match self {
            Self::Apply => (Verb::Apply, Verb::Delete),
            Self::Propose => (Verb::Propose, Verb::Propose),
            Self::Sign => (Verb::Sign, Verb::Sign),
        }
    }
}

/// A change of the set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    /// The epoch it was made on.
    pub(crate) expected_epoch: u64,
    /// Canonical bytes of what is put in.
    pub(crate) upserts: Vec<Bytes>,
    /// What is taken out.
    pub(crate) deletes: Vec<ObjectKey>,
}

impl Caller {
    /// Lets a caller change the set, object by object, as each was and as each would be. A change after which nobody could
    /// change roles is refused to everybody; the request `id` that was answered already may come again.
    pub(crate) async fn may_change(self, way: Way, change: &Change, id: &str) -> Result<Permit, Status> {
        let mut decided_on = PolicySet::empty();
        let mut is_answered = false;
        let permit = self
            .may_all(|state| {
                decided_on = state.set().clone();
                is_answered = state.has_answered(id);
                asks(&decided_on, way, change)
            })
            .await?;
        let current = decided_on.epoch();
        // One that is made on a set to come could be in force under roles that nobody looked at. One that is made on a set of
        // the past cannot come into force on any member, as epochs never go back; the log knows the answer to its request, if
        // it was the one that made the set.
        let is_of_the_past = change.expected_epoch < current && !is_answered && is_request_id(id);
        if change.expected_epoch > current || is_of_the_past {
            let expected = change.expected_epoch;
            return Err(refused(&Refused::EpochConflict { expected, current }));
        }
        if change.expected_epoch == current {
            check_roles(&decided_on, change)?;
        }
        Ok(permit)
    }

    /// Lets a caller sign a proposal: what it changes. Of one that is not there, nothing is told to who may not look; the request `id` that
    /// was answered already may come again.
    pub(crate) async fn may_sign(self, number: u64, id: &str) -> Result<Permit, Status> {
        let authorizer = Arc::clone(&self.authorizer);
        let caught_up = authorizer.replicated.catch_up().await;
        caught_up.map_err(|error| unavailable(&error))?;
        let change = read(&*authorizer.replicated, |state| {
            let change = state.proposal(number).map(|proposal| Change {
                expected_epoch: proposal.expected_epoch,
                upserts: proposal.upserts.clone(),
                deletes: proposal.deletes.clone(),
            });
            (change, state.has_answered(id))
        });
        match change {
            // A number is given once, and what is under it never changes but for its seal.
            (Some(change), _) => self.may_change(Way::Sign, &change, id).await,
            (None, true) => self.may(Verb::Get, Resource::Proposals).await,
            // Decided here and nowhere else: what is proposed under this number meanwhile was not looked at, and what is refused
            // only by the log would fill it.
            (None, false) => {
                self.may(Verb::Get, Resource::Proposals).await?;
                Err(refused(&Refused::NoSuchProposal(number)))
            }
        }
    }
}

fn asks(set: &PolicySet, way: Way, Change { upserts, deletes, .. }: &Change) -> Vec<Ask> {
    let (put, take) = way.verbs();
    let mut asks = Vec::new();
    for bytes in upserts {
        let Ok(object) = PolicyObject::from_canonical(bytes) else {
            // It will be refused; until then it is a change of nothing.
            continue;
        };
        let key = object.key();
        let entry = set.entry(&key);
        if entry.is_some_and(|entry| entry.digest == Digest::of(bytes)) {
            continue;
        }
        asks.push(Ask::object(put, &object));
        if entry.is_some() {
            asks.push(as_it_is(set, put, &key));
        }
    }
    asks.extend(deletes.iter().map(|key| as_it_is(set, take, key)));
    asks.dedup();
    if asks.is_empty() {
        asks.push(Ask::all(put, Resource::Set));
    }
    asks
}

/// A policy object by its key: with its labels, if it is there.
pub(crate) fn as_it_is(set: &PolicySet, verb: Verb, key: &ObjectKey) -> Ask {
    let labels = set.body(key).map(|body| body.object().metadata.labels.clone());
    Ask::one(
        verb,
        Resource::of_kind(key.kind),
        Some(key.name.clone()),
        labels.unwrap_or_default(),
    )
}

fn check_roles(set: &PolicySet, Change { upserts, deletes, .. }: &Change) -> Result<(), Status> {
    let objects: Option<Vec<PolicyObject>> = upserts
        .iter()
        .map(|bytes| PolicyObject::from_canonical(bytes).ok())
        .collect();
    // What makes no set is refused by the log.
    let Some(objects) = objects else { return Ok(()) };
    let is_about_roles = |kind| matches!(kind, Kind::Role | Kind::RoleBinding);
    let puts = objects.iter().any(|object| is_about_roles(object.kind()));
    if !puts && !deletes.iter().any(|key| is_about_roles(key.kind)) {
        return Ok(());
    }
    match set.change(objects, deletes.iter().cloned()) {
        Ok(next) => check_change(set, &next).map_err(|error| roles_unsafe(&error)),
        Err(_) => Ok(()),
    }
}

/// A single one of a resource that goes by the name of a host: with the sealed labels of that host.
pub(crate) fn of_host(set: &PolicySet, verb: Verb, resource: Resource, agent: &AgentId) -> Ask {
    let labels = set.host_labels(agent).cloned().unwrap_or_default();
    Ask::one(verb, resource, agent.as_str().parse().ok(), labels)
}

/// A finding: with the name and labels of the workload that it is about.
pub(crate) fn of_finding(set: &PolicySet, verb: Verb, finding: Option<&Finding>) -> Ask {
    let Some(finding) = finding else {
        return Ask::all(verb, Resource::Findings);
    };
    let SubjectClass::Workload(name) = &finding.subject else {
        return Ask::one(verb, Resource::Findings, None, Labels::default());
    };
    let key = ObjectKey {
        kind: Kind::Workload,
        name: name.clone(),
    };
    Ask {
        resource: Resource::Findings,
        ..as_it_is(set, verb, &key)
    }
}
