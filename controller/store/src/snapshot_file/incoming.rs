//! A snapshot that comes from another member. What has come of it stays when the way breaks off or this member stops, and whoever sends the
//! same file goes on behind it.
//!
//! Which file it is, is in the name of the draft: the bytes of two members' snapshots of one record may differ. It is not synced before it
//! is whole: every chunk carries a checksum, and what is no sound chunk when it is opened again is cut off. Whole it is a draft still, until
//! Raft has made the log fit it.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::{BUFFER_BYTES, DurableSnapshot, SUFFIX, SnapshotDir, SnapshotMeta, damaged};
use crate::StoreError;
use crate::chunk_stream::{ChunkSink, ChunkSource, Kept, StreamKind, TRAILER_BYTES, read_trailer};

const INCOMING_SUFFIX: &str = ".incoming";

/// Which file a snapshot is: how it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotId {
    /// The chunks in it.
    pub chunks: u64,
    /// The SHA-256 at its end, of everything before.
    pub digest: [u8; 32],
}

impl SnapshotMeta {
    fn incoming_name(&self, id: &SnapshotId) -> String {
        let hex: String = id.digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}.{hex}{INCOMING_SUFFIX}", self.place())
    }
}

impl SnapshotDir {
    /// Reads how a snapshot ends. Nothing is verified.
    pub fn id(&self, snapshot: &DurableSnapshot) -> Result<SnapshotId, StoreError> {
        id_of(snapshot.path())
    }

