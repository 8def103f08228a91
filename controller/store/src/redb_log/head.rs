//! The head row: the ends of the log, the commit's sequence number and the vote's checksum.
//!
//! It changes in the same transaction as what it describes, so a record or vote that vanished is noticed.
//! Payload: `sequence u64, flags u8 (1 last, 2 purged, 4 vote), first u64, last index u64, last term u64,
//! purged index u64, purged term u64, vote crc u32`.

use crate::bounds::Bounds;
use crate::frame::{u32_at, u64_at};
use crate::log_db::LogId;

const LENGTH: usize = 53;

/// What one commit leaves behind besides records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Head {
    pub(super) sequence: u64,
    pub(super) bounds: Bounds,
    pub(super) vote_crc: Option<u32>,
}

impl Head {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Bounds { first, last, purged } = self.bounds;
        let flags = u8::from(last.is_some())
            | u8::from(purged.is_some()) << 1
            | u8::from(self.vote_crc.is_some()) << 2;
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.push(flags);
        bytes.extend_from_slice(&first.to_le_bytes());
        for id in [last, purged] {
            let LogId { index, term } = id.unwrap_or(LogId { index: 0, term: 0 });
            bytes.extend_from_slice(&index.to_le_bytes());
            bytes.extend_from_slice(&term.to_le_bytes());
        }
        bytes.extend_from_slice(&self.vote_crc.unwrap_or(0).to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != LENGTH || bytes[8] > 7 {
            return None;
        }
        let flag = |bit: u8| bytes[8] & bit != 0;
        let id = |at: usize| LogId {
            index: u64_at(bytes, at),
            term: u64_at(bytes, at + 8),
        };
        let bounds = Bounds {
            first: u64_at(bytes, 9),
            last: flag(1).then(|| id(17)),
            purged: flag(2).then(|| id(33)),
        };
        // No append makes others: a log begins before it ends, and nothing can follow the last number there is.
        if bounds
            .last
            .is_some_and(|last| last.index < bounds.first || last.index == u64::MAX)
        {
            return None;
        }
        Some(Self {
            sequence: u64_at(bytes, 0),
            bounds,
            vote_crc: flag(4).then(|| u32_at(bytes, 49)),
        })
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_bytes_of_the_head_row_are_frozen() {
        let head = Head {
            sequence: 9,
            bounds: Bounds {
                first: 5,
                last: Some(LogId { index: 7, term: 2 }),
                purged: Some(LogId { index: 4, term: 1 }),
            },
            vote_crc: Some(0x0403_0201),
        };
        let mut frozen = vec![9, 0, 0, 0, 0, 0, 0, 0, 7];
        for number in [5_u8, 7, 2, 4, 1] {
            frozen.extend_from_slice(&[number, 0, 0, 0, 0, 0, 0, 0]);
        }
        frozen.extend_from_slice(&[1, 2, 3, 4]);
        assert_eq!(head.encode(), frozen);
        assert_eq!(Head::decode(&frozen).unwrap(), head);
        assert_eq!(Head::decode(&frozen[1..]), None);
        for last in [4, u64::MAX] {
            frozen[17..25].copy_from_slice(&last.to_le_bytes());
            assert_eq!(Head::decode(&frozen), None, "{last}");
        }
        assert_eq!(Head::decode(&Head::default().encode()).unwrap(), Head::default());
    }
}
