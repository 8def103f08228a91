//! What record N of the rig holds: 256 bytes told by N alone.

use verger_controller_store::LogRecord;

/// Makes record `index`.
pub(crate) fn record(index: u64) -> LogRecord {
    let mut state = index.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut payload = Vec::with_capacity(256);
    payload.extend_from_slice(&index.to_le_bytes());
    while payload.len() < 256 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        payload.extend_from_slice(&state.to_le_bytes());
    }
    LogRecord {
        index,
        term: 1 + index / 1000,
        payload: payload.into(),
    }
}
