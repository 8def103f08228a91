//! Reading.

use std::io::Read;

use sha2::{Digest, Sha256};

use crate::{ChunkError, FORMAT_VERSION, Kept, MAX_CHUNK_BYTES, MAX_HEADER_BYTES, StreamKind, chunk_crc};

/// Reads a stream and verifies it on the way. Only the end, `Ok(None)`, says that all of it is sound.
pub struct ChunkSource<R> {
    input: R,
    hash: Sha256,
    chunks: u64,
    bytes: u64,
    digest: Option<[u8; 32]>,
}

impl<R: Read> ChunkSource<R> {
    /// Reads the header too, and gives it.
    ///
    /// # Errors
    /// When it is none of a stream of this kind, of a newer version, or cannot be read.
    pub fn begin(input: R, kind: StreamKind) -> Result<(Self, Vec<u8>), ChunkError> {
        let mut source = Self {
            input,
            hash: Sha256::new(),
            chunks: 0,
            bytes: 0,
            digest: None,
        };
        let start = source.take(8)?;
        if start[..7] != *kind.magic() {
            return Err(damaged("it does not start as such a file does"));
        }
        match start[7] {
            FORMAT_VERSION => {}
            0 => return Err(damaged("it has the impossible format version 0")),
            found => return Err(ChunkError::Newer { found }),
        }
        let frame = source.take(8)?;
        let header = source.body(u32_at(&frame, 0), MAX_HEADER_BYTES)?;
        if u32_at(&frame, 4) != crc32c::crc32c(&header) {
            return Err(damaged("the checksum of its header does not match"));
        }
        Ok((source, header))
    }

    /// Gives the next chunk, `None` at the verified end.
    ///
    /// # Errors
    /// When what comes is not what was written, or cannot be read.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, ChunkError> {
        if self.digest.is_some() {
            return Ok(None);
        }
        let length = u32_at(&self.take(4)?, 0);
        if length == 0 {
            self.trailer()?;
            return Ok(None);
        }
        let crc = u32_at(&self.take(4)?, 0);
        let bytes = self.body(length, MAX_CHUNK_BYTES)?;
        if crc != chunk_crc(self.chunks, &bytes) {
            let which = self.chunks;
            return Err(damaged(format!("the checksum of chunk {which} does not match")));
        }
        self.chunks += 1;
        Ok(Some(bytes))
    }

    /// Gives how many chunks have been read.
    pub fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Gives what it has come to: before the end, after the last chunk that was given.
    pub fn kept(&self) -> Kept {
        Kept {
            hash: self.hash.clone(),
            chunks: self.chunks,
            bytes: self.bytes,
        }
    }

    /// Gives how many bytes have been read.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives the digest that the stream ends with; `None` before its verified end.
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.digest
    }

    fn trailer(&mut self) -> Result<(), ChunkError> {
        let count = u64_at(&self.take(8)?, 0);
        if count != self.chunks {
            let read = self.chunks;
            return Err(damaged(format!(
                "it holds {read} chunks where {count} were written"
            )));
        }
        let computed: [u8; 32] = self.hash.clone().finalize().into();
        if self.take(32)? != computed {
            return Err(damaged("its SHA-256 does not match"));
        }
        match self.input.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(damaged("there are bytes behind its end")),
            Err(source) => return Err(unread(source)),
        }
        self.digest = Some(computed);
        Ok(())
    }

    fn body(&mut self, length: u32, limit: usize) -> Result<Vec<u8>, ChunkError> {
        match usize::try_from(length) {
            Ok(length) if length <= limit => self.take(length),
            _ => Err(damaged(format!(
                "it claims a part of {length} bytes, over the limit of {limit}"
            ))),
        }
    }

    /// Reads without trusting the length: memory grows with what is really there.
    fn take(&mut self, length: usize) -> Result<Vec<u8>, ChunkError> {
        let mut bytes = Vec::with_capacity(length.min(1 << 20));
        let read = self.input.by_ref().take(length as u64).read_to_end(&mut bytes);
        read.map_err(unread)?;
        if bytes.len() < length {
            return Err(damaged("it is cut short"));
        }
        self.hash.update(&bytes);
        self.bytes += length as u64;
        Ok(bytes)
    }
}

fn damaged(what: impl Into<String>) -> ChunkError {
    ChunkError::Damaged(what.into())
}

fn unread(source: std::io::Error) -> ChunkError {
    ChunkError::Io {
        action: "read",
        source,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a slice of four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of eight bytes"))
}
