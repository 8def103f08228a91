//! `auth`.

use clap::{Args, Subcommand};

use super::SetArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum AuthCommand {
    /// Say whether somebody may do something, and which rules decide. Ends with 1 if not.
    #[command(after_help = "Example: verger auth can-i apply Workload/payments/web --as bob")]
    CanI {
        #[command(flatten)]
        ask: AskArgs,

        #[command(flatten)]
        who: WhoArgs,

        #[command(flatten)]
        held: SetArgs,
    },
    /// List the people, groups and hosts' users who may do something, of those that bindings name; of hosts' users, what they may on every host.
    #[command(after_help = "Example: verger auth who-can sign RoleBinding")]
    WhoCan {
        #[command(flatten)]
        ask: AskArgs,

        #[command(flatten)]
        held: SetArgs,
    },
    /// Say who you are to the cluster: name, groups, and when the login ends.
    Whoami,
    /// List every rule that bindings give to somebody, or, with `--roles`, what every role says.
    #[command(after_help = "Example: verger auth explain --as bob")]
    Explain {
        #[command(flatten)]
        who: WhoArgs,

        /// List the roles there are, built-in ones first, in place of what somebody has.
        #[arg(long, conflicts_with_all = ["person", "groups", "host"])]
        roles: bool,

        #[command(flatten)]
        held: SetArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    /// What is to be done: get, list, watch, apply, delete, propose, sign, withdraw, ack, create, renew, rotate, exec, logs, stop …
    pub verb: String,

    /// To what: a kind (`Workload`), `findings`, `hosts`, `containers` …, with a name for one alone: `Workload/payments/web`.
    pub resource: String,

    /// A label it has, for one that is not in the set yet.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct WhoArgs {
    /// This person, or a host's user: local/UID [default: you].
    #[arg(long = "as", value_name = "PERSON")]
    pub person: Option<String>,

    /// The host that the user is of: its labels are those in the set.
    #[arg(
        long = "on",
        value_name = "AGENT",
        requires = "person",
        conflicts_with = "groups"
    )]
    pub host: Option<String>,

    /// Who is in this group, too.
    #[arg(long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
}
