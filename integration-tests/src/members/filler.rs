//! What fills a disk to its last block.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::FallocateFlags;

/// What is left to a member that gave up what it kept back too early: with what it may have itself by then it is less than the 64 MiB with
/// which it takes writes again.
const LEFT_BYTES: u64 = 24 << 20;

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

    /// Gives back some of what was taken where the member gave up what it had kept back before everything was taken: that is in it, and
    /// is the member's. Less than it keeps back, so that it never has enough to make it again.
    pub(super) fn leave_to(&mut self, reserve: &Path) -> Result<()> {
        if reserve.exists() {
            return Ok(());
        }
        let first = self.file(0);
        let size = first.metadata().context("a filler")?.len();
        ensure!(
            size > LEFT_BYTES,
            "a filler of {size} bytes leaves no {LEFT_BYTES}"
        );
        let file = File::options().write(true).open(&first).context("a filler")?;
        file.set_len(size - LEFT_BYTES).context("a filler")
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
