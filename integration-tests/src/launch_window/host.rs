//! The test daemon's host: its network namespace, networks for this rig, and a count of frames.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::scene::{Docker, Namespace};

/// Launched containers have the addresses from here on, 32 at most; Docker makes link-layer addresses of them (`02:42:0a:3f:00:60`, ..).
const LAUNCHED: usize = 96;
/// Counts frames that came past Verger's rules, wherever they are for: what it takes to connect by version 4. By version 6 the kernel
/// says of itself that a link has come up, before anything of a container runs. Bridges hand frames on in `forward`, and to the host in `input`.
const COUNTER: &str = "
table bridge verger_rig {
  chain rig_forward {
    type filter hook forward priority 0; policy accept;
    ether type { ip, arp } ether saddr & ff:ff:ff:ff:ff:e0 == 02:42:0a:3f:00:60 counter;
  }
  chain rig_input {
    type filter hook input priority 0; policy accept;
    ether type { ip, arp } ether saddr & ff:ff:ff:ff:ff:e0 == 02:42:0a:3f:00:60 counter;
  }
}
";

/// Two networks of this rig, of both versions of IP, and one past all bridges, on the test daemon's host.
pub(super) struct Host {
    docker: String,
    namespace: Namespace,
    networks: [String; 3],
    /// An address of the network, on which nobody is but the twin that launched containers connect to.
    twin: IpAddr,
}

impl Host {
    pub(super) fn prepare(docker: &Docker) -> Result<Self> {
        let networks = ["one", "two", "past"].map(|name| docker.name(name));
        docker.say(&[
            "network",
            "create",
            "--driver",
            "macvlan",
            "--opt",
            "parent=docker0",
            "--subnet",
            "10.63.2.0/24",
            &networks[2],
        ])?;
        for (number, name) in networks[..2].iter().enumerate() {
            docker.say(&[
                "network",
                "create",
                "--ipv6",
                "--subnet",
                &format!("fd63:{number}::/64"),
                "--subnet",
                &format!("10.63.{number}.0/24"),
                name,
            ])?;
        }
        let host = Self {
            docker: docker.host().to_owned(),
            namespace: Namespace::at(docker.network_namespace()),
            networks,
            twin: IpAddr::from([10, 63, 0, 200]),
        };
        // What a run that failed left closed would count as closed by this one.
        let _ = host.flush();
        host.namespace.nft(&["-f", "-"], COUNTER)?;
        Ok(host)
    }

    /// The network of launched containers.
    pub(super) fn network(&self) -> &str {
        &self.networks[0]
    }

    /// The other one.
    pub(super) fn other(&self) -> &str {
        &self.networks[1]
    }

    /// One past all bridges.
    pub(super) fn macvlan(&self) -> &str {
        &self.networks[2]
    }

    /// Where launched containers connect to.
    pub(super) fn twin(&self) -> IpAddr {
        self.twin
    }

    /// The address of a launched container, by which its frames are counted.
    pub(super) fn address(&self, number: usize) -> String {
        format!("10.63.0.{}", LAUNCHED + number)
    }

    /// A command on the host.
    pub(super) fn command(&self, line: &[&str]) -> Command {
        self.namespace.command(line)
    }

    /// How many frames launched containers have sent that came past Verger's rules.
    pub(super) fn frames(&self) -> Result<u64> {
        let counts = self.namespace.counted("bridge", "verger_rig")?;
        ensure!(counts.len() == 2, "the counters are gone: {counts:?}");
        Ok(counts.iter().sum())
    }

    /// How many ports Verger has closed.
    pub(super) fn closed(&self) -> Result<usize> {
        let listed = self.namespace.nft(&["-j", "list", "ruleset", "bridge"], "")?;
        let document: Value = serde_json::from_str(&listed)?;
        let set = document["nftables"]
            .as_array()
            .into_iter()
            .flatten()
            .find_map(|object| {
                let set = object.get("set")?;
                (set["table"] == "verger").then_some(set)
            });
        Ok(set.map_or(0, |set| set["elem"].as_array().map_or(0, Vec::len)))
    }

    /// Somebody removes Verger's rules, and whatever else is on bridges but this rig's.
    pub(super) fn flush(&self) -> Result<()> {
        self.namespace
            .nft(&["delete", "table", "bridge", "verger"], "")
            .map(drop)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self
            .namespace
            .nft(&["delete", "table", "bridge", "verger_rig"], "");
        // Containers go first: those that are left go with the daemon.
        let mut command = Command::new("docker");
        command
            .args(["--host", &self.docker, "network", "rm"])
            .args(&self.networks);
        let _ = command.output();
    }
}
