//! `cluster`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// How the cluster stands, as the member that answers knows.
    Status {
        /// Also where it cannot tell whether that is current: when there is no quorum.
        #[arg(long)]
        stale_ok: bool,
    },
    /// Who the members are. Your context takes over where they are called, so that it works without the first of them.
    Members {
        /// Also where the member that answers cannot tell whether that is current: when there is no quorum.
        #[arg(long)]
        stale_ok: bool,
    },
    /// Make a single-use token for a new member, and print its join command.
    #[command(after_help = "Example: verger cluster add c2")]
    Add {
        /// Its name: `member` in its configuration. One that no member has, or had.
        name: String,

        /// Seconds it is good for.
        #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=600))]
        ttl: u32,
    },
    /// Keep everything that the cluster holds in a file, and see what a file holds.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    #[command(flatten)]
    Change(MemberChange),
}

/// Snapshots of everything that the cluster holds.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Fetch one, of all that was acknowledged before; it is on record. What came is verified before it has its name.
    ///
    /// It holds hashes of secrets, digests of keys and the audit: keep it as you keep keys.
    #[command(after_help = "Example: verger cluster snapshot save cluster-2026-11-27.vsnap")]
    Save {
        /// The file, 0600.
        file: PathBuf,

        /// Replace the file where it is there already.
        #[arg(long)]
        force: bool,
    },
    /// Verify all of a file, and say what it holds. Asks no controller.
    #[command(after_help = "Example: verger cluster snapshot inspect cluster-2026-11-27.vsnap")]
    Inspect {
        /// The file.
        file: PathBuf,
    },
    /// Verify a file, and say how a new cluster is made of it on a member's host. Asks no controller, and changes nothing.
    #[command(
        after_help = "Example: verger cluster snapshot restore cluster-2026-11-27.vsnap --roots /mnt/roots"
    )]
    Restore {
        /// The file.
        file: PathBuf,

        /// The folder that `verger-controller roots export` wrote, as the command that is printed is to name it.
        #[arg(long, value_name = "DIR")]
        roots: Option<PathBuf>,
    },
}

/// A change of who the members are, and which of them votes and leads.
#[derive(Debug, Subcommand)]
pub(crate) enum MemberChange {
    /// Have a learner vote, once it has what the others have.
    #[command(after_help = "Example: verger cluster promote c2")]
    Promote {
        name: String,

        /// Also where it is far behind, or too few of those that would vote then are there: the cluster may decide nothing any more.
        #[arg(long)]
        force: bool,
    },
    /// Have a voter vote no more. It goes on to have what the others have.
    #[command(after_help = "Example: verger cluster demote c2")]
    Demote {
        name: String,

        /// Also where too few of those that would vote then are there: the cluster may decide nothing any more.
        #[arg(long)]
        force: bool,
    },
    /// Take a member out for good, or an invitation that nobody used. Nobody comes under a member's name again.
    #[command(after_help = "Example: verger cluster remove c2")]
    Remove {
        name: String,

        /// Also where too few of those that would vote then are there: the cluster may decide nothing any more. Also a name that the cluster
        /// does not know, such as that of a member that joined after the snapshot that it was restored from.
        #[arg(long)]
        force: bool,
    },
    /// Have another voter lead.
    #[command(after_help = "Example: verger cluster transfer-leader c2")]
    TransferLeader { name: String },
}
