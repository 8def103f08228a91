//! Running nft(8), for a bounded time.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use verger_policy::model::printable_within;

/// How long it may take. Ten thousand ports take under a second.
const LIMIT: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};
/// The most bytes of what it prints.
const OUTPUT: u64 = 32 << 20;
/// The most of what it complains of that is told, characters.
const COMPLAINT: usize = 300;

/// Why it gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    /// It cannot be started.
    #[error("{path} cannot be run: {source} (is the package nftables installed?)", path = .path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It did not end in time.
    #[error("{path} did not end within {limit} s", path = .0.display(), limit = LIMIT.tv_sec)]
    Late(PathBuf),
    /// It failed.
    #[error("{path} ended with {status}: {complaint}", path = .path.display())]
    Failed {
        /// The program.
        path: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it said; safe to show.
        complaint: String,
    },
    /// Its output cannot be had.
    #[error("what {path} printed cannot be read: {source}", path = .path.display())]
    Output {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What it prints. Input and output are files in memory: nothing is waited for but its end.
pub(crate) fn run(path: &Path, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, ProgramError> {
    let start = |source| ProgramError::Start {
        path: path.to_owned(),
        source,
    };
    let (mut stdin, mut stdout, mut stderr) = (memory()?, memory()?, memory()?);
    let copy = |file: &File| file.try_clone().map_err(start);
    stdin
        .write_all(input)
        .and_then(|()| stdin.rewind())
        .map_err(start)?;
    let mut child = Command::new(path)
        .args(arguments)
        .env_clear()
        .stdin(stdin)
        .stdout(copy(&stdout)?)
        .stderr(copy(&stderr)?)
        .spawn()
        .map_err(start)?;
    let Some(status) = ended(&mut child).map_err(start)? else {
        return Err(ProgramError::Late(path.to_owned()));
    };
    let read = |file: &mut File, limit: u64| -> Result<Vec<u8>, ProgramError> {
        let mut bytes = Vec::new();
        let all = file
            .rewind()
            .and_then(|()| file.take(limit + 1).read_to_end(&mut bytes));
        let all = all.and_then(|_| match bytes.len() as u64 > limit {
            true => Err(io::Error::other(format!("it is more than {limit} bytes"))),
            false => Ok(()),
        });
        all.map_err(|source| ProgramError::Output {
            path: path.to_owned(),
            source,
        })?;
        Ok(bytes)
    };
    if !status.success() {
        let complaint = read(&mut stderr, OUTPUT)?;
        return Err(ProgramError::Failed {
            path: path.to_owned(),
            status,
            complaint: printable_within(String::from_utf8_lossy(&complaint).trim(), COMPLAINT),
        });
    }
    read(&mut stdout, OUTPUT)
}

fn memory() -> Result<File, ProgramError> {
    let file = memfd_create("nft", MemfdFlags::CLOEXEC);
    file.map(File::from).map_err(|error| ProgramError::Output {
        path: "nft".into(),
        source: error.into(),
    })
}

/// How it ended; none where it had to be ended.
fn ended(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("a child has a pid"))?;
    let fd = pidfd_open(pid, PidfdFlags::empty())?;
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let ready = loop {
        match poll(&mut fds, Some(&LIMIT)) {
            Err(Errno::INTR) => {}
            ready => break ready?,
        }
    };
    if ready == 0 {
        child.kill()?;
        child.wait()?;
        return Ok(None);
    }
    child.wait().map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sh(script: &str, input: &[u8]) -> Result<Vec<u8>, ProgramError> {
        run(Path::new("/bin/sh"), &["-c", script], input)
    }

    #[test]
    fn a_program_is_given_its_input_and_says_what_it_says() {
        assert_eq!(sh("cat; echo more", b"in ").unwrap(), b"in more\n");
        // It is given no environment of the agent's.
        assert_eq!(sh("echo \"$HOME\"", b"").unwrap(), b"\n");
    }

    #[test]
    fn one_that_fails_is_quoted_safely() {
        let error = sh("printf '\\033[2J no' >&2; exit 3", b"")
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 3: \\u{1b}[2J no"), "{error}");
        let error = run(Path::new("/nonexistent/nft"), &[], b"")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("/nonexistent/nft cannot be run"), "{error}");
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        // A grandchild that lives on holds nothing up.
        let error = sh("sleep 30 & sleep 30", b"").unwrap_err();
        assert!(matches!(error, ProgramError::Late(_)), "{error}");
    }
}
