//! The findings of one host that are not over, as its agent last told them, under one digest.
//!
//! What an agent signs of its findings is this digest: whoever is shown the rows works it out again, and a row that was taken
//! out, put in or changed gives another. It is kept up row by row. The digest is over 256 parts, one for each first byte of a
//! uid, and a part is over its rows in the order of their uids; a transition costs one part, not the whole table.

use std::collections::BTreeMap;

use super::{Chain, FindingUid, Lifecycle, Transition};
use crate::digest::Digest;

const WHOLE: &[u8] = b"verger/v1/standing\0";
const PART: &[u8] = b"verger/v1/standing-part\0";
/// As many as a byte has values.
const PARTS: usize = 256;

/// Where an agent's findings stand at one number: what it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// How far its transitions reach, and the digest over them.
    pub chain: Chain,
    /// How many findings are not over.
    pub open: u64,
    /// The digest over those.
    pub table: Digest,
}

/// The findings that are not over: the digest of the last transition of each.
#[derive(Clone, Debug)]
pub struct Standing {
    parts: Vec<Part>,
    count: u64,
}

#[derive(Clone, Debug, Default)]
struct Part {
    rows: BTreeMap<FindingUid, Digest>,
    /// As it was worked out last; none since it changed.
    digest: Option<Digest>,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            parts: vec![Part::default(); PARTS],
            count: 0,
        }
    }
}

impl Standing {
    /// Takes in a transition, which replaces what was told of its finding before.
    pub fn note(&mut self, transition: &Transition) {
        let lasts = transition.lifecycle != Lifecycle::Resolved;
        self.put(transition.uid, lasts.then(|| transition.digest()));
    }

    /// Puts in the digest of a finding's last transition; none takes the finding out.
    pub fn put(&mut self, uid: FindingUid, last: Option<Digest>) {
        let Some(part) = self.parts.get_mut(usize::from(uid.0.as_bytes()[0])) else {
            return;
        };
        let before = match last {
            Some(digest) => part.rows.insert(uid, digest),
            None => part.rows.remove(&uid),
        };
        if before != last {
            part.digest = None;
        }
        self.count += u64::from(last.is_some());
        self.count -= u64::from(before.is_some());
    }

    /// How many findings are not over.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Every row, in the order of uids.
    pub fn rows(&self) -> impl Iterator<Item = (&FindingUid, &Digest)> {
        self.parts.iter().flat_map(|part| &part.rows)
    }

    /// The digest over all rows.
    pub fn digest(&mut self) -> Digest {
        let mut bytes = WHOLE.to_vec();
        for part in &mut self.parts {
            bytes.extend(part.digest().as_bytes());
        }
        Digest::of(&bytes)
    }
}

impl Part {
    fn digest(&mut self) -> Digest {
        let rows = &self.rows;
        *self.digest.get_or_insert_with(|| {
            let mut bytes = PART.to_vec();
            for (uid, last) in rows {
                bytes.extend(uid.0.as_bytes());
                bytes.extend(last.as_bytes());
            }
            Digest::of(&bytes)
        })
    }
}
