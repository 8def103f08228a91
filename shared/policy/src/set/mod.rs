//! `PolicySet`: all policy objects of a cluster at one epoch, content-addressed by one root.
//!
//! A set may lack bodies: an agent holds every entry, and the bodies that select its host. So the root can be
//! recomputed by everybody, and a controller can neither forge, drop nor mix objects.

mod describe;
mod diff;
mod entry;

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::sync::Arc;

pub use describe::{FieldChange, ObjectChange};
pub use diff::{SetDiff, diff};
pub use entry::{Body, Entry};

use crate::digest::Digest;
use crate::draft::InvalidObject;
use crate::model::{AgentId, Labels, ObjectKey, PolicyObject, Spec};

/// The largest epoch: the largest integer RFC 8785 can write exactly.
pub const MAX_EPOCH: u64 = (1 << 53) - 1;

/// The most objects in one. Controllers seal no larger one, and agents look at none.
pub const MAX_OBJECTS: usize = 100_000;

/// The most [bytes](PolicySet::bytes) of one. With 16 MiB for versions of the trust root it is a message that agents take.
pub const MAX_SET_BYTES: usize = 48 << 20;

/// The domain separation in front of the canonical list of entries.
const PREFIX: &[u8] = b"verger/v1/set\0";

/// Why a set cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// Epochs end at [`MAX_EPOCH`].
    #[error("epoch {0} is beyond the last possible one, {MAX_EPOCH}")]
    EpochTooLarge(u64),
    /// A set has a higher epoch than the one it follows.
    #[error("epoch {0} is not above {1}, which is that of the set there is")]
    EpochNotAbove(u64, u64),
    /// An entry says it changed after the set was made.
    #[error("{key} says it changed at epoch {entry}, after the set's epoch {set}")]
    EntryFromTheFuture {
        /// Which object.
        key: ObjectKey,
        /// Its entry's epoch.
        entry: u64,
        /// The set's.
        set: u64,
    },
    /// One object is given twice.
    #[error("{0} is given twice")]
    Twice(ObjectKey),
    /// An object to delete is not there.
    #[error("there is no {0} to delete")]
    NoSuchObject(ObjectKey),
    /// A body is not the one its entry names.
    #[error("the body of {0} is not the one its entry names")]
    BodyMismatch(ObjectKey),
    /// Two `Host` objects claim one agent, so its labels would be ambiguous.
    #[error("{first} and {second} are both about agent {agent}; keep one")]
    AgentTwice {
        /// The agent.
        agent: AgentId,
        /// The one.
        first: ObjectKey,
        /// The other.
        second: ObjectKey,
    },
    /// An object breaks a rule of the model.
    #[error("{0} is not valid")]
    Invalid(ObjectKey, #[source] InvalidObject),
}

impl SetError {
    /// A stable word for programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::EpochTooLarge(_) => "epoch-too-large",
            Self::EpochNotAbove(..) => "epoch-not-above",
            Self::EntryFromTheFuture { .. } => "entry-from-the-future",
            Self::Twice(_) => "entry-twice",
            Self::NoSuchObject(_) => "no-such-object",
            Self::BodyMismatch(_) => "body-mismatch",
            Self::AgentTwice { .. } => "agent-twice",
            Self::Invalid(..) => "invalid-object",
        }
    }
}

/// What a set holds of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) entry: Entry,
    pub(crate) body: Option<Arc<Body>>,
}

/// All policy objects of a cluster at one epoch. Clones share the bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySet {
    epoch: u64,
    members: BTreeMap<ObjectKey, Member>,
}

fn is_needed(entry: &Entry, host: &Labels) -> bool {
    entry.key.kind.is_for_hosts() && entry.hosts.select(host)
}

