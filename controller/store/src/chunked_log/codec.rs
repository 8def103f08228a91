//! What raft-log stores for us, in its own encoding: where a record stands, which commit brought it, and the notes.
//!
//! Numbers are big-endian, as raft-log's own are. Each record is checked by raft-log's CRC-32 over its type and all of this.
//!
//! | value | bytes |
//! |---|---|
//! | id | `index u64, term u64` |
//! | payload | `version u8, commit u64, place u32, of u32, length u32, bytes` |
//! | notes | `version u8, commit u64, flags u8 (1 vote, 2 committed, 4 hint)`, then vote and committed if they are there: `length u32, bytes` |
//!
//! The votes and marks that raft-log has itself are not used: it compares them, and ours are opaque.

use std::io::{self, Read, Write};
use std::sync::mpsc::SyncSender;

use bytes::Bytes;
use codeq::{Decode, Encode};
use raft_log::Types;

use crate::log_db::{LogId, LogRecord, MAX_PAYLOAD_BYTES};

const VERSION: u8 = 1;
/// The largest vote, and the largest hint of what is committed, in bytes.
pub(super) const MAX_NOTE_BYTES: usize = 64 << 10;
/// What is taken for a value before any of it has been read.
const BEFORE_READING: usize = 64 << 10;

/// Our types, to raft-log.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Format;

/// Where a record stands. Ordered by index first: a log has one record of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(pub(super) LogId);

/// One record's payload, and its place among those that one commit brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) commit: u64,
    /// From 0 on.
    pub(super) place: u32,
    /// How many records the commit brought.
    pub(super) of: u32,
    pub(super) bytes: Bytes,
}

/// What is kept beside the records. Written whole each time it changes, and at the start of every chunk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Notes {
    /// The commit that wrote them; of a hint, the one before it.
    pub(super) commit: u64,
    /// Written for what is committed alone, without a sync.
    pub(super) hint: bool,
    pub(super) vote: Option<Bytes>,
    pub(super) committed: Option<Bytes>,
}

impl Types for Format {
    type LogId = Id;
    type LogPayload = Payload;
    type Vote = u8;
    type Callback = SyncSender<Result<(), io::Error>>;
    type UserData = Notes;

    fn log_index(id: &Id) -> u64 {
        id.0.index
    }

    fn payload_size(payload: &Payload) -> u64 {
        payload.bytes.len() as u64
    }
}

/// Makes what raft-log appends for the records of one commit.
pub(super) fn stamped(commit: u64, entries: &[LogRecord]) -> impl Iterator<Item = (Id, Payload)> {
    // More than a u32 counts would be over every limit of memory.
    let of = entries.len() as u32;
    entries.iter().zip(0..of).map(move |(entry, place)| {
        let payload = Payload {
            commit,
            place,
            of,
            bytes: entry.payload.clone(),
        };
        (Id(entry.id()), payload)
    })
}

impl Encode for Id {
    fn encode<W: Write>(&self, mut out: W) -> io::Result<usize> {
        Ok(self.0.index.encode(&mut out)? + self.0.term.encode(&mut out)?)
    }
}

impl Decode for Id {
    fn decode<R: Read>(mut from: R) -> io::Result<Self> {
        let index = u64::decode(&mut from)?;
        let term = u64::decode(&mut from)?;
        // No append makes it: nothing could follow.
        if index == u64::MAX {
            return Err(invalid("no record has the last number there is"));
        }
        Ok(Self(LogId { index, term }))
    }
}

impl Encode for Payload {
    fn encode<W: Write>(&self, mut out: W) -> io::Result<usize> {
        let written = VERSION.encode(&mut out)?
            + self.commit.encode(&mut out)?
            + self.place.encode(&mut out)?
            + self.of.encode(&mut out)?;
        Ok(written + write_bytes(&self.bytes, out)?)
    }
}

impl Decode for Payload {
    fn decode<R: Read>(mut from: R) -> io::Result<Self> {
        version(&mut from, "a record")?;
        let (commit, place, of) = (
            u64::decode(&mut from)?,
            u32::decode(&mut from)?,
            u32::decode(&mut from)?,
        );
        if place >= of {
            return Err(invalid("a record's place is behind the last of its commit"));
        }
        let bytes = read_bytes(from, MAX_PAYLOAD_BYTES)?;
        Ok(Self {
            commit,
            place,
            of,
            bytes,
        })
    }
}

impl Encode for Notes {
    fn encode<W: Write>(&self, mut out: W) -> io::Result<usize> {
        let flags = u8::from(self.vote.is_some())
            | u8::from(self.committed.is_some()) << 1
            | u8::from(self.hint) << 2;
        let mut written =
            VERSION.encode(&mut out)? + self.commit.encode(&mut out)? + flags.encode(&mut out)?;
        for note in [&self.vote, &self.committed].into_iter().flatten() {
            written += write_bytes(note, &mut out)?;
        }
        Ok(written)
    }
}

