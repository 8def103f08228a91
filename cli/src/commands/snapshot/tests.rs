#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use verger_chunks::{ChunkSink, SnapshotHeader, StreamKind};
use verger_controller_state::{Action, Command, RowChange, State, Tree};
use verger_policy::digest::Digest;
use verger_proto::stored::v1 as stored;
use verger_seal::{SealingKey, TrustRoot};

use super::contents::{Contents, InvalidSnapshot, contents};

const INDEX: u64 = 41;

/// Rows of a cluster with logins and an audit, by tree and key.
pub(super) fn rows() -> BTreeMap<(&'static str, Vec<u8>), Vec<u8>> {
    let key = SealingKey::from_seed([1; 32]);
    let (_, envelope) = TrustRoot::found(&[("ada".to_owned(), &key)], 1).unwrap();
    let login = |person: &str| Action::CreateLogin {
        person: person.to_owned(),
        key: Digest::of(person.as_bytes()),
    };
    let actions = [
        Action::Found {
            trust_root: envelope.to_json().into(),
        },
        login("ada"),
        login("bob"),
    ];
    let (mut state, mut rows) = (State::default(), BTreeMap::new());
    for (index, action) in (INDEX - 2..).zip(actions) {
        let command = Command {
            stamp: Timestamp::from_second(1_000).unwrap(),
            actor: "person/ada".to_owned(),
            request_id: None,
            from: None,
            policies: Vec::new(),
            counted: false,
            action,
        };
        let (_, changes) = state.apply(index, 0, command.encode());
        for RowChange { tree, key, value } in changes {
            match value {
                Some(value) => rows.insert((tree.name(), key), value),
                None => rows.remove(&(tree.name(), key)),
            };
        }
    }
    rows
}

fn mark(format: u32) -> Bytes {
    let node = |name: &str| stored::RaftNode {
        name: name.to_owned(),
        ..Default::default()
    };
    let mark = stored::RaftMark {
        format,
        membership: Some(stored::RaftMembership {
            configs: Vec::new(),
            nodes: [(2, node("c2")), (1, node("c\u{1b}[2J1"))].into(),
        }),
        ..Default::default()
    };
    mark.encode_to_vec().into()
}

/// A file of such chunks.
fn file_of(mark: Bytes, chunks: &[Vec<u8>]) -> Vec<u8> {
    let header = SnapshotHeader {
        index: INDEX,
        term: 3,
        mark,
    };
    let mut bytes = Vec::new();
    let mut sink = ChunkSink::begin(&mut bytes, StreamKind::Snapshot, &header.encode()).unwrap();
    for chunk in chunks {
        sink.chunk(chunk).unwrap();
    }
    sink.finish().unwrap();
    bytes
}

fn row(tree: &str, key: &[u8], value: &[u8]) -> Vec<u8> {
    let row = stored::SnapshotRow {
        tree: tree.to_owned(),
        key: key.to_vec().into(),
        value: value.to_vec().into(),
    };
    row.encode_length_delimited_to_vec()
}

