//! The configuration file.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use verger_agent_runtimes::doors::Places;
use verger_agent_runtimes::podman::{PodmanDisk, PodmanRoots};
use verger_policy::model::AgentId;
use verger_transport::config_file;
use verger_transport::telemetry::LogFormat;

use crate::proxy::{PodmanProxyConfig, ProxyConfig};

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
    /// Podman's storage: what root's Podman keeps for good, and while the host is up (containers-storage.conf(5)).
    #[serde(default = "podman_graph_root")]
    pub(crate) podman_graph_root: PathBuf,
    #[serde(default = "podman_run_root")]
    pub(crate) podman_run_root: PathBuf,
    /// Podman's program, and the files that say which its runtimes are (containers.conf(5)). They are looked at where the program is there.
    #[serde(default = "podman_program")]
    pub(crate) podman_program: PathBuf,
    #[serde(default = "containers_conf")]
    pub(crate) containers_conf: Vec<PathBuf>,
    /// The socket at which gates ask before they let a runtime launch anything. None: nobody asks.
    #[serde(default)]
    pub(crate) gate_socket: Option<PathBuf>,
    /// The runtime's socket as the host's users see it. None: they go to the runtime themselves.
    #[serde(default)]
    pub(crate) proxy: Option<ProxyConfig>,
    /// The same for the socket of Podman's service.
    #[serde(default)]
    pub(crate) podman_proxy: Option<PodmanProxyConfig>,
    /// The tripwire behind the proxy. None: there is none, and nobody asks Docker's own socket for a mark.
    #[serde(default)]
    pub(crate) tripwire: Option<TripwireConfig>,
    /// The gate's folder, watched where `gate_socket` is set.
    #[serde(default = "gate_folder")]
    pub(crate) gate_folder: PathBuf,
    /// The file in which Docker's daemon keeps its pid.
    #[serde(default = "docker_pid_file")]
    pub(crate) docker_pid_file: PathBuf,
    /// The files that say who is in the group of Docker's socket (group(5), passwd(5)).
    #[serde(default = "group_file")]
    pub(crate) group_file: PathBuf,
    #[serde(default = "passwd_file")]
    pub(crate) passwd_file: PathBuf,
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

/// `[tripwire]`: the files that `verger-tripwire` leaves.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TripwireConfig {
    /// The mark by which it knows what the agent sends.
    #[serde(default = "mark_file")]
    pub(crate) mark: PathBuf,
    /// What bore none, and was denied.
    #[serde(default = "strays_file")]
    pub(crate) strays: PathBuf,
}

fn mark_file() -> PathBuf {
    "/run/verger-tripwire/mark".into()
}

fn strays_file() -> PathBuf {
    "/var/lib/verger/tripwire/strays.json".into()
}

fn docker_socket() -> PathBuf {
    "/var/run/docker.sock".into()
}

fn docker_data_root() -> PathBuf {
    "/var/lib/docker".into()
}

fn podman_graph_root() -> PathBuf {
    PodmanRoots::default().graph
}

fn podman_program() -> PathBuf {
    "/usr/bin/podman".into()
}

fn containers_conf() -> Vec<PathBuf> {
    [
        "/usr/share/containers/containers.conf",
        "/etc/containers/containers.conf",
        "/etc/containers/containers.conf.d",
    ]
    .map(PathBuf::from)
    .to_vec()
}

fn podman_run_root() -> PathBuf {
    PodmanRoots::default().run
}

fn gate_folder() -> PathBuf {
    "/usr/lib/verger/gate".into()
}

fn docker_pid_file() -> PathBuf {
    "/run/docker.pid".into()
}

fn group_file() -> PathBuf {
    "/etc/group".into()
}

