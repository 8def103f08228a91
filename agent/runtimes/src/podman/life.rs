//! Where a container is in its life, as far as its files and the kernel say.

use std::time::SystemTime;

use verger_agent_core::runtime::Phase;

use super::PodmanDisk;
use crate::proc::{First, first};

/// Where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It was made, or is being started: no pid was left since.
    Made,
    /// It runs.
    Runs {
        /// The pid of its first process.
        pid: u32,
        /// What that is.
        first: First,
    },
    /// That cannot be told, for this reason: it may run.
    Unknown(String),
    /// Its first process has ended.
    Ended,
}

/// Which process it is: a pid, and when what has it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) start_ticks: u64,
}

impl Life {
    /// Of the container of this id. Blocks on the file system.
    pub(super) fn of(disk: &PodmanDisk, id: &str) -> Self {
        let (pid, left) = match disk.pid_left(id) {
            Ok(Some(left)) => left,
            Ok(None) => return Self::Made,
            Err(why) => return Self::Unknown(why),
        };
        match first(id, pid, left.changed_at()) {
            Ok(Some(first)) => Self::Runs { pid, first },
            Ok(None) => Self::Ended,
            Err(why) => Self::Unknown(why),
        }
    }

    /// The same of one whose first process was seen before. While that is there it runs, whatever has become of its files: Podman takes the
    /// pid away, or leaves another, only once the process has ended.
    pub(super) fn of_known(disk: &PodmanDisk, id: &str, before: Option<Process>) -> Self {
        let life = Self::of(disk, id);
        let (Self::Made | Self::Ended, Some(Process { pid, start_ticks })) = (&life, before) else {
            return life;
        };
        // Which process it is, is known already: not whose it is.
        match first(id, pid, SystemTime::now()) {
            Ok(Some(first)) if first.start_ticks == start_ticks => Self::Runs { pid, first },
            _ => life,
        }
    }

    /// Its first process, while that is there.
    pub(super) const fn process(&self) -> Option<Process> {
        match self {
            Self::Runs { pid, first } => Some(Process {
                pid: *pid,
                start_ticks: first.start_ticks,
            }),
            Self::Made | Self::Unknown(_) | Self::Ended => None,
        }
    }

    /// Whether it may run.
    pub(super) const fn may_run(&self) -> bool {
        matches!(self, Self::Runs { .. } | Self::Unknown(_))
    }

    /// What it is listed as; None where it has ended.
    pub(super) const fn phase(&self) -> Option<Phase> {
        match self {
            Self::Made => Some(Phase::Created),
            Self::Runs { first, .. } if first.is_frozen => Some(Phase::Paused),
            // What may run must not read as gone.
            Self::Runs { .. } | Self::Unknown(_) => Some(Phase::Running),
            Self::Ended => None,
        }
    }

    /// The pid of its first process, while that is there.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process().map(|process| process.pid)
    }
}
