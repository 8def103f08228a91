//! Writing.

use std::io::Write;

use sha2::{Digest, Sha256};

use crate::{ChunkError, FORMAT_VERSION, Kept, MAX_CHUNK_BYTES, MAX_HEADER_BYTES, StreamKind, chunk_crc};

/// Writes a stream.
pub struct ChunkSink<W> {
    out: W,
    hash: Sha256,
    chunks: u64,
}

impl<W: Write> ChunkSink<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When it is over [`MAX_HEADER_BYTES`], or cannot be written.
    pub fn begin(out: W, kind: StreamKind, header: &[u8]) -> Result<Self, ChunkError> {
        if header.len() > MAX_HEADER_BYTES {
            return Err(ChunkError::TooLarge {
                what: "a stream header",
                size: header.len(),
                limit: MAX_HEADER_BYTES,
            });
        }
        let mut sink = Self {
            out,
            hash: Sha256::new(),
            chunks: 0,
        };
        sink.put(kind.magic())?;
        sink.put(&[FORMAT_VERSION])?;
        sink.framed(header, crc32c::crc32c(header))?;
        Ok(sink)
    }

    /// Goes on with a stream behind what was kept of it.
    pub fn resume(out: W, kept: Kept) -> Self {
        let Kept {
            hash,
            chunks,
            bytes: _,
        } = kept;
        Self { out, hash, chunks }
    }

    /// Gives how many chunks there are.
    pub const fn chunks(&self) -> u64 {
        self.chunks
    }

    /// Writes a chunk; an empty one is left out.
    ///
    /// # Errors
    /// When it is over [`MAX_CHUNK_BYTES`], or cannot be written.
    pub fn chunk(&mut self, bytes: &[u8]) -> Result<(), ChunkError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.len() > MAX_CHUNK_BYTES {
            return Err(ChunkError::TooLarge {
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
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<(u64, [u8; 32]), ChunkError> {
        self.put(&0_u32.to_le_bytes())?;
        self.put(&self.chunks.to_le_bytes())?;
        let digest: [u8; 32] = self.hash.clone().finalize().into();
        self.put(&digest)?;
        self.out.flush().map_err(unwritten)?;
        Ok((self.chunks, digest))
    }

    fn framed(&mut self, bytes: &[u8], crc: u32) -> Result<(), ChunkError> {
        let length = u32::try_from(bytes.len()).expect("bounded by MAX_CHUNK_BYTES");
        self.put(&length.to_le_bytes())?;
        self.put(&crc.to_le_bytes())?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ChunkError> {
        self.hash.update(bytes);
        self.out.write_all(bytes).map_err(unwritten)
    }
}

fn unwritten(source: std::io::Error) -> ChunkError {
    ChunkError::Io {
        action: "write",
        source,
    }
}
