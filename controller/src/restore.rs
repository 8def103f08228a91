//! Making a new cluster of one member out of a snapshot that somebody kept.
//!
//! It is the same cluster to people and agents: its id, its trust root and its authorities are those of before. To members it is another:
//! none of before is one of it, and its log begins where that of before never came.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use verger_controller_api::ports::Ambient as _;
use verger_controller_raft::{Member, RestoredFrom};
use verger_controller_state::{Action, Command, Response, SnapshotPlace, State};
use verger_policy::digest::Digest;
use verger_policy::model::Name;
use verger_transport::{Authority, Purpose};

use crate::adapters::SystemAmbient;
use crate::config::Config;
use crate::init::{Draft, make_private_dir};
use crate::seat::Seat;
use crate::{timekeeper, wire_up};

#[derive(Args)]
pub(crate) struct RestoreArgs {
    /// The file that `verger cluster snapshot save` wrote.
    #[arg(long, value_name = "FILE")]
    snapshot: PathBuf,

    /// The folder that `verger-controller roots export` wrote, of the same cluster.
    #[arg(long, value_name = "DIR")]
    roots: PathBuf,
}

/// What is in the cluster that was restored, for people.
struct Held {
    cluster: String,
    epoch: u64,
    hosts: usize,
    time: jiff::Timestamp,
    names_members: bool,
}

/// Restores the cluster, or leaves nothing behind: everything is made in a folder beside its place, as with a founding.
///
/// # Errors
/// When a cluster is there already, the snapshot or a root is damaged or another cluster's, or the member has the name of one of before.
pub(crate) async fn restore(config: &Config, args: &RestoreArgs) -> anyhow::Result<()> {
    make_private_dir(&config.data_dir)?;
    let folder =
        File::open(&config.data_dir).with_context(|| format!("cannot open {}", config.data_dir.display()))?;
    folder.try_lock().map_err(|_| {
        anyhow::anyhow!(
            "another `init` or `restore` is at work in {}; wait for it",
            config.data_dir.display()
        )
    })?;
    let draft = Draft::begin(config)?;
    let (from, held) = made(&draft.config, args).await?;
    draft.put_in_place(config, &folder)?;
    folder
        .sync_all()
        .with_context(|| format!("cannot make {} durable", config.data_dir.display()))?;
    writeln!(std::io::stdout(), "{}", told(config, &from, &held))?;
    Ok(())
}

async fn made(config: &Config, args: &RestoreArgs) -> anyhow::Result<(RestoredFrom, Held)> {
    let raft = config.raft_dir();
    make_private_dir(&raft)?;
    let now = u64::try_from(SystemAmbient.now().as_second()).unwrap_or_default();
    let from = Member::restore(&raft, &args.snapshot, &config.node(), now)
        .await
        .with_context(|| format!("--snapshot {}", args.snapshot.display()))?;
    let member = wire_up::open_alone(config, from.number)
        .await
        .with_context(|| format!("--snapshot {}", args.snapshot.display()))?;
    let held = gone_on(config, args, &from, &member).await;
    member.stop().await;
    let held = held?;
    Seat::new(from.number, held.cluster.clone()).keep(&raft)?;
    Ok((from, held))
}

/// Checks what the member is to go on with, and has it on record that it does.
async fn gone_on(
    config: &Config,
    args: &RestoreArgs,
    from: &RestoredFrom,
    member: &Member,
) -> anyhow::Result<Held> {
    let name: Name = config.member.parse().context("`member`")?;
    let is_used = from.members.iter().any(|(_, node)| node.name == config.member)
        || member.read(|state| state.member(&name).is_some());
    anyhow::ensure!(
        !is_used,
        "`member` is {name} in the configuration, and a member of the cluster had that name before: a name is used once, so that nobody \
         takes the one for the other; write another, such as `member = \"{name}-2\"`"
    );
    let held = member.read(held);
    let held = held.with_context(|| {
        format!(
            "--snapshot {}: it holds no cluster that was founded",
            args.snapshot.display()
        )
    })?;
    let pki = config.pki_dir();
    make_private_dir(&pki)?;
    for purpose in Purpose::ALL {
        Authority::take_root(&pki, purpose, &args.roots, &held.cluster)
            .with_context(|| format!("--roots: cannot take the root of {purpose}"))?;
    }
    // It may be of days ago: what is recorded now is of now.
    let start = timekeeper::Start::of(member);
    timekeeper::catch_up(member, &config.member, start).await;
    let members = from
        .members
        .iter()
        // Those of before members had names are known to nobody by one.
        .filter_map(|(number, node)| Some((node.name.parse().ok()?, *number)));
    let command = Command::of_member(
        &config.member,
        SystemAmbient.now(),
        Action::Restore {
            from: SnapshotPlace {
                digest: Digest::from_bytes(from.digest),
                index: from.index,
                term: from.term,
            },
            members: members.collect(),
        },
    );
    match member.propose(&command).await? {
        Response::Restored => Ok(held),
        Response::Refused(refused) => anyhow::bail!("{refused}"),
        other => anyhow::bail!("the state machine answered {other:?}"),
    }
}

fn held(state: &State) -> Option<Held> {
    let cluster = state.cluster()?;
    Some(Held {
        cluster: cluster.id.hex(),
        epoch: state.set().epoch(),
        hosts: state.hosts().filter(|(_, host)| host.serves()).count(),
        time: state.clock(),
        names_members: !cluster.trust_root.members().is_empty(),
    })
}

fn told(config: &Config, from: &RestoredFrom, held: &Held) -> String {
    let RestoredFrom {
        index,
        term: _,
        digest,
        members: _,
        number: _,
    } = from;
    let Held {
        cluster,
        epoch,
        hosts,
        time,
        names_members,
    } = held;
    let member = &config.member;
    let mut steps = vec![
        "verger-controller run".to_owned(),
        format!(
            "once the hosts are back ({hosts} of them): `verger cluster status` says the highest epoch N that one of them has; where N is \
             not below {epoch}, they take nothing from this cluster before a set above it is sealed: `verger apply --above-epoch N`"
        ),
        format!(
            "hosts that enrolled after {time} are unknown and join again (`verger token create --agent NAME`); where one of them is ahead of the \
             set, `verger cluster status` says so then: once more `verger apply --above-epoch N`"
        ),
        format!(
            "what was revoked, evicted, banned or removed after {time} serves again: do it again (`verger audit list` ends there, too)"
        ),
        format!(
            "members that joined after {time} are unknown, too: have their names used, before others are added: `verger cluster remove NAME \
             --force`"
        ),
        "other members: `verger cluster add NAME`, under names that none had before".to_owned(),
    ];
    if *names_members {
        steps.push(format!(
            "the trust root names the members of before: `verger-controller member-key`, and `verger trust rotate` to {member}'s key in \
             their place; until then nobody says that the set is the newest"
        ));
    }
    let steps: Vec<String> = (1..)
        .zip(steps)
        .map(|(number, step)| format!("  {number}. {step}"))
        .collect();
    format!(
        "Restored cluster {cluster} as of {time} (entry {index}, epoch {epoch}), from snapshot {}\n{member} is its only member; those of \
         before are none any more: do not start them again\nNext:\n{}",
        Digest::from_bytes(*digest),
        steps.join("\n")
    )
}

#[cfg(test)]
mod tests;
