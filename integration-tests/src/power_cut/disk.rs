//! A file system in a file, whose power can be cut.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How large the file system is; the image is sparse.
const SIZE: u64 = 512 << 20;

/// The kernel lets go of a device within this.
const LIMIT: Duration = Duration::from_secs(30);

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH` (Linux, fs/ext4/ext4.h): from here on nothing reaches the
/// disk, not even the journal in memory. Refuses every device but the one it was given.
const CUT: &str = r#"
import fcntl, os, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
if os.fstat(fd).st_dev != int(sys.argv[2]):
    sys.exit("this folder is not on the device whose power is to be cut")
fcntl.ioctl(fd, 0x8004587D, struct.pack("I", 2))
"#;

/// The image and where it is mounted.
#[derive(Debug)]
pub(crate) struct Disk {
    image: PathBuf,
    folder: PathBuf,
}

impl Disk {
    /// Makes an empty file system in `dir`.
    pub(crate) fn make(dir: &Path) -> Result<Self> {
        let disk = Self {
            image: dir.join("image"),
            folder: dir.join("mounted"),
        };
        File::create(&disk.image)
            .and_then(|file| file.set_len(SIZE))
            .context("making the image")?;
        fs::create_dir(&disk.folder).context("making the mount point")?;
        call(
            "mkfs.ext4",
            &[OsStr::new("-q"), OsStr::new("-F"), disk.image.as_os_str()],
        )?;
        Ok(disk)
    }

    /// Mounts it, which replays its journal.
    pub(crate) fn mount(&self) -> Result<Mounted<'_>> {
        let outside = fs::metadata(&self.folder)?.dev();
        self.released()?;
        // The kernel frees a loop device that was made so with its last user.
        call(
            "mount",
            &[
                OsStr::new("-t"),
                OsStr::new("ext4"),
                OsStr::new("-o"),
                OsStr::new("loop"),
                self.image.as_os_str(),
                self.folder.as_os_str(),
            ],
        )?;
        let mounted = Mounted {
            disk: self,
            device: fs::metadata(&self.folder)?.dev(),
            open: true,
        };
        ensure!(
            mounted.device != outside,
            "mount says that it mounted {:?}, and it did not",
            self.image
        );
        Ok(mounted)
    }

    /// Waits until no loop device holds the image: mounted over two, it would be two file systems.
    fn released(&self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let holders = call("losetup", &[OsStr::new("--associated"), self.image.as_os_str()])?;
            if holders.trim().is_empty() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "a loop device still holds the image: {}",
                holders.trim()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Unmounts when it goes.
#[derive(Debug)]
pub(crate) struct Mounted<'a> {
    disk: &'a Disk,
    device: u64,
    open: bool,
}

impl Mounted<'_> {
    /// Where the store is.
    pub(crate) fn store(&self) -> PathBuf {
        self.disk.folder.join("store")
    }

    /// Makes the store's folder, durably: that is the installer's task, not the store's.
    pub(crate) fn make_store(&self) -> Result<()> {
        match fs::create_dir(self.store()) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).context("making the store's folder");
            }
            _ => {}
        }
        File::open(&self.disk.folder)
            .and_then(|folder| folder.sync_all())
            .context("syncing the store's folder")
    }

    /// Cuts the power.
    pub(crate) fn cut(&self) -> Result<()> {
        cut(&self.disk.folder, self.device)?;
        ensure!(
            File::create(self.disk.folder.join("after the cut")).is_err(),
            "the file system still takes writes after its power was cut"
        );
        Ok(())
    }

    /// Unmounts.
    pub(crate) fn unmount(mut self) -> Result<()> {
        self.open = false;
        call("umount", &[self.disk.folder.as_os_str()]).map(drop)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if self.open {
            // After an error; lazily, should anything still be open in it.
            let _ = call("umount", &[OsStr::new("--lazy"), self.disk.folder.as_os_str()]);
        }
    }
}

fn cut(folder: &Path, device: u64) -> Result<()> {
    let device = device.to_string();
    call(
        "python3",
        &[
            OsStr::new("-I"),
            OsStr::new("-c"),
            OsStr::new(CUT),
            folder.as_os_str(),
            OsStr::new(&device),
        ],
    )
    .map(drop)
    .context("cutting the power")
}

fn call(program: &str, arguments: &[&OsStr]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{program} failed ({}): {}",
            output.status,
            said.trim().escape_debug()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_other_device_is_ever_cut() {
        // A file system that does not know the call, should the guard ever fail.
        let folder = Path::new("/proc");
        let device = fs::metadata(folder).unwrap().dev();
        let error = format!("{:#}", cut(folder, device + 1).unwrap_err());
        assert!(
            error.contains("not on the device whose power is to be cut"),
            "{error}"
        );
        let error = format!("{:#}", cut(folder, device).unwrap_err());
        assert!(
            error.contains("Inappropriate ioctl"),
            "the right device gets as far as the call: {error}"
        );
    }
}
