//! Findings of the cluster.

use std::sync::Arc;

use tonic::{Code, Request, Response, Status};
use verger_controller_state::{Action, FindingChange, FindingNow, Place, Response as Answer, State};
use verger_policy::finding::{Finding, FindingUid, Lifecycle, SubjectClass};
use verger_policy::model::{AgentId, Control, Name, Resource, RuleId, Verb};
use verger_proto::findings::v1 as pb;
use verger_proto::findings::v1::findings_service_server::FindingsService;
use verger_proto::findings::v1::watch_response::Type;
use verger_wire::{IntoWire as _, digest_bytes, lifecycle_of_number, parse};

use crate::authorizer::{Authorizer, Caller, Permit, of_finding};
use crate::paging;
use crate::ports::{Ambient, Replicated, read};
use crate::quotas::take_place;
use crate::status::{answered_otherwise, argument, invalid, not_found, unavailable, with_reason};
use crate::watch::{self, Stream};

/// The longest note, bytes.
const NOTE_BYTES: usize = 1 << 10;
/// The shortest prefix of a uid, hex digits.
const PREFIX_DIGITS: usize = 8;

/// Findings looked at in one go: writers wait for whoever looks at the state.
const LOOK: usize = 256;

mod account;

/// The service.
pub struct Findings {
    replicated: Arc<dyn Replicated>,
    ambient: Arc<dyn Ambient>,
    authorizer: Arc<Authorizer>,
}

/// A filter, parsed. Empty members let everything through.
struct Filter {
    lifecycles: Vec<Lifecycle>,
    controls: Vec<Control>,
    workload: Option<Name>,
    agent: Option<AgentId>,
    rule: Option<RuleId>,
}

fn optional<T: std::str::FromStr>(field: &str, text: &str) -> Result<Option<T>, Status>
where
    T::Err: std::fmt::Display,
{
    if text.is_empty() {
        Ok(None)
    } else {
        parse(field, text).map(Some).map_err(invalid)
    }
}

impl Filter {
    fn parse(message: Option<pb::Filter>) -> Result<Self, Status> {
        let pb::Filter {
            lifecycles,
            controls,
            workload,
            agent_id,
            rule,
        } = message.unwrap_or_default();
        Ok(Self {
            lifecycles: lifecycles
                .into_iter()
                .map(|number| {
                    lifecycle_of_number(number).ok_or_else(|| argument("filter.lifecycles", "is unknown"))
                })
                .collect::<Result<_, _>>()?,
            controls: controls
                .iter()
                .map(|control| parse("filter.controls", control).map_err(invalid))
                .collect::<Result<_, _>>()?,
            workload: optional("filter.workload", &workload)?,
            agent: optional("filter.agent_id", &agent_id)?,
            rule: optional("filter.rule", &rule)?,
        })
    }

    fn lets(&self, finding: &Finding) -> bool {
        self.names(finding) && self.lets_lifecycle(finding) && self.lets_hosts(finding)
    }

    /// Whether a finding that it does not let through was let through, maybe, for a watcher that stands at a place.
    fn may_have_let(&self, now: &FindingNow, place: &Place<FindingUid>) -> bool {
        let FindingNow {
            finding,
            born,
            turned,
            shrunk,
        } = now;
        self.names(finding)
            && *born <= place.reached()
            && (self.lets_lifecycle(finding) || *turned > place.complete)
            && (self.lets_hosts(finding) || *shrunk > place.complete)
    }

    /// Whether it lets through what never changes of a finding.
    fn names(&self, finding: &Finding) -> bool {
        let Self {
            lifecycles: _,
            controls,
            workload,
            agent: _,
            rule,
        } = self;
        (controls.is_empty() || controls.contains(&finding.control))
            && workload
                .as_ref()
                .is_none_or(|name| finding.subject == SubjectClass::Workload(name.clone()))
            && rule.as_ref().is_none_or(|rule| finding.rule == *rule)
    }

    fn lets_lifecycle(&self, finding: &Finding) -> bool {
        self.lifecycles.is_empty() || self.lifecycles.contains(&finding.lifecycle)
    }

