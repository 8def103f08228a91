//! One join token, used by many hosts at once, through a controller that runs: exactly one of them gets in.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use verger_proto::agent::v1 as apb;
use verger_proto::agent::v1::enrolment_service_client::EnrolmentServiceClient;
use verger_proto::cluster::v1 as cpb;
use verger_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use verger_transport::{Authority, Client, KeyPair, channel_from};

use crate::access::Access;
use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::Scene;

/// Hosts that use one token at once, each with a key and a connection of its own.
const HOSTS: usize = 50;
/// Every so many rounds a person has to approve who wins.
const APPROVAL_EVERY: usize = 5;

/// Runs 1,000 rounds, or 50 in the short form.
///
/// # Errors
/// When the scene does not work. Tokens that were spent otherwise than once are in the verdict.
pub fn run(long: bool) -> Result<Verdict> {
    verger_transport::install_crypto_provider();
    let scene = Scene::without_agent(&Programs::find()?, "")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(spend(&scene, if long { 1_000 } else { 50 }))
}

/// What the rounds came to.
#[derive(Default)]
struct Tally {
    /// Rounds in which several got in.
    doubled: usize,
    /// Rounds in which nobody did.
    lost: usize,
    /// Other answers than a certificate, and the refusal of the token.
    odd: usize,
}

/// A host that wants to get in.
#[derive(Clone)]
struct Host {
    channel: Channel,
    csr: Vec<u8>,
    key: [u8; 32],
}

async fn spend(scene: &Scene, rounds: usize) -> Result<Verdict> {
    let access = Access::of(scene)?;
    let mut people = ClusterServiceClient::new(access.channel().await?);
    let status = people.get_status(cpb::GetStatusRequest {}).await?.into_inner();
    let mut hosts = Vec::new();
    for number in 1..=HOSTS {
        // Hosts are told apart by where they call from.
        let from = Ipv4Addr::new(127, 0, 1, u8::try_from(number).context("there are few hosts")?);
        let client = Arc::new(Client::pinned(&status.cluster_id, &status.ca_pin)?);
        let csr = KeyPair::generate()?.request()?;
        hosts.push(Host {
            channel: channel_from(
                client,
                std::slice::from_ref(&status.enrol_address),
                Some(from.into()),
            )
            .await?,
            key: Authority::key_digest(&csr)?,
            csr,
        });
    }
    let mut tally = Tally::default();
    for round in 0..rounds {
        let approval = round % APPROVAL_EVERY == APPROVAL_EVERY - 1;
        one_round(&mut people, &hosts, round, approval, &mut tally).await?;
        if (round + 1) % 100 == 0 {
            tell(&format!("{} rounds", round + 1));
        }
    }
    let Tally { doubled, lost, odd } = tally;
    Ok(Verdict {
        figure: format!(
            "{doubled} double spends, {lost} lost, {odd} odd answers in {rounds} rounds of {HOSTS} concurrent uses, {} of them with approval",
            rounds / APPROVAL_EVERY
        ),
        holds: doubled == 0 && lost == 0 && odd == 0,
    })
}

async fn one_round(
    people: &mut ClusterServiceClient<Channel>,
    hosts: &[Host],
    round: usize,
    approval: bool,
    tally: &mut Tally,
) -> Result<()> {
    let agent = format!("host-{round}");
    let request = cpb::CreateJoinTokenRequest {
        request_id: format!("round-{round}"),
        agent_id: agent.clone(),
        ttl_seconds: 0,
        approval,
    };
    let token = people.create_join_token(request).await?.into_inner().token;
    let start = Arc::new(Barrier::new(hosts.len()));
    let mut uses = JoinSet::new();
    for (number, host) in hosts.iter().cloned().enumerate() {
        let (start, token, agent) = (Arc::clone(&start), token.clone(), agent.clone());
        uses.spawn(async move {
            start.wait().await;
            (number, enrol(&host, &token, &agent).await)
        });
    }
    let mut winners = Vec::new();
    while let Some(used) = uses.join_next().await {
        match used? {
            (number, Ok(answer)) if answer.waiting == approval => winners.push(number),
            (_, Err(status)) if is_refused(&status) => {}
            (number, other) => {
                tally.odd += 1;
                tell(&format!("round {round}: host {number} is answered {other:?}"));
            }
        }
    }
    let [winner] = winners.as_slice() else {
        match winners.len() {
            0 => tally.lost += 1,
            _ => tally.doubled += 1,
        }
        tell(&format!("round {round}: {winners:?} got in"));
        return Ok(());
    };
    let winner = &hosts[*winner];
    // The cluster has the key of the one that was told so, and knows of nobody else.
    let request = cpb::GetHostRequest {
        agent_id: agent.clone(),
    };
    let host = people.get_host(request).await?.into_inner().host;
    let host = host.context("there is a host")?;
    let known: Vec<&[u8]> = match approval {
        true => host.waiting.iter().map(|waiting| &*waiting.key).collect(),
        false => vec![&*host.key],
    };
    ensure!(
        known == [&winner.key[..]],
        "round {round}: the cluster has another key"
    );
    // A lost answer is asked for again by the one it was for, and by nobody else.
    let loser = hosts
        .iter()
        .find(|host| host.key != winner.key)
        .context("there are others")?;
    let again = enrol(winner, &token, &agent).await?;
    ensure!(
        again.waiting == approval,
        "round {round}: the winner is answered otherwise"
    );
    match enrol(loser, &token, &agent).await {
        Err(status) if is_refused(&status) => {}
        Ok(_) => tally.doubled += 1,
        Err(_) => tally.odd += 1,
    }
    Ok(())
}

async fn enrol(host: &Host, token: &str, agent: &str) -> Result<apb::EnrolResponse, Status> {
    let request = apb::EnrolRequest {
        token: token.to_owned(),
        csr: host.csr.clone().into(),
        agent_id: agent.to_owned(),
        machine: Default::default(),
    };
    let answer = EnrolmentServiceClient::new(host.channel.clone())
        .enrol(request)
        .await;
    answer.map(tonic::Response::into_inner)
}

/// Whether the token was refused, in Verger's own words.
fn is_refused(status: &Status) -> bool {
    let reason = status.get_details_error_info().map(|info| info.reason);
    status.code() == Code::PermissionDenied && reason.as_deref() == Some("TOKEN_REFUSED")
}
