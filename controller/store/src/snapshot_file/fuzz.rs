//! Fuzz target: what a snapshot file says that it covers.

#![allow(clippy::unwrap_used)]

use bolero::check;
use bytes::Bytes;
use verger_fuzz::Damaged;

use super::{LogId, SUFFIX, SnapshotMeta};

#[test]
fn a_hostile_header_is_none_or_stored_again_to_the_same_bytes_under_a_plain_name() {
    let of = |index, term, membership: &'static [u8]| SnapshotMeta {
        last: LogId { index, term },
        membership: Bytes::from_static(membership),
    };
    let seeds = [of(7, 2, b"members"), of(u64::MAX, u64::MAX, b"")];
    check!()
        .with_generator(
            Damaged::bytes(seeds.iter().map(SnapshotMeta::encode)).framed(|bytes| bytes.len() >= 16),
        )
        .with_iterations(10_000)
        .for_each(|bytes| {
            let Some(meta) = SnapshotMeta::decode(bytes) else {
                assert!(bytes.len() < 16);
                return;
            };
            assert_eq!(meta.encode(), bytes.to_vec());
            // The name is the place in the folder, and what newest is told by: digits alone, as many as ever.
            let name = meta.file_name();
            let (index, term) = name.strip_suffix(SUFFIX).unwrap().split_once('-').unwrap();
            assert_eq!((index.len(), term.len()), (20, 20));
            assert_eq!(index.parse(), Ok(meta.last.index));
            assert_eq!(term.parse(), Ok(meta.last.term));
        });
}