    fn lets_hosts(&self, finding: &Finding) -> bool {
        self.agent
            .as_ref()
            .is_none_or(|agent| finding.hosts.contains_key(agent))
    }
}

/// A uid, or the beginning of one.
fn uid_in(uid: String) -> Result<String, Status> {
    let hex = uid.len() <= 64 && uid.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !hex || uid.len() < PREFIX_DIGITS {
        return Err(argument(
            "uid",
            "is 64 hex digits, or a unique prefix of 8 or more",
        ));
    }
    Ok(uid)
}

impl Findings {
    /// Serves from the replicated state.
    pub fn new(
        replicated: Arc<dyn Replicated>,
        ambient: Arc<dyn Ambient>,
        authorizer: Arc<Authorizer>,
    ) -> Self {
        Self {
            replicated,
            ambient,
            authorizer,
        }
    }

    /// Looks at the state as it is here, which was brought up to date when the caller was let in.
    fn now<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        read(&*self.replicated, look)
    }

    /// Lets a caller do something to the finding that a prefix of a uid names. Of one that is not there, nothing is told to who may
    /// not do it to all.
    async fn may(&self, caller: Caller, verb: Verb, uid: &str) -> Result<Permit, Status> {
        let ask = |state: &State| {
            let named = state.findings_with_prefix(uid, 2);
            let finding = match named.as_slice() {
                [uid] => state.finding(uid),
                _ => None,
            };
            vec![of_finding(state.set(), verb, finding.as_ref())]
        };
        caller.may_all(ask).await
    }

    fn resolve(&self, uid: &str) -> Result<FindingUid, Status> {
        match self.now(|state| state.findings_with_prefix(uid, 2)).as_slice() {
            [] => Err(not_found("finding with this uid")),
            [uid] => Ok(*uid),
            _ => Err(with_reason(
                Code::FailedPrecondition,
                "AMBIGUOUS",
                "several findings begin so; give more digits",
            )),
        }
    }

    /// A page of findings, and where the next begins. Writers come between: a filter may let through one in a million.
    async fn listed(
        &self,
        filter: &Filter,
        mut after: Option<FindingUid>,
        size: usize,
    ) -> (Vec<Finding>, String) {
        let mut listed = Vec::new();
        loop {
            let looked: Vec<Finding> = read(&*self.replicated, |state| {
                state.findings_after_uid(after).take(LOOK).collect()
            });
            let is_all = looked.len() < LOOK;
            after = looked.last().map(|finding| finding.uid).or(after);
            listed.extend(looked.into_iter().filter(|finding| filter.lets(finding)));
            // One more says that there is a next page.
            if is_all || listed.len() > size {
                return paging::page(listed.into_iter(), size, |finding| finding.uid.0.to_string());
            }
            tokio::task::yield_now().await;
        }
    }

    fn one(&self, uid: FindingUid) -> Result<pb::Finding, Status> {
        let found = self.now(|state| state.finding(&uid));
        found
            .as_ref()
            .map(|finding| finding.into_wire())
            .ok_or_else(|| not_found("finding with this uid"))
    }
}

#[tonic::async_trait]
impl FindingsService for Findings {
    async fn list(&self, request: Request<pb::ListRequest>) -> Result<Response<pb::ListResponse>, Status> {
        self.authorizer
            .person(&request)?
            .may(Verb::List, Resource::Findings)
            .await?;
        take_place(&request).await?;
        let pb::ListRequest {
            filter,
            page_size,
            page_token,
        } = request.into_inner();
        let filter = Filter::parse(filter)?;
        let after = optional::<verger_policy::digest::Digest>("page_token", &page_token)?.map(FindingUid);
        let revision = self.now(State::revision);
        let (findings, next_page_token) = self.listed(&filter, after, paging::size(page_size)).await;
        let response = pb::ListResponse {
            findings: findings.iter().map(|finding| finding.into_wire()).collect(),
            next_page_token,
            // Of before the first look: whoever watches from there misses nothing.
            revision,
        };
        Ok(Response::new(response))
    }

