//! A library for ld.so(8) to load first, which leaves out every sync to a disk: a planted defect, by which the rig that cuts the power of
//! members proves itself. Or, with `VERGER_SYNCS_FAIL_WHILE=FILE` in the environment, it has them fail with `EIO` for as long as that file is
//! there, as those of a disk that is broken, and does them else. No product links it.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::io::{Errno, Result};

const FAIL_WHILE: &str = "VERGER_SYNCS_FAIL_WHILE";

unsafe extern "C" {
    /// Where this thread's errno(3) is.
    safe fn __errno_location() -> *mut c_int;
}

/// What a sync of this file comes to.
fn synced(fd: c_int, sync: impl FnOnce(BorrowedFd<'_>) -> Result<()>) -> c_int {
    let Some(file) = std::env::var_os(FAIL_WHILE) else {
        return 0;
    };
    let done = match Path::new(&file).exists() {
        true => Err(Errno::IO),
        // SAFETY: whoever calls a sync has the file open until it returns (fsync(2)).
        false => sync(unsafe { BorrowedFd::borrow_raw(fd) }),
    };
    let Err(error) = done else { return 0 };
    // SAFETY: it is this thread's own, and there as long as the thread is.
    unsafe { *__errno_location() = error.raw_os_error() };
    -1
}

/// fsync(2), left out or failing.
// SAFETY: it takes the place of the function of this name and type, and does what that may do.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    synced(fd, |file| rustix::fs::fsync(file))
}

/// fdatasync(2), left out or failing.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    synced(fd, |file| rustix::fs::fdatasync(file))
}

/// syncfs(2), left out or failing.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn syncfs(fd: c_int) -> c_int {
    synced(fd, |file| rustix::fs::syncfs(file))
}

/// sync_file_range(2), left out or failing.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn sync_file_range(fd: c_int, _offset: i64, _count: i64, _flags: u32) -> c_int {
    // More than was asked for, and as durable.
    synced(fd, |file| rustix::fs::fdatasync(file))
}
