//! Passphrases: from the file named by `VERGER_PASSPHRASE_FILE`, else from the terminal, unseen. Never from the command line or
//! the environment, which others can read.

mod line;

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use verger_policy::model::printable;
use verger_seal::SealingKey;
use verger_transport::files as secret;
use zeroize::Zeroizing;

use super::openssh::{Locked, Unusable};
use crate::exit::Failure;
use line::{Line, Step};

/// Names the file, for scripts.
const VARIABLE: &str = "VERGER_PASSPHRASE_FILE";
/// How often a person may try.
const TRIES: usize = 3;

/// Opens a key file, asking for its passphrase.
///
/// # Errors
/// When it is wrong, or there is nobody to ask.
pub(super) fn unlock(file: &Path, locked: &Locked) -> anyhow::Result<SealingKey> {
    let shown = printable(&file.display().to_string()).to_string();
    let told = |error: Unusable| Failure::input(format!("{shown}: {error}; nothing was signed"));
    if let Some(passphrase) = from_file()? {
        return locked
            .unlock(passphrase.as_bytes())
            .map_err(|error| told(error).into());
    }
    let mut terminal = Terminal::open(&shown)?;
    for _ in 1..TRIES {
        let passphrase = terminal.ask(&format!("Passphrase of {shown}: "))?;
        match locked.unlock(passphrase.as_bytes()) {
            Err(Unusable::Passphrase) => terminal.say("Wrong passphrase.\n")?,
            other => return other.map_err(|error| told(error).into()),
        }
    }
    let passphrase = terminal.ask(&format!("Passphrase of {shown}: "))?;
    locked
        .unlock(passphrase.as_bytes())
        .map_err(|error| told(error).into())
}

/// Has a person choose the passphrase of a new key.
///
/// # Errors
/// When it is empty, the two that are typed differ, or there is nobody to ask.
pub(crate) fn choose(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let shown = printable(&file.display().to_string()).to_string();
    let passphrase = match from_file()? {
        Some(passphrase) => passphrase,
        None => {
            let mut terminal = Terminal::open(&shown)?;
            let first = terminal.ask(&format!("New passphrase of {shown}: "))?;
            let again = terminal.ask("The same again: ")?;
            if first != again {
                return Err(Failure::input("the two passphrases differ; no key was made").into());
            }
            first
        }
    };
    if passphrase.is_empty() {
        return Err(Failure::input(
            "the passphrase is empty; no key was made. Without --passphrase the key is not protected",
        )
        .into());
    }
    Ok(passphrase)
}

/// What the file named in the environment holds, without the end of its line.
fn from_file() -> anyhow::Result<Option<Zeroizing<String>>> {
    let Some(file) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        return Ok(None);
    };
    let wrong = |what: String| Failure::input(format!("{VARIABLE}: {what}"));
    let bytes = secret::read(&file).map_err(|error| wrong(error.to_string()))?;
    let text = std::str::from_utf8(&bytes)
        .ok()
        .map(|text| text.strip_suffix('\n').unwrap_or(text))
        .map(|text| text.strip_suffix('\r').unwrap_or(text))
        .filter(|text| text.len() <= line::MOST_BYTES && !text.contains('\n'))
        .ok_or_else(|| wrong(format!("{file:?} does not hold one line of text")))?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}

/// The terminal that this program was started in, whatever its input and output are.
struct Terminal(File);

impl Terminal {
    fn open(key: &str) -> anyhow::Result<Self> {
        let opened = OpenOptions::new().read(true).write(true).open("/dev/tty");
        opened.map(Self).map_err(|_| {
            Failure::input(format!(
                "{key} is protected by a passphrase, and there is no terminal to ask for it on: name a file that holds it in {VARIABLE}"
            ))
            .into()
        })
    }

    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        self.0
            .write_all(text.as_bytes())
            .context("cannot write to the terminal")
    }

    /// Asks for one line, which is not shown. Ctrl-C and Ctrl-D give up.
    fn ask(&mut self, question: &str) -> anyhow::Result<Zeroizing<String>> {
        let quiet = Quiet::new(&self.0)?;
        let mut out = &self.0;
        out.write_all(question.as_bytes())
            .context("cannot write to the terminal")?;
        let mut line = Line::default();
        let answer = loop {
            let mut byte = [0];
            let read = (&self.0).read(&mut byte).context("cannot read the terminal")?;
            let step = if read == 0 {
                Step::GivenUp
            } else {
                line.take(byte[0])
            };
            match step {
                Step::More => {}
                Step::Done => break line.text(),
                Step::GivenUp => break None,
            }
        };
        drop(quiet);
        self.say("\n")?;
        answer.ok_or_else(|| Failure::input("no passphrase was given; nothing was done").into())
    }
}

/// While it lives, what is typed is not shown, and comes byte by byte, so that no signal leaves the terminal in this state.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn new(terminal: &'a File) -> anyhow::Result<Self> {
        let before = tcgetattr(terminal).context("cannot look at the terminal's settings")?;
        let mut quiet = before.clone();
        quiet.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)
            .context("cannot change the terminal's settings")?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // Nothing more can be done about a terminal that is gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Drain, &self.before);
    }
}