/// A row in a chunk each.
fn chunks(rows: &BTreeMap<(&'static str, Vec<u8>), Vec<u8>>) -> Vec<Vec<u8>> {
    let rows = rows.iter();
    rows.map(|((tree, key), value)| row(tree, key, value)).collect()
}

pub(super) fn file() -> Vec<u8> {
    file_of(mark(1), &chunks(&rows()))
}

fn refusal(bytes: &[u8]) -> String {
    match contents(bytes).unwrap_err() {
        InvalidSnapshot::Unread(error) => panic!("{error}"),
        InvalidSnapshot::Newer(what) => format!("newer: {what}"),
        InvalidSnapshot::Damaged(what) => what,
    }
}

#[test]
fn what_a_sound_file_holds_is_said() {
    let bytes = file();
    let found = contents(&*bytes).unwrap();
    let Contents {
        size,
        digest,
        members,
        cluster,
        ..
    } = &found;
    assert_eq!(*size, bytes.len() as u64);
    assert!(bytes.ends_with(digest.as_bytes()));
    assert_eq!(
        members,
        &["c2", "c\\u{1b}[2J1"],
        "nothing reaches a terminal as it came"
    );
    assert_eq!(cluster.len(), 64);
    assert_eq!(
        (found.index, found.term, found.epoch, found.trust_root),
        (INDEX, 3, 0, 1)
    );
    assert_eq!(
        (found.logins, found.audit, found.hosts, found.objects),
        (2, 3, 0, 0)
    );
    assert_eq!(found.time, Timestamp::from_second(1_000).unwrap());
    assert_eq!(found.restored, None);
    // However its rows are put into chunks.
    let one = contents(&*file_of(mark(1), &[chunks(&rows()).concat()])).unwrap();
    assert_eq!((one.logins, one.audit), (2, 3));
}

#[test]
fn every_damage_is_told_and_so_is_a_file_that_holds_nothing() {
    let whole = file();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        assert!(contents(&*bytes).is_err(), "byte {at}");
        assert!(contents(&whole[..at]).is_err(), "cut at {at}");
    }
    let more = [whole.as_slice(), b"x"].concat();
    assert_eq!(refusal(&more), "there are bytes behind its end");
    assert_eq!(refusal(&whole[..whole.len() - 1]), "it is cut short");
    assert_eq!(refusal(b""), "it is cut short");
    assert_eq!(
        refusal(b"PK\x03\x04 an archive"),
        "it does not start as such a file does"
    );
    // Sound as files, and of no cluster.
    assert_eq!(refusal(&file_of(mark(1), &[])), "it holds no data");
    assert_eq!(refusal(&file_of(mark(1), &[vec![0]])), "it holds no data");
    let clock: Vec<_> = rows()
        .into_iter()
        .filter(|((_, key), _)| key == b"clock")
        .collect();
    let clock = chunks(&clock.into_iter().collect());
    assert_eq!(
        refusal(&file_of(mark(1), &clock)),
        "it holds no cluster that was founded"
    );
    let mut short = Vec::new();
    let sink = ChunkSink::begin(&mut short, StreamKind::Snapshot, b"short").unwrap();
    sink.finish().unwrap();
    assert_eq!(refusal(&short), "its header does not decode");
}

#[test]
fn rows_that_make_no_state_are_told_without_their_bytes() {
    let whole = chunks(&rows());
    let with = |chunk: Vec<u8>| file_of(mark(1), &[whole.clone(), vec![chunk]].concat());
    let hostile = b"\x1b[2J\xff".as_slice();
    for (chunk, wanted) in [
        (row("logins", b"eve", hostile), "a row of `logins` cannot be read"),
        (
            row("cluster", hostile, hostile),
            "a row of `cluster` cannot be read",
        ),
        (
            row("strange", b"k", b"v"),
            "of a kind that this program does not know",
        ),
        (vec![9, 9, 9], "a row cannot be read"),
    ] {
        let told = refusal(&with(chunk));
        assert!(told.contains(wanted), "{told}");
        assert!(!told.contains(char::is_control), "{told}");
    }
    // One that is left out: the audit counts its rows.
    let mut fewer = rows();
    let first = fewer
        .keys()
        .find(|(tree, _)| *tree == Tree::Audit.name())
        .unwrap()
        .clone();
    fewer.remove(&first);
    let told = refusal(&file_of(mark(1), &chunks(&fewer)));
    assert!(told.contains("3 rows were written"), "{told}");
}

#[test]
fn what_a_newer_program_wrote_is_told_from_damage() {
    let mut bytes = file();
    bytes[7] = 2;
    let told = refusal(&bytes);
    assert!(told.starts_with("newer: it has format version 2"), "{told}");
    let told = refusal(&file_of(mark(2), &chunks(&rows())));
    assert!(told.starts_with("newer: where Raft stood has format 2"), "{told}");
    // The rows of it mean nothing here, whichever comes first.
    let mut newer = rows();
    newer.insert(("cluster", b"version".to_vec()), 9_u32.to_be_bytes().to_vec());
    newer.insert(("audit", b"k".to_vec()), b"of another form".to_vec());
    let told = refusal(&file_of(mark(1), &chunks(&newer)));
    assert!(
        told.starts_with("newer: it is of a cluster at version 9"),
        "{told}"
    );
}
