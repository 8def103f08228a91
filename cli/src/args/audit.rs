//! `audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List what was done, by whom, and what was refused; the last rows, oldest first.
    #[command(after_help = "Example: verger audit list --actor person/ada --since 24h")]
    List {
        #[command(flatten)]
        filter: AuditFilterArgs,

        /// How many rows; 0 for all there are.
        #[arg(long, value_name = "N", default_value_t = 100)]
        last: usize,
    },
    /// Print rows as they are written.
    Watch {
        #[command(flatten)]
        filter: AuditFilterArgs,

        /// Begin after the row of this number; 0 for the oldest there is [default: the newest].
        #[arg(long, value_name = "NUMBER")]
        after: Option<u64>,
    },
    /// Print the head: a digest over every row there ever was, their number, how many of the oldest are dropped, and of when the
    /// oldest is that is left. Keep it where no controller can reach it.
    #[command(after_help = "Example: verger audit head --out head.json")]
    Head {
        /// Write what a majority of the members has signed of the head to this file, which `verger audit verify --head` takes;
        /// refused if it is there. What is signed is the digest and the number of rows, not how many of them are dropped.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Write every row and the head to a file that can be verified without the cluster.
    #[command(after_help = "Example: verger audit export --out audit.jsonl")]
    Export {
        /// The file; refused if it is there.
        #[arg(long, value_name = "FILE", required = true)]
        out: PathBuf,
    },
    /// See whether rows were changed, taken out, put elsewhere or cut off: the cluster's, or those of an export. Ends with 1 where
    /// they were, with 3 where rows under the head you kept are gone since that may have been dropped for their age; and where, of the
    /// cluster's and without a head, no majority of the members signed within five minutes where they end.
    #[command(after_help = "Example: verger audit verify --file audit.jsonl --head HEX:COUNT:DROPPED:OLDEST")]
    Verify {
        /// An export, verified without the cluster.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,

        /// A head that you kept, as `verger audit head` printed it, or the file that it wrote. Without one, rows that somebody made up
        /// all together pass. One that does not say how many rows were dropped (HEX:COUNT) is taken as if none was.
        #[arg(long, value_name = "HEX:COUNT:DROPPED:OLDEST or FILE")]
        head: Option<String>,
    },
}

#[derive(Debug, Default, Args)]
pub(crate) struct AuditFilterArgs {
    /// Of this actor: `person/ada`, `agent/web-1`, `controller/c1`, `nobody`.
    #[arg(long, value_name = "WHO")]
    pub actor: Option<String>,

    /// This action: `apply-set`, `create-token`, `denied` …
    #[arg(long, value_name = "WORD")]
    pub action: Option<String>,

    /// That ended so: `ok`, `SEAL_REFUSED`, `NOT_A_PERSON` …
    #[arg(long, value_name = "WORD")]
    pub outcome: Option<String>,

    /// From then on: an instant (`2026-05-01T00:00:00Z`), or how long ago (`24h`).
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,

    /// Before then.
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
}
