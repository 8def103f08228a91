//! What the rig's snapshot of record N holds: chunks told by N alone, a few bytes or megabytes of them.

use verger_controller_store::{LogId, SnapshotMeta};

/// The largest number of chunks is two to this power.
const POWERS: u64 = 6;
/// The largest chunk, in bytes.
const CHUNK_BYTES: u64 = 64 << 10;

/// What the snapshot covers.
pub(crate) fn meta(index: u64) -> SnapshotMeta {
    SnapshotMeta {
        last: LogId {
            index,
            term: 1 + index / 1000,
        },
        membership: format!("members at {index}").into(),
    }
}

/// Its chunks; as many snapshots have one as have dozens.
pub(crate) fn chunks(index: u64) -> impl Iterator<Item = Vec<u8>> {
    let seed = index.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let count = 1 + (seed >> 20) % (1 << ((seed >> 50) % (POWERS + 1)));
    (0..count).map(move |number| chunk(seed.rotate_left(number as u32) | 1))
}

fn chunk(mut state: u64) -> Vec<u8> {
    let length = 1 + (state >> 30) % CHUNK_BYTES;
    let mut bytes = Vec::with_capacity(length as usize + 8);
    while (bytes.len() as u64) < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length as usize);
    bytes
}
