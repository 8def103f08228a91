//! The file under redb: takes its blocks when it grows, remembers a failed sync, and lets tests plant faults.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// What happened under redb, and what tests want to happen. Shared across reopenings of one log.
#[derive(Debug)]
pub(crate) struct Weather {
    sync_failed: AtomicBool,
    /// The file may not grow beyond this many bytes: a full disk, for tests.
    capacity: AtomicU64,
    /// The next sync fails, for tests.
    fail_next_sync: AtomicBool,
    syncs: AtomicU64,
    /// The rig's planted defect: what is written waits for no disk.
    #[cfg(feature = "rig")]
    syncs_are_left_out: AtomicBool,
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            sync_failed: AtomicBool::new(false),
            capacity: AtomicU64::new(u64::MAX),
            fail_next_sync: AtomicBool::new(false),
            syncs: AtomicU64::new(0),
            #[cfg(feature = "rig")]
            syncs_are_left_out: AtomicBool::new(false),
        }
    }
}

impl Weather {
    pub(crate) fn sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::Acquire)
    }

    #[cfg(feature = "rig")]
    pub(crate) fn leave_syncs_out(&self) {
        self.syncs_are_left_out.store(true, Ordering::Release);
    }

    #[cfg(test)]
    pub(crate) fn limit_capacity(&self, bytes: u64) {
        self.capacity.store(bytes, Ordering::Release);
    }

    #[cfg(test)]
    pub(crate) fn fail_next_sync(&self) {
        self.fail_next_sync.store(true, Ordering::Release);
    }

    #[cfg(test)]
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Acquire)
    }
}

/// redb's own file backend, with blocks reserved before they are written.
#[derive(Debug)]
pub(crate) struct LogFile {
    inner: FileBackend,
    file: File,
    weather: Arc<Weather>,
}

impl LogFile {
    pub(crate) fn new(file: File, weather: Arc<Weather>) -> Result<Self, redb::DatabaseError> {
        let inner = FileBackend::new(file.try_clone()?)?;
        Ok(Self { inner, file, weather })
    }
}

impl StorageBackend for LogFile {
    fn len(&self) -> Result<u64, io::Error> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.inner.read(offset, out)
    }

    /// Grows by real blocks, so that a full disk shows here and not in the middle of a commit's writes.
    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let have = self.inner.len()?;
        if len > have {
            if len > self.weather.capacity.load(Ordering::Acquire) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), have, len - have) {
                // A file system without it: blocks come with the writes.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        // redb syncs while it opens what it has read before, which would hide that nothing was settled.
        #[cfg(feature = "rig")]
        if self.weather.syncs_are_left_out.load(Ordering::Acquire) || verger_durable::is_settling_left_out() {
            return Ok(());
        }
        self.weather.syncs.fetch_add(1, Ordering::AcqRel);
        let result = if self.weather.fail_next_sync.swap(false, Ordering::AcqRel) {
            Err(io::Error::from(Errno::IO))
        } else {
            self.inner.sync_data()
        };
        if result.is_err() {
            self.weather.sync_failed.store(true, Ordering::Release);
        }
        result
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.inner.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