    async fn get(&self, request: Request<pb::GetRequest>) -> Result<Response<pb::GetResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let uid = uid_in(request.into_inner().uid)?;
        self.may(caller, Verb::Get, &uid).await?;
        let uid = self.resolve(&uid)?;
        Ok(Response::new(pb::GetResponse {
            finding: Some(self.one(uid)?),
        }))
    }

    type WatchStream = Stream<pb::WatchResponse>;

    async fn watch(&self, request: Request<pb::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let permit = self
            .authorizer
            .person(&request)?
            .may(Verb::Watch, Resource::Findings);
        let permit = permit.await?;
        let pb::WatchRequest {
            filter,
            after_revision,
            only_new,
        } = request.into_inner();
        let filter = Filter::parse(filter)?;
        let now = self.now(State::revision);
        watch::reached(now, after_revision)?;
        let after = if only_new { now } else { after_revision };
        let changes = move |state: &State, place: &Place<FindingUid>| {
            permit.holds(state)?;
            let changed = state.findings_changed(place).ok_or_else(watch::expired)?;
            let at = |change: &FindingChange| (change.revision, change.uid);
            let tell = |change| told(&filter, place, change);
            Ok(watch::page(state.revision(), place, changed, at, tell))
        };
        let bookmark = |_: &State, revision| pb::WatchResponse {
            finding: None,
            revision,
            r#type: Type::Bookmark.into(),
        };
        Ok(Response::new(watch::follow(
            Arc::clone(&self.replicated),
            after,
            changes,
            bookmark,
        )))
    }

    type AccountStream = Stream<pb::AccountResponse>;

    async fn account(
        &self,
        request: Request<pb::AccountRequest>,
    ) -> Result<Response<Self::AccountStream>, Status> {
        let permit = self
            .authorizer
            .person(&request)?
            .may(Verb::List, Resource::Findings);
        let permit = permit.await?;
        let pb::AccountRequest { agent_id } = request.into_inner();
        let agent = parse("agent_id", &agent_id).map_err(invalid)?;
        let account = account::give(Arc::clone(&self.replicated), permit, agent)?;
        Ok(Response::new(account))
    }

    async fn ack(&self, request: Request<pb::AckRequest>) -> Result<Response<pb::AckResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::AckRequest {
            request_id: id,
            uid,
            note,
        } = request.into_inner();
        if note.trim().is_empty() || note.len() > NOTE_BYTES {
            return Err(argument(
                "note",
                "says why the finding may wait, in at most 1024 bytes",
            ));
        }
        let uid = uid_in(uid)?;
        let asker = self.may(caller, Verb::Ack, &uid).await?.asker();
        let uid = self.resolve(&uid)?;
        let action = Action::AckFinding { uid, note };
        match asker
            .propose(&*self.replicated, &*self.ambient, &id, action)
            .await?
        {
            Answer::FindingAcknowledged(uid) => {
                // Another member may have written it.
                let caught_up = self.replicated.catch_up().await;
                caught_up.map_err(|error| unavailable(&error))?;
                Ok(Response::new(pb::AckResponse {
                    finding: Some(self.one(uid)?),
                }))
            }
            other => Err(answered_otherwise(&other)),
        }
    }
}

/// A change as it is told through a filter, if it is.
fn told(filter: &Filter, place: &Place<FindingUid>, change: FindingChange) -> Option<pb::WatchResponse> {
    let FindingChange { revision, uid, now } = change;
    let (kind, finding) = match &now {
        Some(now) if filter.lets(&now.finding) => (Type::Changed, (&now.finding).into_wire()),
        Some(now) if filter.may_have_let(now, place) => (Type::Deleted, (&now.finding).into_wire()),
        Some(_) => return None,
        None => {
            let finding = pb::Finding {
                uid: digest_bytes(&uid.0),
                revision,
                ..pb::Finding::default()
            };
            (Type::Deleted, finding)
        }
    };
    Some(pb::WatchResponse {
        finding: Some(finding),
        revision,
        r#type: kind.into(),
    })
}

#[cfg(test)]
mod fuzz;
