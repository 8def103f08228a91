//! Fuzz targets: framed values, streams and the watermark, as a disk may hold them.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use bolero::check;
use bytes::Bytes;
use verger_fuzz::Damaged;

use crate::chunk_stream::{ChunkSink, ChunkSource, MAX_CHUNK_BYTES, StreamKind};
use crate::frame::{InvalidFrame, decode_record, decode_tagged, encode_record, encode_tagged};
use crate::watermark::{Engine, Watermark};
use crate::{LogRecord, Remedy, StoreError};

/// Damage that names the file, in a sentence.
#[track_caller]
pub(crate) fn assert_damage(error: &StoreError, file: &Path) {
    assert!(error.is_damage(), "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("{file:?}")), "{text:.300}");
    assert!(
        text.len() < 32 << 10 && !text.contains(char::is_control),
        "{text:.300}"
    );
}

fn assert_invalid(invalid: InvalidFrame) {
    let file = Path::new("log.redb");
    assert_damage(&invalid.in_file(file, Remedy::RejoinUnderNewId, "record 7"), file);
}

#[test]
fn hostile_frames_are_refused_or_framed_again_to_the_same_bytes() {
    let record = LogRecord {
        index: 7,
        term: 3,
        payload: Bytes::from_static(b"verger"),
    };
    check!()
        .with_generator((
            Damaged::bytes([encode_record(&record)]).framed(|record| decode_record(record).is_ok()),
            Damaged::bytes([encode_tagged(b"vote", b"payload")])
                .framed(|value| decode_tagged(b"vote", value).is_ok()),
            Damaged::bytes([b"vote", b"head"]),
        ))
        .with_iterations(10_000)
        .for_each(|(record, value, tag)| {
            match decode_record(record) {
                Ok(read) => assert_eq!(encode_record(&read), record.to_vec()),
                Err(invalid) => assert_invalid(invalid),
            }
            match decode_tagged(b"vote", value) {
                Ok((_, payload)) => assert_eq!(encode_tagged(b"vote", payload), value.to_vec()),
                Err(invalid) => assert_invalid(invalid),
            }
            // What any two bytes are framed to reads back under its own tag alone.
            let framed = encode_tagged(tag, value);
            assert_eq!(decode_tagged(tag, &framed).unwrap().1, &**value);
            let foreign = [tag, b"x".as_slice()].concat();
            assert!(decode_tagged(&foreign, &framed).is_err());
        });
}

fn stream(kind: StreamKind) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut sink = ChunkSink::begin(&mut bytes, Path::new("f"), kind, b"header").unwrap();
    for chunk in [b"first".as_slice(), &[0; 300], b"third"] {
        sink.chunk(chunk).unwrap();
    }
    sink.finish().unwrap();
    bytes
}

#[test]
fn hostile_streams_end_in_damage_or_are_the_ones_that_were_written() {
    let (snapshot, log) = (stream(StreamKind::Snapshot), stream(StreamKind::Log));
    // A part that claims the most bytes there can be, or far more.
    let greedy = |length: u32| [&snapshot[..8], &length.to_le_bytes(), &[0; 4]].concat();
    let seeds = [snapshot.clone(), log, greedy(u32::MAX), greedy(1 << 20)];
    check!()
        .with_generator(
            Damaged::bytes(seeds)
                .framed(|bytes| bytes.starts_with(b"VGRSNAP") || bytes.starts_with(b"VGRLOGX")),
        )
        .with_iterations(5_000)
        .for_each(|bytes| {
            let file = Path::new("s.vsnap");
            let (mut source, header) = match ChunkSource::begin(&**bytes, file, StreamKind::Snapshot) {
                Ok(begun) => begun,
                Err(error) => return assert_damage(&error, file),
            };
            let mut chunks = Vec::new();
            loop {
                match source.next_chunk() {
                    Ok(Some(chunk)) => {
                        assert!((1..=MAX_CHUNK_BYTES).contains(&chunk.len()) && chunk.len() <= bytes.len());
                        chunks.push(chunk);
                    }
                    Ok(None) => break,
                    Err(error) => return assert_damage(&error, file),
                }
            }
            // The digest is of everything, so nothing else ends well.
            assert_eq!(bytes.to_vec(), snapshot);
            assert_eq!((header.as_slice(), chunks.len()), (b"header".as_slice(), 3));
        });
}

#[test]
fn a_hostile_watermark_is_damage_or_says_what_one_of_its_slots_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.mark");
    let mut mark = Watermark::create(&path, Engine::Redb, 6).unwrap();
    mark.advance(7, false).unwrap();
    let whole = std::fs::read(&path).unwrap();
    check!()
        .with_generator(Damaged::bytes([&whole]).framed(|bytes| bytes.starts_with(b"VGRM")))
        .with_iterations(1_000)
        .for_each(|bytes| {
            std::fs::write(&path, &**bytes).unwrap();
            match Watermark::open(&path, Engine::Redb) {
                Ok(mark) => {
                    let slots = bytes.chunks(4096).filter(|slot| slot.starts_with(b"VGRM"));
                    let said: Vec<_> = slots.filter_map(|slot| slot.get(9..17)).collect();
                    assert!(said.contains(&mark.sequence().to_le_bytes().as_slice()));
                }
                Err(error) => assert_damage(&error, &path),
            }
        });
}
