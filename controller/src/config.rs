//! The configuration file.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use verger_controller_raft::Node;
use verger_transport::config_file;
use verger_transport::telemetry::LogFormat;

use crate::oidc::{Oidc, OidcConfig};

/// `controller.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where the member keeps its files. Belongs to it alone.
    pub(crate) data_dir: PathBuf,
    /// Its name in certificates.
    #[serde(default = "member")]
    pub(crate) member: String,
    /// Where it listens for agents and people.
    pub(crate) listen: SocketAddr,
    /// Where it listens for agents that enrol.
    pub(crate) enrol_listen: SocketAddr,
    /// What others call `listen`: `HOST:PORT`. Absent: the same.
    #[serde(default)]
    pub(crate) address: Option<String>,
    /// What others call `enrol_listen`. Absent: the same.
    #[serde(default)]
    pub(crate) enrol_address: Option<String>,
    /// Where it listens for the other members. Absent: it is alone, and nobody can join.
    #[serde(default)]
    pub(crate) peer_listen: Option<SocketAddr>,
    /// What the others call `peer_listen`. Absent: the same.
    #[serde(default)]
    pub(crate) peer_address: Option<String>,
    /// How log lines look: `text` or `json`.
    #[serde(default)]
    pub(crate) log: LogFormat,
    /// How long a local login's certificate is good, hours: 24 to 720. The CLI renews it once half of that is over.
    #[serde(default = "person_hours")]
    pub(crate) person_certificate_hours: u16,
    /// The identity provider people log in by. Absent: there is none.
    #[serde(default)]
    pub(crate) oidc: Option<OidcConfig>,
}

/// A week: half of it is longer than a weekend, so whoever worked on Friday is not locked out on Monday.
const fn person_hours() -> u16 {
    7 * 24
}

fn member() -> String {
    "c1".to_owned()
}

impl Config {
    pub(crate) fn load(file: &Path) -> anyhow::Result<Self> {
        let config: Self = config_file::load(file)?;
        let _: verger_transport::Label = config
            .member
            .parse()
            .map_err(|error| anyhow::anyhow!("{}: `member`: {error}", file.display()))?;
        anyhow::ensure!(
            config.data_dir.is_absolute(),
            "{}: `data_dir` must be an absolute path",
            file.display()
        );
        anyhow::ensure!(
            config.listen != config.enrol_listen,
            "{}: `listen` and `enrol_listen` must differ: enrolment has a listener of its own",
            file.display()
        );
        anyhow::ensure!(
            (24..=720).contains(&config.person_certificate_hours),
            "{}: `person_certificate_hours` is 24 to 720: a day to 30 days",
            file.display()
        );
        anyhow::ensure!(
            config
                .peer_listen
                .is_none_or(|peer| peer != config.listen && peer != config.enrol_listen),
            "{}: `peer_listen` must be another than `listen` and `enrol_listen`: members have a listener of their own",
            file.display()
        );
        anyhow::ensure!(
            config.peer_listen.is_some() || config.peer_address.is_none(),
            "{}: `peer_address` without `peer_listen`: nobody would listen there",
            file.display()
        );
        let peers = config
            .peer_listen
            .map(|listen| ("peer_address", listen, &config.peer_address));
        let others = [
            ("address", config.listen, &config.address),
            ("enrol_address", config.enrol_listen, &config.enrol_address),
        ];
        for (field, listen, address) in others.into_iter().chain(peers) {
            anyhow::ensure!(
                !listen.ip().is_unspecified() || address.is_some(),
                "{}: `{field}` is missing: nobody can connect to {listen}; write HOST:PORT as others reach it",
                file.display()
            );
        }
        Ok(config)
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone().unwrap_or_else(|| self.listen.to_string())
    }

    pub(crate) fn enrol_address(&self) -> String {
        self.enrol_address
            .clone()
            .unwrap_or_else(|| self.enrol_listen.to_string())
    }

    /// Where its peers call it; where nobody can, where everybody else does.
    pub(crate) fn peer_address(&self) -> String {
        let listen = self.peer_listen.map(|listen| listen.to_string());
        self.peer_address
            .clone()
            .or(listen)
            .unwrap_or_else(|| self.address())
    }

