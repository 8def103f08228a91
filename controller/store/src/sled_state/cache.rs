//! Keeps what sled holds in memory near its bound.
//!
//! sled 0.34 takes account of the pages that it holds in 256 parts, and of each part once 64 accesses to it have come together (`lru.rs`), so
//! that up to 16,384 pages are held however small its cache is to be. A page has up to 16 rows: of rows of 8 KiB that was 1 GiB, of the
//! largest it would be 64 GiB. So what is large is asked for again, as often as makes that come soon.

use std::sync::atomic::{AtomicUsize, Ordering};

/// For so many bytes of rows one more access: a part is then taken account of once it holds 32 KiB that it was not.
const PER_ACCESS: usize = 512;

/// The bytes of rows that were read and written so far.
#[derive(Debug, Default)]
pub(super) struct Touched(AtomicUsize);

impl Touched {
    /// Takes account of a row of so many bytes that was read or written just now.
    pub(super) fn add(&self, rows: &sled::Tree, key: &[u8], bytes: usize) -> Result<(), sled::Error> {
        for _ in 0..self.due(bytes) {
            rows.contains_key(key)?;
        }
        Ok(())
    }

    fn due(&self, bytes: usize) -> usize {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        before.wrapping_add(bytes) / PER_ACCESS - before / PER_ACCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_are_as_many_as_bytes_make_due_in_whichever_parts_they_come() {
        let touched = Touched::default();
        let due = [100, 500, 1_024, 0, 424].map(|bytes| touched.due(bytes));
        assert_eq!(due, [0, 1, 2, 0, 1]);
    }
}
