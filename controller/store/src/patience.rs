//! A lock that somebody is about to let go of is waited for: a member that was stopped in this process, or a moment ago, closes its
//! files a little later.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::StoreError;

/// One that is held for longer is another process's.
const WITHIN: Duration = Duration::from_secs(3);
/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(5);

/// Opens something, once nobody else has it.
///
/// # Errors
/// [`StoreError::InUse`] when somebody has it still after some seconds; every other error at once.
pub(crate) fn patiently<T>(mut open: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let deadline = Instant::now() + WITHIN;
    loop {
        match open() {
            Err(StoreError::InUse { .. }) if Instant::now() < deadline => sleep(AGAIN),
            opened => return opened,
        }
    }
}
