#![allow(clippy::unwrap_used)]

use super::*;

pub(crate) fn stream(kind: StreamKind) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = SnapshotHeader {
        index: 0x0102,
        term: 3,
        mark: bytes::Bytes::from_static(b"mark"),
    };
    let mut sink = ChunkSink::begin(&mut bytes, kind, &header.encode()).unwrap();
    for chunk in [b"first".as_slice(), b"", &[0; 300], b"third"] {
        sink.chunk(chunk).unwrap();
    }
    let (chunks, _) = sink.finish().unwrap();
    assert_eq!(chunks, 3, "an empty one is left out");
    bytes
}

/// Header, chunks and digest.
type Whole = (Vec<u8>, Vec<Vec<u8>>, [u8; 32]);

/// All of a stream, or why not.
pub(crate) fn read(bytes: &[u8]) -> Result<Whole, ChunkError> {
    let (mut source, header) = ChunkSource::begin(bytes, StreamKind::Snapshot)?;
    let mut chunks = Vec::new();
    while let Some(chunk) = source.next_chunk()? {
        assert!((1..=MAX_CHUNK_BYTES).contains(&chunk.len()) && chunk.len() <= bytes.len());
        assert_eq!(source.digest(), None);
        chunks.push(chunk);
    }
    assert_eq!(source.bytes(), bytes.len() as u64);
    Ok((header, chunks, source.digest().unwrap()))
}

#[test]
fn the_bytes_of_a_snapshot_are_frozen() {
    let bytes = stream(StreamKind::Snapshot);
    let (header, chunks, digest) = read(&bytes).unwrap();
    let head = [
        b"VGRSNAP\x01".as_slice(),
        &20_u32.to_le_bytes(),
        &crc32c::crc32c(&header).to_le_bytes(),
        &[2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0],
        b"mark",
        &5_u32.to_le_bytes(),
    ]
    .concat();
    assert!(bytes.starts_with(&head));
    assert_eq!(bytes[head.len()..head.len() + 4], FIRST_CRC.to_le_bytes());
    assert!(bytes.ends_with(&digest));
    assert_eq!(bytes.len(), 8 + 28 + 3 * 8 + 310 + 12 + 32);
    assert_eq!(digest[..4], DIGEST);
    assert_eq!(chunks, [b"first".to_vec(), vec![0; 300], b"third".to_vec()]);
    let header = SnapshotHeader::decode(&header).unwrap();
    assert_eq!(
        (header.index, header.term, &*header.mark),
        (0x0102, 3, b"mark".as_slice())
    );
    assert_eq!(SnapshotHeader::decode(&[0; 15]), None);
}

const FIRST_CRC: u32 = 0x7317_7281;
const DIGEST: [u8; 4] = [135, 84, 217, 213];

#[test]
fn every_flipped_bit_every_cut_and_every_byte_more_is_refused() {
    let whole = stream(StreamKind::Snapshot);
    for at in 0..whole.len() {
        assert!(read(&whole[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            assert!(read(&bytes).is_err(), "byte {at}, bit {bit}");
        }
    }
    let more = [whole.as_slice(), b"x"].concat();
    assert_eq!(
        read(&more).unwrap_err().to_string(),
        "there are bytes behind its end"
    );
}

#[test]
fn a_stream_goes_on_behind_every_chunk_to_the_same_bytes() {
    let whole = stream(StreamKind::Snapshot);
    let (_, chunks, digest) = read(&whole).unwrap();
    for begun in 0..=chunks.len() {
        let (mut source, _) = ChunkSource::begin(&*whole, StreamKind::Snapshot).unwrap();
        for _ in 0..begun {
            source.next_chunk().unwrap();
        }
        let kept = source.kept();
        let mut bytes = whole[..usize::try_from(kept.bytes()).unwrap()].to_vec();
        let mut sink = ChunkSink::resume(&mut bytes, kept);
        for chunk in &chunks[begun..] {
            sink.chunk(chunk).unwrap();
        }
        assert_eq!(sink.finish().unwrap(), (3, digest));
        assert_eq!(bytes, whole);
    }
    assert_eq!(read_trailer(whole.last_chunk().unwrap()), Some((3, digest)));
    assert_eq!(read_trailer(whole.first_chunk().unwrap()), None);
}

#[test]
fn a_newer_version_and_another_kind_are_told_from_damage() {
    let mut bytes = stream(StreamKind::Snapshot);
    bytes[7] = 2;
    let error = read(&bytes).unwrap_err();
    assert!(matches!(error, ChunkError::Newer { found: 2 }), "{error}");
    assert!(error.to_string().contains("run a newer program"), "{error}");
    let error = read(&stream(StreamKind::Log)).unwrap_err();
    assert_eq!(error.to_string(), "it does not start as such a file does");
}
