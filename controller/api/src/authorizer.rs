//! What people may do: asked in one place, by every handler that serves people.
//!
//! A handler learns who calls from [`Authorizer::person`] alone, and gets the name for the record, which every command needs,
//! only for what roles allow ([`Caller::may`]). What is decided is decided of the set as it is once everything acknowledged
//! before the call can be read, and before anything else is read or proposed.

mod change;
mod glass;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tonic::{Request, Status};
use verger_controller_authz::{Ask, Because, Roles, Subject};
use verger_controller_state::{Login, State, limits};
use verger_policy::digest::Digest;
use verger_policy::model::{Kind, Resource, Verb};
use verger_policy::set::{Entry, PolicySet};

pub(crate) use change::{Change, Way, as_it_is, of_finding, of_host};

use crate::asking::Asker;
use crate::caller;
use crate::denials::Noted;
use crate::logins::Standing;
use crate::ports::{Replicated, read};
use crate::request_ids::Asked;
use crate::status::{argument, cut_name, role_denied, roles_unsafe, unavailable};

/// In a call's metadata: an answer may be out of date. Where the member cannot tell in time, what it is answered by is what the member
/// knows, and so is whether the caller may see it, as with [`Caller::may_as_known_here`].
const STALE_OK: &str = "verger-stale-ok";

/// For so long a member tries to be current before it answers of what it knows.
const CURRENT_LIMIT: Duration = Duration::from_secs(1);

/// Whether nothing but looking is asked for: at policy, hosts, instances, findings and the cluster's status.
fn is_to_look(ask: &Ask) -> bool {
    let is_shown = matches!(
        ask.resource,
        Resource::Exception
            | Resource::Guardrail
            | Resource::Host
            | Resource::Role
            | Resource::RoleBinding
            | Resource::Workload
            | Resource::Hosts
            | Resource::Instances
            | Resource::Findings
            | Resource::Status
    );
    is_shown && matches!(ask.verb, Verb::Get | Verb::List)
}

/// Decides by the roles of the current set, compiled when they change.
pub struct Authorizer {
    replicated: Arc<dyn Replicated>,
    compiled: Mutex<Option<Compiled>>,
}

/// The roles of a set, and what they were made of.
struct Compiled {
    epoch: u64,
    stated: Vec<Entry>,
    roles: Arc<Roles>,
}

impl Authorizer {
    /// Decides by the sets of this state. One serves all services of a member.
    pub fn new(replicated: Arc<dyn Replicated>) -> Arc<Self> {
        Arc::new(Self {
            replicated,
            compiled: Mutex::default(),
        })
    }

    /// The person who calls, who may nothing yet.
    pub(crate) fn person<T: Asked>(self: &Arc<Self>, request: &Request<T>) -> Result<Caller, Status> {
        let noted = Noted::of(request);
        noted.request(request.get_ref().request_id());
        let (name, key) = caller::person_with_key(request)?;
        Ok(Caller {
            authorizer: Arc::clone(self),
            name,
            key,
            from: caller::from(request),
            noted,
            stale_ok: request.metadata().contains_key(STALE_OK),
        })
    }

    fn compiled(&self) -> MutexGuard<'_, Option<Compiled>> {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, epoch: u64) -> Option<Arc<Roles>> {
        let compiled = self.compiled();
        let known = compiled.as_ref().filter(|compiled| compiled.epoch == epoch);
        known.map(|compiled| Arc::clone(&compiled.roles))
    }

    /// The roles of a set. An epoch says which set it is: within a cluster it never goes back.
    fn roles(&self, set: &PolicySet) -> Result<Arc<Roles>, Status> {
        let mut compiled = self.compiled();
        let stated: Vec<Entry> = set
            .entries()
            .filter(|entry| matches!(entry.key.kind, Kind::Role | Kind::RoleBinding))
            .cloned()
            .collect();
        let roles = match &*compiled {
            Some(known) if known.stated == stated => Arc::clone(&known.roles),
            _ => {
                let objects: Vec<_> = set.objects().collect();
                let roles = Roles::compile(objects).map_err(|error| {
                    tracing::error!(%error, "the roles of the set cannot be compiled: nobody may anything");
                    roles_unsafe(&error.into())
                })?;
                Arc::new(roles)
            }
        };
        let is_newer = compiled.as_ref().is_none_or(|known| known.epoch < set.epoch());
        if is_newer {
            *compiled = Some(Compiled {
                epoch: set.epoch(),
                stated,
                roles: Arc::clone(&roles),
            });
        }
        Ok(roles)
    }
}

/// A person who may nothing yet.
#[must_use = "ask what the caller may"]
pub(crate) struct Caller {
    authorizer: Arc<Authorizer>,
    name: String,
    key: Digest,
    from: Option<String>,
    noted: Noted,
    /// What this member knows is good enough, current or not.
    stale_ok: bool,
}

impl Caller {
    /// Lets a caller do something to all of a resource, or to one that has no names.
    pub(crate) async fn may(self, verb: Verb, resource: Resource) -> Result<Permit, Status> {
        self.may_all(|_| vec![Ask::all(verb, resource)]).await
    }

    /// Lets a caller do something to policy objects of every kind.
    pub(crate) async fn may_with_every_kind(self, verb: Verb) -> Result<Permit, Status> {
        let kinds = Kind::ALL.iter().copied().map(Resource::of_kind);
        let asks: Vec<Ask> = kinds.map(|resource| Ask::all(verb, resource)).collect();
        self.may_all(|_| asks).await
    }

