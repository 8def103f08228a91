//! The roots of the cluster's authorities: kept by the member that founded it, and by whoever took a copy. New members take one of the
//! members that have them; all else goes without.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use verger_transport::{Authority, Purpose};

use crate::config::Config;
use crate::init::make_private_dir;

#[derive(Subcommand)]
pub(crate) enum RootsCommand {
    /// Copy the root keys into a folder (0700), to be kept off this host: with them other members can be let in when this one is lost.
    Export {
        /// The folder. It is made; files that are there are not replaced.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Bring the root keys to a member that joined, so that others can join by it.
    Import {
        /// A folder that `export` wrote.
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
    },
}

/// Carries it out.
///
/// # Errors
/// When the keys are not here, are another cluster's, or the files cannot be written.
pub(crate) fn roots(config: &Config, command: &RootsCommand) -> anyhow::Result<()> {
    let pki = config.pki_dir();
    match command {
        RootsCommand::Export { to } => {
            make_private_dir(to)?;
            for purpose in Purpose::ALL {
                Authority::copy_root(&pki, purpose, to)
                    .with_context(|| format!("cannot copy the root of {purpose}"))?;
            }
            writeln!(
                std::io::stdout(),
                "The root keys are in {}. Whoever has them can issue any certificate of this cluster: move them off this host, to where \
                 nobody else gets at them",
                to.display()
            )?;
        }
        RootsCommand::Import { from } => {
            for purpose in Purpose::ALL {
                Authority::bring_root(&pki, purpose, from)
                    .with_context(|| format!("cannot take the root of {purpose}"))?;
            }
            writeln!(std::io::stdout(), "Members can join by {} now", config.member)?;
        }
    }
    Ok(())
}
