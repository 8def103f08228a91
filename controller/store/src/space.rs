//! The space that is left where a member keeps its files, and some of it that is kept back.
//!
//! Engines do not survive a full disk alike, so that it is not let come to that: while there is little space nothing new is to be taken
//! ([`Space::full`]), and what is on its way has what was kept back. A thread looks all the time; a file `reserve` holds the space, and is
//! given up when there is none. It is made again, and all is well, as soon as there is space for it and for what is to come.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::StoreError;

/// What is kept back.
const RESERVE_FILE: &str = "reserve";
/// How much that is, bytes.
const RESERVE_BYTES: u64 = 32 << 20;
/// Free bytes, beside those, below which nothing new is taken.
const LOW_BYTES: u64 = 32 << 20;
/// Free bytes below which what was kept back is given up.
const NONE_BYTES: u64 = 8 << 20;
/// Nothing could be kept back though there is space: it is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// How a place stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// There is space.
    Roomy,
    /// There is little, and what is kept back is still there.
    Low,
    /// What was kept back is given up.
    Spent,
}

/// What is to be done about so many free bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Stay(Standing),
    /// The reserve is given up.
    Spend,
    /// The reserve is made again.
    Restore,
}

impl Standing {
    const fn step(self, free: u64) -> Step {
        match self {
            Self::Spent if free >= RESERVE_BYTES + LOW_BYTES => Step::Restore,
            Self::Spent => Step::Stay(Self::Spent),
            Self::Roomy | Self::Low if free < NONE_BYTES => Step::Spend,
            Self::Roomy | Self::Low if free < LOW_BYTES => Step::Stay(Self::Low),
            Self::Roomy | Self::Low => Step::Stay(Self::Roomy),
        }
    }
}

/// Watches the space of one folder, until it is dropped.
#[derive(Debug)]
pub struct Space {
    shared: Option<Arc<Shared>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    present: Mutex<Present>,
    over: Condvar,
}

#[derive(Debug)]
struct Present {
    standing: Standing,
    free: u64,
    /// That nothing could be kept back, though there is space; it is tried again after a while.
    failed: Option<Instant>,
    is_over: bool,
}

impl Space {
    /// Begins to watch. Whatever else the folder holds is better opened afterwards: where there is no space, what was kept back is given
    /// up first.
    ///
    /// # Errors
    /// When the system does not say how much there is, or starts no thread.
    pub fn watch(dir: &Path) -> Result<Self, StoreError> {
        let standing = match dir.join(RESERVE_FILE).exists() {
            true => Standing::Roomy,
            // There was never one, or it was given up.
            false => Standing::Spent,
        };
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            present: Mutex::new(Present {
                standing,
                free: 0,
                failed: None,
                is_over: false,
            }),
            over: Condvar::new(),
        });
        shared.look()?;
        let of = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("space-watch".to_owned())
            .spawn(move || of.keep_looking())
            .map_err(|error| StoreError::io(dir, "start a thread to watch the space of", error))?;
        Ok(Self {
            shared: Some(shared),
            thread: Some(thread),
        })
    }

    /// Whether there is anything for a member to open its files with: some free space, or what was kept back.
    ///
    /// # Errors
    /// When the system does not say how much there is.
    pub fn is_any(dir: &Path) -> Result<bool, StoreError> {
        Ok(dir.join(RESERVE_FILE).exists() || free(dir)? >= NONE_BYTES)
    }

    /// One that has no end: for members without files.
    #[must_use]
    pub const fn endless() -> Self {
        Self {
            shared: None,
            thread: None,
        }
    }

    /// Free bytes, at the last look; of one without end all there can be.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.shared
            .as_ref()
            .map_or(u64::MAX, |shared| shared.present().free)
    }

    /// Why nothing new is to be taken, in a sentence that names the folder and the remedy; `None` while there is space.
    #[must_use]
    pub fn full(&self) -> Option<String> {
        let shared = self.shared.as_ref()?;
        let present = shared.present();
        (present.standing != Standing::Roomy).then(|| {
            let needed = match present.standing {
                Standing::Spent => RESERVE_BYTES + LOW_BYTES,
                Standing::Roomy | Standing::Low => LOW_BYTES,
            };
            format!(
                "the disk is full: {} KiB are free for {:?}, and {} KiB are needed; free some space: reads go on, and writes are taken again by themselves",
                present.free >> 10,
                shared.dir,
                needed >> 10
            )
        })
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.present().is_over = true;
            shared.over.notify_all();
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that watches the disk's space panicked");
        }
    }
}

