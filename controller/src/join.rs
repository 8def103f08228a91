//! Joining a cluster as one more member: the first contact, authenticated by what a person brought along.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use verger_controller_raft::{Member, MemberError};
use verger_controller_state::ClusterVersion;
use verger_proto::cluster::v1 as pb;
use verger_proto::cluster::v1::join_service_client::JoinServiceClient;
use verger_transport::files::{self, SecretFileError};
use verger_transport::{Authority, Client, KeyPair, MemberJoin, Purpose, channel, spki_pin};

use crate::config::Config;
use crate::init::{is_vacant, make_private_dir, remove_dir, rename};
use crate::seat::Seat;

#[derive(Args)]
pub(crate) struct JoinArgs {
    /// Where a member serves who joins: HOST:PORT.
    #[arg(long, value_name = "HOST:PORT")]
    enrol: String,
    /// The cluster's id: the digest of the trust root that founded it.
    #[arg(long)]
    cluster_id: String,
    /// The pin of the members' authority.
    #[arg(long)]
    ca_pin: String,
    /// The token. Better in VERGER_JOIN_TOKEN than on a command line that others can see.
    #[arg(long, env = "VERGER_JOIN_TOKEN", hide_env_values = true)]
    token: String,
}

/// Joins, or leaves nothing behind but the keys that were made: the same command, run again, goes on with them.
///
/// # Errors
/// When there is a member here already, nobody can join it by this configuration, or the cluster does not let it in.
pub(crate) async fn join(config: &Config, args: &JoinArgs) -> anyhow::Result<()> {
    let JoinArgs {
        enrol,
        cluster_id,
        ca_pin,
        token,
    } = args;
    let command = MemberJoin::check(enrol, cluster_id, ca_pin, token)?;
    anyhow::ensure!(
        config.peer_listen.is_some(),
        "`peer_listen` is not set in the configuration: the other members could not call this one"
    );
    let (raft, pki) = (config.raft_dir(), config.pki_dir());
    if !is_vacant(&raft)? {
        return Err(MemberError::AlreadyThere(raft).into());
    }
    let draft = config.data_dir.join("joining");
    // Authorities without stores are of an attempt that was cut short.
    if draft.exists() {
        remove_dir(&pki)?;
    }
    anyhow::ensure!(
        is_vacant(&pki)?,
        "{} holds authorities, and no member is in {}; if that member is given up, remove them by hand",
        pki.display(),
        raft.display()
    );
    make_private_dir(&draft)?;
    let keys = keys(&draft)?;
    let answer = ask(config, &command, &keys).await?;
    put_in_place(config, &command, &draft, &keys, answer)?;
    writeln!(
        std::io::stdout(),
        "Joined cluster {cluster_id} as {}, a learner\nNext: verger-controller run, and then, on your own machine: verger cluster promote {}",
        config.member,
        config.member
    )?;
    Ok(())
}

/// The keys of its authorities: those of an attempt before this one, where there was one.
fn keys(draft: &Path) -> anyhow::Result<[KeyPair; 3]> {
    let key = |purpose: Purpose| -> anyhow::Result<KeyPair> {
        let file = draft.join(format!("key-{purpose}.pem"));
        match files::read(&file) {
            Ok(bytes) => Ok(KeyPair::from_pem(std::str::from_utf8(&bytes)?)?),
            Err(SecretFileError::Missing(_)) => {
                let key = KeyPair::generate()?;
                files::create(&file, key.to_pem().as_bytes())?;
                Ok(key)
            }
            Err(error) => Err(error.into()),
        }
    };
    let [members, agents, people] = Purpose::ALL;
    Ok([key(members)?, key(agents)?, key(people)?])
}

async fn ask(config: &Config, command: &MemberJoin, keys: &[KeyPair; 3]) -> anyhow::Result<pb::JoinResponse> {
    let [members, agents, people] = keys;
    let request = pb::JoinRequest {
        token: command.token.reveal().to_string(),
        name: config.member.clone(),
        peer_address: config.peer_address(),
        address: config.address(),
        enrol_address: config.enrol_address(),
        csrs: Some(pb::Authorities {
            members: members.request()?.into(),
            agents: agents.request()?.into(),
            people: people.request()?.into(),
        }),
        newest_version: ClusterVersion::NEWEST.number(),
    };
    let client = Arc::new(Client::pinned(&command.cluster_id, &command.ca_pin)?);
    let channel = channel(client, std::slice::from_ref(&command.enrol_address)).await?;
    let answer = JoinServiceClient::new(channel).join(request).await;
    let answer =
        answer.map_err(|status| anyhow::anyhow!("{}", verger_policy::model::printable(status.message())))?;
    Ok(answer.into_inner())
}

/// Writes authorities and an empty log, the log last: whoever finds it has joined.
fn put_in_place(
    config: &Config,
    command: &MemberJoin,
    draft: &Path,
    keys: &[KeyPair; 3],
    answer: pb::JoinResponse,
) -> anyhow::Result<()> {
    let pb::JoinResponse {
        number,
        authorities,
        roots,
    } = answer;
    let of_each = |authorities: Option<pb::Authorities>| {
        let pb::Authorities {
            members,
            agents,
            people,
        } = authorities.unwrap_or_default();
        [members, agents, people]
    };
    let (own, roots) = (of_each(authorities), of_each(roots));
    // The connection was to who holds this authority; what it names must be it.
    anyhow::ensure!(
        spki_pin(&roots[0]).as_deref() == Some(command.ca_pin.as_str()),
        "the member names another members' authority than --ca-pin"
    );
    let (new_pki, new_raft): (PathBuf, PathBuf) = (draft.join("pki"), draft.join("raft"));
    remove_dir(&new_pki)?;
    remove_dir(&new_raft)?;
    make_private_dir(&new_pki)?;
    for (place, purpose) in Purpose::ALL.into_iter().enumerate() {
        Authority::keep_below(&new_pki, purpose, &keys[place], &own[place], &roots[place])?;
    }
    make_private_dir(&new_raft)?;
    Member::create(&new_raft)?;
    Seat::new(number, command.cluster_id.clone()).keep(&new_raft)?;
    let folder = std::fs::File::open(&config.data_dir)
        .with_context(|| format!("cannot open {}", config.data_dir.display()))?;
    rename(&new_pki, &config.pki_dir())?;
    folder.sync_all().context("cannot make the authorities durable")?;
    rename(&new_raft, &config.raft_dir())?;
    folder.sync_all().context("cannot make the member durable")?;
    remove_dir(draft)
}
