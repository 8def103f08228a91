//! A rig per implementation.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use verger_controller_store::conformance::LogRig;
use verger_controller_store::{LogDb, MemoryDisk, MemoryLog, RedbLog, StoreError};

pub(crate) struct MemoryRig {
    pub(crate) disk: MemoryDisk,
}

impl LogRig for MemoryRig {
    fn open(&mut self) -> Result<Arc<dyn LogDb>, StoreError> {
        Ok(Arc::new(MemoryLog::open(&self.disk)))
    }

    fn crash(&mut self, log: Arc<dyn LogDb>) -> Result<Arc<dyn LogDb>, StoreError> {
        drop(log);
        self.disk.crash();
        self.open()
    }
}

pub(crate) struct RedbRig {
    dir: TempDir,
}

impl RedbRig {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }
}

impl LogRig for RedbRig {
    fn open(&mut self) -> Result<Arc<dyn LogDb>, StoreError> {
        let dir = self.dir.path();
        Ok(Arc::new(if RedbLog::exists(dir) {
            RedbLog::open(dir)?
        } else {
            RedbLog::create(dir)?
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

pub(crate) fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
