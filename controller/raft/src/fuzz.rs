//! Fuzz targets: Raft's records and snapshots as a disk may hold them.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io;

use bolero::check;
use bytes::Bytes;
use openraft::{EntryPayload, Membership};
use prost::Message as _;
use verger_controller_store::{LogId, MemoryState, Row, SnapshotDir, SnapshotMeta, StateDb as _, StoreError};
use verger_fuzz::Damaged;
use verger_proto::peer::v1::{CompareStateResponse, SnapshotHead};
use verger_proto::stored::v1::SnapshotRow;

use crate::chain::{Chain, Checkpoint, Link};
use crate::codec::{
    Mark, decode_committed, decode_entry, decode_mark, decode_vote, encode_checkpoint, encode_committed,
    encode_mark, encode_payload, encode_vote, log_id,
};
use crate::equality::read_checkpoints;
use crate::snapshot;
use crate::transfer::tests::offer;
use crate::transfer::{Offer, read_head, write_head};
use crate::types::{Batch, MemberId, Node, StoredMembership, Vote};

fn node(address: &str) -> Node {
    Node {
        name: "c".to_owned(),
        address: address.to_owned(),
        ..Node::default()
    }
}

fn membership() -> Membership<MemberId, Node> {
    let nodes: BTreeMap<_, _> = [(1, node("a:1")), (2, node("b:2"))].into();
    Membership::new(vec![[1].into(), [1, 2].into()], nodes).unwrap()
}

/// What was read, or nothing after a refusal that names the record.
fn read<T>(result: io::Result<T>) -> Option<T> {
    let told = |error: io::Error| {
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let text = error.to_string();
        assert!(
            text.len() < 2_000 && !text.contains(char::is_control),
            "{text:.300}"
        );
    };
    result.map_err(told).ok()
}

#[test]
fn hostile_entries_are_refused_or_stored_again_to_the_same() {
    let payloads = [
        EntryPayload::Blank,
        EntryPayload::Normal(Batch {
            commands: vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")],
            origin: None,
        }),
        EntryPayload::Membership(membership()),
    ];
    check!()
        .with_generator((
            bolero::produce::<(u64, u64)>(),
            Damaged::proto(payloads.iter().map(encode_payload)),
        ))
        .with_iterations(10_000)
        .for_each(|((term, index), bytes)| {
            let Some(entry) = read(decode_entry(*term, *index, &Bytes::copy_from_slice(bytes))) else {
                return;
            };
            assert_eq!(entry.log_id, log_id(*term, *index));
            let again = decode_entry(*term, *index, &encode_payload(&entry.payload)).unwrap();
            assert_eq!(encode_payload(&again.payload), encode_payload(&entry.payload));
        });
}

#[test]
fn hostile_votes_and_marks_are_refused_or_stored_again_to_the_same() {
    let mark = Mark {
        applied: Some(log_id(3, 4)),
        membership: StoredMembership::new(Some(log_id(1, 1)), membership()),
        chain: Chain {
            now: Some(Link {
                from: 3,
                chain: [7; 32],
            }),
            ended: Some(CHECKPOINT),
        },
    };
    check!()
        .with_generator((
            Damaged::proto([
                encode_vote(&Vote::new_committed(7, 2)),
                encode_vote(&Vote::new(7, 2)),
            ]),
            Damaged::proto([encode_committed(&log_id(3, 300))]),
            Damaged::proto([encode_mark(&mark)]),
        ))
        .with_iterations(5_000)
        .for_each(|(vote, committed, mark)| {
            if let Some(vote) = read(decode_vote(vote)) {
                assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
            }
            if let Some(committed) = read(decode_committed(committed)) {
                assert_eq!(
                    decode_committed(&encode_committed(&committed)).unwrap(),
                    committed
                );
            }
            if let Some(mark) = read(decode_mark(mark)) {
                assert_eq!(decode_mark(&encode_mark(&mark)).unwrap(), mark);
            }
        });
}

const CHECKPOINT: Checkpoint = Checkpoint {
    index: 3,
    from: 1,
    chain: [9; 32],
};

