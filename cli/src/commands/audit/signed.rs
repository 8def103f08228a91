//! Heads of the audit that a majority of the members has signed.

use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use verger_policy::digest::Digest;
use verger_proto::policy::v1::Envelope as Wire;
use verger_seal::{ChainHead, Envelope, Keepsake, Refusal, TrustRoot, verify_stamp};

use crate::exit::Failure;
use crate::files;

const FORMAT: &str = "verger-audit-head/2";
/// Without what was dropped.
const BEFORE: &str = "verger-audit-head/1";

/// What members have signed, and all that it takes to see that they have.
#[derive(Debug)]
pub(in crate::commands) struct SignedHead {
    trust_roots: Vec<Vec<u8>>,
    stamp: Vec<u8>,
    /// The head.
    pub(in crate::commands) head: ChainHead,
    /// When it was signed.
    pub(in crate::commands) at: Timestamp,
    /// Who signed, by the names in the trust root.
    pub(in crate::commands) by: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    format: String,
    /// Every version of the trust root, the first one first.
    trust_roots: Vec<String>,
    stamp: String,
    /// How many rows were dropped when it was kept. Nobody signs this: it is as good as the place where the file is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dropped: Option<u64>,
    /// Of when the oldest row was that was left; nor this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    oldest: Option<Timestamp>,
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
    pub(super) fn read(file: &Path, cluster: Digest) -> anyhow::Result<Keepsake> {
        let read = Self::parse(&files::document(file)?, cluster);
        let (_, kept) = read.map_err(|what| Failure::input(format!("{}: {what}", file.display())))?;
        Ok(kept)
    }

    /// Reads the bytes of such a file; says in words that may be shown what they are not.
    pub(super) fn parse(bytes: &[u8], cluster: Digest) -> Result<(Self, Keepsake), String> {
        let File {
            format,
            trust_roots,
            stamp,
            dropped,
            oldest,
        } = serde_json::from_slice(bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("no head that `verger audit head --out` wrote (line {line}, column {column})")
        })?;
        let trust_roots = trust_roots.into_iter().map(String::into_bytes).collect();
        let open =
            || Self::open(trust_roots, stamp.into_bytes(), cluster).map_err(|refusal| refusal.to_string());
        match (format.as_str(), dropped) {
            (FORMAT, Some(dropped)) => {
                let signed = open()?;
                let rows = signed.head.count;
                if dropped > rows {
                    return Err(format!(
                        "damaged: `dropped` is {dropped}, and the head is over {rows} rows"
                    ));
                }
                let kept = Keepsake::new(signed.head, dropped, oldest);
                Ok((signed, kept))
            }
            (FORMAT, None) => Err("damaged: `dropped` is missing".to_owned()),
            (BEFORE, None) if oldest.is_none() => {
                let signed = open()?;
                let kept = Keepsake::of_head(signed.head);
                Ok((signed, kept))
            }
            _ => Err(format!("this version reads {FORMAT} and {BEFORE}")),
        }
    }

    /// Writes it to a file of its own, and beside it what was dropped when it was kept.
    ///
    /// # Errors
    /// When the file is there already, or cannot be written.
    pub(super) fn keep(&self, file: &Path, dropped: u64, oldest: Option<Timestamp>) -> anyhow::Result<()> {
        let text = |bytes: &Vec<u8>| {
            let text = String::from_utf8(bytes.clone());
            text.context("an envelope is JSON, and so text")
        };
        let kept = Keepsake::new(self.head, dropped, oldest);
        let stored = File {
            format: FORMAT.to_owned(),
            trust_roots: self.trust_roots.iter().map(text).collect::<Result<_, _>>()?,
            stamp: text(&self.stamp)?,
            dropped: kept.dropped(),
            oldest: kept.oldest(),
        };
        files::create(file, &serde_json::to_vec_pretty(&stored)?)
    }

    /// For programs.
    pub(super) fn object(&self) -> serde_json::Value {
        json!({ "head": self.head.to_string(), "at": self.at, "by": self.by })
    }
}
