//! Snapshot files: the state up to one record of the log, written whole or not at all.
//!
//! Crash order: draft file, sync, rename, sync of the directory; only then is there a [`DurableSnapshot`],
//! and only what it covers may be purged from the log. Nothing falls back to an older file by itself: a
//! damaged newest snapshot is an error, because the log behind the older one may be gone.

mod incoming;

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use verger_chunks::SnapshotHeader;

use crate::chunk_stream::{ChunkSink, ChunkSource, StreamKind};
use crate::log_db::LogId;
use crate::{Remedy, StoreError};

pub use incoming::{Incoming, SnapshotId};

const SUFFIX: &str = ".vsnap";
const DRAFT_SUFFIX: &str = ".draft";
const BUFFER_BYTES: usize = 256 << 10;

/// What a snapshot covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last record whose effect is inside.
    pub last: LogId,
    /// The membership at that record, as the caller encoded it.
    pub membership: Bytes,
}

impl SnapshotMeta {
    fn encode(&self) -> Vec<u8> {
        let LogId { index, term } = self.last;
        let mark = self.membership.clone();
        SnapshotHeader { index, term, mark }.encode()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let SnapshotHeader { index, term, mark } = SnapshotHeader::decode(bytes)?;
        Some(Self {
            last: LogId { index, term },
            membership: mark,
        })
    }

    /// Names sort by index, then term.
    fn place(&self) -> String {
        format!("{:020}-{:020}", self.last.index, self.last.term)
    }

    fn file_name(&self) -> String {
        format!("{}{SUFFIX}", self.place())
    }
}

/// A snapshot whose file and name are on stable storage: what entitles the caller to purge the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurableSnapshot {
    meta: SnapshotMeta,
    path: PathBuf,
}

impl DurableSnapshot {
    /// Gives what it covers.
    #[must_use]
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Gives its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whether the record `upto` and all before it may be purged.
    #[must_use]
    pub fn covers(&self, upto: LogId) -> bool {
        upto.index <= self.meta.last.index && upto.term <= self.meta.last.term
    }
}

/// What is synced.
#[derive(Debug, Clone, Copy)]
struct Syncs {
    contents: bool,
    names: bool,
}

impl Syncs {
    const ALL: Self = Self {
        contents: true,
        names: true,
    };
}

/// The directory of one member's snapshot files.
#[derive(Debug, Clone)]
pub struct SnapshotDir {
    dir: PathBuf,
    /// Whole in all but the rig's planted defects.
    syncs: Syncs,
}

