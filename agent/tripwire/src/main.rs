//! `verger-tripwire`: denies what reaches Docker by another way than the proxy.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use verger_tripwire::mark::Mark;
use verger_tripwire::service::{Tripwire, keep, serve};
use verger_tripwire::strays::Strays;

/// An authorization plugin of Docker: what did not come by the runtime proxy is denied, and told of
#[derive(Debug, Parser)]
#[command(name = "verger-tripwire", version)]
struct Arguments {
    /// Where the daemon asks; `dockerd --authorization-plugin` finds it by a `.spec` file, or below /run/docker/plugins
    #[arg(
        long,
        value_name = "SOCKET",
        default_value = "/run/verger-tripwire/plugin.sock"
    )]
    listen: PathBuf,
    /// Where the mark is left for the proxy, which must be in the group of the file
    #[arg(long, value_name = "FILE", default_value = "/run/verger-tripwire/mark")]
    mark: PathBuf,
    /// Where what was denied is kept for the agent
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/var/lib/verger/tripwire/strays.json"
    )]
    strays: PathBuf,
    /// The proxy's socket, to which people are sent
    #[arg(long, value_name = "SOCKET", default_value = "/run/docker.sock")]
    proxy: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments {
        listen: at,
        mark,
        strays,
        proxy,
    } = Arguments::parse();
    verger_transport::telemetry::start(Default::default());
    let kept = Strays::open(&strays).with_context(|| format!("`--strays`: {}", strays.display()))?;
    let mark = Mark::make(&mark).with_context(|| format!("`--mark`: {}", mark.display()))?;
    // The daemon alone, which is root, may connect.
    let listener =
        verger_transport::listen_at(&at, 0o600).with_context(|| format!("`--listen`: {}", at.display()))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::debug!(%error, "systemd was not told");
    }
    tracing::info!(listen = %at.display(), "denying what does not come by the proxy");
    let tripwire = Arc::new(Tripwire::new(mark, kept, &proxy));
    tokio::select! {
        never = serve(listener, Arc::clone(&tripwire)) => match never {},
        never = keep(Arc::clone(&tripwire)) => match never {},
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tripwire.keep();
    // A socket that nobody listens on slows down other commands of the daemon.
    std::fs::remove_file(&at).with_context(|| format!("removing {}", at.display()))
}