    /// Finds the snapshot that is this file, if it is here and sound.
    pub fn find(&self, meta: &SnapshotMeta, id: &SnapshotId) -> Result<Option<DurableSnapshot>, StoreError> {
        let snapshot = DurableSnapshot {
            meta: meta.clone(),
            path: self.dir.join(meta.file_name()),
        };
        if !snapshot.path.exists() {
            return Ok(None);
        }
        let found = id_of(&snapshot.path).and_then(|found| {
            let is_it = found == *id;
            if is_it {
                self.verify(&snapshot)?;
            }
            Ok(is_it)
        });
        match found {
            Ok(is_it) => Ok(is_it.then_some(snapshot)),
            // It comes anew, then.
            Err(error) if error.is_damage() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens what has come of a snapshot, and shows each of its sound chunks; begins with none. What has come of another is removed.
    pub fn incoming(
        &self,
        meta: SnapshotMeta,
        id: &SnapshotId,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<Incoming, StoreError> {
        let name = meta.incoming_name(id);
        for other in self.names()? {
            if other.ends_with(INCOMING_SUFFIX) && other != name {
                self.remove(&other)?;
            }
        }
        let draft = self.dir.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&draft)
            .map_err(|error| StoreError::io(&draft, "open", error))?;
        // Its sync may have failed before: what is sound in memory alone is not.
        verger_durable::settle_file(&file, &draft)?;
        let buffered = |file: &File| {
            let file = file
                .try_clone()
                .map_err(|error| StoreError::io(&draft, "open", error))?;
            Ok::<_, StoreError>(BufWriter::with_capacity(BUFFER_BYTES, file))
        };
        let cut = |at: u64| {
            file.set_len(at)
                .and_then(|()| (&file).seek(SeekFrom::Start(at)))
                .map_err(|error| StoreError::io(&draft, "cut", error))
        };
        let sink = match sound(&file, &draft, &meta, visit)? {
            Some(kept) => {
                cut(kept.bytes())?;
                ChunkSink::resume(buffered(&file)?, &draft, kept)
            }
            None => {
                cut(0)?;
                ChunkSink::begin(buffered(&file)?, &draft, StreamKind::Snapshot, &meta.encode())?
            }
        };
        Ok(Incoming {
            meta,
            file,
            draft,
            sink,
        })
    }

    /// Makes a snapshot that has come whole one of this member's, in the place of one of the same record; what is one already stays as it is. To
    /// be called by who takes it in: at its next start the member takes what it finds for its own, whatever its log says by then.
    pub fn take_in(&self, snapshot: DurableSnapshot) -> Result<DurableSnapshot, StoreError> {
        let DurableSnapshot { meta, path: draft } = snapshot;
        let path = self.dir.join(meta.file_name());
        if draft != path {
            verger_durable::rename(&draft, &path)?;
        }
        Ok(DurableSnapshot { meta, path })
    }

    /// Removes what has come of snapshots that are not newer than one that is whole.
    pub(super) fn drop_overtaken(&self) -> Result<(), StoreError> {
        let Some(newest) = self.snapshots()?.pop() else {
            return Ok(());
        };
        let newest = newest.strip_suffix(SUFFIX).unwrap_or(&newest);
        for name in self.names()? {
            let place = name.split('.').next().unwrap_or_default();
            if name.ends_with(INCOMING_SUFFIX) && place <= newest {
                self.remove(&name)?;
            }
        }
        Ok(())
    }
}

fn id_of(path: &Path) -> Result<SnapshotId, StoreError> {
    let failed = |error| StoreError::io(path, "read", error);
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let Some(at) = length.checked_sub(TRAILER_BYTES as u64) else {
        return Err(damaged(path, "it is cut short"));
    };
    let mut bytes = [0; TRAILER_BYTES];
    file.seek(SeekFrom::Start(at)).map_err(failed)?;
    file.read_exact(&mut bytes).map_err(failed)?;
    let (chunks, digest) = read_trailer(&bytes).ok_or_else(|| damaged(path, "it has no end"))?;
    Ok(SnapshotId { chunks, digest })
}

/// Reads the chunks of a draft that are sound; `None` where not even its header is.
fn sound(
    file: &File,
    draft: &Path,
    meta: &SnapshotMeta,
    visit: &mut dyn FnMut(&[u8]),
) -> Result<Option<Kept>, StoreError> {
    let input = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut source = match ChunkSource::begin(input, draft, StreamKind::Snapshot) {
        Ok((source, header)) if header == meta.encode() => source,
        Ok(_) => return Ok(None),
        Err(error) if error.is_damage() => return Ok(None),
        Err(error) => return Err(error),
    };
    loop {
        let kept = source.kept();
        match source.next_chunk() {
            Ok(Some(chunk)) => visit(&chunk),
            Ok(None) => return Ok(Some(kept)),
            Err(error) if error.is_damage() => return Ok(Some(kept)),
            Err(error) => return Err(error),
        }
    }
}

/// A snapshot that comes, chunk by chunk. Dropped, it stays as far as it has come.
pub struct Incoming {
    meta: SnapshotMeta,
    file: File,
    draft: PathBuf,
    sink: ChunkSink<BufWriter<File>>,
}

impl Incoming {
    /// Gives how many chunks are here.
    #[must_use]
    pub fn chunks(&self) -> u64 {
        self.sink.chunks()
    }

    /// Adds the next chunk; an empty one is refused. After a failure it is of no use any more: [`discard`](Self::discard) it.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.is_empty() {
            return Err(StoreError::Refused {
                what: "a chunk without any data".to_owned(),
            });
        }
        self.sink.chunk(bytes)
    }

    /// Makes it durable, under its name of a draft still: [`SnapshotDir::take_in`] makes it one of this member's. That all of it has come is
    /// for the caller to know.
    pub fn finish(self) -> Result<DurableSnapshot, StoreError> {
        let Self {
            meta,
            file,
            draft,
            sink,
        } = self;
        if sink.chunks() == 0 {
            return Err(StoreError::Refused {
                what: "a snapshot without any data".to_owned(),
            });
        }
        sink.finish()?;
        file.sync_all()
            .map_err(|error| StoreError::io(&draft, "sync", error))?;
        if let Some(dir) = draft.parent() {
            verger_durable::sync_dir(dir)?;
        }
        Ok(DurableSnapshot { meta, path: draft })
    }

    /// Removes it: nobody goes on with it.
    pub fn discard(self) -> Result<(), StoreError> {
        let draft = self.draft.clone();
        // Its buffer goes first.
        drop(self);
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io(&draft, "remove", error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
