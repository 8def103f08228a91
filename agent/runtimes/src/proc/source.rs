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
/// A process with more threads is not shown at all: reading each takes some 50 µs, and the rest could hide behind those that
/// were read.
const MOST_THREADS: usize = 8_192;

/// `/proc`, opened.
#[derive(Debug)]
pub(super) struct Proc {
    root: OwnedFd,
}

/// The directory of one process: that of its first thread, or of another one where the first has ended.
#[derive(Debug)]
pub(super) struct ProcessDir {
    fd: OwnedFd,
    /// The directory of the process itself, where `fd` is another thread's.
    ended: Option<OwnedFd>,
    /// The thread that `fd` is of.
    thread: u32,
    /// What `stat` said when it was opened.
    stat: Vec<u8>,
}

/// The directory of one thread of a process.
#[derive(Debug)]
pub(super) struct ThreadDir {
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

    /// The process with this pid now, if it runs: its first thread, or another one where the first has ended and others go on
    /// (a zombie leader, whose own files say nothing).
    pub(super) fn running(&self, pid: u32) -> io::Result<ProcessDir> {
        let leader = self.directory(&pid.to_string(), pid)?;
        if super::parse::is_zombie_with_threads(&leader.stat) != Some(true) {
            return Ok(leader);
        }
        let tasks = Tasks::of(&leader)?;
        for thread in tasks.each()? {
            let thread = thread?;
            if thread == pid {
                continue;
            }
            match tasks.open(thread) {
                Ok(ThreadDir { fd }) => {
                    return Ok(ProcessDir {
                        fd,
                        ended: Some(leader.fd),
                        thread,
                        stat: leader.stat,
                    });
                }
                Err(error) if has_ended(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(leader)
    }

    /// This process.
    pub(super) fn myself(&self) -> io::Result<ProcessDir> {
        // `self` is a symbolic link that procfs makes per reader.
        self.directory("self", std::process::id())
    }

    fn directory(&self, name: &str, pid: u32) -> io::Result<ProcessDir> {
        let fd = openat(&self.root, name, DIRECTORY, Mode::empty())?;
        let mut stat = Vec::with_capacity(512);
        read(&fd, c"stat", STAT_LIMIT, &mut stat)?;
        Ok(ProcessDir {
            fd,
            ended: None,
            thread: pid,
            stat,
        })
    }
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// `/proc/PID/task`.
#[derive(Debug)]
pub(super) struct Tasks {
    fd: OwnedFd,
}

impl Tasks {
    fn of(process: &ProcessDir) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let of = process.ended.as_ref().unwrap_or(&process.fd);
        Ok(Self {
            fd: openat(of, c"task", flags, Mode::empty())?,
        })
    }

    fn each(&self) -> io::Result<impl Iterator<Item = io::Result<u32>>> {
        let id = |entry: rustix::io::Result<rustix::fs::DirEntry>| match entry {
            Ok(entry) => entry.file_name().to_str().ok()?.parse().ok().map(Ok),
            Err(errno) => Some(Err(errno.into())),
        };
        Ok(Dir::read_from(&self.fd)?.filter_map(id))
    }

    /// All threads at this moment. More than [`MOST_THREADS`] are an error, not cut.
    fn ids(&self) -> io::Result<Vec<u32>> {
        let ids: Vec<u32> = self.each()?.take(MOST_THREADS + 1).collect::<io::Result<_>>()?;
        if ids.len() > MOST_THREADS {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it has more than {MOST_THREADS} threads"),
            ));
        }
        Ok(ids)
    }

    /// A thread of the process.
    pub(super) fn open(&self, thread: u32) -> io::Result<ThreadDir> {
        Ok(ThreadDir {
            fd: openat(&self.fd, thread.to_string(), DIRECTORY, Mode::empty())?,
        })
    }
}

impl ThreadDir {
    /// As [`ProcessDir::read`].
    pub(super) fn read(&self, name: &CStr, limit: usize, into: &mut Vec<u8>) -> io::Result<()> {
        read(&self.fd, name, limit, into)
    }

    /// Its namespaces, those of its process being known. All threads of a process are in one pid namespace and, since
    /// unshare(2) and setns(2) refuse it to a process with threads, in one user namespace.
    pub(super) fn namespaces(&self, of_process: &NamespaceIds) -> io::Result<NamespaceIds> {
        let inode = |name: &CStr| statat(&self.fd, name, AtFlags::empty()).map(|stat| stat.st_ino);
        Ok(NamespaceIds {
            mnt: inode(c"ns/mnt")?,
            net: inode(c"ns/net")?,
            ipc: inode(c"ns/ipc")?,
            uts: inode(c"ns/uts")?,
            cgroup: inode(c"ns/cgroup")?,
            ..*of_process
        })
    }
}

fn read(dir: &OwnedFd, name: &CStr, limit: usize, into: &mut Vec<u8>) -> io::Result<()> {
    into.clear();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file: File = openat(dir, name, flags, Mode::empty())?.into();
    file.take(limit as u64 + 1).read_to_end(into)?;
    if into.len() > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("more than {limit} bytes"),
        ));
    }
    Ok(())
}

impl ProcessDir {
    /// A file of the process, added to the emptied `into`. One that is bigger than `limit` bytes is an error, not cut.
    pub(super) fn read(&self, name: &CStr, limit: usize, into: &mut Vec<u8>) -> io::Result<()> {
        read(&self.fd, name, limit, into)
    }

    /// What `stat` of the process itself said when it was opened.
    pub(super) fn stat(&self) -> &[u8] {
        &self.stat
    }

    /// Whether its first thread has ended and another one goes on.
    pub(super) fn goes_on(&self) -> bool {
        self.ended.is_some()
    }

    /// Its threads but the one whose files this reads.
    pub(super) fn other_threads(&self) -> io::Result<(Tasks, Vec<u32>)> {
        let tasks = Tasks::of(self)?;
        let mut ids = tasks.ids()?;
        ids.retain(|id| *id != self.thread);
        Ok((tasks, ids))
    }

    /// Opens a file of the process to read.
    pub(super) fn open(&self, name: &CStr) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.fd, name, flags, Mode::empty())?)
    }

    /// The inode number of its mount namespace.
    pub(super) fn mount_namespace(&self) -> io::Result<u64> {
        Ok(statat(&self.fd, c"ns/mnt", AtFlags::empty())?.st_ino)
    }

    /// The inode number of its network namespace. Needs CAP_SYS_PTRACE for processes of others.
    pub(super) fn network_namespace(&self) -> io::Result<u64> {
        Ok(statat(&self.fd, c"ns/net", AtFlags::empty())?.st_ino)
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