impl SnapshotDir {
    /// Opens the directory, making it if it is missing, removes drafts that a crash left, and makes the rest durable
    /// ([`verger_durable::settle`]): a snapshot whose name is there is a [`DurableSnapshot`]. What has come of another
    /// member's snapshot stays, unless there is a newer one.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        verger_durable::create_dir(dir)?;
        let this = Self {
            dir: dir.to_owned(),
            syncs: Syncs::ALL,
        };
        for name in this.names()? {
            if name.ends_with(DRAFT_SUFFIX) {
                this.remove(&name)?;
            }
        }
        verger_durable::settle(dir)?;
        this.drop_overtaken()?;
        Ok(this)
    }

    /// Opens the directory with the syncs of contents taken out, and with those of names unless `names` is set:
    /// no snapshot it makes is durable. For the power-cut rig, which must catch exactly that.
    #[cfg(feature = "rig")]
    pub fn open_without_syncs(dir: &Path, names: bool) -> Result<Self, StoreError> {
        let mut this = Self::open(dir)?;
        this.syncs = Syncs {
            contents: false,
            names,
        };
        Ok(this)
    }

    /// Starts a new snapshot. Dropping the writer removes the draft.
    pub fn begin(&self, meta: SnapshotMeta) -> Result<SnapshotWriter, StoreError> {
        let draft = self.dir.join(format!("{}{DRAFT_SUFFIX}", meta.file_name()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&draft)
            .map_err(|error| StoreError::io(&draft, "create", error))?;
        let guard = Draft {
            path: draft.clone(),
            kept: false,
        };
        let out = BufWriter::with_capacity(
            BUFFER_BYTES,
            file.try_clone()
                .map_err(|error| StoreError::io(&draft, "open", error))?,
        );
        let sink = ChunkSink::begin(out, &draft, StreamKind::Snapshot, &meta.encode())?;
        Ok(SnapshotWriter {
            path: self.dir.join(meta.file_name()),
            meta,
            file,
            sink,
            draft: guard,
            chunks: 0,
            syncs: self.syncs,
        })
    }

    /// Where they are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Finds the newest snapshot and reads its header. `Ok(None)` says only that the directory has none: a
    /// caller whose log was purged knows that one is lost.
    pub fn latest(&self) -> Result<Option<DurableSnapshot>, StoreError> {
        let Some(name) = self.snapshots()?.pop() else {
            return Ok(None);
        };
        let path = self.dir.join(name);
        let reader = SnapshotReader::open(&path)?;
        Ok(Some(DurableSnapshot {
            meta: reader.meta,
            path,
        }))
    }

    /// Opens a snapshot for reading.
    pub fn read(&self, snapshot: &DurableSnapshot) -> Result<SnapshotReader, StoreError> {
        let reader = SnapshotReader::open(&snapshot.path)?;
        if reader.meta != snapshot.meta {
            return Err(damaged(&snapshot.path, "its header changed"));
        }
        Ok(reader)
    }

    /// Reads a whole snapshot and verifies it; gives the number of chunks. A snapshot that holds nothing is
    /// damage.
    pub fn verify(&self, snapshot: &DurableSnapshot) -> Result<u64, StoreError> {
        let mut reader = self.read(snapshot)?;
        while reader.next_chunk()?.is_some() {}
        Ok(reader.source.chunks())
    }

    /// Removes all but the last two snapshots, after verifying the newest. Gives the number removed.
    pub fn prune(&self) -> Result<usize, StoreError> {
        if let Some(newest) = self.latest()? {
            self.verify(&newest)?;
        }
        self.drop_overtaken()?;
        let mut names = self.snapshots()?;
        names.truncate(names.len().saturating_sub(2));
        for name in &names {
            self.remove(name)?;
        }
        if self.syncs.names && !names.is_empty() {
            verger_durable::sync_dir(&self.dir)?;
        }
        Ok(names.len())
    }

    /// Removes all snapshots, so that another can be made. The caller knows that it can: what they cover is elsewhere, too.
    pub fn discard(&self) -> Result<(), StoreError> {
        for name in self.snapshots()? {
            self.remove(&name)?;
        }
        Ok(verger_durable::sync_dir(&self.dir)?)
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.dir.join(name);
        match fs::remove_file(&path) {
            // Two may be at it: who writes a snapshot, and who takes one in.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io(&path, "remove", error))
            }
            _ => Ok(()),
        }
    }

    fn snapshots(&self) -> Result<Vec<String>, StoreError> {
        let mut names = self.names()?;
        names.retain(|name| name.ends_with(SUFFIX));
        names.sort_unstable();
        Ok(names)
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        let failed = |error| StoreError::io(&self.dir, "list", error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(failed)? {
            // A name that is no text is not ours.
            if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// Writes one snapshot, chunk by chunk.
pub struct SnapshotWriter {
    path: PathBuf,
    meta: SnapshotMeta,
    file: File,
    sink: ChunkSink<BufWriter<File>>,
    draft: Draft,
    chunks: u64,
    syncs: Syncs,
}

impl SnapshotWriter {
    /// Adds a chunk; an empty one is left out. At most 64 MiB each: a few hundred KiB is a good size.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.chunks += u64::from(!bytes.is_empty());
        self.sink.chunk(bytes)
    }

    /// Makes the snapshot durable. One without chunks is refused: it could not be told from a lost state.
    pub fn finish(mut self) -> Result<DurableSnapshot, StoreError> {
        if self.chunks == 0 {
            return Err(StoreError::Refused {
                what: "a snapshot without any data".to_owned(),
            });
        }
        self.sink.finish()?;
        let (draft, place) = (&self.draft.path, &self.path);
        if self.syncs.contents {
            self.file
                .sync_all()
                .map_err(|error| StoreError::io(draft, "sync", error))?;
        }
        if self.syncs.names {
            verger_durable::rename(draft, place)?;
        } else {
            fs::rename(draft, place).map_err(|error| StoreError::io(place, "rename into place", error))?;
        }
        self.draft.kept = true;
        Ok(DurableSnapshot {
            meta: self.meta,
            path: self.path,
        })
    }
}

/// Removes an unfinished file.
struct Draft {
    path: PathBuf,
    kept: bool,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(file = ?self.path, %error, "an unfinished snapshot stays until the next start");
        }
    }
}

/// Reads one snapshot, chunk by chunk. What was read counts only once [`next_chunk`](Self::next_chunk) has
/// answered `None`: the digest comes last.
pub struct SnapshotReader {
    meta: SnapshotMeta,
    path: PathBuf,
    source: ChunkSource<BufReader<File>>,
    /// Nothing of this member's: others have it no more than it does.
    is_outside: bool,
}

impl SnapshotReader {
    /// Opens a snapshot that somebody kept, under whatever name.
    pub fn outside(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|error| StoreError::io(path, "open", error))?;
        let mut reader = Self::of(file, path).map_err(of_another)?;
        reader.is_outside = true;
        Ok(reader)
    }

    fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => damaged(path, "the snapshot file is missing"),
            _ => StoreError::io(path, "open", error),
        })?;
        let reader = Self::of(file, path)?;
        if path.file_name().and_then(|name| name.to_str()) != Some(reader.meta.file_name().as_str()) {
            return Err(damaged(path, "its name does not fit its header"));
        }
        Ok(reader)
    }

    fn of(file: File, path: &Path) -> Result<Self, StoreError> {
        let input = BufReader::with_capacity(BUFFER_BYTES, file);
        let (source, header) = ChunkSource::begin(input, path, StreamKind::Snapshot)?;
        let meta =
            SnapshotMeta::decode(&header).ok_or_else(|| damaged(path, "its header does not decode"))?;
        Ok(Self {
            meta,
            path: path.to_owned(),
            source,
            is_outside: false,
        })
    }

    /// Gives what the snapshot covers.
    #[must_use]
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Gives the next chunk, `None` at the verified end.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.source.next_chunk().and_then(|chunk| {
            if chunk.is_none() && self.source.chunks() == 0 {
                return Err(damaged(&self.path, "it holds no data"));
            }
            Ok(chunk)
        });
        match self.is_outside {
            true => read.map_err(of_another),
            false => read,
        }
    }

    /// Gives the SHA-256 that it ends with; `None` before its verified end.
    #[must_use]
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.source.digest()
    }
}

fn of_another(error: StoreError) -> StoreError {
    match error {
        StoreError::Damaged { file, what, .. } => StoreError::Damaged {
            file,
            what,
            remedy: Remedy::OtherCopy,
        },
        other => other,
    }
}

fn damaged(path: &Path, what: &str) -> StoreError {
    StoreError::damaged(path, Remedy::FetchSnapshot, what)
}

#[cfg(test)]
mod fuzz;
