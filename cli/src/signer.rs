//! Sealing keys as people have them: a file of Verger's own, an OpenSSH private key, or a key that `ssh-agent` holds.

mod agent;
mod openssh;
mod passphrase;

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use verger_policy::model::printable;
use verger_seal::{Envelope, PublicKey, SealingKey, sshsig_signed_data};
use verger_transport::files as secret;

use crate::exit::{Exit, Failure};
use crate::files;
use crate::output::note;

pub(crate) use agent::Agent;
pub(crate) use openssh::lock;
pub(crate) use passphrase::choose as choose_passphrase;

/// The largest key file, bytes. Those of the kinds that seal have less than a thousand.
const MOST_BYTES: u64 = 16 << 10;

/// A key that can sign.
pub(crate) struct Key(Place);

/// Where it is.
enum Place {
    /// In this process.
    Here(SealingKey),
    /// Behind a passphrase, which is asked for once: when it first signs, so that what is signed was shown before.
    Locked {
        file: PathBuf,
        locked: openssh::Locked,
        opened: OnceCell<SealingKey>,
    },
    /// In `ssh-agent`, or in a security key that it asks.
    Agent(PublicKey),
}

/// What a key file holds.
enum Stored {
    Open(SealingKey),
    Locked(openssh::Locked),
    Public(PublicKey),
}

impl Key {
    /// Takes the key of a file; of a `.pub`, the one in `ssh-agent`.
    ///
    /// # Errors
    /// When others can read the file, it is no key, or no agent holds the key.
    pub(crate) fn open(file: &Path) -> anyhow::Result<Self> {
        Ok(Self(match read(file)? {
            Stored::Open(key) => Place::Here(key),
            Stored::Locked(locked) => Place::Locked {
                file: file.to_owned(),
                locked,
                opened: OnceCell::new(),
            },
            Stored::Public(public) => {
                Agent::open_for(file)?.insist_on(&public, file)?;
                Place::Agent(public)
            }
        }))
    }

    /// The public half.
    pub(crate) fn public(&self) -> PublicKey {
        match &self.0 {
            Place::Here(key) => key.public(),
            Place::Locked { locked, .. } => *locked.public(),
            Place::Agent(public) => *public,
        }
    }

    /// Adds its signature to an envelope. One that was made elsewhere is verified first.
    ///
    /// # Errors
    /// When the passphrase is wrong, or the agent does not sign, or signs something else. Nothing is added then.
    pub(crate) fn sign(&self, envelope: &mut Envelope) -> anyhow::Result<()> {
        match &self.0 {
            Place::Here(key) => envelope.add(key),
            Place::Locked { file, locked, opened } => {
                if opened.get().is_none() {
                    let key = passphrase::unlock(file, locked)?;
                    // Empty a moment ago, and nobody else has it.
                    let _ = opened.set(key);
                }
                envelope.add(opened.get().expect("it was just opened"));
            }
            Place::Agent(public) => sign_elsewhere(public, envelope)?,
        }
        Ok(())
    }
}

fn sign_elsewhere(public: &PublicKey, envelope: &mut Envelope) -> anyhow::Result<()> {
    if public.is_hardware() {
        note("touch the security key to sign, if it blinks");
    }
    let data = sshsig_signed_data(&envelope.to_sign());
    let proper = Agent::open()?.sign(public, &data)?;
    let signature = public.sshsig(&proper).ok_or_else(|| {
        Failure::new(
            Exit::Violation,
            "only SSH keys sign in an agent; nothing was signed",
        )
    })?;
    envelope.attach(public, signature).map_err(|error| {
        let message = format!("ssh-agent answered with a signature that does not count: {error}");
        Failure::new(Exit::Violation, message).into()
    })
}

/// The public half of a key file. Needs no passphrase and no agent.
///
/// # Errors
/// When others can read a private key, or it is no key.
pub(crate) fn public(file: &Path) -> anyhow::Result<PublicKey> {
    Ok(match read(file)? {
        Stored::Open(key) => key.public(),
        Stored::Locked(locked) => *locked.public(),
        Stored::Public(public) => public,
    })
}

fn read(file: &Path) -> anyhow::Result<Stored> {
    let wrong = |what: &dyn std::fmt::Display| {
        anyhow::Error::from(Failure::input(format!(
            "{}: {what}",
            printable(&file.display().to_string())
        )))
    };
    if file.extension().is_some_and(|ending| ending == "pub") {
        let bytes = files::small(file, MOST_BYTES)?;
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        if text.contains("PRIVATE KEY") {
            return Err(wrong(
                &"a private key in a file named .pub; name it otherwise and `chmod 600` it",
            ));
        }
        let public: PublicKey = text.trim_end().parse().map_err(|error| wrong(&error))?;
        if public.ssh_wire().is_none() {
            return Err(wrong(
                &"no SSH public key; of a key of Verger's own, name the private key file",
            ));
        }
        return Ok(Stored::Public(public));
    }
    let bytes = secret::read(file).map_err(|error| Failure::input(error.to_string()))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(wrong(&"larger than a sealing key can be"));
    }
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    if openssh::is_one(text) {
        return match openssh::read(text).map_err(|error| wrong(&error))? {
            openssh::Stored::Open(key) => Ok(Stored::Open(key)),
            openssh::Stored::Locked(locked) => Ok(Stored::Locked(locked)),
        };
    }
    if let Some(hint) = foreign(text) {
        return Err(wrong(&hint));
    }
    let key = SealingKey::from_pem(text).map_err(|error| wrong(&error))?;
    Ok(Stored::Open(key))
}

/// What to do about a key file in a form that is not taken.
fn foreign(text: &str) -> Option<&'static str> {
    if text.parse::<PublicKey>().is_ok() {
        return Some("a public key; name the private key, or call the file .pub to sign by ssh-agent");
    }
    let convert =
        "a private key in an older form of PEM; `ssh-keygen -p -f FILE` writes it anew in OpenSSH's";
    let old = ["RSA", "DSA", "EC", "ENCRYPTED"];
    old.iter()
        .any(|kind| text.contains(&format!("-----BEGIN {kind} PRIVATE KEY-----")))
        .then_some(convert)
}

#[cfg(test)]
mod fuzz;