impl PolicySet {
    /// The empty set at epoch 0, which a new cluster has.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Assembles a set from what was stored or received.
    ///
    /// # Errors
    /// When an entry is there twice, is newer than the set, or is not that of its body.
    pub fn assemble(
        epoch: u64,
        parts: impl IntoIterator<Item = (Entry, Option<Arc<Body>>)>,
    ) -> Result<Self, SetError> {
        let mut members = BTreeMap::new();
        for (entry, body) in parts {
            match members.entry(entry.key.clone()) {
                btree_map::Entry::Occupied(there) => return Err(SetError::Twice(there.key().clone())),
                btree_map::Entry::Vacant(place) => place.insert(Member { entry, body }),
            };
        }
        Self { epoch, members }.checked()
    }

    /// The epoch.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Every entry, sorted bytewise by kind and name.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.members.values().map(|member| &member.entry)
    }

    /// The entry of one object.
    pub fn entry(&self, key: &ObjectKey) -> Option<&Entry> {
        self.members.get(key).map(|member| &member.entry)
    }

    /// The body of one object; none where the object, or only its body, is not here.
    pub fn body(&self, key: &ObjectKey) -> Option<&Arc<Body>> {
        self.members.get(key)?.body.as_ref()
    }

    /// Every entry with its body, in order.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = (&Entry, Option<&Arc<Body>>)> {
        self.members
            .values()
            .map(|member| (&member.entry, member.body.as_ref()))
    }

    /// How many bytes its entries and the bodies that are here take on the way to an agent, at most.
    pub fn bytes(&self) -> usize {
        // A digest, an epoch, tags and lengths.
        const ENTRY: usize = 96;
        const LABEL: usize = 8;
        let of = |member: &Member| {
            let Member { entry, body } = member;
            // With a body the key travels twice.
            let key = 2 * (entry.key.name.as_str().len() + entry.key.kind.word().len());
            let hosts: usize = entry
                .hosts
                .0
                .iter()
                .map(|(key, value)| key.len() + value.len() + LABEL)
                .sum();
            ENTRY + key + hosts + body.as_ref().map_or(0, |body| body.bytes().len())
        };
        self.members.values().map(of).sum()
    }

    /// The objects whose bodies are here, in order.
    pub fn objects(&self) -> impl Iterator<Item = &PolicyObject> {
        self.members
            .values()
            .filter_map(|member| member.body.as_deref())
            .map(Body::object)
    }

    /// The sealed labels of an agent's host; none where no `Host` object is about it.
    pub fn host_labels(&self, agent: &AgentId) -> Option<&Labels> {
        self.objects().find_map(|object| match &object.spec {
            Spec::Host(host) if host.agent == *agent => Some(&host.labels),
            _ => None,
        })
    }

    /// The entries whose bodies a host with these sealed labels needs.
    pub fn needed_by(&self, host: &Labels) -> impl Iterator<Item = &Entry> {
        self.entries().filter(|entry| is_needed(entry, host))
    }

    /// Of those [`Self::needed_by`] gives, the entries whose bodies are not here.
    pub fn missing_for(&self, host: &Labels) -> impl Iterator<Item = &Entry> {
        self.needed_by(host)
            .filter(|entry| self.body(&entry.key).is_none())
    }

    /// This set with the bodies that a host with these labels does not need taken out.
    #[must_use]
    pub fn narrowed_to(&self, host: &Labels) -> Self {
        let narrowed = self.members.iter().map(|(key, member)| {
            let body = member.body.clone().filter(|_| is_needed(&member.entry, host));
            (
                key.clone(),
                Member {
                    entry: member.entry.clone(),
                    body,
                },
            )
        });
        Self {
            epoch: self.epoch,
            members: narrowed.collect(),
        }
    }

    /// The root: SHA-256 of `verger/v1/set\0` and the RFC 8785 JSON of the list of entries. It does not cover the
    /// set's own epoch; what is sealed names both.
    pub fn root(&self) -> Digest {
        Digest::of(&self.canonical_bytes())
    }

    /// The bytes the root covers.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let entries: Vec<&Entry> = self.entries().collect();
        let mut bytes = PREFIX.to_vec();
        bytes.extend(serde_json_canonicalizer::to_vec(&entries).expect("strings and bounded integers"));
        bytes
    }

    /// The next set: one epoch up, with objects put in or replaced, and others taken out.
    ///
    /// An object whose canonical bytes are those already here keeps its entry. A change of nothing is allowed:
    /// it is how a set is sealed again before its seal ends.
    ///
    /// # Errors
    /// When an object is given twice, one to delete is not there, or epochs are used up.
    pub fn change(
        &self,
        upserts: impl IntoIterator<Item = PolicyObject>,
        deletes: impl IntoIterator<Item = ObjectKey>,
    ) -> Result<Self, SetError> {
        let epoch = self
            .epoch
            .checked_add(1)
            .ok_or(SetError::EpochTooLarge(u64::MAX))?;
        self.change_to(epoch, upserts, deletes)
    }

    /// As [`change`](Self::change), to an epoch that is further up: hosts may have come there before the cluster was restored.
    ///
    /// # Errors
    /// As [`change`](Self::change), and when the epoch is not above this set's.
    pub fn change_to(
        &self,
        epoch: u64,
        upserts: impl IntoIterator<Item = PolicyObject>,
        deletes: impl IntoIterator<Item = ObjectKey>,
    ) -> Result<Self, SetError> {
        if epoch <= self.epoch {
            return Err(SetError::EpochNotAbove(epoch, self.epoch));
        }
        let mut members = self.members.clone();
        let mut given = std::collections::BTreeSet::new();
        for key in deletes {
            if members.remove(&key).is_none() {
                return Err(SetError::NoSuchObject(key));
            }
            given.insert(key);
        }
        for object in upserts {
            let key = object.key();
            if !given.insert(key.clone()) {
                return Err(SetError::Twice(key));
            }
            let body = Body::new(&object).map_err(|problem| SetError::Invalid(key.clone(), problem))?;
            let unchanged = self.entry(&key).filter(|entry| entry.digest == body.digest());
            let entry = unchanged.cloned().unwrap_or_else(|| body.entry(epoch));
            members.insert(
                key,
                Member {
                    entry,
                    body: Some(Arc::new(body)),
                },
            );
        }
        Self { epoch, members }.checked()
    }

    /// The set that `diff` leads to. Whether `epoch` may follow this set's is the ledger's question, not this one's.
    ///
    /// # Errors
    /// When `diff` deletes what is not there, or what it puts in does not fit together.
    pub fn apply(&self, diff: &SetDiff, epoch: u64) -> Result<Self, SetError> {
        let mut members = self.members.clone();
        for key in &diff.deletes {
            if members.remove(key).is_none() {
                return Err(SetError::NoSuchObject(key.clone()));
            }
        }
        for (entry, body) in &diff.upserts {
            members.insert(
                entry.key.clone(),
                Member {
                    entry: entry.clone(),
                    body: body.clone(),
                },
            );
        }
        Self { epoch, members }.checked()
    }

    fn checked(self) -> Result<Self, SetError> {
        if self.epoch > MAX_EPOCH {
            return Err(SetError::EpochTooLarge(self.epoch));
        }
        let mut agents: BTreeMap<&AgentId, &ObjectKey> = BTreeMap::new();
        for (key, Member { entry, body }) in &self.members {
            if entry.epoch > self.epoch {
                return Err(SetError::EntryFromTheFuture {
                    key: key.clone(),
                    entry: entry.epoch,
                    set: self.epoch,
                });
            }
            let Some(body) = body else { continue };
            if body.entry(entry.epoch) != *entry {
                return Err(SetError::BodyMismatch(key.clone()));
            }
            let Spec::Host(host) = &body.object().spec else {
                continue;
            };
            if let Some(first) = agents.insert(&host.agent, key) {
                return Err(SetError::AgentTwice {
                    agent: host.agent.clone(),
                    first: first.clone(),
                    second: key.clone(),
                });
            }
        }
        Ok(self)
    }
}