    /// The caller, who asks about nothing else: the name, and the login.
    ///
    /// # Errors
    /// When the login serves no more.
    pub(crate) async fn itself(self) -> Result<(String, Option<Login>), Status> {
        let caught_up = self.authorizer.replicated.catch_up().await;
        caught_up.map_err(|error| unavailable(&error))?;
        let login = read(&*self.authorizer.replicated, |state| {
            self.standing(state).map(|_| state.login(&self.name).cloned())
        })?;
        Ok((self.name, login))
    }

    fn standing(&self, state: &State) -> Result<Standing, Status> {
        Standing::of(state, &self.name, &self.key)
    }

    /// Lets a caller do all that the state says is asked.
    pub(crate) async fn may_all(self, asks: impl FnOnce(&State) -> Vec<Ask>) -> Result<Permit, Status> {
        if self.stale_ok {
            let permit = self.known_in_time(asks).await?;
            return match permit.asks.iter().all(is_to_look) {
                true => Ok(permit),
                false => Err(argument(
                    STALE_OK,
                    "is for looking at policy, hosts, instances, findings and the cluster's status alone",
                )),
            };
        }
        let caught_up = self.authorizer.replicated.catch_up().await;
        caught_up.map_err(|error| unavailable(&error))?;
        self.known_here(asks)
    }

    /// The same as this member knows it, which may be out of date where it cannot tell within [`CURRENT_LIMIT`]: to look at that alone.
    /// Who is shut out is refused by every member that can tell.
    pub(crate) async fn may_as_known_here(self, verb: Verb, resource: Resource) -> Result<Permit, Status> {
        self.known_in_time(|_| vec![Ask::all(verb, resource)]).await
    }

    async fn known_in_time(self, asks: impl FnOnce(&State) -> Vec<Ask>) -> Result<Permit, Status> {
        let caught_up = self.authorizer.replicated.catch_up();
        if !matches!(tokio::time::timeout(CURRENT_LIMIT, caught_up).await, Ok(Ok(()))) {
            tracing::debug!("answered of what is known here, which may be out of date");
        }
        self.known_here(asks)
    }

    fn known_here(self, asks: impl FnOnce(&State) -> Vec<Ask>) -> Result<Permit, Status> {
        let authorizer = &self.authorizer;
        let (asks, known, standing) = read(&*authorizer.replicated, |state| {
            // Looked at before, as this member knew it then; now everything acknowledged before the call can be read.
            let standing = self.standing(state)?;
            let set = state.set();
            // Compiling takes longer than writers should wait.
            let known = authorizer.known(set.epoch()).ok_or_else(|| set.clone());
            Ok::<_, Status>((asks(state), known, standing))
        })?;
        // Broken glass asks nothing of the set, whose roles may be what is wrong.
        let roles = match standing.break_glass {
            true => Arc::default(),
            false => known.or_else(|set| authorizer.roles(&set))?,
        };
        let mut permit = Permit {
            caller: self,
            asks,
            because: BTreeSet::new(),
        };
        permit.because = permit.is_given_by(&roles, standing)?;
        Ok(permit)
    }
}

/// What roles allow to a caller.
pub(crate) struct Permit {
    caller: Caller,
    asks: Vec<Ask>,
    because: BTreeSet<Because>,
}

impl Permit {
    /// The caller, for the record.
    pub(crate) fn asker(self) -> Asker {
        Asker {
            actor: format!("person/{}", self.caller.name),
            from: self.caller.from,
            policies: in_words(&self.because),
        }
    }

    /// The caller's name, and the digest of the certificate's key.
    pub(crate) fn name_and_key(&self) -> (String, Digest) {
        (self.caller.name.clone(), self.caller.key)
    }

    /// Checks that it is still allowed: for streams, which outlive roles and logins.
    pub(crate) fn holds(&self, state: &State) -> Result<(), Status> {
        let standing = self.caller.standing(state)?;
        let set = state.set();
        let authorizer = &self.caller.authorizer;
        let roles = match authorizer.known(set.epoch()) {
            _ if standing.break_glass => Arc::default(),
            Some(roles) => roles,
            None => authorizer.roles(set)?,
        };
        self.is_given_by(&roles, standing).map(drop)
    }

    /// What decides, where it is allowed.
    fn is_given_by(&self, roles: &Roles, standing: Standing) -> Result<BTreeSet<Because>, Status> {
        let Standing {
            groups,
            break_glass,
            local,
        } = standing;
        let person = self.caller.name.parse().ok();
        let (roles, subject) = match break_glass {
            true => (glass::roles()?, glass::subject(person)),
            false => (
                roles,
                Subject {
                    person,
                    groups,
                    local: None,
                },
            ),
        };
        let mut because = BTreeSet::new();
        if let Some(first) = self.asks.first() {
            self.caller.noted.asks(first);
        }
        for ask in &self.asks {
            let decision = match local || break_glass {
                true => roles.decide(&subject, ask),
                false => roles.decide_once_bound(&subject, ask),
            };
            if !decision.allowed {
                self.caller.noted.asks(ask);
                return Err(role_denied(&self.caller.name, ask, &decision));
            }
            because.extend(decision.because);
        }
        Ok(because)
    }
}

/// The rules that decide, for the record: as many, and as much of each, as a row of it has room for.
fn in_words(because: &BTreeSet<Because>) -> Vec<String> {
    let rules = because
        .iter()
        .filter(|because| !matches!(because, Because::NothingBound));
    let mut words: Vec<String> = rules.map(|rule| cut_name(&rule.to_string())).collect();
    if words.len() > limits::POLICIES {
        let more = words.len() - (limits::POLICIES - 1);
        words.truncate(limits::POLICIES - 1);
        words.push(format!("and {more} more"));
    }
    words
}
