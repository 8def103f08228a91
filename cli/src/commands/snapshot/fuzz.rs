//! Fuzz target: the file of a snapshot, as anybody may have made it.

#![allow(clippy::unwrap_used)]

use bolero::check;
use prost::Message as _;
use verger_chunks::{ChunkSink, SnapshotHeader, StreamKind};
use verger_fuzz::Damaged;
use verger_proto::stored::v1 as stored;

use super::contents::{InvalidSnapshot, contents};
use super::tests::{file, rows};

fn assert_told(invalid: InvalidSnapshot) {
    let (InvalidSnapshot::Newer(what) | InvalidSnapshot::Damaged(what)) = invalid else {
        panic!("all of it was there to be read");
    };
    assert!(!what.is_empty() && what.len() < 8 << 10, "{what:.300}");
    assert!(!what.contains(char::is_control), "{what:.300}");
}

#[test]
fn hostile_snapshots_are_refused_or_are_the_one_that_was_saved() {
    let whole = file();
    check!()
        .with_generator(Damaged::bytes([&whole]).framed(|bytes| bytes.starts_with(b"VGRSNAP")))
        .with_iterations(2_000)
        .for_each(|bytes| match contents(&**bytes) {
            Ok(_) => assert_eq!(bytes.to_vec(), whole),
            Err(invalid) => assert_told(invalid),
        });
}

/// Rows that a stranger put together, in a file that is sound as such: its digest is of what it holds.
#[test]
fn hostile_rows_in_a_sound_file_are_refused_or_make_a_state() {
    let honest: Vec<Vec<u8>> = rows()
        .into_iter()
        .map(|((tree, key), value)| {
            let (tree, key, value) = (tree.to_owned(), key.into(), value.into());
            stored::SnapshotRow { tree, key, value }.encode_to_vec()
        })
        .collect();
    let all = honest.len();
    check!()
        .with_generator((
            0..all,
            [Damaged::proto(&honest), Damaged::proto(&honest)],
            Damaged::proto([stored::RaftMark {
                format: 1,
                ..Default::default()
            }
            .encode_to_vec()]),
        ))
        .with_iterations(2_000)
        .for_each(|(left, damaged, mark)| {
            let header = SnapshotHeader {
                index: 41,
                term: 3,
                mark: bytes::Bytes::copy_from_slice(mark),
            };
            let mut bytes = Vec::new();
            let mut sink = ChunkSink::begin(&mut bytes, StreamKind::Snapshot, &header.encode()).unwrap();
            for row in honest[*left..]
                .iter()
                .map(Vec::as_slice)
                .chain(damaged.iter().map(|row| &**row))
            {
                let mut chunk = Vec::new();
                prost::encoding::encode_varint(row.len() as u64, &mut chunk);
                chunk.extend(row);
                sink.chunk(&chunk).unwrap();
            }
            sink.finish().unwrap();
            match contents(&*bytes) {
                Ok(found) => assert_eq!(found.cluster.len(), 64),
                Err(invalid) => assert_told(invalid),
            }
        });
}
