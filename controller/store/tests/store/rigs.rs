//! A rig per implementation.

use std::fs;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use verger_controller_store::conformance::log::LogRig;
use verger_controller_store::conformance::state::StateRig;
use verger_controller_store::{
    ChunkedLog, LogDb, MemoryDisk, MemoryLog, MemoryState, Reached, RedbLog, SledState, StateDb, StoreError,
    WriteBehind,
};

pub(crate) struct MemoryLogRig {
    pub(crate) disk: MemoryDisk,
}

impl LogRig for MemoryLogRig {
    fn open(&mut self) -> Result<Arc<dyn LogDb>, StoreError> {
        Ok(Arc::new(MemoryLog::open(&self.disk)))
    }

    fn crash(&mut self, log: Arc<dyn LogDb>) -> Result<Arc<dyn LogDb>, StoreError> {
        drop(log);
        self.disk.crash();
        self.open()
    }
}

/// A log on disk, as tests open it.
pub(crate) trait OnDisk: LogDb + Sized + 'static {
    fn create(dir: &Path) -> Result<Self, StoreError>;
    fn open(dir: &Path) -> Result<Self, StoreError>;
    fn exists(dir: &Path) -> bool;
}

macro_rules! on_disk {
    ($($log:ty),+) => {$(
        impl OnDisk for $log {
            fn create(dir: &Path) -> Result<Self, StoreError> {
                Self::create(dir)
            }

            fn open(dir: &Path) -> Result<Self, StoreError> {
                Self::open(dir)
            }

            fn exists(dir: &Path) -> bool {
                Self::exists(dir)
            }
        }
    )+};
}

on_disk!(RedbLog, ChunkedLog);

pub(crate) struct DiskLogRig<L> {
    dir: TempDir,
    of: PhantomData<L>,
}

impl<L> DiskLogRig<L> {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            of: PhantomData,
        }
    }
}

impl<L: OnDisk> LogRig for DiskLogRig<L> {
    fn open(&mut self) -> Result<Arc<dyn LogDb>, StoreError> {
        let dir = self.dir.path();
        Ok(Arc::new(if L::exists(dir) {
            L::open(dir)?
        } else {
            L::create(dir)?
        }))
    }

    /// Takes the files as a killed process leaves them: copied while the log is open.
    fn crash(&mut self, log: Arc<dyn LogDb>) -> Result<Arc<dyn LogDb>, StoreError> {
        let image = tempfile::tempdir().unwrap();
        copy_files(self.dir.path(), image.path());
        drop(log);
        self.dir = image;
        self.open()
    }
}

/// Each crash keeps another share of what was not flushed: all of it, a part, nothing.
#[derive(Default)]
pub(crate) struct MemoryStateRig {
    state: Arc<MemoryState>,
    left: Option<MemoryState>,
    crashes: usize,
}

impl StateRig for MemoryStateRig {
    fn open(&mut self) -> Result<Arc<dyn StateDb>, StoreError> {
        Ok(Arc::clone(&self.state) as Arc<dyn StateDb>)
    }

    fn cut(&mut self) -> Result<(), StoreError> {
        let kept = self.state.unflushed() * (self.crashes % 4) / 3;
        self.left = Some(self.state.crash(kept));
        self.crashes += 1;
        Ok(())
    }

    fn reopen(&mut self, state: Arc<dyn StateDb>) -> Result<Arc<dyn StateDb>, StoreError> {
        drop(state);
        self.state = Arc::new(self.left.take().expect("cut before reopened"));
        self.open()
    }
}

pub(crate) struct SledRig {
    dir: TempDir,
    left: Option<TempDir>,
}

impl SledRig {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            left: None,
        }
    }
}

impl StateRig for SledRig {
    fn open(&mut self) -> Result<Arc<dyn StateDb>, StoreError> {
        match SledState::open(self.dir.path()) {
            Err(error) if error.is_damage() => {
                SledState::discard(self.dir.path())?;
                Ok(Arc::new(SledState::open(self.dir.path())?))
            }
            opened => Ok(Arc::new(opened?)),
        }
    }

    /// Takes the files as a killed process leaves them. What sled holds in memory alone is not in them: that is
    /// most of what was not flushed.
    fn cut(&mut self) -> Result<(), StoreError> {
        let image = tempfile::tempdir().unwrap();
        copy_files(self.dir.path(), image.path());
        self.left = Some(image);
        Ok(())
    }

    fn reopen(&mut self, state: Arc<dyn StateDb>) -> Result<Arc<dyn StateDb>, StoreError> {
        drop(state);
        self.dir = self.left.take().expect("cut before reopened");
        self.open()
    }
}

/// Any rig's states, with what members put in front of them.
pub(crate) struct BehindRig<R>(pub(crate) R);

impl<R: StateRig> StateRig for BehindRig<R> {
    fn open(&mut self) -> Result<Arc<dyn StateDb>, StoreError> {
        Ok(Arc::new(WriteBehind::start(
            self.0.open()?,
            Reached::everything(),
        )?))
    }

    fn cut(&mut self) -> Result<(), StoreError> {
        self.0.cut()
    }

    fn reopen(&mut self, state: Arc<dyn StateDb>) -> Result<Arc<dyn StateDb>, StoreError> {
        let behind = Arc::new(WriteBehind::start(self.0.reopen(state)?, Reached::everything())?);
        Ok(behind)
    }
}

/// Copies a folder, which may be in use: a file that goes meanwhile is left out.
pub(crate) fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_files(&entry.path(), &target);
            continue;
        }
        match fs::copy(entry.path(), target) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            copied => drop(copied.unwrap()),
        }
    }
}
