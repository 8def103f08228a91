//! `ssh-agent`: asks for the keys it holds, and for signatures (draft-miller-ssh-agent). The connection is local, and each
//! question has its own.

pub(super) mod messages;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use verger_policy::model::printable;
use verger_seal::PublicKey;

use crate::exit::{Exit, Failure};
use messages::{Answer, Unreadable};

/// Where the agent listens.
const VARIABLE: &str = "SSH_AUTH_SOCK";
/// How long it may take to list its keys.
const LISTING: Duration = Duration::from_secs(10);
/// How long it may take to sign: a person may have to confirm it, or to touch a security key.
const SIGNING: Duration = Duration::from_secs(120);

/// A connection to the agent.
pub(crate) struct Agent(UnixStream);

impl Agent {
    /// Connects.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let socket = std::env::var_os(VARIABLE)
            .filter(|path| !path.is_empty())
            .ok_or_else(|| {
                Failure::input(format!(
                    "there is no ssh-agent ({VARIABLE} is not set); start one with: eval $(ssh-agent)"
                ))
            })?;
        let stream = UnixStream::connect(&socket).map_err(|error| {
            Failure::input(format!(
                "no ssh-agent answers at {} ({VARIABLE}): {error}; start one with: eval $(ssh-agent)",
                printable(&socket.to_string_lossy())
            ))
        })?;
        Ok(Self(stream))
    }

    /// Connects, for the key of a `.pub` file.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn open_for(file: &Path) -> anyhow::Result<Self> {
        Self::open().map_err(|error| {
            let file = file.display().to_string();
            Failure::input(format!(
                "{} is a public key, whose signature ssh-agent would make: {error}",
                printable(&file)
            ))
            .into()
        })
    }

    /// Refuses if the agent does not hold the key.
    ///
    /// # Errors
    /// When it does not, or does not say.
    pub(crate) fn insist_on(mut self, public: &PublicKey, file: &Path) -> anyhow::Result<()> {
        let held = self.keys()?;
        if held.contains(public) {
            return Ok(());
        }
        Err(Failure::input(format!(
            "ssh-agent does not hold {} ({}); it holds {} that can seal. Add the private key with: ssh-add FILE",
            printable(&file.display().to_string()),
            public.id(),
            match held.len() {
                0 => "no key".to_owned(),
                1 => "1 other".to_owned(),
                many => format!("{many} others"),
            }
        ))
        .into())
    }

    /// The keys it holds of the kinds that seal.
    ///
    /// # Errors
    /// When it does not say.
    pub(crate) fn keys(&mut self) -> anyhow::Result<Vec<PublicKey>> {
        match messages::read(&self.exchange(&messages::list(), LISTING)?) {
            Ok(Answer::Keys(keys)) => Ok(keys
                .iter()
                .filter_map(|wire| PublicKey::from_ssh_wire(wire).ok())
                .collect()),
            _ => Err(unreadable().into()),
        }
    }

    /// Has it sign bytes as they are. Gives the signature proper, which is not verified.
    ///
    /// # Errors
    /// When it refuses, or holds no such key.
    pub(crate) fn sign(mut self, public: &PublicKey, data: &[u8]) -> anyhow::Result<Vec<u8>> {
        let wire = public.ssh_wire().ok_or_else(unreadable)?;
        match messages::read(&self.exchange(&messages::sign(&wire, data), SIGNING)?) {
            Ok(Answer::Signature(signature)) => Ok(signature),
            Ok(Answer::Failure) => Err(Failure::new(
                Exit::Violation,
                format!(
                    "ssh-agent refuses to sign with {}; nothing was signed. Is it locked, or did somebody say no?",
                    public.id()
                ),
            )
            .into()),
            _ => Err(unreadable().into()),
        }
    }

    fn exchange(&mut self, question: &[u8], limit: Duration) -> anyhow::Result<Vec<u8>> {
        self.talk(question, limit).map_err(|error| {
            let what = match error.kind() {
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                    format!("ssh-agent did not answer within {} s", limit.as_secs())
                }
                std::io::ErrorKind::InvalidData => return unreadable().into(),
                _ => format!("ssh-agent broke off: {error}"),
            };
            Failure::input(format!("{what}; nothing was signed")).into()
        })
    }

    fn talk(&mut self, question: &[u8], limit: Duration) -> std::io::Result<Vec<u8>> {
        let Self(stream) = self;
        stream.set_write_timeout(Some(LISTING))?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(question)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = messages::length(length)
            .map_err(|Unreadable| std::io::Error::from(std::io::ErrorKind::InvalidData))?;
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }
}

fn unreadable() -> Failure {
    Failure::new(
        Exit::Violation,
        format!("what answers at {VARIABLE} is no ssh-agent; nothing was signed"),
    )
}
