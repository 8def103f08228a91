//! A Docker daemon of our own for tests and for `up`, apart from whatever the machine runs.
//!
//! It has its own network namespace (bridges, nftables, `bridge-nf-*` sysctls), mount namespace, data root, exec root,
//! containerd and socket. It is stopped by recorded pid; what a crashed run left behind is found by the records in
//! [`Layout::records`], never by process name. Needs root.

mod daemon;
mod image;
mod layout;
mod ping;

pub(crate) use daemon::Dockerd;
pub(crate) use layout::Layout;

use anyhow::Result;

/// What `cargo xtask dockerd` does.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Action {
    /// Starts the daemon (or finds it running), with the test images in it, and leaves it running
    Start(Name),
    /// Stops it and removes everything it had
    Stop(Name),
    /// Says whether it runs and where its socket is
    Status(Name),
}

/// Which daemon.
#[derive(Debug, clap::Args)]
pub(crate) struct Name {
    /// Several daemons can run side by side, told apart by this name
    #[arg(long, default_value = "dev", value_parser = layout::parse_name)]
    name: String,
}

/// Carries out `cargo xtask dockerd ...`.
pub(crate) fn run(action: &Action) -> Result<()> {
    match action {
        Action::Start(at) => {
            let dockerd = Dockerd::start(Layout::of(&at.name)?, None)?;
            println!("export VERGER_TEST_DOCKER_HOST={}", dockerd.host());
            println!("export DOCKER_HOST={}", dockerd.host());
            println!("# exec root {}", dockerd.layout().exec_root().display());
        }
        Action::Stop(at) => {
            Dockerd::remove(&Layout::of(&at.name)?)?;
            println!("dockerd \"{}\" is stopped and removed", at.name);
        }
        Action::Status(at) => {
            let layout = Layout::of(&at.name)?;
            match Dockerd::running(&layout)? {
                Some(dockerd) => println!("running: {}", dockerd.host()),
                None => println!("not running"),
            }
        }
    }
    Ok(())
}
