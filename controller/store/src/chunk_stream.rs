//! A checksummed stream of chunks, for snapshot files and log exports. Little-endian throughout.
//!
//! ```text
//! "VGRSNAP" or "VGRLOGX" (7), version u8
//! header:  length u32, crc u32, bytes          crc over the bytes
//! chunk:   length u32 (not 0), crc u32, bytes  crc over the chunk's number (u64, from 0) and the bytes
//! …
//! trailer: 0 u32, chunk count u64, SHA-256 (32) of everything before it, the count included
//! ```

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::frame::{FORMAT_VERSION, u32_at, u64_at};
use crate::{MAX_PAYLOAD_BYTES, Remedy, StoreError};

/// The largest chunk: a framed log record of the largest size fits.
pub(crate) const MAX_CHUNK_BYTES: usize = MAX_PAYLOAD_BYTES + 64;
const MAX_HEADER_BYTES: usize = 1 << 20;

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamKind {
    Snapshot,
    Log,
}

impl StreamKind {
    fn magic(self) -> &'static [u8; 7] {
        match self {
            Self::Snapshot => b"VGRSNAP",
            Self::Log => b"VGRLOGX",
        }
    }

    fn remedy(self) -> Remedy {
        match self {
            Self::Snapshot => Remedy::FetchSnapshot,
            Self::Log => Remedy::ExportAgain,
        }
    }
}

/// Writes a stream.
pub(crate) struct ChunkSink<W> {
    out: W,
    file: PathBuf,
    hash: Sha256,
    chunks: u64,
}

impl<W: Write> ChunkSink<W> {
    pub(crate) fn begin(out: W, file: &Path, kind: StreamKind, header: &[u8]) -> Result<Self, StoreError> {
        if header.len() > MAX_HEADER_BYTES {
            return Err(StoreError::TooLarge {
                what: "a stream header",
                size: header.len(),
                limit: MAX_HEADER_BYTES,
            });
        }
        let mut sink = Self {
            out,
            file: file.to_owned(),
            hash: Sha256::new(),
            chunks: 0,
        };
        sink.put(kind.magic())?;
        sink.put(&[FORMAT_VERSION])?;
        sink.framed(header, crc32c::crc32c(header))?;
        Ok(sink)
    }

    pub(crate) fn chunk(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.len() > MAX_CHUNK_BYTES {
            return Err(StoreError::TooLarge {
                what: "a chunk",
                size: bytes.len(),
                limit: MAX_CHUNK_BYTES,
            });
        }
        let crc = chunk_crc(self.chunks, bytes);
        self.framed(bytes, crc)?;
        self.chunks += 1;
        Ok(())
    }

    /// Writes the trailer; gives the number of chunks and the digest.
    pub(crate) fn finish(mut self) -> Result<(u64, [u8; 32]), StoreError> {
        self.put(&0_u32.to_le_bytes())?;
        self.put(&self.chunks.to_le_bytes())?;
        let digest: [u8; 32] = self.hash.clone().finalize().into();
        self.put(&digest)?;
        self.out
            .flush()
            .map_err(|error| StoreError::io(&self.file, "write", error))?;
        Ok((self.chunks, digest))
    }

    fn framed(&mut self, bytes: &[u8], crc: u32) -> Result<(), StoreError> {
        let length = u32::try_from(bytes.len()).expect("bounded by MAX_CHUNK_BYTES");
        self.put(&length.to_le_bytes())?;
        self.put(&crc.to_le_bytes())?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.hash.update(bytes);
        self.out
            .write_all(bytes)
            .map_err(|error| StoreError::io(&self.file, "write", error))
    }
}

/// Reads a stream and verifies it on the way. Only the end, `Ok(None)`, says that all of it is sound.
pub(crate) struct ChunkSource<R> {
    input: R,
    file: PathBuf,
    kind: StreamKind,
    hash: Sha256,
    chunks: u64,
    ended: bool,
}

impl<R: Read> ChunkSource<R> {
    /// Reads the header too, and gives it.
    pub(crate) fn begin(input: R, file: &Path, kind: StreamKind) -> Result<(Self, Vec<u8>), StoreError> {
        let mut source = Self {
            input,
            file: file.to_owned(),
            kind,
            hash: Sha256::new(),
            chunks: 0,
            ended: false,
        };
        let start = source.take(8)?;
        if start[..7] != *kind.magic() {
            return Err(source.damaged("it does not start as such a file does"));
        }
        match start[7] {
            FORMAT_VERSION => {}
            0 => return Err(source.damaged("it has the impossible format version 0")),
            found => {
                let file = source.file.clone();
                return Err(StoreError::Newer {
                    file,
                    found,
                    supported: FORMAT_VERSION,
                });
            }
        }
        let frame = source.take(8)?;
        let header = source.body(u32_at(&frame, 0), MAX_HEADER_BYTES)?;
        if u32_at(&frame, 4) != crc32c::crc32c(&header) {
            return Err(source.damaged("the checksum of its header does not match"));
        }
        Ok((source, header))
    }

    pub(crate) fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let length = u32_at(&self.take(4)?, 0);
        if length == 0 {
            self.trailer()?;
            self.ended = true;
            return Ok(None);
        }
        let crc = u32_at(&self.take(4)?, 0);
        let bytes = self.body(length, MAX_CHUNK_BYTES)?;
        if crc != chunk_crc(self.chunks, &bytes) {
            return Err(self.damaged(&format!("the checksum of chunk {} does not match", self.chunks)));
        }
        self.chunks += 1;
        Ok(Some(bytes))
    }

    /// Gives how many chunks have been read.
    pub(crate) fn chunks(&self) -> u64 {
        self.chunks
    }

    fn trailer(&mut self) -> Result<(), StoreError> {
        let count = u64_at(&self.take(8)?, 0);
        if count != self.chunks {
            return Err(self.damaged(&format!(
                "it holds {} chunks where {count} were written",
                self.chunks
            )));
        }
        let computed: [u8; 32] = self.hash.clone().finalize().into();
        if self.take(32)? != computed {
            return Err(self.damaged("its SHA-256 does not match"));
        }
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged("there are bytes behind its end")),
            Err(error) => Err(StoreError::io(&self.file, "read", error)),
        }
    }

    fn body(&mut self, length: u32, limit: usize) -> Result<Vec<u8>, StoreError> {
        match usize::try_from(length) {
            Ok(length) if length <= limit => self.take(length),
            _ => Err(self.damaged(&format!(
                "it claims a part of {length} bytes, over the limit of {limit}"
            ))),
        }
    }

    /// Reads without trusting the length: memory grows with what is really there.
    fn take(&mut self, length: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::with_capacity(length.min(1 << 20));
        let read = self.input.by_ref().take(length as u64).read_to_end(&mut bytes);
        read.map_err(|error| StoreError::io(&self.file, "read", error))?;
        if bytes.len() < length {
            return Err(self.damaged("it is cut short"));
        }
        self.hash.update(&bytes);
        Ok(bytes)
    }

    fn damaged(&self, what: &str) -> StoreError {
        StoreError::damaged(&self.file, self.kind.remedy(), what)
    }
}

fn chunk_crc(number: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), bytes)
}
