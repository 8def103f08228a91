//! Heads of the audit that a majority of the members has signed.

use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use verger_policy::digest::Digest;
use verger_proto::policy::v1::Envelope as Wire;
use verger_seal::{ChainHead, Envelope, Refusal, TrustRoot, verify_stamp};

use crate::exit::Failure;
use crate::files;

const FORMAT: &str = "verger-audit-head/1";

/// What members have signed, and all that it takes to see that they have.
#[derive(Debug)]
pub(super) struct SignedHead {
    trust_roots: Vec<Vec<u8>>,
    stamp: Vec<u8>,
    /// The head.
    pub(super) head: ChainHead,
    /// When it was signed.
    pub(super) at: Timestamp,
    /// Who signed, by the names in the trust root.
    pub(super) by: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    format: String,
    /// Every version of the trust root, the first one first.
    trust_roots: Vec<String>,
    stamp: String,
}

impl SignedHead {
    /// Verifies what a cluster sent; `None` where it sent nothing.
    ///
    /// # Errors
    /// When what it sent is not what members of this cluster signed.
    pub(super) fn of_wire(
        trust_roots: Vec<Wire>,
        stamp: Option<Wire>,
        cluster: Digest,
    ) -> Result<Option<Self>, Refusal> {
        let Some(Wire { json }) = stamp else {
            return Ok(None);
        };
        let trust_roots = trust_roots
            .into_iter()
            .map(|Wire { json }| json.to_vec())
            .collect();
        Self::open(trust_roots, json.to_vec(), cluster).map(Some)
    }

    fn open(trust_roots: Vec<Vec<u8>>, stamp: Vec<u8>, cluster: Digest) -> Result<Self, Refusal> {
        let (first, later) = trust_roots
            .split_first()
            .ok_or(Refusal::Malformed("there is no trust root"))?;
        let first = TrustRoot::open_first(first)?;
        if first.cluster_id() != cluster {
            return Err(Refusal::OtherCluster);
        }
        let (trust_root, _) = first.walk(later.iter().map(Vec::as_slice))?;
        let said = verify_stamp(&trust_root, &stamp)?;
        let signers = Envelope::parse(&stamp)?.signers(trust_root.members().iter().map(|key| key.public));
        let members = trust_root.members().iter();
        let by = members
            .filter(|key| signers.contains(&key.public))
            .map(|key| key.name.clone());
        Ok(Self {
            head: said.audit,
            at: said.at,
            by: by.collect(),
            trust_roots,
            stamp,
        })
    }

    /// Reads a file of [`Self::keep`], which is of this cluster.
    ///
    /// # Errors
    /// When it is not: names it.
    pub(super) fn read(file: &Path, cluster: Digest) -> anyhow::Result<Self> {
        Self::parse(&files::document(file)?, cluster)
            .map_err(|what| Failure::input(format!("{}: {what}", file.display())).into())
    }

    /// Reads the bytes of such a file; says in words that may be shown what they are not.
    pub(super) fn parse(bytes: &[u8], cluster: Digest) -> Result<Self, String> {
        let File {
            format,
            trust_roots,
            stamp,
        } = serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("no head that `verger audit head --out` wrote (line {line}, column {column})")
        })?;
        if format != FORMAT {
            return Err(format!("this version reads {FORMAT}"));
        }
        let trust_roots = trust_roots.into_iter().map(String::into_bytes).collect();
        Self::open(trust_roots, stamp.into_bytes(), cluster).map_err(|refusal| refusal.to_string())
    }

    /// Writes it to a file of its own.
    ///
    /// # Errors
    /// When the file is there already, or cannot be written.
    pub(super) fn keep(&self, file: &Path) -> anyhow::Result<()> {
        let text = |bytes: &Vec<u8>| {
            let text = String::from_utf8(bytes.clone());
            text.context("an envelope is JSON, and so text")
        };
        let stored = File {
            format: FORMAT.to_owned(),
            trust_roots: self.trust_roots.iter().map(text).collect::<Result<_, _>>()?,
            stamp: text(&self.stamp)?,
        };
        files::create(file, &serde_json::to_vec_pretty(&stored)?)
    }

    /// For programs.
    pub(super) fn object(&self) -> serde_json::Value {
        json!({ "head": self.head.to_string(), "at": self.at, "by": self.by })
    }
}
