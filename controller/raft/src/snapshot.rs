//! Rows in and out of snapshot files.

use std::path::Path;

use bytes::{Buf, Bytes};
use prost::Message as _;
use verger_controller_store::{
    AppliedMark, DurableSnapshot, Remedy, Row, SnapshotDir, SnapshotMeta, SnapshotReader, StateDb, StoreError,
};
use verger_proto::stored::v1 as stored;

/// Bytes of rows in one chunk, about.
const CHUNK_BYTES: usize = 256 << 10;
/// The only chunk of a state that has no rows yet, an empty row: a file without any could not be told from a lost state.
const NO_ROWS: &[u8] = &[0];

/// Writes the rows as they are now into a file that is durable on return; `None` while nothing is applied.
pub(crate) fn write(db: &dyn StateDb, dir: &SnapshotDir) -> Result<Option<DurableSnapshot>, StoreError> {
    let Some(mark) = db.applied()? else {
        return Ok(None);
    };
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    let mut chunks = Vec::new();
    // The mark of the rows visited may be later than the one read above: the file is named after it.
    let at = db.visit_all(&mut |row| {
        let Row { tree, key, value } = row;
        let row = stored::SnapshotRow { tree, key, value };
        row.encode_length_delimited(&mut chunk).expect("a vector grows");
        if chunk.len() >= CHUNK_BYTES {
            chunks.push(std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_BYTES)));
        }
        Ok(())
    })?;
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    if chunks.is_empty() {
        chunks.push(NO_ROWS.to_vec());
    }
    let AppliedMark { last, membership } = at.unwrap_or(mark);
    let mut writer = dir.begin(SnapshotMeta { last, membership })?;
    for chunk in &chunks {
        writer.chunk(chunk)?;
    }
    let snapshot = writer.finish()?;
    dir.prune()?;
    Ok(Some(snapshot))
}

/// Replaces the rows by those of a snapshot file.
pub(crate) fn restore(
    db: &dyn StateDb,
    dir: &SnapshotDir,
    snapshot: &DurableSnapshot,
) -> Result<(), StoreError> {
    let SnapshotMeta { last, membership } = snapshot.meta().clone();
    let mut rows = Rows {
        reader: dir.read(snapshot)?,
        chunk: Bytes::new(),
        path: snapshot.path(),
    };
    db.replace_all(&mut rows, &AppliedMark { last, membership })
}

struct Rows<'a> {
    reader: SnapshotReader,
    chunk: Bytes,
    path: &'a Path,
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.chunk.has_remaining() {
            match self.reader.next_chunk() {
                Ok(Some(chunk)) if chunk == NO_ROWS => {}
                Ok(Some(chunk)) => self.chunk = chunk.into(),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        Some(
            match stored::SnapshotRow::decode_length_delimited(&mut self.chunk) {
                Ok(stored::SnapshotRow { tree, key, value }) => Ok(Row { tree, key, value }),
                Err(error) => Err(StoreError::Damaged {
                    file: self.path.to_owned(),
                    what: format!("a row cannot be read: {error}"),
                    remedy: Remedy::FetchSnapshot,
                }),
            },
        )
    }
}
