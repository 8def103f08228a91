//! Programs that `up` leaves running, each with a log and a record to find it by.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::ProcessRef;

/// How long a program gets to end after SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A folder of running programs.
#[derive(Debug)]
pub(crate) struct Services {
    folder: PathBuf,
}

impl Services {
    /// Keeps logs and records in `folder`, which is made.
    pub(crate) fn at(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self {
            folder: folder.to_path_buf(),
        })
    }

    /// Starts `command` as the service `name` in a process group of its own and waits until it says that it is ready,
    /// as it would to systemd (`READY=1`, sd_notify(3)). Finds it when it already runs.
    ///
    /// The program's end before that, and the deadline, are errors that show the log's tail.
    pub(crate) fn start(&self, name: &str, mut command: Command, limit: Duration) -> Result<ProcessRef> {
        if let Some(process) = self.running(name)? {
            return Ok(process);
        }
        // In a folder of its own, as a socket's path holds no more than 107 bytes.
        let socket_folder = tempfile::Builder::new()
            .prefix("verger-")
            .tempdir()
            .context("making a socket's folder")?;
        let socket_path = socket_folder.path().join("notify");
        let socket = UnixDatagram::bind(&socket_path).context("making the notification socket")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;

        let log = fs::File::create(self.log(name)).with_context(|| format!("making the log of {name}"))?;
        command
            .env("NOTIFY_SOCKET", &socket_path)
            .env_remove("WATCHDOG_USEC");
        let command = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        let process = ProcessRef::of(child.id())?.with_context(|| format!("{name} ended at once"))?;
        if let Err(error) = fs::write(self.record(name), serde_json::to_vec(&process)?) {
            process.kill()?;
            return Err(error).with_context(|| format!("writing the record of {name}"));
        }
        let deadline = Instant::now() + limit;
        let mut message = [0u8; 4096];
        loop {
            if let Ok(length) = socket.recv(&mut message)
                && String::from_utf8_lossy(&message[..length])
                    .lines()
                    .any(|line| line == "READY=1")
            {
                return Ok(process);
            }
            if !process.alive() {
                bail!(
                    "{name} ended before it was ready; its log says:\n{}",
                    log_tail(&self.log(name))
                );
            }
            if Instant::now() >= deadline {
                bail!(
                    "{name} was not ready within {limit:?}; its log says:\n{}",
                    log_tail(&self.log(name))
                );
            }
        }
    }

    /// The service's process, if it runs.
    pub(crate) fn running(&self, name: &str) -> Result<Option<ProcessRef>> {
        let path = self.record(name);
        match fs::read(&path) {
            Ok(bytes) => {
                let process: ProcessRef = serde_json::from_slice(&bytes).with_context(|| {
                    format!("{} is damaged; remove it once {name} is stopped", path.display())
                })?;
                Ok(process.alive().then_some(process))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// Stops the service; its log stays. No error when it does not run.
    pub(crate) fn stop(&self, name: &str) -> Result<()> {
        if let Some(process) = self.running(name)? {
            process
                .stop(STOP_LIMIT)
                .with_context(|| format!("stopping {name}"))?;
        }
        match fs::remove_file(self.record(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("removing a record"),
            _ => Ok(()),
        }
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    fn record(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.process.json"))
    }
}

/// A log's last lines, control characters escaped: programs repeat what containers call themselves.
pub(crate) fn log_tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let shown = &lines[lines.len().saturating_sub(15)..];
    shown
        .iter()
        .map(|line| format!("  {}", line.escape_debug()))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn a_service_is_awaited_found_again_and_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let services = Services::at(dir.path()).unwrap();
        let mark = dir.path().join("mark");
        let script = format!("touch {}; systemd-notify --ready; exec sleep 600", mark.display());
        let first = services.start("probe", sh(&script), LIMIT).unwrap();
        assert!(mark.exists(), "it was ready before start returned");
        let later = Services::at(dir.path()).unwrap();
        assert_eq!(later.start("probe", sh("exit 1"), LIMIT).unwrap(), first);
        later.stop("probe").unwrap();
        later.stop("probe").unwrap();
        assert!(!first.alive());
        assert_eq!(later.running("probe").unwrap(), None);
    }

    #[test]
    fn a_service_that_ends_before_it_is_ready_fails_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let services = Services::at(dir.path()).unwrap();
        let error = services
            .start("probe", sh("printf 'no such \\033[31mkey\\n' >&2; exit 3"), LIMIT)
            .unwrap_err();
        assert!(error.to_string().contains("no such \\u{1b}[31mkey"), "{error}");
    }

    #[test]
    fn a_service_that_never_says_it_is_ready_fails_at_the_deadline() {
        let dir = tempfile::tempdir().unwrap();
        let services = Services::at(dir.path()).unwrap();
        let error = services
            .start("probe", sh("exec sleep 600"), Duration::from_millis(300))
            .unwrap_err();
        assert!(error.to_string().contains("not ready"), "{error}");
        services.stop("probe").unwrap();
    }
}
