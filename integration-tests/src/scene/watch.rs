//! A program that prints JSON lines as things happen, with the moment each arrived.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Lines that wait to be read here. A reader that falls behind makes the program wait.
const WAITING: usize = 4_096;

/// A line, and when it was read.
#[derive(Clone, Debug)]
pub struct Line {
    /// By the clock that stamps events of the daemon.
    pub at: SystemTime,
    /// What it says.
    pub value: Value,
}

/// The program, killed with this value.
#[derive(Debug)]
pub struct Watch {
    child: Child,
    lines: Option<Receiver<Result<Line>>>,
    reader: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {:?}", command.get_program()))?;
        let out = child.stdout.take().context("the output is piped")?;
        let (told, lines) = sync_channel(WAITING);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let at = SystemTime::now();
                let line = line
                    .map_err(anyhow::Error::from)
                    .and_then(|line| Ok(serde_json::from_str(&line)?))
                    .map(|value| Line { at, value });
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            lines: Some(lines),
            reader: Some(reader),
        })
    }

    /// The next line for which `wanted` holds; the others are dropped.
    ///
    /// # Errors
    /// When none comes within the limit, or the program ends.
    pub fn next_where(&self, limit: Duration, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Line> {
        let deadline = Instant::now() + limit;
        let lines = self.lines.as_ref().context("the watch runs")?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => {
                    let line = line?;
                    if wanted(&line.value) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("{what}: not told within {limit:?}"),
                Err(RecvTimeoutError::Disconnected) => bail!("{what}: the watch has ended"),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A reader that waits for room is let go first.
        self.lines = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
