//! Turns a storage engine's panic over damaged bytes into a typed error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::{Remedy, StoreError};

/// Runs `open` in a thread of its own, so that neither its panic nor its stack is the caller's.
pub(crate) fn contained_open<T: Send>(
    file: &Path,
    remedy: Remedy,
    open: impl FnOnce() -> Result<T, StoreError> + Send,
) -> Result<T, StoreError> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("store-open".to_owned())
            .stack_size(8 << 20)
            .spawn_scoped(scope, || contained(file, remedy, open))
            .map_err(|error| StoreError::io(file, "start a thread to open", error))?
            .join()
            .unwrap_or_else(|panic| Err(StoreError::damaged(file, remedy, describe(panic.as_ref()))))
    })
}

/// Runs one call into a storage engine; its panic means that the file is damaged.
pub(crate) fn contained<T>(
    file: &Path,
    remedy: Remedy,
    call: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|panic| Err(StoreError::damaged(file, remedy, describe(panic.as_ref()))))
}

fn describe(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    // The message may quote stored bytes.
    format!(
        "the storage engine gave up: {}",
        message.chars().take(300).collect::<String>().escape_debug()
    )
}
