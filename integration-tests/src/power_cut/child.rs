//! The process that writes until its power is cut, and the one that reads afterwards.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::acknowledged::Acknowledged;
use super::kind::Line;

/// Nothing a child does takes longer.
const LIMIT: Duration = Duration::from_secs(120);

/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(2);

/// What the writer has said, or that it said something strange or nothing more.
#[derive(Debug, Default)]
struct Heard {
    acknowledged: Acknowledged,
    ended: bool,
    strange: Option<String>,
}

/// A running writer; killed when it goes.
#[derive(Debug)]
pub(crate) struct Writer {
    child: Child,
    heard: Arc<(Mutex<Heard>, Condvar)>,
    listener: Option<JoinHandle<()>>,
    errors: std::path::PathBuf,
}

impl Writer {
    /// Starts one. It dies with this thread, however that ends.
    pub(crate) fn start(line: &Line, errors: &Path) -> Result<Self> {
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&line.program)
            .args(&line.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(errors).context("making a file for the writer's errors")?)
            .spawn()
            .with_context(|| format!("starting {:?}", line.program))?;
        let out = child.stdout.take().context("the output is piped")?;
        let heard = Arc::new((Mutex::new(Heard::default()), Condvar::new()));
        let told = Arc::clone(&heard);
        let listener = std::thread::spawn(move || {
            for line in BufReader::new(out).lines() {
                let (lock, changed) = &*told;
                let mut heard = lock.lock().expect("nobody panics with it");
                // A line that the cut tore apart cannot be: each is one write, shorter than a pipe splits.
                let taken = line
                    .context("reading from the writer")
                    .and_then(|line| heard.acknowledged.take(&line));
                if let Err(error) = taken {
                    heard.strange = Some(format!("{error:#}"));
                }
                changed.notify_all();
            }
            told.0.lock().expect("nobody panics with it").ended = true;
            told.1.notify_all();
        });
        Ok(Self {
            child,
            heard,
            listener: Some(listener),
            errors: errors.to_owned(),
        })
    }

    /// Comes back when it has printed so many acknowledgements.
    pub(crate) fn acknowledges(&self, count: u64) -> Result<()> {
        let (lock, changed) = &*self.heard;
        let heard = lock.lock().expect("nobody panics with it");
        let (heard, waited) = changed
            .wait_timeout_while(heard, LIMIT, |heard| {
                heard.acknowledged.count < count && !heard.ended && heard.strange.is_none()
            })
            .expect("nobody panics with it");
        if heard.acknowledged.count >= count && heard.strange.is_none() {
            return Ok(());
        }
        let said = fs::read_to_string(&self.errors).unwrap_or_default();
        let why = match (&heard.strange, waited.timed_out()) {
            (Some(strange), _) => strange.as_str(),
            (None, true) => "it is too slow",
            (None, false) => "it ended",
        };
        bail!(
            "the writer came to {} of {count} acknowledgements: {why}: {}",
            heard.acknowledged.count,
            said.trim().escape_debug()
        )
    }

    /// Stops it between two instructions; comes back when all its threads stand.
    pub(crate) fn stop(&self) -> Result<()> {
        kill_process(self.pid(), Signal::STOP).context("stopping the writer")?;
        let deadline = Instant::now() + LIMIT;
        loop {
            let options = WaitOptions::UNTRACED | WaitOptions::NOHANG;
            match waitpid(Some(self.pid()), options).context("waiting for the writer to stop")? {
                Some((_, status)) if status.stopped() => return Ok(()),
                Some(_) => bail!("the writer ended before it was stopped"),
                None => ensure!(Instant::now() < deadline, "the writer does not stop"),
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Kills it; everything it had acknowledged.
    pub(crate) fn kill(mut self) -> Result<Acknowledged> {
        self.end()?;
        let heard = self.heard.0.lock().expect("nobody panics with it");
        match &heard.strange {
            Some(strange) => Err(anyhow!("{strange}")),
            None => Ok(heard.acknowledged),
        }
    }

    fn end(&mut self) -> Result<()> {
        self.child.kill().context("killing the writer")?;
        self.child.wait().context("waiting for the writer's end")?;
        if let Some(listener) = self.listener.take() {
            // Ends with the pipe, when all that was in it has been read.
            listener.join().map_err(|_| anyhow!("the listener panicked"))?;
        }
        Ok(())
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.listener.is_some() {
            // After an error, which says more than this one would.
            let _ = self.end();
        }
    }
}

/// How a reader ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None`: it was killed, by itself or because it took too long.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a reader to its end.
pub(crate) fn read(line: &Line, dir: &Path) -> Result<Ended> {
    let (out, errors) = (dir.join("reader.out"), dir.join("reader.err"));
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(&line.program)
        .args(&line.arguments)
        .stdin(Stdio::null())
        .stdout(File::create(&out)?)
        .stderr(File::create(&errors)?)
        .spawn()
        .with_context(|| format!("starting {:?}", line.program))?;
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill()?;
            break child.wait()?;
        }
        std::thread::sleep(LOOK);
    };
    let text = |file: &Path| fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Ended {
        code: status.code(),
        stdout: text(&out)?,
        stderr: text(&errors)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn writer(script: &str, dir: &Path) -> Writer {
        let line = Line {
            program: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
        };
        Writer::start(&line, &dir.join("errors")).unwrap()
    }

    #[test]
    fn what_was_acknowledged_before_the_stop_is_counted_and_nothing_follows_it() {
        let dir = tempfile::tempdir().unwrap();
        let writer = writer("i=0; while :; do i=$((i+1)); echo ack $i; done", dir.path());
        writer.acknowledges(50).unwrap();
        writer.stop().unwrap();
        let acknowledged = writer.kill().unwrap();
        assert!(acknowledged.count >= 50 && acknowledged.last == Some(acknowledged.count));
    }

    #[test]
    fn a_writer_that_ends_or_says_something_strange_is_the_rigs_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = writer("echo ack 1; echo no space >&2; exit 1", dir.path())
            .acknowledges(2)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("1 of 2") && error.contains("it ended: no space"),
            "{error}"
        );
        let error = writer("echo ack 5; echo ack 4; exec sleep 60", dir.path())
            .acknowledges(3)
            .unwrap_err()
            .to_string();
        assert!(error.contains("ack 4"), "{error}");
    }
}
