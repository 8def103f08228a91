//! Reads `/proc` through one descriptor per process.
//!
//! A pid can become another process's between two reads of `/proc/PID/…`. The descriptor of the directory cannot: after
//! the process has ended, every read through it fails with `ESRCH`, so what was read is of one process.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, statat};
use verger_policy::facts::NamespaceIds;

/// `/proc/PID/stat` is one line of some 300 bytes.
const STAT_LIMIT: usize = 64 << 10;

/// `/proc`, opened.
#[derive(Debug)]
pub(super) struct Proc {
    root: OwnedFd,
}

/// The directory of one process.
#[derive(Debug)]
pub(super) struct ProcessDir {
    fd: OwnedFd,
}

impl Proc {
    pub(super) fn open() -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            root: openat(CWD, c"/proc", flags, Mode::empty())?,
        })
    }

    /// All pids at this moment.
    pub(super) fn pids(&self) -> io::Result<Vec<u32>> {
        let mut pids = Vec::new();
        for entry in Dir::read_from(&self.root)? {
            let entry = entry?;
            if let Some(pid) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) {
                pids.push(pid);
            }
        }
        Ok(pids)
    }

    /// The process with this pid now.
    pub(super) fn process(&self, pid: u32) -> io::Result<ProcessDir> {
        self.directory(&pid.to_string())
    }

    /// The process with this pid now, if it runs: its first thread, or another one where the first has ended and others go on
    /// (a zombie leader, whose own files say nothing).
    pub(super) fn running(&self, pid: u32) -> io::Result<ProcessDir> {
        let leader = self.process(pid)?;
        let mut stat = Vec::new();
        leader.read(c"stat", STAT_LIMIT, &mut stat)?;
        if super::parse::is_zombie_with_threads(&stat) != Some(true) {
            return Ok(leader);
        }
        let tasks = openat(
            &self.root,
            format!("{pid}/task"),
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        for entry in Dir::read_from(&tasks)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes().first().is_some_and(u8::is_ascii_digit)
                && name.to_bytes() != pid.to_string().as_bytes()
            {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                return Ok(ProcessDir {
                    fd: openat(&tasks, name, flags, Mode::empty())?,
                });
            }
        }
        Ok(leader)
    }

    /// This process.
    pub(super) fn myself(&self) -> io::Result<ProcessDir> {
        // `self` is a symbolic link that procfs makes per reader.
        self.directory("self")
    }

    fn directory(&self, name: &str) -> io::Result<ProcessDir> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(ProcessDir {
            fd: openat(&self.root, name, flags, Mode::empty())?,
        })
    }
}

impl ProcessDir {
    /// A file of the process, added to the emptied `into`. One that is bigger than `limit` bytes is an error, not cut.
    pub(super) fn read(&self, name: &CStr, limit: usize, into: &mut Vec<u8>) -> io::Result<()> {
        into.clear();
        let file: File = self.open(name)?.into();
        file.take(limit as u64 + 1).read_to_end(into)?;
        if into.len() > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("more than {limit} bytes"),
            ));
        }
        Ok(())
    }

    /// Opens a file of the process to read.
    pub(super) fn open(&self, name: &CStr) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.fd, name, flags, Mode::empty())?)
    }

    /// The inode numbers of its namespaces. Needs CAP_SYS_PTRACE for processes of others.
    pub(super) fn namespaces(&self) -> io::Result<NamespaceIds> {
        // `stat` through the link is one call; reading the link gives the same number as text.
        let inode = |name: &CStr| statat(&self.fd, name, AtFlags::empty()).map(|stat| stat.st_ino);
        Ok(NamespaceIds {
            mnt: inode(c"ns/mnt")?,
            pid: inode(c"ns/pid")?,
            net: inode(c"ns/net")?,
            ipc: inode(c"ns/ipc")?,
            uts: inode(c"ns/uts")?,
            user: inode(c"ns/user")?,
            cgroup: inode(c"ns/cgroup")?,
        })
    }
}

/// Whether an error says that the process has ended.
pub(super) fn has_ended(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::SRCH))
}
