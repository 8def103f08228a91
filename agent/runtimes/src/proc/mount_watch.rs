//! Tells at once when the mounts that an instance sees have changed: a mount made from outside raises no event of
//! any runtime.
//!
//! `/proc/PID/mountinfo` is pollable (proc_pid_mountinfo(5)): `POLLERR | POLLPRI` when the mount namespace changed since
//! the last poll. One thread polls all instances. Each open `mountinfo` keeps its namespace alive, so a pidfd beside
//! it closes both when the first process ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::sync::mpsc;

use super::source::Proc;

/// Commands that wait for the thread; it takes them at once.
const WAITING: usize = 16;

/// Watches the mounts of a changing set of processes. Dropping it ends its thread.
#[derive(Debug)]
pub struct MountWatch {
    commands: Option<SyncSender<Vec<u32>>>,
    doorbell: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl MountWatch {
    /// Starts the thread. It sends into the returned channel, which holds one wake: many changes before it is read are
    /// one.
    pub fn start() -> io::Result<(Self, mpsc::Receiver<()>)> {
        let (wake, woken) = mpsc::channel(1);
        let (commands, received) = sync_channel(WAITING);
        let doorbell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let bell = doorbell.try_clone()?;
        let proc = Proc::open()?;
        let thread = std::thread::Builder::new()
            .name("mount-watch".to_owned())
            .spawn(move || {
                Poller {
                    proc,
                    bell,
                    received,
                    wake,
                    watched: Vec::new(),
                }
                .run()
            })?;
        Ok((
            Self {
                commands: Some(commands),
                doorbell,
                thread: Some(thread),
            },
            woken,
        ))
    }

    /// Watches exactly these first processes from now on. One that has ended is left out. May wait a moment for the
    /// thread; changes are seen from before this returns only for processes watched already, so read the mounts after.
    pub fn set(&self, init_pids: &[u32]) {
        if let Some(commands) = &self.commands
            && commands.send(init_pids.to_vec()).is_ok()
        {
            self.ring();
        }
    }

    fn ring(&self) {
        // Fails only when the counter is full, and then the bell rings already.
        let _ = rustix::io::write(&self.doorbell, &1_u64.to_ne_bytes());
    }
}

impl Drop for MountWatch {
    fn drop(&mut self) {
        self.commands = None;
        self.ring();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that watches mounts panicked");
        }
    }
}

struct Watched {
    pid: u32,
    mounts: OwnedFd,
    process: OwnedFd,
}

struct Poller {
    proc: Proc,
    bell: OwnedFd,
    received: Receiver<Vec<u32>>,
    wake: mpsc::Sender<()>,
    watched: Vec<Watched>,
}

impl Poller {
    fn run(mut self) {
        loop {
            let (rung, changed, ended) = match self.wait() {
                Ok(seen) => seen,
                Err(error) => {
                    // Without descriptors to poll nothing is watched; the timer of the reader still sees changes.
                    tracing::error!(%error, "mounts cannot be watched; changes are seen at the next scan");
                    return;
                }
            };
            if changed {
                // Full means that a wake waits already.
                let _ = self.wake.try_send(());
            }
            self.watched.retain(|watched| !ended.contains(&watched.pid));
            if rung && !self.take_commands() {
                return;
            }
        }
    }

    /// Waits until something happens: the bell, a change of mounts, or the end of processes.
    fn wait(&self) -> io::Result<(bool, bool, Vec<u32>)> {
        let mut polled = Vec::with_capacity(1 + 2 * self.watched.len());
        polled.push(PollFd::new(&self.bell, PollFlags::IN));
        for Watched { mounts, process, .. } in &self.watched {
            polled.push(PollFd::new(mounts, PollFlags::PRI | PollFlags::ERR));
            polled.push(PollFd::new(process, PollFlags::IN));
        }
        match poll(&mut polled, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok((false, false, Vec::new())),
            Err(errno) => return Err(errno.into()),
        }
        let rung = !polled[0].revents().is_empty();
        let mut changed = false;
        let mut ended = Vec::new();
        for (pair, watched) in polled[1..].chunks_exact(2).zip(&self.watched) {
            changed |= pair[0].revents().intersects(PollFlags::PRI | PollFlags::ERR);
            if !pair[1].revents().is_empty() {
                ended.push(watched.pid);
            }
        }
        Ok((rung, changed, ended))
    }

    /// Takes the last set that was sent. False when the watch was dropped.
    fn take_commands(&mut self) -> bool {
        let mut counter = [0; 8];
        // Nonblocking: an empty counter is no error here.
        let _ = rustix::io::read(self.bell.as_fd(), &mut counter);
        let mut newest = None;
        loop {
            match self.received.try_recv() {
                Ok(pids) => newest = Some(pids),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        if let Some(pids) = newest {
            self.watched.retain(|watched| pids.contains(&watched.pid));
            let mut added = false;
            for pid in pids {
                if self.watched.iter().all(|watched| watched.pid != pid) {
                    match self.open(pid) {
                        Ok(watched) => {
                            self.watched.push(watched);
                            added = true;
                        }
                        Err(error) => {
                            tracing::debug!(pid, %error, "the mounts of a process cannot be watched")
                        }
                    }
                }
            }
            if added {
                // What changed before a process was watched is unseen: have it read once more.
                let _ = self.wake.try_send(());
            }
        }
        true
    }

    fn open(&self, pid: u32) -> io::Result<Watched> {
        let raw = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let process = pidfd_open(raw, PidfdFlags::empty())?;
        let mounts = self.proc.running(pid)?.open(c"mountinfo")?;
        Ok(Watched { pid, mounts, process })
    }
}
