//! A program that is started, killed and started again.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, tail};

/// How long a program may take to end when asked.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// Between two looks at a process that is to end.
const LOOK: Duration = Duration::from_millis(5);

/// A program with its arguments, and its process while it runs. The process ends with this value, or with the thread
/// that started it.
#[derive(Debug)]
pub struct Program {
    name: String,
    line: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: PathBuf,
    child: Option<Child>,
}

impl Program {
    /// Not started yet. Logs go to `NAME.log` in the folder.
    pub fn new(name: &str, line: Vec<OsString>, folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            line,
            env: Vec::new(),
            folder: folder.to_owned(),
            child: None,
        }
    }

    /// Gives it a variable from its next start on.
    pub fn set_env(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.env.push((name.into(), value.into()));
    }

    /// Has it be another program from its next start on, with the same arguments.
    pub fn set_program(&mut self, program: impl Into<OsString>) {
        if let Some(first) = self.line.first_mut() {
            *first = program.into();
        }
    }

    /// Starts it and waits until it says that it is ready, as it would to systemd (`READY=1`, sd_notify(3)).
    ///
    /// # Errors
    /// When it ends before that, or takes too long; says its last words.
    pub fn start(&mut self) -> Result<()> {
        let socket = self.begin()?;
        self.await_ready(&socket, PATIENCE)
    }

    /// Starts it. Gives the socket on which it says that it is ready.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn begin(&mut self) -> Result<UnixDatagram> {
        let socket_path = self.folder.join(format!("{}.notify", self.name));
        let _ = std::fs::remove_file(&socket_path);
        let socket = UnixDatagram::bind(&socket_path).context("making the notification socket")?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let log = File::options().create(true).append(true).open(self.log())?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(&self.line)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env("NOTIFY_SOCKET", &socket_path)
            .env_remove("WATCHDOG_USEC")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.name))?;
        self.child = Some(child);
        Ok(socket)
    }

    /// Waits until it is ready, for so long at most.
    ///
    /// # Errors
    /// When it ends before that, or takes too long; says its last words.
    pub fn await_ready(&mut self, socket: &UnixDatagram, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut message = [0_u8; 4096];
        loop {
            if let Ok(length) = socket.recv(&mut message)
                && message[..length]
                    .split(|byte| *byte == b'\n')
                    .any(|line| line == b"READY=1")
            {
                return Ok(());
            }
            let mut child = self.running()?;
            if let Some(status) = child.try_wait()? {
                bail!(
                    "{} ended with {status} before it was ready\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            if Instant::now() >= deadline {
                child.kill()?;
                child.wait()?;
                bail!(
                    "{} is not ready within {patience:?}\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            self.child = Some(child);
        }
    }

    /// Ends it between two instructions, without its leave.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.running()?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Lets it run no further, as a machine that hangs: its connections stay open.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen one go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Tells it to look to its certificate, as `systemctl reload` does.
    ///
    /// # Errors
    /// When it does not run.
    pub fn reload(&self) -> Result<()> {
        self.signal(Signal::HUP)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref();
        let child = child.with_context(|| format!("{} does not run", self.name))?;
        kill_process(Pid::from_child(child), signal).context("sending it a signal")
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// When it does not run, does not end in time, or ends badly.
    pub fn stop(&mut self) -> Result<()> {
        let mut child = self.running()?;
        let pid = Pid::from_child(&child);
        kill_process(pid, Signal::TERM).context("asking it to end")?;
        let deadline = Instant::now() + STOP_LIMIT;
        loop {
            if let Some(status) = child.try_wait()? {
                if !status.success() {
                    bail!("{} ended with {status}\n{}", self.name, self.log_tail());
                }
                return Ok(());
            }
            if Instant::now() >= deadline {
                child.kill()?;
                child.wait()?;
                bail!("{} did not end within {STOP_LIMIT:?}", self.name);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Its pid, while it runs.
    ///
    /// # Errors
    /// When it does not.
    pub fn pid(&self) -> Result<u32> {
        let child = self.child.as_ref();
        child
            .map(Child::id)
            .with_context(|| format!("{} does not run", self.name))
    }

    /// Whether it runs still, though nobody ended it.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn is_running(&mut self) -> Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    fn running(&mut self) -> Result<Child> {
        self.child
            .take()
            .with_context(|| format!("{} does not run", self.name))
    }

    /// Where it writes its log.
    pub fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    /// The end of its log, for an error.
    pub fn log_tail(&self) -> String {
        format!("--- {}:\n{}", self.name, tail(&self.log()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Gone already is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
