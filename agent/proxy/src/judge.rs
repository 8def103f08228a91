//! Whether whoever calls may have what a call asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;
use verger_policy::compile::Compiled;
use verger_policy::drift::{Claim, claim};
use verger_policy::json;
use verger_policy::model::{Labels, LocalUid, Name, PersonName, Resource, Verb};
use verger_policy::roles::{Because, CompiledRoles, Single, Subject, Why};

use crate::call::{On, Wish};
use crate::known::{self, Known};
use crate::{Refusal, shown};

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A user of this host by his number, as the kernel says at the socket; 0 is root, who may do everything on his host anyway.
    Local(u32),
    /// A person from afar.
    Person {
        /// By the certificate.
        name: PersonName,
        /// As the members say now.
        groups: BTreeSet<Name>,
    },
}

impl Caller {
    /// Whether it is root of this host.
    pub const fn is_root(&self) -> bool {
        matches!(self, Self::Local(0))
    }

    /// Who it is to roles. None: a number that nobody has.
    fn subject(&self, host: &Labels) -> Option<Subject> {
        match self {
            Self::Local(uid) => Some(Subject::local(LocalUid::new(*uid)?, host.clone())),
            Self::Person { name, groups } => Some(Subject {
                groups: groups.clone(),
                ..Subject::person(name.clone())
            }),
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(uid) => write!(f, "local/{uid}"),
            Self::Person { name, groups: _ } => write!(f, "person/{}", name.as_str()),
        }
    }
}

/// What decides.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The roles of the set.
    pub roles: CompiledRoles,
    /// The workloads of the set, for this host.
    pub compiled: Compiled,
    /// The sealed labels of this host.
    pub host: Labels,
    /// Why nothing but looking is allowed, and that to root alone: the policy here is older than one that was accepted, or there is none.
    pub withheld: Option<String>,
}

/// What a call names, as the daemon knows it.
#[derive(Clone, Debug, Default)]
pub struct Subjects {
    /// Containers, by how the call names them.
    pub containers: BTreeMap<String, Known>,
    /// The container that is to be made.
    pub made: Option<Known>,
    /// The container of the exec that it is about.
    pub exec: Option<Known>,
}

impl Subjects {
    fn of(&self, on: &On) -> Option<&Known> {
        match on {
            On::All(_) => None,
            On::Container(reference) => self.containers.get(reference),
            On::Exec(_) => self.exec.as_ref(),
            On::Made => self.made.as_ref(),
        }
    }
}

/// Decides: every wish has to be allowed.
///
/// # Errors
/// When one is not; says which, and what decides.
pub fn decide<'a>(
    policy: &Policy,
    caller: &Caller,
    wishes: impl IntoIterator<Item = &'a Wish>,
    subjects: &Subjects,
) -> Result<(), Refusal> {
    for wish in wishes {
        let refused = |shown: &str, why: &dyn fmt::Display| {
            Err(Refusal::denied(format!(
                "verger: {caller} may not {} {shown} ({why})",
                wish.verb
            )))
        };
        let resource = match wish.on {
            On::All(resource) => resource,
            _ => Resource::Containers,
        };
        let known = subjects.of(&wish.on);
        if known.is_none() && !matches!(wish.on, On::All(_)) {
            return refused("a container", &"which it is could not be told");
        }
        let (single, text) = match known {
            None => (None, resource.to_string()),
            Some(known) => named(&policy.compiled, known),
        };
        if let Some(why) = &policy.withheld {
            let looks = matches!(wish.verb, Verb::Get | Verb::List | Verb::Watch);
            if !caller.is_root() || !looks {
                return refused(&text, why);
            }
            continue;
        }
        if caller.is_root() {
            continue;
        }
        let Some(subject) = caller.subject(&policy.host) else {
            return refused(&text, &"nobody has that number");
        };
        let ruling = policy
            .roles
            .decide(&subject, wish.verb, resource, single.as_ref());
        // Whoever has a login may do everything at controllers until the first role is bound: a runtime is not given away so.
        if ruling.why == Why::NothingBound {
            return refused(&text, &"no role is bound to anybody");
        }
        if !ruling.allowed {
            return refused(&text, &Because::from(ruling.why));
        }
    }
    Ok(())
}

/// Of a list of containers the part that a caller may look at, each by itself: whoever may not list everything is shown his own. None where
/// there is nothing of it, it is no list, or a rule says that he may list nothing.
pub fn narrowed(policy: &Policy, caller: &Caller, list: &[u8]) -> Option<Vec<u8>> {
    let subject = caller.subject(&policy.host)?;
    let ruling = policy
        .roles
        .decide(&subject, Verb::List, Resource::Containers, None);
    if !ruling.allowed && ruling.why != Why::NothingAllows {
        return None;
    }
    let Ok(Value::Array(all)) = json::parse(list) else {
        return None;
    };
    let wish = Wish {
        verb: Verb::Get,
        on: On::Made,
    };
    let may_see = |shown: &Value| {
        let subjects = Subjects {
            made: known::listed(shown),
            ..Subjects::default()
        };
        decide(policy, caller, [&wish], &subjects).is_ok()
    };
    let own: Vec<Value> = all.into_iter().filter(may_see).collect();
    // Who could be shown something is told that there is nothing of it.
    let may_see_any = || {
        policy.compiled.workloads().iter().any(|workload| {
            let single = Single {
                name: Some(workload.key.name.clone()),
                labels: workload.labels.clone(),
            };
            let ruling = policy
                .roles
                .decide(&subject, Verb::Get, Resource::Containers, Some(&single));
            ruling.allowed && policy.withheld.is_none()
        })
    };
    (!own.is_empty() || may_see_any()).then(|| Value::Array(own).to_string().into_bytes())
}

/// What a container is to scopes, and to people. Only what is of a workload by the digest of its image has that workload's name and
/// labels: whoever makes a container chooses its labels. Everything else is within no scope of an allow, and within every one of a deny.
fn named(compiled: &Compiled, known: &Known) -> (Option<Single>, String) {
    let name = shown(&known.name);
    match claim(compiled, known) {
        Claim::Workload {
            name: workload,
            entitled: true,
        } => {
            let labels = compiled
                .workload(&workload)
                .map(|workload| workload.labels.clone());
            let text = format!("container {name} of workload {workload}");
            let single = Single {
                name: Some(workload),
                labels: labels.unwrap_or_default(),
            };
            (Some(single), text)
        }
        Claim::Workload { name: workload, .. } => (
            None,
            format!("container {name}, which claims to be of workload {workload} and has no image of it,"),
        ),
        Claim::Ambiguous(_) => (None, format!("container {name}, which several workloads claim,")),
        Claim::Unknown => (
            None,
            format!("container {name}, which is of no blessed workload,"),
        ),
    }
}

#[cfg(test)]
mod tests;