#[test]
fn hostile_checkpoints_are_refused_or_read_as_they_were_told() {
    let told = |count| {
        let checkpoints = vec![encode_checkpoint(&CHECKPOINT); count];
        CompareStateResponse {
            checkpoints,
            newest_version: 1,
        }
        .encode_to_vec()
    };
    check!()
        .with_generator(Damaged::proto([told(0), told(1), told(3)]))
        .with_iterations(5_000)
        .for_each(|bytes| {
            // What is no message is refused before it is read.
            let Ok(told) = CompareStateResponse::decode(&bytes[..]) else {
                return;
            };
            if let Some(read) = read(read_checkpoints(told.clone())) {
                let again: Vec<_> = read.iter().map(encode_checkpoint).collect();
                assert_eq!(again, told.checkpoints);
            }
        });
}

#[test]
fn hostile_heads_are_refused_or_read_as_they_were_told() {
    let heads = [1, 300].map(|chunks| {
        let offer = Offer {
            from: chunks - 1,
            ..offer(50, chunks)
        };
        write_head(&offer).encode_to_vec()
    });
    check!()
        .with_generator(Damaged::proto(heads))
        .with_iterations(5_000)
        .for_each(|bytes| {
            // What is no message is refused before it is read.
            let Ok(told) = SnapshotHead::decode(&bytes[..]) else {
                return;
            };
            let Some(read) = read(read_head(Some(told.clone()))) else {
                return;
            };
            assert_eq!(write_head(&read), told);
            // Raft can be given it.
            assert!(read.vote.committed && read.last.leader_id.term <= read.vote.leader_id.term);
            assert!(read.from <= read.id.chunks && read.id.chunks > 0);
        });
}

/// Rows of a chunk, one by one, as long as they are whole.
fn whole(chunk: &[u8]) -> Option<Vec<Row>> {
    let mut rest = Bytes::copy_from_slice(chunk);
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let SnapshotRow { tree, key, value } = SnapshotRow::decode_length_delimited(&mut rest).ok()?;
        rows.push(Row { tree, key, value });
    }
    Some(rows)
}

#[test]
fn hostile_snapshots_are_refused_or_become_exactly_their_rows() {
    let row = |key: &'static str| {
        let (tree, key, value) = ("hosts".to_owned(), Bytes::from(key), Bytes::from_static(b"v"));
        SnapshotRow { tree, key, value }.encode_to_vec()
    };
    let chunk = |row: &[u8]| {
        let mut chunk = Vec::new();
        prost::encode_length_delimiter(row.len(), &mut chunk).unwrap();
        chunk.extend(row);
        chunk
    };
    let rows = ["a", "b", "c"].map(row);
    let chunks = [chunk(&rows[0]), [chunk(&rows[1]), chunk(&rows[2])].concat()];
    let chunks = Damaged::bytes(chunks).framed(|chunk| whole(chunk).is_some());
    check!()
        .with_generator((Damaged::proto(rows), chunks))
        .with_iterations(300)
        .for_each(|(row, other)| {
            let one = &chunk(row);
            let folder = tempfile::tempdir().unwrap();
            let dir = SnapshotDir::open(folder.path()).unwrap();
            let last = LogId { index: 9, term: 2 };
            let mut writer = dir
                .begin(SnapshotMeta {
                    last,
                    membership: Bytes::from_static(b"m"),
                })
                .unwrap();
            writer.chunk(one).unwrap();
            writer.chunk(other).unwrap();
            let file = writer.finish().unwrap();
            let db = MemoryState::new();
            match snapshot::restore(&db, &dir, &file) {
                Ok(()) => {
                    let written = [whole(one).unwrap(), whole(other).unwrap()].concat();
                    let mut kept = 0;
                    let mark = db
                        .visit_all(&mut |row| {
                            kept += 1;
                            let last = written
                                .iter()
                                .rfind(|wrote| (&wrote.tree, &wrote.key) == (&row.tree, &row.key));
                            assert_eq!(last, Some(&row));
                            Ok(())
                        })
                        .unwrap();
                    assert!(kept <= written.len());
                    assert_eq!(mark.unwrap().last, last);
                }
                Err(error) => {
                    let damage = error.is_damage()
                        || matches!(error, StoreError::Refused { .. } | StoreError::TooLarge { .. });
                    assert!(damage, "{error}");
                    assert_eq!(db.applied().unwrap(), None);
                }
            }
        });
}
