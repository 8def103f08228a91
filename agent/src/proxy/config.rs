//! What `agent.toml` says of the proxies.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use verger_agent_proxy::Engine;

/// `[proxy]` of `agent.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyConfig {
    /// Where users of this host find the runtime.
    pub(crate) listen: PathBuf,
    /// Docker's own socket, which nobody else may open.
    pub(crate) docker: PathBuf,
    /// Where people from afar find it, by TLS. None: nowhere.
    #[serde(default)]
    pub(crate) remote: Option<SocketAddr>,
    /// The mode of the socket that is listened at. Whoever can open it is known by the kernel, and has what roles say.
    #[serde(default = "everybody")]
    pub(crate) mode: u32,
    /// The runtimes that a container may name: those the gate stands in front of.
    #[serde(default = "gated")]
    pub(crate) runtimes: BTreeSet<String>,
}

/// `[podman_proxy]` of `agent.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PodmanProxyConfig {
    /// Where users of this host find Podman's service.
    pub(crate) listen: PathBuf,
    /// The service's own socket, which nobody else may open.
    pub(crate) podman: PathBuf,
    /// As that of [`ProxyConfig`].
    #[serde(default = "everybody")]
    pub(crate) mode: u32,
    /// As those of [`ProxyConfig`].
    #[serde(default = "podmans")]
    pub(crate) runtimes: BTreeSet<String>,
}

/// One runtime, as users of the host find it.
#[derive(Clone, Debug)]
pub(crate) struct FrontConfig {
    pub(super) engine: Engine,
    pub(super) listen: PathBuf,
    pub(super) real: PathBuf,
    pub(super) mode: u32,
    pub(super) runtimes: BTreeSet<String>,
}

impl ProxyConfig {
    /// Docker's part of it.
    pub(crate) fn front(&self) -> FrontConfig {
        FrontConfig {
            engine: Engine::Docker,
            listen: self.listen.clone(),
            real: self.docker.clone(),
            mode: self.mode,
            runtimes: self.runtimes.clone(),
        }
    }
}

impl PodmanProxyConfig {
    /// The same of Podman.
    pub(crate) fn front(&self) -> FrontConfig {
        FrontConfig {
            engine: Engine::Podman,
            listen: self.listen.clone(),
            real: self.podman.clone(),
            mode: self.mode,
            runtimes: self.runtimes.clone(),
        }
    }
}

impl FrontConfig {
    /// The section that states it, and the key there of the runtime's own socket.
    pub(super) const fn named(&self) -> (&'static str, &'static str) {
        match self.engine {
            Engine::Docker => ("proxy", "docker"),
            Engine::Podman => ("podman_proxy", "podman"),
        }
    }
}

const fn everybody() -> u32 {
    0o666
}

fn gated() -> BTreeSet<String> {
    ["runc".to_owned()].into()
}

fn podmans() -> BTreeSet<String> {
    ["crun", "runc"].map(str::to_owned).into()
}
