//! The database, and the only way to know that what it was given is on stable storage.

use std::any::Any;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use verger_agent_core::store::StoreError;
use verger_durable::{is_settling_left_out, settle};

use crate::{Options, damage, not_durable};

/// How long sled may take to open. Its start is a scan of a file bounded by the spool's limit; longer is a loop.
const OPEN_WITHIN: Duration = Duration::from_secs(120);

/// How long a lock of a process that is just ending is waited for.
const LOCK_WITHIN: Duration = Duration::from_secs(2);

/// An open database. sled's `flush` alone does not survive a power cut (15 of 24 rounds lost writes, 09-raft-evidence),
/// so [`Self::wait`] adds `fdatasync` on the one file that holds its log.
pub(crate) struct Barrier {
    db: sled::Db,
    place: PathBuf,
    log: File,
    reserve: u64,
    latched: AtomicBool,
    #[cfg(feature = "rig")]
    off: bool,
}

impl Barrier {
    /// Settles what is in `place`, and opens the database there, in a thread of its own: on damaged files sled may panic or never end.
    pub(crate) fn open(place: &Path, options: &Options) -> Result<Self, StoreError> {
        let config = sled::Config::default()
            .path(place)
            .cache_capacity(options.cache_bytes)
            .flush_every_ms(None)
            .print_profile_on_drop(false);
        let deadline = Instant::now() + LOCK_WITHIN;
        let db = loop {
            if place.exists() {
                settle(place).map_err(not_durable)?;
            }
            match open_apart(config.clone(), place) {
                Err(StoreError::Busy { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                other => break other?,
            }
        };
        let file = place.join("db");
        let log = File::options()
            .read(true)
            .write(true)
            .open(&file)
            .map_err(|source| StoreError::io("open", &file, source))?;
        Ok(Self {
            db,
            place: place.to_owned(),
            log,
            reserve: options.reserve_bytes,
            latched: AtomicBool::new(false),
            #[cfg(feature = "rig")]
            off: options.without_barrier,
        })
    }

    /// Where the database is.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Refuses once a write has failed: sled and the disk may no longer agree.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.latched.load(Ordering::Acquire) {
            return Err(StoreError::Latched {
                file: self.place.clone(),
            });
        }
        Ok(())
    }

    /// Refuses for good from now on.
    pub(crate) fn latch(&self) {
        self.latched.store(true, Ordering::Release);
    }

    /// Refuses a write of `bytes` that the disk has no room for, before sled sees it: sled itself does not recover
    /// from a full disk. sled rewrites pages, so several times the bytes are asked for, and the reserve.
    pub(crate) fn admit(&self, bytes: u64) -> Result<(), StoreError> {
        self.check()?;
        let stat = rustix::fs::fstatvfs(&self.log)
            .map_err(|error| StoreError::io("ask the free space of", &self.place, error.into()))?;
        let available = stat.f_bavail.saturating_mul(stat.f_frsize);
        let needed = self.reserve.saturating_add(bytes.saturating_mul(8));
        if available < needed {
            return Err(StoreError::Full {
                file: self.place.clone(),
                needed,
                available,
            });
        }
        Ok(())
    }

    /// Waits until everything written so far is on stable storage.
    pub(crate) fn wait(&self) -> Result<(), StoreError> {
        self.check()?;
        let flushed = self.guard(|db| db.flush()).and_then(|_| {
            self.sync(&self.log)
                .map_err(|source| StoreError::io("sync", &self.place.join("db"), source))
        });
        flushed.inspect_err(|_| self.latch())
    }

    /// Waits until what sled moved while it was opened is on stable storage, too: all that is there counts from here on.
    pub(crate) fn begin(&self) -> Result<(), StoreError> {
        // It would hide that nothing was settled.
        if is_settling_left_out() {
            return Ok(());
        }
        self.wait()
    }

    /// Waits until a file's contents are on stable storage.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(feature = "rig")]
        if self.off {
            return Ok(());
        }
        file.sync_data()
    }

    /// Calls sled; a panic in it is damage, and latches.
    pub(crate) fn guard<T>(&self, call: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, StoreError> {
        match catch_unwind(AssertUnwindSafe(|| call(&self.db))) {
            Ok(result) => result.map_err(|error| typed(&self.place, error)),
            Err(panic) => {
                self.latch();
                Err(damage(&self.place, told(panic.as_ref())))
            }
        }
    }
}

fn open_apart(config: sled::Config, place: &Path) -> Result<sled::Db, StoreError> {
    let (answer, opened) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("ledger-open".to_owned())
        .spawn(move || {
            // Nobody listens any more when the time is up; the database then closes here.
            let _ = answer.send(catch_unwind(AssertUnwindSafe(|| config.open())));
        })
        .map_err(|source| StoreError::io("start the thread that opens", place, source))?;
    match opened.recv_timeout(OPEN_WITHIN) {
        Ok(Ok(result)) => result.map_err(|error| typed(place, error)),
        Ok(Err(panic)) => Err(damage(place, told(panic.as_ref()))),
        Err(_) => Err(damage(
            place,
            format!("it did not open within {} s", OPEN_WITHIN.as_secs()),
        )),
    }
}

fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    format!(
        "reading it failed: {}",
        text.unwrap_or("no reason was given").escape_debug()
    )
}

fn typed(place: &Path, error: sled::Error) -> StoreError {
    use std::io::ErrorKind;
    let source = match error {
        sled::Error::Io(source) => source,
        sled::Error::Corruption { at, .. } => {
            return damage(place, format!("a page does not match its checksum (at {at:?})"));
        }
        other => return damage(place, other.to_string().escape_debug().to_string()),
    };
    if source.to_string().starts_with("could not acquire lock") {
        return StoreError::Busy {
            file: place.to_owned(),
        };
    }
    match source.kind() {
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::InvalidInput | ErrorKind::Other => {
            damage(place, source.to_string().escape_debug().to_string())
        }
        _ => StoreError::Io {
            doing: "use",
            file: place.to_owned(),
            source,
        },
    }
}
