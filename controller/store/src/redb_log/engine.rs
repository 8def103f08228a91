//! Opens redb over a log file and maps its errors.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;

use redb::{Builder, Database, TableDefinition};

use crate::redb_backend::{LogFile, Weather};
use crate::{Remedy, StoreError};

pub(super) const RECORDS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("records");
pub(super) const META: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("meta");

/// Page cache. The log's hot end is also in the writer's memory; the rest is read in order.
const CACHE_BYTES: usize = 16 << 20;

/// Opens a file as a database, and settles it before. With `create` the file is made, and must not exist.
pub(super) fn open(path: &Path, create: bool, weather: &Arc<Weather>) -> Result<Database, StoreError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(create)
        .open(path)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => damaged(path, "the log file is missing"),
            _ => StoreError::io(path, if create { "create" } else { "open" }, error),
        })?;
    let length = file
        .metadata()
        .map_err(|error| StoreError::io(path, "read the size of", error))?
        .len();
    if !create && length == 0 {
        // redb would make a new database of it.
        return Err(damaged(path, "the log file is empty"));
    }
    let mut builder = Builder::new();
    builder
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(!create);
    if !create {
        verger_durable::settle_file(&file, path)?;
    }
    let backend = LogFile::new(file, Arc::clone(weather)).map_err(|error| fault(path, error.into()))?;
    builder
        .create_with_backend(backend)
        .map_err(|error| fault(path, error.into()))
}

/// Maps redb's errors. Whether a failed write latches is decided where it happened.
pub(super) fn fault(path: &Path, error: redb::Error) -> StoreError {
    match error {
        redb::Error::Io(source) => match source.kind() {
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData => {
                damaged(path, &format!("the log file does not read as one: {source}"))
            }
            _ => StoreError::io(path, "read or write", source),
        },
        redb::Error::DatabaseAlreadyOpen => StoreError::InUse {
            file: path.to_owned(),
        },
        redb::Error::UpgradeRequired(found) => damaged(
            path,
            &format!("the log file claims the unknown storage engine format {found}"),
        ),
        redb::Error::PreviousIo => StoreError::Latched {
            file: path.to_owned(),
            cause: "an earlier write failed".to_owned(),
        },
        other => damaged(path, &other.to_string().escape_debug().to_string()),
    }
}

pub(super) fn damaged(path: &Path, what: &str) -> StoreError {
    StoreError::damaged(path, Remedy::RejoinUnderNewId, what)
}
