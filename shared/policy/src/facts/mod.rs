//! Facts: one observation of a host and its instances, as values.
//!
//! What could not be observed is [`Evidence::Missing`] with the reason, and judged *not evaluated*, never *pass*.

mod beyond;
pub mod capabilities;
mod config;
mod filter;
mod host_mounts;
pub mod image;
pub mod inspect;
mod live;
pub mod merge;
pub mod oci;
pub mod podman;
pub mod proc;
mod shape;
mod unobserved;

pub(crate) use host_mounts::{below, joined};
pub(crate) use shape::is_per_container;

pub use beyond::{BeyondFacts, RootFacts};
pub use config::{
    CapabilityFacts, ConfigFacts, DeviceFacts, EnvFacts, ImageDefaults, LATER_MASKED_PATHS, LimitFacts,
    MountFacts, MountOrigin, NamespaceFacts, NamespaceOwner, PortFacts, RUNTIME_MASKED_PATHS, RUNTIME_PATH,
    RUNTIME_READONLY_PATHS, RUNTIME_SYSCTLS, SeccompFacts, UserFacts,
};
pub use filter::Filter;
pub use host_mounts::HostMounts;
pub use live::{CapSets, LiveFacts, LiveMount, NamespaceIds, ProcessFacts, SeccompMode, StartedBy};
pub use unobserved::Unobserved;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::digest::Digest;
use crate::model::Labels;
use crate::model::RuntimeKind;

/// Something observed, or why it was not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Evidence<T> {
    /// Observed.
    Seen(T),
    /// Not observed, and why, in a sentence for a person.
    Missing(String),
}

impl<T> Evidence<T> {
    /// Not observed, for this reason.
    pub fn missing(reason: &str) -> Self {
        Self::Missing(reason.to_owned())
    }

    /// Borrows the value, or the reason why there is none.
    pub fn as_ref(&self) -> Evidence<&T> {
        match self {
            Self::Seen(value) => Evidence::Seen(value),
            Self::Missing(reason) => Evidence::Missing(reason.clone()),
        }
    }

    /// The value, if it was observed.
    pub fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen(value) => Some(value),
            Self::Missing(_) => None,
        }
    }
}

/// The immutable identity of an instance: its runtime and the runtime's full id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct InstanceId {
    /// The runtime.
    pub runtime: RuntimeKind,
    /// The full id (64 hex digits for containers).
    pub id: String,
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.runtime, self.id)
    }
}

/// What a host's runtimes hold, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostFacts {
    /// When it was observed.
    pub observed_at: Timestamp,
    /// Running instances by id.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// Runtimes that could not be read, and why: their instances are unknown, not gone.
    pub unreadable: BTreeMap<RuntimeKind, String>,
}

/// One running instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// Its identity.
    pub id: InstanceId,
    /// The name people know it by. A hint, and hostile bytes.
    pub name: String,
    /// Digest of the image config it was created from.
    pub image: Evidence<Digest>,
    /// Repository name the launcher used, without tag and digest. A hint.
    pub image_name: Option<String>,
    /// What the image says of itself; defaults of absent fields.
    pub image_defaults: Evidence<ImageDefaults>,
    /// Labels. Hints.
    pub labels: Labels,
    /// The configuration as the kernel got it (the OCI config), completed by what only the runtime knows.
    pub config: ConfigFacts,
    /// What `/proc` shows of its processes and mounts now.
    pub live: Evidence<LiveFacts>,
}

/// Why a document could not be read as facts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not {document}: {reason}")]
pub struct InvalidFacts {
    /// What it should be, such as `an OCI runtime config.json`.
    pub document: &'static str,
    /// What is wrong with it, and where. Safe to show.
    pub reason: String,
}

impl InvalidFacts {
    fn new(document: &'static str, reason: &str) -> Self {
        Self {
            document,
            reason: crate::model::printable_within(reason, 400),
        }
    }
}
