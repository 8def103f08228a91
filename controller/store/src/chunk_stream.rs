//! Streams of chunks ([`verger_chunks`]) in files: what is wrong names the file and the remedy.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use verger_chunks::{ChunkError, FORMAT_VERSION};
pub(crate) use verger_chunks::{Kept, MAX_CHUNK_BYTES, StreamKind, TRAILER_BYTES, read_trailer};

use crate::{MAX_PAYLOAD_BYTES, Remedy, StoreError};

const _: () = assert!(
    MAX_CHUNK_BYTES == MAX_PAYLOAD_BYTES + 64,
    "a framed log record of the largest size fits"
);

const fn remedy(kind: StreamKind) -> Remedy {
    match kind {
        StreamKind::Snapshot => Remedy::FetchSnapshot,
        StreamKind::Log => Remedy::ExportAgain,
    }
}

fn in_file(error: ChunkError, file: &Path, kind: StreamKind) -> StoreError {
    match error {
        ChunkError::Io { action, source } => StoreError::io(file, action, source),
        ChunkError::Damaged(what) => StoreError::damaged(file, remedy(kind), what),
        ChunkError::Newer { found } => StoreError::Newer {
            file: file.to_owned(),
            found,
            supported: FORMAT_VERSION,
        },
        ChunkError::TooLarge { what, size, limit } => StoreError::TooLarge { what, size, limit },
    }
}

/// Writes a stream.
pub(crate) struct ChunkSink<W> {
    sink: verger_chunks::ChunkSink<W>,
    file: PathBuf,
    kind: StreamKind,
}

impl<W: Write> ChunkSink<W> {
    pub(crate) fn begin(out: W, file: &Path, kind: StreamKind, header: &[u8]) -> Result<Self, StoreError> {
        let sink = verger_chunks::ChunkSink::begin(out, kind, header);
        Ok(Self {
            sink: sink.map_err(|error| in_file(error, file, kind))?,
            file: file.to_owned(),
            kind,
        })
    }

    /// Goes on with a snapshot behind what was kept of it.
    pub(crate) fn resume(out: W, file: &Path, kept: Kept) -> Self {
        Self {
            sink: verger_chunks::ChunkSink::resume(out, kept),
            file: file.to_owned(),
            kind: StreamKind::Snapshot,
        }
    }

    /// Gives how many chunks there are.
    pub(crate) const fn chunks(&self) -> u64 {
        self.sink.chunks()
    }

    pub(crate) fn chunk(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let written = self.sink.chunk(bytes);
        written.map_err(|error| in_file(error, &self.file, self.kind))
    }

    /// Writes the trailer; gives the number of chunks and the digest.
    pub(crate) fn finish(self) -> Result<(u64, [u8; 32]), StoreError> {
        let Self { sink, file, kind } = self;
        sink.finish().map_err(|error| in_file(error, &file, kind))
    }
}

/// Reads a stream and verifies it on the way. Only the end, `Ok(None)`, says that all of it is sound.
pub(crate) struct ChunkSource<R> {
    source: verger_chunks::ChunkSource<R>,
    file: PathBuf,
    kind: StreamKind,
}

impl<R: Read> ChunkSource<R> {
    /// Reads the header too, and gives it.
    pub(crate) fn begin(input: R, file: &Path, kind: StreamKind) -> Result<(Self, Vec<u8>), StoreError> {
        let begun = verger_chunks::ChunkSource::begin(input, kind);
        let (source, header) = begun.map_err(|error| in_file(error, file, kind))?;
        let source = Self {
            source,
            file: file.to_owned(),
            kind,
        };
        Ok((source, header))
    }

    pub(crate) fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.source.next_chunk();
        read.map_err(|error| in_file(error, &self.file, self.kind))
    }

    /// Gives what it has come to after the last chunk that was given.
    pub(crate) fn kept(&self) -> Kept {
        self.source.kept()
    }

    /// Gives the digest that it ends with; `None` before its verified end.
    pub(crate) fn digest(&self) -> Option<[u8; 32]> {
        self.source.digest()
    }

    /// Gives how many chunks have been read.
    pub(crate) fn chunks(&self) -> u64 {
        self.source.chunks()
    }
}
