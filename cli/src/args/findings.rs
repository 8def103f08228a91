//! `verger findings`.

use clap::{Args, Subcommand};

use super::StaleArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum FindingsCommand {
    /// List findings.
    List {
        #[command(flatten)]
        filter: FilterArgs,

        #[command(flatten)]
        stale: StaleArgs,
    },
    /// Print findings as they change, until interrupted.
    Watch {
        #[command(flatten)]
        filter: FilterArgs,

        /// Resume after this revision.
        #[arg(long, default_value_t = 0)]
        after: u64,

        /// Leave out what is already known.
        #[arg(long)]
        only_new: bool,
    },
    /// Show one finding in full.
    #[command(after_help = "Example: verger findings show 5f0c9a17")]
    Show {
        /// Its uid, or a unique prefix of 8 digits or more.
        uid: String,

        #[command(flatten)]
        stale: StaleArgs,
    },
    /// Record that you have seen a finding.
    #[command(after_help = "Example: verger findings ack 5f0c9a17 --note \"known, ticket OPS-7\"")]
    Ack {
        /// Its uid, or a unique prefix of 8 digits or more.
        uid: String,
        /// Why it may wait.
        #[arg(long)]
        note: String,
    },
    /// See whether the controllers hide hosts, or hide, change or make up findings: what they show is held against what each
    /// host's agent signed, against the audit as a majority of the members signed it, and against what you saw before. Ends with 1
    /// where something does not match, with 3 where something could not be verified.
    #[command(after_help = "Example: verger findings verify\nOne host: verger findings verify --host web-1")]
    Verify(VerifyFindingsArgs),
    /// Say in sentences what a finding means, which rule decided, and what to do.
    #[command(after_help = "Example: verger findings explain 5f0c9a17")]
    Explain {
        /// Its uid, or a unique prefix of 8 digits or more.
        uid: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct VerifyFindingsArgs {
    /// Only of this host.
    #[arg(long)]
    pub host: Option<String>,

    /// Take what is shown now for what you remember, after you found out why it is older, of another key, or not there: a host was
    /// enrolled anew or taken out, or a controller was restored on purpose.
    #[arg(long)]
    pub accept_shown: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// `open`, `acknowledged`, `suppressed`, `resolved`. Repeatable [default: all but resolved; watch: all].
    #[arg(long = "state", value_name = "STATE")]
    pub states: Vec<String>,

    /// `config`, `privilege` … Repeatable.
    #[arg(long = "control", value_name = "CONTROL")]
    pub controls: Vec<String>,

    /// Only of this workload.
    #[arg(long)]
    pub workload: Option<String>,

    /// Only on this host.
    #[arg(long)]
    pub host: Option<String>,

    /// Only of this rule.
    #[arg(long)]
    pub rule: Option<String>,
}
