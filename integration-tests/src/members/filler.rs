//! What fills a disk to its last block.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::FallocateFlags;

/// Files that take all that is left of a file system; nothing is left of them when they are dropped.
pub(super) struct Filler {
    path: PathBuf,
    files: usize,
}

pub(super) fn more(fillers: &mut [Filler]) -> Result<()> {
    fillers.iter_mut().try_for_each(Filler::take)
}

impl Filler {
    pub(super) fn fill(path: PathBuf) -> Result<Self> {
        let mut filler = Self { path, files: 0 };
        filler.take()?;
        ensure!(filler.files > 0, "there was nothing to fill");
        Ok(filler)
    }

    fn file(&self, number: usize) -> PathBuf {
        self.path.with_extension(number.to_string())
    }

    /// Takes what there is, in ever smaller steps; what the file system keeps for root, too.
    fn take(&mut self) -> Result<()> {
        let file = match File::create(self.file(self.files)) {
            Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
            file => file.context("a filler")?,
        };
        self.files += 1;
        let (mut at, mut step) = (0, 64 << 20);
        while step >= 4096 {
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), at, step) {
                Ok(()) => at += step,
                Err(rustix::io::Errno::NOSPC) => step /= 2,
                Err(errno) => return Err(errno).context("filling a disk"),
            }
        }
        Ok(())
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        // Whoever finds the disk full afterwards says so.
        for number in 0..self.files {
            let _ = fs::remove_file(self.file(number));
        }
    }
}
