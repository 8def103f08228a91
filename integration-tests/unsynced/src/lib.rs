//! A library for ld.so(8) to load first, which leaves out every sync to a disk: a planted defect, by which the rig that cuts the power of
//! members proves itself. No product links it.
#![allow(unsafe_code)]

use std::ffi::c_int;

/// fsync(2), left out.
// SAFETY: it takes the place of the function of this name and type, and does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(_fd: c_int) -> c_int {
    0
}

/// fdatasync(2), left out.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(_fd: c_int) -> c_int {
    0
}

/// syncfs(2), left out.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn syncfs(_fd: c_int) -> c_int {
    0
}

/// sync_file_range(2), left out.
// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn sync_file_range(_fd: c_int, _offset: i64, _count: i64, _flags: u32) -> c_int {
    0
}
