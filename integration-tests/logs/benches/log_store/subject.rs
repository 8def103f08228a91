//! What is measured: each log, and what no log can be faster than.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use verger_controller_store::{ChunkedLog, LogDb, LogId, LogRecord, RedbLog};

/// Bytes of a record.
pub(crate) const RECORD: usize = 256;

/// A subject's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file that grows, written and synced: the floor.
    Raw,
    Redb,
    RaftLog,
}

impl Kind {
    /// In the order of the table.
    pub(crate) const ALL: [Self; 3] = [Self::Raw, Self::Redb, Self::RaftLog];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw => "file",
            Self::Redb => "redb",
            Self::RaftLog => "raft-log",
        }
    }

    pub(crate) fn of(name: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.with_context(|| format!("there is no {name:?}"))
    }
}

/// An open one.
pub(crate) enum Subject {
    Raw(File),
    Log(Box<dyn LogDb>),
}

impl Subject {
    pub(crate) fn create(kind: Kind, dir: &Path) -> Result<Self> {
        Ok(match kind {
            Kind::Raw => Self::Raw(
                OpenOptions::new()
                    .create_new(true)
                    .append(true)
                    .open(dir.join("file"))?,
            ),
            Kind::Redb => Self::Log(Box::new(RedbLog::create(dir)?)),
            Kind::RaftLog => Self::Log(Box::new(ChunkedLog::create(dir)?)),
        })
    }

    pub(crate) fn open(kind: Kind, dir: &Path) -> Result<Self> {
        Ok(match kind {
            Kind::Raw => bail!("a file is not opened again"),
            Kind::Redb => Self::Log(Box::new(RedbLog::open(dir)?)),
            Kind::RaftLog => Self::Log(Box::new(ChunkedLog::open(dir)?)),
        })
    }

    pub(crate) fn append(&mut self, records: &[LogRecord]) -> Result<()> {
        match self {
            Self::Raw(file) => {
                let mut bytes = Vec::with_capacity(records.len() * RECORD);
                records
                    .iter()
                    .for_each(|record| bytes.extend_from_slice(&record.payload));
                file.write_all(&bytes)?;
                file.sync_data()?;
            }
            Self::Log(log) => log.append(records)?,
        }
        Ok(())
    }

    pub(crate) fn purge(&self, upto: LogId) -> Result<()> {
        match self {
            Self::Raw(_) => bail!("a file is not purged"),
            Self::Log(log) => Ok(log.purge_to(upto)?),
        }
    }

    /// Whether so many records were appended.
    pub(crate) fn holds(&self, records: u64) -> Result<()> {
        let found = match self {
            Self::Raw(file) => file.metadata()?.len() / RECORD as u64,
            Self::Log(log) => log.last()?.map_or(0, |last| last.index + 1),
        };
        ensure!(
            found == records,
            "{records} records were appended, and {found} are there"
        );
        Ok(())
    }

    /// Whether it is whole, and how many records there are.
    pub(crate) fn check(&self) -> Result<u64> {
        match self {
            Self::Raw(_) => bail!("a file is not checked"),
            Self::Log(log) => Ok(log.check()?.records),
        }
    }
}

/// The records from one index on.
pub(crate) fn records(first: u64, count: usize) -> Vec<LogRecord> {
    (first..first + count as u64)
        .map(|index| LogRecord {
            index,
            term: 1,
            payload: vec![index as u8; RECORD].into(),
        })
        .collect()
}
