//! People who come to the proxy from afar, with Docker's own CLI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use verger_transport::Identity;

use super::Front;
use super::front::cli;
use crate::scene::{HOST, checked};

/// What Docker's CLI takes to come to a front as somebody.
pub struct Afar {
    /// `ca.pem`, `cert.pem` and `key.pem`.
    pub folder: PathBuf,
    hosts: PathBuf,
    port: u16,
}

impl Front {
    /// Gives somebody a login, and has `verger` write what Docker's CLI takes.
    ///
    /// # Errors
    /// When a step fails.
    pub fn afar(&self, person: &str) -> Result<Afar> {
        let context = self.scene.path(&format!("{person}.json"));
        let mut create = self.scene.verger();
        create.args(["context", "create", "--person", person, "--out"]);
        checked(create.arg(&context))?;
        self.env_of(person, &context)
    }

    /// What `verger` writes for the context in a file.
    ///
    /// # Errors
    /// When a step fails.
    pub fn env_of(&self, person: &str, context: &Path) -> Result<Afar> {
        let (folder, hosts) = (
            self.scene.path(&format!("{person}-docker")),
            self.scene.path("hosts"),
        );
        let host = format!("{HOST}:{}", self.port);
        let mut write = self.scene.verger();
        write.arg("--context").arg(context);
        write.args(["context", "docker-env", "--host", &host, "--out"]);
        let said = String::from_utf8(checked(write.arg(&folder))?.stdout)?;
        anyhow::ensure!(
            said.contains(&format!("export DOCKER_HOST=tcp://{host}\n"))
                && said.contains("DOCKER_TLS_VERIFY=1"),
            "{said}"
        );
        fs::write(&hosts, format!("127.0.0.1 localhost {HOST}\n"))?;
        Ok(Afar {
            folder,
            hosts,
            port: self.port,
        })
    }
}

impl Afar {
    /// The same with another certificate.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn with(&self, name: &str, identity: &Identity) -> Result<Self> {
        let folder = self.folder.with_file_name(name);
        fs::create_dir(&folder)?;
        fs::copy(self.folder.join("ca.pem"), folder.join("ca.pem"))?;
        fs::write(folder.join("cert.pem"), identity.chain_pem())?;
        fs::write(folder.join("key.pem"), identity.key_pem())?;
        Ok(Self {
            folder,
            hosts: self.hosts.clone(),
            port: self.port,
        })
    }

    /// Its certificate and key.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn identity(&self) -> Result<Identity> {
        let read =
            |name: &str| fs::read_to_string(self.folder.join(name)).context("reading what was written");
        Ok(Identity::from_pem(&read("cert.pem")?, &read("key.pem")?)?)
    }

    /// The words of Docker's CLI before the command, with a certificate or without one.
    pub fn words(&self, with_certificate: bool) -> Vec<String> {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let mut words = vec![
            cli().to_owned(),
            "--host".to_owned(),
            format!("tcp://{HOST}:{}", self.port),
            "--tlsverify".to_owned(),
            "--tlscacert".to_owned(),
            at("ca.pem"),
        ];
        if with_certificate {
            words.extend([
                "--tlscert".to_owned(),
                at("cert.pem"),
                "--tlskey".to_owned(),
                at("key.pem"),
            ]);
        }
        words
    }

    /// A program for which the agent's name leads to this host.
    pub fn command(&self, words: impl IntoIterator<Item = String>) -> Command {
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--",
                "sh",
                "-c",
                "mount --bind \"$0\" /etc/hosts && exec \"$@\"",
            ])
            .arg(&self.hosts)
            .args(words)
            .current_dir("/")
            .env("HOME", "/nonexistent")
            .env("DOCKER_BUILDKIT", "0")
            .stdin(Stdio::null());
        command
    }

    /// Docker's CLI.
    pub fn cli(&self) -> Command {
        self.command(self.words(true))
    }
}
