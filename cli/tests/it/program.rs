//! The program, in a folder of its own: no context, no home, no environment of whoever runs the tests.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) struct Program {
    folder: tempfile::TempDir,
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and gives its path as an argument.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let file = self.path(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, bytes).unwrap();
        file.to_str().unwrap().to_owned()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_verger"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Signs a trust root or a change of it, as somebody who looked at it.
    pub(crate) fn sign_file(&self, file: &str, key: &str) -> Ran {
        let shown = self
            .run(&["trust", "show", "--file", file, "-o", "json"])
            .ends(0)
            .json();
        let digest = shown["digest"].as_str().unwrap();
        self.run(&[
            "trust", "sign", "--file", file, "--key", key, "--digest", digest, "-o", "json",
        ])
    }

    /// As [`Self::run`], by a person at a terminal who types `typed`; `line` is of a shell. All that is said is in `out`.
    pub(crate) fn at_terminal(&self, line: &str, typed: &str) -> Ran {
        let mut terminal = Command::new("script");
        terminal
            .args(["--quiet", "--return", "--command", line, "/dev/null"])
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", format!("{}:/usr/bin:/bin", program_folder()))
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut terminal = terminal.spawn().unwrap();
        let mut keyboard = terminal.stdin.take().unwrap();
        keyboard.write_all(typed.as_bytes()).unwrap();
        drop(keyboard);
        Ran::of(terminal.wait_with_output().unwrap())
    }
}

fn program_folder() -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_verger"));
    program.parent().unwrap().to_str().unwrap().to_owned()
}

impl Ran {
    fn of(output: Output) -> Self {
        let Output {
            status,
            stdout,
            stderr,
        } = output;
        Self {
            code: status.code().expect("not ended by a signal"),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }

    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "out: {}\nerr: {}", self.out, self.err);
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// Recordings of real containers, which the core's own tests use.
pub(crate) fn recorded(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/policy/tests/fixtures");
    folder.join(name).to_str().unwrap().to_owned()
}
