//! The files of a new cluster's only member, made of a snapshot.
//!
//! Its log begins far behind the log that the snapshot is of: no revision of that one is as large, whatever came after the snapshot. Who
//! has a revision of before, to go on from, is seen to be of before.

use std::collections::BTreeMap;
use std::path::Path;

use openraft::Membership;
use tokio::sync::oneshot;
use verger_controller_store::{
    LogId as StoredId, Remedy, SnapshotDir, SnapshotMeta, SnapshotReader, StoreError,
};

use crate::chain::Chain;
use crate::codec::{self, Mark};
use crate::member::{Member, MemberError, Stores};
use crate::runtime::off_thread;
use crate::types::{Node, StoredMembership, Vote};

/// Bits of an index below the second in which its log began: no log takes a million entries each second for as long as it lasts.
const WITHIN_A_SECOND: u32 = 20;

/// Above it no index and no term of a snapshot is taken: no log came that far.
const MOST: u64 = 1 << 52;
/// Below it JSON can write every number exactly: no log begins behind it.
const EXACT: u64 = 1 << 53;

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredFrom {
    /// The last entry of the log that is in the snapshot, and its term.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The SHA-256 that its file ends with.
    pub digest: [u8; 32],
    /// Who the members were, by number.
    pub members: Vec<(u64, Node)>,
    /// The number of the only member now; the index at which its log begins.
    pub number: u64,
}

/// Where a log begins that is made now, in seconds since 1970, of a snapshot at this index.
///
/// By the clock, so that two that are made of one snapshot do not begin in one place either. A clock that is behind gives the next place
/// that there is. `None` where that is not below [`EXACT`].
fn beginning(now: u64, index: u64) -> Option<u64> {
    let next = (index >> WITHIN_A_SECOND).checked_add(1)?;
    let begins = now.max(next).checked_mul(1 << WITHIN_A_SECOND)?;
    (begins < EXACT).then_some(begins)
}

/// The first entry of a log that is made of a snapshot with this last one.
fn first_entry(last: StoredId, now: u64, snapshot: &Path) -> Result<StoredId, MemberError> {
    let StoredId { index, term } = last;
    for (what, found) in [("index", index), ("term", term)] {
        if found > MOST {
            let what = format!("its last entry has the {what} {found}, and no log comes to one above {MOST}");
            return Err(refused(snapshot, what));
        }
    }
    Ok(StoredId {
        // Of every index that is taken there is a place behind it: what there is none for is the time.
        index: beginning(now, index).ok_or(MemberError::Clock(now))?,
        term: term + 1,
    })
}

fn refused(snapshot: &Path, what: String) -> MemberError {
    MemberError::Store(StoreError::Damaged {
        file: snapshot.to_owned(),
        what,
        remedy: Remedy::OtherCopy,
    })
}

impl Member {
    /// Makes the files, in a folder that holds none, of a snapshot's file. `now` is in seconds since 1970. One that is damaged leaves files
    /// behind that make no member: the caller takes the folder away.
    ///
    /// # Errors
    /// When the snapshot is not whole, or the files cannot be made.
    pub async fn restore(
        dir: &Path,
        snapshot: &Path,
        node: &Node,
        now: u64,
    ) -> Result<RestoredFrom, MemberError> {
        Self::create(dir)?;
        let (place, snapshot, node) = (dir.to_owned(), snapshot.to_owned(), node.clone());
        let made = off_thread(move || copied(&place, &snapshot, node, now));
        let (from, first) = made
            .await
            .map_err(|error| MemberError::Raft(error.to_string()))??;
        let place = dir.to_owned();
        let stores = off_thread(move || Stores::open(&place))
            .await
            .map_err(|error| MemberError::Raft(error.to_string()))??;
        let vote = codec::encode_vote(&Vote::new(first.term, from.number)).into();
        for step in [Step::Purge(first), Step::Vote(vote)] {
            let (done, answer) = oneshot::channel();
            let done = Box::new(move |result| drop(done.send(result)));
            match step {
                Step::Purge(upto) => stores.log.purge_to(upto, done)?,
                Step::Vote(vote) => stores.log.save_vote(vote, done)?,
            }
            answer.await.map_err(|_| StoreError::Closed)??;
        }
        Ok(from)
    }
}

enum Step {
    Purge(StoredId),
    Vote(bytes::Bytes),
}

/// Copies the rows into a snapshot of the new member's own; with the entry that its log begins at.
fn copied(
    dir: &Path,
    snapshot: &Path,
    node: Node,
    now: u64,
) -> Result<(RestoredFrom, StoredId), MemberError> {
    let mut reader = SnapshotReader::outside(snapshot)?;
    let SnapshotMeta { last, membership } = reader.meta().clone();
    let mark = codec::decode_mark(&membership).map_err(|source| MemberError::Record {
        place: snapshot.to_owned(),
        source,
    })?;
    let marked = mark.applied.as_ref().map(codec::stored_id);
    if marked != Some(last) {
        let marked = marked.map_or("no entry".to_owned(), |id| {
            format!("entry {} of term {}", id.index, id.term)
        });
        let what = format!(
            "its header says that it goes up to entry {} of term {}, and what the member had applied is {marked}",
            last.index, last.term
        );
        return Err(refused(snapshot, what));
    }
    let begins = first_entry(last, now, snapshot)?;
    let number = begins.index;
    let first = codec::log_id(begins.term, number);
    let only = Membership::new(vec![[number].into()], BTreeMap::from([(number, node)]))
        .map_err(|error| MemberError::Raft(error.to_string()))?;
    let new = Mark {
        applied: Some(first),
        membership: StoredMembership::new(Some(first), only),
        chain: Chain::default(),
    };
    let mut writer = SnapshotDir::open(&dir.join("snapshots"))?.begin(SnapshotMeta {
        last: codec::stored_id(&first),
        membership: codec::encode_mark(&new).into(),
    })?;
    while let Some(chunk) = reader.next_chunk()? {
        writer.chunk(&chunk)?;
    }
    writer.finish()?;
    let members = mark.membership.membership().nodes();
    let from = RestoredFrom {
        index: last.index,
        term: last.term,
        digest: reader.digest().ok_or(StoreError::Closed)?,
        members: members.map(|(id, node)| (*id, node.clone())).collect(),
        number,
    };
    Ok((from, begins))
}

#[cfg(test)]
mod tests;
