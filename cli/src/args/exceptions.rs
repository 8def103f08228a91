//! `verger exceptions`.

use clap::{Args, Subcommand};

use super::SetArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum ExceptionsCommand {
    /// List exceptions: what each lifts, for what, until when, who answers for it and who sealed it.
    #[command(after_help = "Example: verger exceptions list --workload payments/web")]
    List(ExceptionsArgs),
    /// List the exceptions that end soon. Ends with 1 where there is one.
    #[command(after_help = "Example: verger exceptions expiring --within 14d")]
    Expiring {
        /// How soon: `14d`, `36h`, `90m`.
        #[arg(long, default_value = "14d", value_name = "TIME")]
        within: String,

        #[command(flatten)]
        which: ExceptionsArgs,
    },
    /// List the exceptions that lift nothing now, by what hosts say of what runs on them: what only a launch needs, such as a job
    /// that runs at night, lifts nothing while it does not run. Ends with 1 where there is one, with 3 where of one it cannot be told.
    #[command(after_help = "Example: verger exceptions unused --workload payments/web")]
    Unused(ExceptionsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExceptionsArgs {
    /// Only those that may lift something of this workload.
    #[arg(long)]
    pub workload: Option<String>,

    #[command(flatten)]
    pub held: SetArgs,
}
