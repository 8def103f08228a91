//! A policy object and its canonical bytes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Exception, Guardrail, HostObject, Kind, Labels, Name, ObjectKey, Role, RoleBinding, Workload};
use crate::digest::Digest;

/// The domain separation in front of an object's canonical JSON.
pub const OBJECT_PREFIX: &[u8] = b"verger/v1/object\0";

/// A validated policy object: only [`crate::draft`] makes one from text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyObject {
    /// Name, labels, annotations.
    pub metadata: Metadata,
    /// What it says.
    pub spec: Spec,
}

/// The `metadata` of an object. Annotations are for people and tools; they are not part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The name, unique per kind.
    pub name: Name,
    /// Labels, which selectors of guardrails see.
    pub labels: Labels,
    /// Free text; not covered by the seal and not sent.
    pub annotations: BTreeMap<String, String>,
}

/// The `spec` by kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Spec {
    /// A workload.
    Workload(Box<Workload>),
    /// A guardrail.
    Guardrail(Guardrail),
    /// An exception.
    Exception(Exception),
    /// A host.
    Host(HostObject),
    /// A role.
    Role(Role),
    /// Who has a role.
    RoleBinding(RoleBinding),
}

impl PolicyObject {
    /// What identifies it in a set.
    pub fn key(&self) -> ObjectKey {
        ObjectKey {
            kind: self.kind(),
            name: self.metadata.name.clone(),
        }
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self.spec {
            Spec::Workload(_) => Kind::Workload,
            Spec::Guardrail(_) => Kind::Guardrail,
            Spec::Exception(_) => Kind::Exception,
            Spec::Host(_) => Kind::Host,
            Spec::Role(_) => Kind::Role,
            Spec::RoleBinding(_) => Kind::RoleBinding,
        }
    }

    /// The host labels that select the hosts its body is sent to. Empty: all, if hosts judge by its
    /// kind at all ([`Kind::is_for_hosts`]).
    pub fn host_selector(&self) -> Labels {
        match &self.spec {
            Spec::Workload(workload) => workload.hosts.clone(),
            Spec::Guardrail(guardrail) => guardrail.select.hosts.clone(),
            Spec::Exception(exception) => exception.scope.hosts.clone(),
            Spec::RoleBinding(binding) => binding.hosts.clone(),
            Spec::Host(_) | Spec::Role(_) => Labels::default(),
        }
    }

    /// The bytes its digest covers: `verger/v1/object\0` and the RFC 8785 JSON of
    /// `{apiVersion, kind, metadata{name, labels}, spec}` as stated. Stored and sent verbatim.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Meta<'a> {
            name: &'a Name,
            #[serde(skip_serializing_if = "Labels::is_empty")]
            labels: &'a Labels,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Shape<'a> {
            api_version: &'static str,
            kind: Kind,
            metadata: Meta<'a>,
            spec: &'a Spec,
        }
        let shape = Shape {
            api_version: "verger/v1",
            kind: self.kind(),
            metadata: Meta {
                name: &self.metadata.name,
                labels: &self.metadata.labels,
            },
            spec: &self.spec,
        };
        let mut bytes = OBJECT_PREFIX.to_vec();
        bytes.extend(
            serde_json_canonicalizer::to_vec(&shape).expect("strings, integers, maps with string keys"),
        );
        bytes
    }

    /// The digest of the canonical bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.canonical_bytes())
    }
}
