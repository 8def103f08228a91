//! Who asks, and for what.

use std::collections::BTreeSet;
use std::fmt;

use crate::model::{Labels, LocalUid, Name, PersonName, PolicyObject, Resource, RoleSubject, Verb};

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The name in the certificate. None: somebody of whom only the groups are known.
    pub person: Option<PersonName>,
    /// The groups that the login names.
    pub groups: BTreeSet<Name>,
    /// A user of a host, who calls its runtime. Such a one is nobody the cluster knows, and has power over what runtimes hold alone.
    pub local: Option<LocalCaller>,
}

/// A user of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCaller {
    /// The number.
    pub uid: LocalUid,
    /// The sealed labels of the host.
    pub host: Labels,
}

impl Subject {
    /// A person in no group.
    pub fn person(name: PersonName) -> Self {
        Self {
            person: Some(name),
            ..Self::default()
        }
    }

    /// A user of a host with these sealed labels.
    pub fn local(uid: LocalUid, host: Labels) -> Self {
        Self {
            local: Some(LocalCaller { uid, host }),
            ..Self::default()
        }
    }

    /// The names that bindings may know somebody by.
    pub fn holders(&self) -> impl Iterator<Item = RoleSubject> {
        let Self {
            person,
            groups,
            local,
        } = self;
        let own = person.iter().cloned().map(RoleSubject::Person);
        let local = local.iter().map(|local| RoleSubject::Local(local.uid));
        own.chain(groups.iter().cloned().map(RoleSubject::Group))
            .chain(local)
    }

    /// Whether anything at all could let it: a local user has no power over what the cluster holds.
    pub const fn could_have(&self, resource: Resource) -> bool {
        self.local.is_none() || resource.is_of_runtime()
    }
}

impl From<&RoleSubject> for Subject {
    fn from(subject: &RoleSubject) -> Self {
        match subject {
            RoleSubject::Person(name) => Self::person(name.clone()),
            RoleSubject::Group(name) => Self {
                groups: [name.clone()].into(),
                ..Self::default()
            },
            RoleSubject::Local(uid) => Self::local(*uid, Labels::default()),
        }
    }
}

/// One verb on a resource: on all of it, or a single one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What is to be done.
    pub verb: Verb,
    /// To what.
    pub resource: Resource,
    /// To which one. None: to all of it at once, as a list is, or to what has no names.
    pub single: Option<Single>,
}

/// A single one of a resource, as scopes see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Single {
    /// Its name. None where it has none: then it is within no scope that states names.
    pub name: Option<Name>,
    /// Its labels.
    pub labels: Labels,
}

/// A text that asks for nothing that could be allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAsk {
    /// The resource does not know the verb.
    #[error("`{resource}` does not know the verb `{verb}`; it knows: {}", known(*.resource))]
    Meaningless {
        /// The verb.
        verb: Verb,
        /// The resource.
        resource: Resource,
    },
    /// The resource has no names.
    #[error("`{0}` has no names; ask for `{0}`")]
    Nameless(Resource),
}

fn known(resource: Resource) -> String {
    let words: Vec<&str> = resource.verbs().iter().map(|verb| verb.word()).collect();
    words.join(", ")
}

impl Ask {
    /// Asks for all of a resource, or for one that has no names.
    pub const fn all(verb: Verb, resource: Resource) -> Self {
        Self {
            verb,
            resource,
            single: None,
        }
    }

    /// Asks for a single one.
    pub const fn one(verb: Verb, resource: Resource, name: Option<Name>, labels: Labels) -> Self {
        Self {
            verb,
            resource,
            single: Some(Single { name, labels }),
        }
    }

    /// Asks for a policy object as it stands.
    pub fn object(verb: Verb, object: &PolicyObject) -> Self {
        let name = Some(object.metadata.name.clone());
        Self::one(
            verb,
            Resource::of_kind(object.kind()),
            name,
            object.metadata.labels.clone(),
        )
    }

    /// Checks that it means something.
    ///
    /// # Errors
    /// When the resource does not know the verb, or has no single ones.
    pub fn check(&self) -> Result<(), InvalidAsk> {
        let Self {
            verb,
            resource,
            single,
        } = self;
        check(*verb, *resource, single.as_ref())
    }
}

/// Checks that a verb on a resource, or on a single one of it, means something.
pub(super) fn check(verb: Verb, resource: Resource, single: Option<&Single>) -> Result<(), InvalidAsk> {
    if !resource.verbs().contains(&verb) {
        return Err(InvalidAsk::Meaningless { verb, resource });
    }
    if single.is_some() && !resource.has_names() {
        return Err(InvalidAsk::Nameless(resource));
    }
    Ok(())
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verb,
            resource,
            single,
        } = self;
        write!(f, "{verb} {resource}")?;
        match single {
            Some(Single { name: Some(name), .. }) => write!(f, "/{name}"),
            _ => Ok(()),
        }
    }
}
