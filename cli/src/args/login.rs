//! `login`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// By the identity provider: the only way there is to log in by oneself.
    #[arg(long)]
    pub oidc: bool,

    /// Where to log in, HOST:PORT: where agents enrol, too. The first time; after that the context knows.
    #[arg(long, value_name = "HOST:PORT", requires_all = ["cluster_id", "ca_pin"])]
    pub enrol: Option<String>,

    /// The cluster's id: the digest of the trust root that founded it.
    #[arg(long, value_name = "ID", requires_all = ["enrol", "ca_pin"])]
    pub cluster_id: Option<String>,

    /// The pin of the members' authority.
    #[arg(long, value_name = "PIN", requires_all = ["enrol", "cluster_id"])]
    pub ca_pin: Option<String>,

    /// Start no browser: print the address to open in one. If that is on another machine, paste the address that it ends at
    /// here.
    #[arg(long)]
    pub no_browser: bool,

    /// The port of this machine that the browser is sent back to, for providers that do not take any [default: a free one].
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    pub port: u16,

    /// The sealing key to use by default.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Overwrite a context of another login, or of another cluster.
    #[arg(long)]
    pub replace: bool,
}
