//! What people's own programs print, how they end and what they leave, at Docker itself and through the proxy: each does the same at both, for
//! somebody who may.

mod build;
mod cli;
mod compose;
mod files;
mod refusals;
mod said;
mod terminal;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::Front;
use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::Docker;
use said::{Said, ends};

/// A user of the host, without privileges there, who may do everything with its runtime.
pub(super) const CLIENT: u32 = 10_007;

const MAY: &str = "
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: proxy/clients }
spec: { role: admin, subjects: [ local/10007 ] }
";

/// Where a program finds Docker, and whose it is.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Root's, at Docker's own socket.
    Direct,
    /// This user's, at the agent's.
    Through(u32),
}

/// One side of a comparison.
struct Client<'f> {
    front: &'f Front,
    way: Way,
}

impl Client<'_> {
    /// `docker`.
    fn docker(&self) -> Command {
        match self.way {
            Way::Direct => self.front.real(),
            Way::Through(uid) => self.front.cli(uid),
        }
    }

    /// What `docker` prints and how it ends, given nothing.
    fn does(&self, arguments: &[&str]) -> Result<Said> {
        self.given(arguments, b"")
    }

    /// The same, given this.
    fn given(&self, arguments: &[&str], input: &[u8]) -> Result<Said> {
        let mut command = self.docker();
        command.args(arguments);
        ends(command, input).with_context(|| format!("docker {}", arguments.join(" ")))
    }

    /// Another program, as the same user.
    fn program(&self, name: &str) -> Command {
        match self.way {
            Way::Direct => self.front.of(0, name),
            Way::Through(uid) => self.front.of(uid, name),
        }
    }

    fn socket(&self) -> PathBuf {
        match self.way {
            Way::Direct => self.front.docker.socket().to_owned(),
            Way::Through(_) => self.front.socket(),
        }
    }
}

/// Something that is done with a program. It says what was printed, in its order, and fails where that is not what it should be at all.
struct Case {
    name: &'static str,
    does: fn(&Client<'_>) -> Result<Vec<Said>>,
}

const CASES: &[Case] = &[
    Case {
        name: "exec",
        does: cli::execs,
    },
    Case {
        name: "run",
        does: cli::runs,
    },
    Case {
        name: "shown",
        does: cli::shows,
    },
    Case {
        name: "logs",
        does: cli::follows,
    },
    Case {
        name: "terminal",
        does: terminal::resizes,
    },
    Case {
        name: "cp",
        does: files::copies,
    },
    Case {
        name: "build",
        does: build::builds,
    },
    Case {
        name: "compose",
        does: compose::serves,
    },
];

/// Does each at Docker itself and through the proxy, once or ten times, and has a stranger try it.
///
/// # Errors
/// When the scene does not work, or a program does at either place what it should do at none.
pub fn run(long: bool) -> Result<Verdict> {
    let rounds = if long { 10 } else { 1 };
    let front = Front::found_with(&Programs::find()?, Docker::find()?, MAY)?;
    let (mut calls, mut alike) = (0, 0);
    for _ in 0..rounds {
        for case in CASES {
            let of = |way| {
                let client = Client { front: &front, way };
                (case.does)(&client).with_context(|| format!("{}, {way:?}", case.name))
            };
            let (direct, through) = (of(Way::Direct)?, of(Way::Through(CLIENT))?);
            ensure!(
                direct.len() == through.len(),
                "{} was cut short: {direct:?}, {through:?}",
                case.name
            );
            for (direct, through) in direct.iter().zip(&through) {
                calls += 1;
                match direct == through {
                    true => alike += 1,
                    false => tell(&format!(
                        "{}: at Docker itself {direct:?}, through the proxy {through:?}",
                        case.name
                    )),
                }
            }
        }
    }
    let (tried, refused) = refusals::tried(&front)?;
    Ok(Verdict {
        figure: format!(
            "in {rounds} rounds {alike} of {calls} calls of docker and docker-compose printed the same and ended the same through the proxy as at Docker itself; {refused} of {tried} by who may not were refused in Verger's words"
        ),
        holds: alike == calls && refused == tried && calls > 0,
    })
}
