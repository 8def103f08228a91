//! A snapshot on its way to another member: its head, and the digest that both sides work out.

use std::io;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use verger_controller_store::{SnapshotId, SnapshotMeta};
use verger_proto::peer::v1 as pb;

use crate::types::{LogId, Vote};
use crate::{codec, wire};

/// The digest over what a snapshot holds, in whichever format a member keeps it.
#[derive(Clone)]
pub(crate) struct Contents(Sha256);

impl Contents {
    pub(crate) fn of(mark: &[u8]) -> Self {
        let mut contents = Self(Sha256::new());
        contents.add(mark);
        contents
    }

    pub(crate) fn add(&mut self, chunk: &[u8]) {
        self.0.update((chunk.len() as u64).to_be_bytes());
        self.0.update(chunk);
    }

    pub(crate) fn digest(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0.clone().finalize())
    }
}

/// What a leader offers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offer {
    pub(crate) vote: Vote,
    /// Up to where it goes.
    pub(crate) last: LogId,
    pub(crate) meta: SnapshotMeta,
    /// Which file it is.
    pub(crate) id: SnapshotId,
    /// The first chunk that follows.
    pub(crate) from: u64,
}

pub(crate) fn unfit(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a snapshot: {what}"))
}

pub(crate) fn write_head(offer: &Offer) -> pb::SnapshotHead {
    let Offer {
        vote,
        last: _,
        meta,
        id,
        from,
    } = offer;
    pb::SnapshotHead {
        leader: Some(codec::write_vote(vote)),
        mark: meta.membership.clone(),
        file: Bytes::copy_from_slice(&id.digest),
        chunks: id.chunks,
        from: *from,
    }
}

/// Reads a head, as far as it can be judged by itself: Raft takes whatever it is given for what a leader says.
pub(crate) fn read_head(head: Option<pb::SnapshotHead>) -> io::Result<Offer> {
    let pb::SnapshotHead {
        leader,
        mark,
        file,
        chunks,
        from,
    } = head.ok_or_else(|| unfit("it has no head"))?;
    let vote = wire::vote(leader)?;
    if !vote.committed {
        return Err(unfit("it is of nobody who leads"));
    }
    let last = codec::decode_mark(&mark)?.applied;
    let last = last.ok_or_else(|| unfit("it goes nowhere"))?;
    if last.leader_id.term > vote.leader_id.term {
        return Err(unfit("it is of a later term than who sends it"));
    }
    let digest = (*file)
        .try_into()
        .map_err(|_| unfit("which file it is takes 32 bytes"))?;
    if chunks == 0 {
        return Err(unfit("it holds no data"));
    }
    if from > chunks {
        return Err(unfit(&format!("it goes on from chunk {from}, and has {chunks}")));
    }
    Ok(Offer {
        vote,
        last,
        meta: SnapshotMeta {
            last: codec::stored_id(&last),
            membership: mark,
        },
        id: SnapshotId { chunks, digest },
        from,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codec::{Mark, encode_mark, log_id};

    /// An offer of a leader of term 3: a snapshot of so many chunks up to this entry.
    pub(crate) fn offer(index: u64, chunks: u64) -> Offer {
        let last = log_id(2, index);
        let mark = Mark {
            applied: Some(last),
            ..Mark::default()
        };
        Offer {
            vote: Vote::new_committed(3, 9),
            last,
            meta: SnapshotMeta {
                last: codec::stored_id(&last),
                membership: encode_mark(&mark).into(),
            },
            id: SnapshotId {
                chunks,
                digest: [7; 32],
            },
            from: 0,
        }
    }

    #[test]
    fn a_head_reads_back_and_an_unfit_one_is_refused() {
        let offer = Offer {
            from: 4,
            ..offer(50, 4)
        };
        let head = write_head(&offer);
        assert_eq!(read_head(Some(head.clone())).unwrap(), offer);
        let mark = |mark: &Mark| encode_mark(mark).into();
        let later = Mark {
            applied: Some(log_id(4, 50)),
            ..Mark::default()
        };
        let with = |change: &dyn Fn(&mut pb::SnapshotHead)| {
            let mut head = head.clone();
            change(&mut head);
            Some(head)
        };
        for (head, refusal) in [
            (None, "it has no head"),
            (with(&|head| head.leader = None), "it has no vote"),
            (
                with(&|head| head.leader = Some(codec::write_vote(&Vote::new(3, 9)))),
                "it is of nobody who leads",
            ),
            (
                with(&|head| head.mark = mark(&Mark::default())),
                "it goes nowhere",
            ),
            (
                with(&|head| head.mark = mark(&later)),
                "it is of a later term than who sends it",
            ),
            (with(&|head| head.mark = Bytes::new()), "its format is 0"),
            (
                with(&|head| head.file = Bytes::from_static(&[7; 31])),
                "which file it is takes 32 bytes",
            ),
            (with(&|head| head.chunks = 0), "it holds no data"),
            (with(&|head| head.from = 5), "it goes on from chunk 5, and has 4"),
        ] {
            let error = read_head(head).unwrap_err().to_string();
            assert!(error.contains(refusal), "{error}");
        }
    }

    #[test]
    fn chunks_are_told_apart_wherever_they_end() {
        let digest = |mark: &[u8], chunks: &[&[u8]]| {
            let mut contents = Contents::of(mark);
            chunks.iter().for_each(|chunk| contents.add(chunk));
            contents.digest()
        };
        let one = digest(b"m", &[b"ab", b"c"]);
        let hex: String = one.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, CONTENTS);
        for other in [
            digest(b"m", &[b"a", b"bc"]),
            digest(b"m", &[b"abc"]),
            digest(b"m", &[b"c", b"ab"]),
            digest(b"n", &[b"ab", b"c"]),
        ] {
            assert_ne!(one, other);
        }
    }

    const CONTENTS: &str = "055d283f6f51e5ffb7b8571fe47aebebfd52aad192538d74d87def9e50c185a8";
}