fn passwd_file() -> PathBuf {
    "/etc/passwd".into()
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
        if let Some(proxy) = &config.proxy {
            anyhow::ensure!(
                proxy.listen != config.docker_socket,
                "{}: `docker_socket` is where `[proxy]` listens: the agent looks at Docker itself, so write what `docker` in `[proxy]` says",
                file.display()
            );
        }
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

    /// Where Podman's storage is.
    pub(crate) fn podman_roots(&self) -> PodmanRoots {
        PodmanRoots {
            graph: self.podman_graph_root.clone(),
            run: self.podman_run_root.clone(),
        }
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

    /// The seccomp filters that the gate is given.
    pub(crate) fn filters_dir(&self) -> PathBuf {
        self.data_dir.join("seccomp")
    }

    pub(crate) fn store_dir(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    /// Where the ways to the runtime are looked at, with the gate in this folder.
    pub(crate) fn places(&self, gate: &Path) -> Places {
        Places {
            gate: gate.to_owned(),
            program: gate.join(crate::gate::install::PROGRAM),
            docker_socket: self.docker_socket.clone(),
            docker_pid_file: self.docker_pid_file.clone(),
            group: self.group_file.clone(),
            passwd: self.passwd_file.clone(),
            podman: self.podman_program.clone(),
            podman_storage: PodmanDisk::new(self.podman_roots()),
            containers_conf: self.containers_conf.clone(),
        }
    }

    /// Prints what the file means.
    pub(crate) fn explain(&self) -> anyhow::Result<()> {
        writeln!(
            std::io::stdout(),
            "files in {} · Docker at {} · Podman's storage in {} and {} · processes and mounts every {} s",
            self.data_dir.display(),
            self.docker_socket.display(),
            self.podman_graph_root.display(),
            self.podman_run_root.display(),
            self.scan_seconds
        )?;
        if let Some(proxy) = &self.proxy {
            writeln!(
                std::io::stdout(),
                "users of this host find Docker at {}, and have there what roles say of local/UID",
                proxy.listen.display()
            )?;
            if let Some(address) = proxy.remote {
                writeln!(
                    std::io::stdout(),
                    "people from afar find it at {address} by TLS, and have there what roles say of them"
                )?;
            }
        }
        if let Some(proxy) = &self.podman_proxy {
            writeln!(
                std::io::stdout(),
                "users of this host find Podman at {}, and have there what roles say of local/UID",
                proxy.listen.display()
            )?;
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
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/agent.toml");
        Config::load(&file).unwrap();
    }

    fn with(change: impl Fn(&str) -> String) -> anyhow::Result<Config> {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config/agent.toml");
        let text = std::fs::read_to_string(shipped).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), change(&text)).unwrap();
        Config::load(file.path())
    }

    /// The shipped file with what it says of the proxy and of the tripwire in force.
    fn proxied(text: &str) -> String {
        let (before, section) = text.split_once("# [proxy]\n").unwrap();
        let lines = section
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.contains(" = ") || line.starts_with('['))
            .filter(|line| !line.contains('`'));
        let lines: Vec<&str> = lines.collect();
        format!("{before}[proxy]\n{}\n", lines.join("\n"))
    }

    #[test]
    fn what_the_shipped_file_says_of_the_proxy_is_valid_and_what_is_left_out_means_the_same() {
        let stated = with(proxied).unwrap().proxy.unwrap();
        let least = with(|text| {
            let all = proxied(text);
            let kept = all
                .lines()
                .filter(|line| !line.starts_with("mode") && !line.starts_with("runtimes"));
            kept.collect::<Vec<_>>().join("\n")
        });
        let least = least.unwrap().proxy.unwrap();
        assert_eq!((stated.mode, &stated.runtimes), (0o666, &least.runtimes));
        assert_eq!((least.mode, least.listen), (stated.mode, stated.listen));
        let podmans = with(proxied).unwrap().podman_proxy.unwrap();
        assert_eq!((podmans.mode, podmans.runtimes.len()), (0o666, 2));
        let tripwire = with(proxied).unwrap().tripwire.unwrap();
        assert_eq!((tripwire.mark, tripwire.strays), (mark_file(), strays_file()));
    }

    #[test]
    fn an_agent_that_would_look_at_docker_through_its_own_proxy_is_told() {
        let error = with(|text| proxied(text).replace("/run/verger-agent/docker.sock", "/run/docker.sock"));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("`docker_socket` is where `[proxy]` listens"),
            "{error}"
        );
    }
}
