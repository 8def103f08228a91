//! What the member's process and who started it say to each other: lines on its standard output, each answered with a line on its
//! standard input once that is done.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use verger_policy::digest::Digest;

use crate::point::tell;

const DONE: &str = "done";

/// What the process asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It serves there: make it the first that the agent tries.
    Serving(SocketAddr),
    StartAgent,
    KillAgent,
    /// An attack was refused with this word and nothing came after it; the member serves no more.
    LeftStanding(String),
    /// People sealed another set, which the honest controller has.
    Published(u64, Digest),
}

impl Asked {
    fn line(&self) -> String {
        match self {
            Self::Serving(address) => format!("?serving {address}"),
            Self::StartAgent => "?agent start".to_owned(),
            Self::KillAgent => "?agent kill".to_owned(),
            Self::LeftStanding(word) => format!("?standing {word}"),
            Self::Published(epoch, root) => format!("?published {epoch} {root}"),
        }
    }

    /// None of what is only told.
    fn read(line: &str) -> Result<Option<Self>> {
        let Some(asked) = line.strip_prefix('?') else {
            return Ok(None);
        };
        let words: Vec<&str> = asked.split(' ').collect();
        Ok(Some(match words.as_slice() {
            ["serving", address] => Self::Serving(address.parse()?),
            ["agent", "start"] => Self::StartAgent,
            ["agent", "kill"] => Self::KillAgent,
            ["standing", word] => Self::LeftStanding((*word).to_owned()),
            ["published", epoch, root] => Self::Published(epoch.parse()?, root.parse()?),
            _ => bail!("nobody knows what {line:?} asks for"),
        }))
    }
}

/// Who started the process, as that sees it.
pub(super) struct Starter;

impl Starter {
    /// Says where the process serves.
    pub(super) fn new(address: SocketAddr) -> Result<Self> {
        Self.ask(&Asked::Serving(address))?;
        Ok(Self)
    }

    pub(super) fn start_agent(&self) -> Result<()> {
        self.ask(&Asked::StartAgent)
    }

    pub(super) fn kill_agent(&self) -> Result<()> {
        self.ask(&Asked::KillAgent)
    }

    pub(super) fn left_standing(&self, word: &str) -> Result<()> {
        self.ask(&Asked::LeftStanding(word.to_owned()))
    }

    pub(super) fn published(&self, epoch: u64, root: &Digest) -> Result<()> {
        self.ask(&Asked::Published(epoch, *root))
    }

    #[allow(clippy::unused_self)]
    fn ask(&self, asked: &Asked) -> Result<()> {
        let line = asked.line();
        tell(&line);
        let mut answer = String::new();
        // The agent's sessions go on meanwhile.
        tokio::task::block_in_place(|| std::io::stdin().lock().read_line(&mut answer))?;
        ensure!(answer.trim_end() == DONE, "{line} was answered with {answer:?}");
        Ok(())
    }
}

/// The process, as who started it sees it. It ends with this value.
pub(super) struct Started {
    child: Child,
    answers: ChildStdin,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    last: Option<String>,
}

impl Started {
    pub(super) fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {:?}", command.get_program()))?;
        let answers = child.stdin.take().context("its input is a pipe")?;
        let lines = BufReader::new(child.stdout.take().context("its output is a pipe")?).lines();
        Ok(Self {
            child,
            answers,
            lines,
            last: None,
        })
    }

    /// The next that it asks for; none when it is at its end. What it tells meanwhile is passed on, but for the last line.
    pub(super) fn asked(&mut self) -> Result<Option<Asked>> {
        for line in self.lines.by_ref() {
            let line = line?;
            if let Some(asked) = Asked::read(&line)? {
                return Ok(Some(asked));
            }
            if let Some(told) = self.last.replace(line) {
                tell(&told);
            }
        }
        Ok(None)
    }

    /// It was done.
    pub(super) fn done(&mut self) -> Result<()> {
        writeln!(self.answers, "{DONE}").context("the hostile controller has ended")
    }

    /// The last line it told, and how it ended.
    pub(super) fn ended(mut self) -> Result<(String, ExitStatus)> {
        let status = self.child.wait()?;
        Ok((self.last.take().unwrap_or_default(), status))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_as_it_was_said() {
        for asked in [
            Asked::Serving("127.0.0.1:7".parse().unwrap()),
            Asked::StartAgent,
            Asked::KillAgent,
            Asked::LeftStanding("wrong-key".to_owned()),
            Asked::Published(7, Digest::of(b"set")),
        ] {
            assert_eq!(Asked::read(&asked.line()).unwrap(), Some(asked));
        }
        assert_eq!(Asked::read("an entry twice: entry-twice").unwrap(), None);
        assert!(Asked::read("?agent dance").is_err());
    }
}
