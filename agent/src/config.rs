//! The configuration file.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use verger_policy::model::AgentId;
use verger_transport::config_file;
use verger_transport::telemetry::LogFormat;

/// `agent.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where the agent keeps its identity, ledger and findings. Belongs to it alone.
    pub(crate) data_dir: PathBuf,
    /// Docker's socket.
    #[serde(default = "docker_socket")]
    pub(crate) docker_socket: PathBuf,
    /// Folders that hold running containers' OCI configs, `ID/config.json`, searched before the usual ones.
    #[serde(default)]
    pub(crate) oci_roots: Vec<PathBuf>,
    /// Docker's data root.
    #[serde(default = "docker_data_root")]
    pub(crate) docker_data_root: PathBuf,
    /// The socket at which gates ask before they let a runtime launch anything. None: nobody asks.
    #[serde(default)]
    pub(crate) gate_socket: Option<PathBuf>,
    /// nft(8), by which the network of instances is closed.
    #[serde(default = "nft_program")]
    pub(crate) nft_program: PathBuf,
    /// The network namespace that the runtime's bridges are in, by a file of it. None: this process's own.
    #[serde(default)]
    pub(crate) network_namespace: Option<PathBuf>,
    /// Seconds between looks at all processes and mounts. What a container's runtime or the kernel can tell is looked at
    /// at once.
    #[serde(default = "scan_seconds")]
    pub(crate) scan_seconds: u64,
    /// The file with this machine's id (machine-id(5)).
    #[serde(default = "machine_id")]
    pub(crate) machine_id: PathBuf,
    /// How log lines look: `text` or `json`.
    #[serde(default)]
    pub(crate) log: LogFormat,
}

fn docker_socket() -> PathBuf {
    "/var/run/docker.sock".into()
}

fn docker_data_root() -> PathBuf {
    "/var/lib/docker".into()
}

fn nft_program() -> PathBuf {
    "/usr/sbin/nft".into()
}

fn machine_id() -> PathBuf {
    "/etc/machine-id".into()
}

const fn scan_seconds() -> u64 {
    4
}

impl Config {
    pub(crate) fn load(file: &Path) -> anyhow::Result<Self> {
        let config: Self = config_file::load(file)?;
        anyhow::ensure!(
            config.data_dir.is_absolute(),
            "{}: `data_dir` must be an absolute path",
            file.display()
        );
        anyhow::ensure!(
            (1..=3_600).contains(&config.scan_seconds),
            "{}: `scan_seconds` must be 1 to 3600",
            file.display()
        );
        anyhow::ensure!(
            config.nft_program.is_absolute(),
            "{}: `nft_program` must be an absolute path",
            file.display()
        );
        Ok(config)
    }

    pub(crate) const fn scan_every(&self) -> Duration {
        Duration::from_secs(self.scan_seconds)
    }

    pub(crate) fn identity_file(&self) -> PathBuf {
        self.data_dir.join("identity.pem")
    }

    /// The key of an attempt to join, until it has succeeded.
    pub(crate) fn joining_file(&self, agent: &AgentId) -> PathBuf {
        self.data_dir.join(format!("joining-{agent}.pem"))
    }

    /// How far this host has come.
    pub(crate) fn floor_file(&self) -> PathBuf {
        self.data_dir.join("floor.json")
    }

    /// The set that a person let this host jump to.
    pub(crate) fn confirmed_file(&self) -> PathBuf {
        self.data_dir.join("confirmed-epoch.json")
    }

    pub(crate) fn cluster_file(&self) -> PathBuf {
        self.data_dir.join("cluster.json")
    }

    pub(crate) fn store_dir(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    /// Prints what the file means.
    pub(crate) fn explain(&self) -> anyhow::Result<()> {
        writeln!(
            std::io::stdout(),
            "files in {} · Docker at {} · processes and mounts every {} s",
            self.data_dir.display(),
            self.docker_socket.display(),
            self.scan_seconds
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_shipped_file_is_valid() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/agent.toml");
        Config::load(&file).unwrap();
    }
}
