//! SSH keys as people have them, with Debian's own `ssh-keygen`, `ssh-agent` and `ssh-add`.

mod agent;
mod fake;
mod files;
mod passphrase;
mod token;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::program::{Program, Ran};

const MISSING: &str = "openssh-client is missing: run `apt-get install openssh-client`, or `cargo xtask test`, which installs it";
const HOST: &str = "apiVersion: verger/v1\nkind: Host\nmetadata: { name: web-1 }\nspec: { agent: web-1, labels: { zone: eu } }\n";

/// Runs a program of openssh-client in the program's folder.
fn ssh(program: &Program, name: &str, args: &[&str]) -> Output {
    let mut command = Command::new(name);
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", program.path(""))
        .current_dir(program.path(""))
        .stdin(Stdio::null());
    let output = command.output().expect(MISSING);
    assert!(output.status.success(), "{name} {args:?}: {output:?}");
    output
}

/// Makes a key pair, unprotected, and gives the line of its public half.
fn keygen(program: &Program, file: &str, kind: &[&str]) -> String {
    let args = [&["-q", "-N", "", "-C", "ann@host", "-f", file][..], kind].concat();
    ssh(program, "ssh-keygen", &args);
    let line = std::fs::read_to_string(program.path(&format!("{file}.pub"))).unwrap();
    line.trim_end().to_owned()
}

/// An agent of its own, ended with the test.
struct Agent {
    process: Child,
    socket: PathBuf,
}

impl Agent {
    fn start(program: &Program) -> Self {
        let socket = program.path("agent.sock");
        let mut process = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect(MISSING);
        // It says where it listens once it does.
        let mut said = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        assert!(said.contains("SSH_AUTH_SOCK"), "{said}");
        Self { process, socket }
    }

    /// Runs `ssh-add`.
    fn add(&self, program: &Program, args: &[&str]) {
        let output = Command::new("ssh-add")
            .args(args)
            .env_clear()
            .env("SSH_AUTH_SOCK", &self.socket)
            .current_dir(program.path(""))
            .stdin(Stdio::null())
            .output()
            .expect(MISSING);
        assert!(output.status.success(), "ssh-add {args:?}: {output:?}");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // This very process, by its id; it may be gone already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Runs the program with variables of the environment.
fn run_with(program: &Program, variables: &[(&str, &Path)], args: &[&str]) -> Ran {
    let mut command = program.command(args);
    for (name, value) in variables {
        command.env(name, value);
    }
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().expect("not ended by a signal"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Founds a trust root of one key of any form.
fn found(program: &Program, variables: &[(&str, &Path)], key: &str) -> Ran {
    let args = [
        "trust",
        "init",
        "--key",
        key,
        "--name",
        "ann",
        "--out",
        "root.json",
        "-o",
        "json",
    ];
    run_with(program, variables, &args)
}