    /// What all members are told of it.
    pub(crate) fn node(&self) -> Node {
        Node {
            name: self.member.clone(),
            address: self.peer_address(),
            api: self.address(),
            enrol: self.enrol_address(),
        }
    }

    /// How long a local login's certificate is good.
    pub(crate) fn person_lifetime(&self) -> Duration {
        Duration::from_secs(u64::from(self.person_certificate_hours) * 3_600)
    }

    /// Where a person on this host reaches the member while it runs.
    pub(crate) fn emergency_socket(&self) -> PathBuf {
        self.data_dir.join("emergency.sock")
    }

    pub(crate) fn pki_dir(&self) -> PathBuf {
        self.data_dir.join("pki")
    }

    /// The key that this member stamps with. Not among the authorities: it is made before there is a cluster.
    pub(crate) fn member_key_file(&self) -> PathBuf {
        self.data_dir.join("member-key.pem")
    }

    pub(crate) fn raft_dir(&self) -> PathBuf {
        self.data_dir.join("raft")
    }

    /// Prints what the file means.
    pub(crate) fn explain(&self) -> anyhow::Result<()> {
        writeln!(
            std::io::stdout(),
            "member {} · files in {} · agents and people at {} (called {}) · enrolment at {} (called {})",
            self.member,
            self.data_dir.display(),
            self.listen,
            self.address(),
            self.enrol_listen,
            self.enrol_address(),
        )?;
        match self.peer_listen {
            Some(listen) => writeln!(
                std::io::stdout(),
                "other members at {listen} (called {})",
                self.peer_address()
            )?,
            None => writeln!(
                std::io::stdout(),
                "alone: it listens for no other members (`peer_listen`)"
            )?,
        }
        if let Some(oidc) = &self.oidc {
            Oidc::new(oidc)?.explain()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_shipped_file_is_valid() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/controller.toml");
        Config::load(&file).unwrap();
    }

    #[test]
    fn what_the_shipped_file_shows_of_an_identity_provider_is_valid_once_it_is_no_comment() {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/controller.toml");
        let text = std::fs::read_to_string(shipped).unwrap();
        let is_setting =
            |line: &&str| line.starts_with("#[") || (line.starts_with('#') && line.contains(" = "));
        let shown: String = text
            .lines()
            .map(|line| {
                line.strip_prefix('#')
                    .filter(|_| is_setting(&line))
                    .unwrap_or(line)
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("controller.toml");
        std::fs::write(&file, shown).unwrap();
        let oidc = Config::load(&file).unwrap().oidc.unwrap();
        // It names a file of a secret that is not there.
        let missing = Oidc::new(&oidc).map(drop).unwrap_err();
        assert!(format!("{missing:#}").contains("oidc-secret"), "{missing:#}");
    }

    #[test]
    fn an_address_nobody_can_connect_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("controller.toml");
        let text = "data_dir = \"/x\"\nlisten = \"0.0.0.0:7400\"\nenrol_listen = \"127.0.0.1:7401\"\n";
        std::fs::write(&file, text).unwrap();
        let error = Config::load(&file).unwrap_err().to_string();
        assert!(error.contains("`address` is missing"), "{error}");
        std::fs::write(&file, format!("{text}address = \"c.example:7400\"\n")).unwrap();
        Config::load(&file).unwrap();
    }

    #[test]
    fn a_certificate_of_a_person_lives_a_week_unless_told_and_never_shorter_than_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("controller.toml");
        let text = "data_dir = \"/x\"\nlisten = \"127.0.0.1:7400\"\nenrol_listen = \"127.0.0.1:7401\"\n";
        let load = |more: &str| {
            std::fs::write(&file, format!("{text}{more}")).unwrap();
            Config::load(&file)
        };
        let hours = |config: Config| config.person_lifetime().as_secs() / 3_600;
        assert_eq!(hours(load("").unwrap()), 168);
        assert_eq!(hours(load("person_certificate_hours = 24\n").unwrap()), 24);
        for wrong in [0, 23, 721] {
            let error = load(&format!("person_certificate_hours = {wrong}\n")).unwrap_err();
            assert!(error.to_string().contains("24 to 720"), "{error}");
        }
    }
}
