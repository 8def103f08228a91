//! A folder with a store in it.

use std::path::{Path, PathBuf};

use verger_agent_core::store::StoreError;
use verger_agent_core::store::conformance::{Bench, Stores};
use verger_agent_store::{Options, SledLedger, SledSpool};

/// A folder that is removed with it.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    options: Options,
}

impl Place {
    pub(crate) fn new(spool_bytes: u64) -> Self {
        let options = Options {
            spool_bytes,
            reserve_bytes: 0,
            ..Options::default()
        };
        Self {
            dir: tempfile::tempdir().unwrap(),
            options,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn open(&self) -> (SledLedger, SledSpool) {
        open(&self.path(), &self.options).unwrap()
    }
}

pub(crate) fn open(path: &Path, options: &Options) -> Result<(SledLedger, SledSpool), StoreError> {
    verger_agent_store::open(path, options)
}

impl Bench for Place {
    fn open(&mut self) -> Stores {
        let (ledger, spool) = Self::open(self);
        (Box::new(ledger), Box::new(spool))
    }
}