impl Shared {
    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_looking(&self) {
        loop {
            let present = self.present();
            let waited = self
                .over
                .wait_timeout_while(present, LOOK, |present| !present.is_over);
            let (present, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if present.is_over {
                return;
            }
            drop(present);
            if let Err(error) = self.look() {
                tracing::warn!(%error, "how much space is left is not known");
            }
        }
    }

    fn look(&self) -> Result<(), StoreError> {
        self.stands(free(&self.dir)?);
        Ok(())
    }

    /// Does what so much free space asks for.
    fn stands(&self, free: u64) {
        let mut present = self.present();
        present.free = free;
        let before = present.standing;
        let reserve = self.dir.join(RESERVE_FILE);
        present.standing = match before.step(free) {
            Step::Stay(standing) => standing,
            Step::Spend => {
                if let Err(error) = fs::remove_file(&reserve) {
                    tracing::error!(%error, ?reserve, "what was kept back cannot be given up");
                }
                Standing::Spent
            }
            Step::Restore if present.failed.is_some_and(|at| at.elapsed() < AGAIN) => before,
            Step::Restore => match keep_back(&reserve) {
                Ok(()) => {
                    present.failed = None;
                    Standing::Roomy
                }
                // Somebody else was faster, or may have no more, as under a quota.
                Err(error) => {
                    tracing::warn!(%error, ?reserve, "no space can be kept back; it is tried again in a second");
                    present.failed = Some(Instant::now());
                    Standing::Spent
                }
            },
        };
        let (is_full, was_full) = (present.standing != Standing::Roomy, before != Standing::Roomy);
        drop(present);
        if is_full && !was_full {
            tracing::error!(dir = ?self.dir, free, "the disk is full: nothing new is taken until some space is freed; reads go on");
        }
        if was_full && !is_full {
            tracing::info!(dir = ?self.dir, free, "there is space on the disk: writes are taken");
        }
    }
}

/// Free bytes, of those that are not kept for root.
fn free(dir: &Path) -> Result<u64, StoreError> {
    let stat = rustix::fs::statvfs(dir)
        .map_err(|errno| StoreError::io(dir, "ask for the free space of", errno.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Makes a file of so many blocks; leaves none where there are not as many. It has its name when it has them: who is ended before that has
/// kept nothing back.
fn keep_back(reserve: &Path) -> io::Result<()> {
    let draft = reserve.with_extension("new");
    let file = File::create(&draft)?;
    match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
        // A file system without it keeps nothing back; it is watched all the same.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => fs::rename(&draft, reserve),
        Err(errno) => {
            fs::remove_file(&draft)?;
            Err(errno.into())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn shared(dir: &Path) -> Shared {
        Shared {
            dir: dir.to_owned(),
            present: Mutex::new(Present {
                standing: Standing::Spent,
                free: 0,
                failed: None,
                is_over: false,
            }),
            over: Condvar::new(),
        }
    }

    #[test]
    fn little_space_refuses_none_gives_up_the_reserve_and_enough_makes_it_again() {
        let dir = tempfile::tempdir().unwrap();
        let (shared, reserve) = (shared(dir.path()), dir.path().join(RESERVE_FILE));
        let enough = RESERVE_BYTES + LOW_BYTES;
        for (free, standing, is_kept) in [
            (enough - 1, Standing::Spent, false),
            (enough, Standing::Roomy, true),
            (LOW_BYTES, Standing::Roomy, true),
            (LOW_BYTES - 1, Standing::Low, true),
            (NONE_BYTES, Standing::Low, true),
            (LOW_BYTES, Standing::Roomy, true),
            (0, Standing::Spent, false),
            // What was given up is free, and is no reason to take anything.
            (RESERVE_BYTES, Standing::Spent, false),
            (enough, Standing::Roomy, true),
        ] {
            shared.stands(free);
            assert_eq!(shared.present().standing, standing, "{free} bytes free");
            assert_eq!(reserve.exists(), is_kept, "{free} bytes free");
        }
        let held = fs::metadata(&reserve).unwrap().blocks() * 512;
        assert!(held >= RESERVE_BYTES, "{held} bytes are held");
    }

    #[test]
    fn who_is_full_says_where_and_how_much_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space {
            shared: Some(Arc::new(shared(dir.path()))),
            thread: None,
        };
        let of = space.shared.as_ref().unwrap();
        of.stands(RESERVE_BYTES + LOW_BYTES);
        assert_eq!(space.full(), None);
        of.stands(20 << 20);
        let why = space.full().unwrap();
        let named = format!("{:?}", dir.path());
        assert!(
            why.contains(&named) && why.contains("20480 KiB are free"),
            "{why}"
        );
        assert!(why.contains("32768 KiB are needed"), "{why}");
        of.stands(0);
        assert!(space.full().unwrap().contains("65536 KiB are needed"));
        assert_eq!(Space::endless().full(), None);
    }

    #[test]
    fn a_place_with_space_is_watched_and_keeps_some_back() {
        let dir = tempfile::tempdir().unwrap();
        let space = Space::watch(dir.path()).unwrap();
        // The disk under the tests has as much.
        assert_eq!(space.full(), None);
        assert!(dir.path().join(RESERVE_FILE).exists());
        drop(space);
        // What is there is used again.
        assert_eq!(Space::watch(dir.path()).unwrap().full(), None);
        assert!(Space::is_any(dir.path()).unwrap());
        let nowhere = dir.path().join("nowhere");
        assert!(Space::watch(&nowhere).is_err() && Space::is_any(&nowhere).is_err());
    }
}