impl Decode for Notes {
    fn decode<R: Read>(mut from: R) -> io::Result<Self> {
        version(&mut from, "a note")?;
        let commit = u64::decode(&mut from)?;
        let flags = u8::decode(&mut from)?;
        if flags > 7 {
            return Err(invalid("a note has unknown flags"));
        }
        let mut note = |bit: u8| match flags & bit {
            0 => Ok(None),
            _ => read_bytes(&mut from, MAX_NOTE_BYTES).map(Some),
        };
        Ok(Self {
            commit,
            hint: flags & 4 != 0,
            vote: note(1)?,
            committed: note(2)?,
        })
    }
}

fn version<R: Read>(from: R, what: &str) -> io::Result<()> {
    match u8::decode(from)? {
        VERSION => Ok(()),
        found => Err(invalid(&format!("{what} has the unknown format version {found}"))),
    }
}

fn write_bytes<W: Write>(bytes: &Bytes, mut out: W) -> io::Result<usize> {
    let length = u32::try_from(bytes.len()).map_err(|_| invalid("a value is too long"))?;
    let written = length.encode(&mut out)?;
    out.write_all(bytes)?;
    Ok(written + bytes.len())
}

/// Reads as many bytes as are said, and takes little more memory than there are.
fn read_bytes<R: Read>(mut from: R, limit: usize) -> io::Result<Bytes> {
    let length = u32::decode(&mut from)? as usize;
    if length > limit {
        return Err(invalid("a value is longer than any is"));
    }
    let mut bytes = Vec::with_capacity(length.min(BEFORE_READING));
    if from.take(length as u64).read_to_end(&mut bytes)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes.into())
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use raft_log::{RaftLogAction, RaftLogRecord, WALRecord};

    use super::*;

    const FROZEN_RECORD_CRC: [u8; 8] = [0, 0, 0, 0, 197, 170, 104, 170];
    const FROZEN_PURGE_CRC: [u8; 8] = [0, 0, 0, 0, 246, 178, 176, 167];
    const FROZEN_TRUNCATE_CRC: [u8; 8] = [0, 0, 0, 0, 166, 75, 223, 79];

    fn encoded(record: &RaftLogRecord<Format>) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.encode(&mut bytes).unwrap();
        assert_eq!(RaftLogRecord::<Format>::decode(&bytes[..]).unwrap(), *record);
        bytes
    }

    fn record() -> RaftLogRecord<Format> {
        let payload = Payload {
            commit: 9,
            place: 1,
            of: 3,
            bytes: Bytes::from_static(b"verger"),
        };
        WALRecord::Action(RaftLogAction::Append(Id(LogId { index: 7, term: 2 }), payload))
    }

    /// raft-log's own part (the type before and the checksum behind) is in it: another version of that crate must not change it.
    #[test]
    fn the_bytes_of_a_record_are_frozen() {
        let frozen = [
            &[0, 0, 0, 1][..],
            &[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2],
            &[1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 6],
            b"verger",
            &FROZEN_RECORD_CRC,
        ]
        .concat();
        assert_eq!(encoded(&record()), frozen);
    }

    #[test]
    fn the_bytes_of_removals_are_frozen() {
        let id = Id(LogId { index: 7, term: 2 });
        let body = [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2];
        let purge = encoded(&WALRecord::Action(RaftLogAction::PurgeUpto(id)));
        assert_eq!(purge, [&[0, 0, 0, 4][..], &body, &FROZEN_PURGE_CRC].concat());
        let truncate = encoded(&WALRecord::Action(RaftLogAction::TruncateAfter(Some(id))));
        assert_eq!(
            truncate,
            [&[0, 0, 0, 3, 1][..], &body, &FROZEN_TRUNCATE_CRC].concat()
        );
    }

    #[test]
    fn the_bytes_of_notes_are_frozen() {
        let notes = Notes {
            commit: 9,
            hint: true,
            vote: Some(Bytes::from_static(b"vote")),
            committed: Some(Bytes::from_static(b"c")),
        };
        let mut bytes = Vec::new();
        notes.encode(&mut bytes).unwrap();
        let frozen = [
            &[1, 0, 0, 0, 0, 0, 0, 0, 9, 7, 0, 0, 0, 4][..],
            b"vote",
            &[0, 0, 0, 1],
            b"c",
        ]
        .concat();
        assert_eq!(bytes, frozen);
        assert_eq!(Notes::decode(&bytes[..]).unwrap(), notes);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let bytes = encoded(&record());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert!(
                    RaftLogRecord::<Format>::decode(&damaged[..]).is_err(),
                    "byte {at} bit {bit}"
                );
            }
            assert!(
                RaftLogRecord::<Format>::decode(&bytes[..at]).is_err(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn a_length_that_is_claimed_takes_no_memory() {
        let mut bytes = vec![1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1];
        bytes.extend_from_slice(&(MAX_PAYLOAD_BYTES as u32).to_be_bytes());
        assert_eq!(
            Payload::decode(&bytes[..]).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        bytes.truncate(17);
        bytes.extend_from_slice(&(MAX_PAYLOAD_BYTES as u32 + 1).to_be_bytes());
        assert_eq!(
            Payload::decode(&bytes[..]).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
