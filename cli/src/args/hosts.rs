//! `hosts`.

use clap::{ArgGroup, Args};

use super::StaleArgs;

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("decision").args(["approve", "reject", "evict", "ban", "unban", "remove"]).requires("agent"),
    group = ArgGroup::new("answer").args(["approve", "reject"]),
    group = ArgGroup::new("shut-out").args(["evict", "ban"]),
)]
pub(crate) struct HostsArgs {
    /// An agent id.
    pub agent: Option<String>,

    #[command(flatten)]
    pub(crate) stale: StaleArgs,

    /// Let it in: it has used a token of `token create --approval`, and waits.
    #[arg(long, requires = "key")]
    approve: bool,

    /// Refuse to let it in. Without `--key`, everybody who waits under this id.
    #[arg(long)]
    reject: bool,

    /// The key of the host that is meant, as `verger-agent join` shows it there.
    #[arg(long, value_name = "DIGEST", requires = "answer")]
    key: Option<String>,

    /// Shut it out at once: its certificate serves no more. What it told stays, and it comes back by a new token.
    #[arg(long)]
    evict: bool,

    /// Shut it out at once, and keep its id and its key out, whatever token they have.
    #[arg(long, requires = "reason")]
    ban: bool,

    /// Lift a ban: from then on it is evicted.
    #[arg(long)]
    unban: bool,

    /// Forget it: its agent is no longer known, nor what it told. It comes back only by a new token, as a new host.
    #[arg(long)]
    remove: bool,

    /// Why, for the record.
    #[arg(long, value_name = "TEXT", requires = "shut-out")]
    reason: Option<String>,
}

/// What is to become of a host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Approve { key: String },
    Reject { key: Option<String> },
    Evict { reason: String },
    Ban { reason: String },
    Unban,
    Remove,
}

impl HostsArgs {
    /// The decision on one host; `None` where they are only looked at.
    pub(crate) fn decision(self) -> (Option<String>, Option<Decision>) {
        let Self {
            agent,
            stale: _,
            approve,
            reject,
            key,
            evict,
            ban,
            unban,
            remove,
            reason,
        } = self;
        let reason = reason.unwrap_or_default();
        let ways = [
            approve.then(|| Decision::Approve {
                key: key.clone().unwrap_or_default(),
            }),
            reject.then_some(Decision::Reject { key }),
            evict.then(|| Decision::Evict {
                reason: reason.clone(),
            }),
            ban.then_some(Decision::Ban { reason }),
            unban.then_some(Decision::Unban),
            remove.then_some(Decision::Remove),
        ];
        (agent, ways.into_iter().flatten().next())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn decision(line: &str) -> Result<Option<Decision>, clap::Error> {
        let words = ["verger", "hosts"].into_iter().chain(line.split_whitespace());
        let Command::Hosts(args) = Cli::try_parse_from(words)?.command else {
            panic!("another command");
        };
        Ok(args.decision().1)
    }

    #[test]
    fn a_host_is_looked_at_or_one_thing_is_decided_of_it() {
        let text = |text: &str| text.to_owned();
        for (line, meant) in [
            ("", None),
            ("web-1", None),
            (
                "web-1 --approve --key k",
                Some(Decision::Approve { key: text("k") }),
            ),
            ("web-1 --reject", Some(Decision::Reject { key: None })),
            (
                "web-1 --evict",
                Some(Decision::Evict {
                    reason: String::new(),
                }),
            ),
            (
                "web-1 --ban --reason r",
                Some(Decision::Ban { reason: text("r") }),
            ),
            ("web-1 --unban", Some(Decision::Unban)),
            ("web-1 --remove", Some(Decision::Remove)),
        ] {
            assert_eq!(decision(line).unwrap(), meant, "{line}");
        }
        for line in [
            "--evict",
            "web-1 --approve",
            "web-1 --ban",
            "web-1 --evict --remove",
            "web-1 --key k",
            "web-1 --reason r",
            "web-1 --unban --reason r",
            "web-1 --evict --key k",
        ] {
            assert!(decision(line).is_err(), "{line}");
        }
    }
}
