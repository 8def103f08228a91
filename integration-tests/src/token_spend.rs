//! One join token, used by many hosts at once, at all members of a cluster whose leader changes meanwhile: exactly one of them gets in.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// Members; hosts come to each of them in turn.
const MEMBERS: usize = 3;
/// Every so many rounds another member begins to lead while the token is used.
const LEADER_EVERY: usize = 4;
/// Who is told that nothing is decided just now asks again, and no longer than this.
const UNDECIDED: Duration = Duration::from_secs(30);
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
    let scene = Scene::of_members(&Programs::find()?, MEMBERS)?;
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
    /// Rounds in which another member began to lead.
    changes: usize,
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
    let status = access
        .insist("the cluster", |channel| async move {
            let mut people = ClusterServiceClient::new(channel);
            Ok(people.get_status(cpb::GetStatusRequest {}).await?.into_inner())
        })
        .await?;
    let doors: Vec<String> = scene
        .rows(&["cluster", "members"])?
        .iter()
        .filter_map(|row| row["enrolAddress"].as_str().map(str::to_owned))
        .collect();
    ensure!(
        doors.len() == MEMBERS,
        "{MEMBERS} members have a door each: {doors:?}"
    );
    let mut leaders = scene.member_names().into_iter().cycle();
    let mut hosts = Vec::new();
    for number in 1..=HOSTS {
        // Hosts are told apart by where they call from.
        let from = Ipv4Addr::new(127, 0, 1, u8::try_from(number).context("there are few hosts")?);
        let client = Arc::new(Client::pinned(&status.cluster_id, &status.ca_pin)?);
        let csr = KeyPair::generate()?.request()?;
        hosts.push(Host {
            channel: channel_from(
                client,
                std::slice::from_ref(&doors[number % MEMBERS]),
                Some(from.into()),
            )
            .await?,
            key: Authority::key_digest(&csr)?,
            csr,
        });
    }
    planted(&access, &hosts).await?;
    let mut tally = Tally::default();
    for round in 0..rounds {
        let approval = round % APPROVAL_EVERY == APPROVAL_EVERY - 1;
        let leader = (round % LEADER_EVERY == 0).then(|| leaders.next()).flatten();
        let change = leader.map(|leader| {
            let mut command = scene.verger();
            command.args(["cluster", "transfer-leader", &leader]);
            tokio::task::spawn_blocking(move || command.output())
        });
        let agent = format!("host-{round}");
        one_round(&access, &hosts, &agent, &agent, approval, &mut tally).await?;
        if let Some(change) = change {
            let output = change.await??;
            tally.changes += usize::from(output.status.success());
        }
        if (round + 1) % 100 == 0 {
            tell(&format!("{} rounds", round + 1));
        }
    }
    let Tally {
        doubled,
        lost,
        odd,
        changes,
    } = tally;
    Ok(Verdict {
        figure: format!(
            "{doubled} double spends, {lost} lost, {odd} odd answers in {rounds} rounds of {HOSTS} concurrent uses at {MEMBERS} members, {} of them with approval, {changes} with \
             another leader meanwhile",
            rounds / APPROVAL_EVERY
        ),
        // Most of them: who is to lead may be behind, and then another goes on to.
        holds: doubled == 0 && lost == 0 && odd == 0 && changes * 2 >= rounds / LEADER_EVERY,
    })
}

/// Two rounds that are not as they should be: of two hosts with one key both get in, and nobody does with a token that is another's.
async fn planted(access: &Access, hosts: &[Host]) -> Result<()> {
    let twins = [0, 1].map(|number: usize| Host {
        channel: hosts[number].channel.clone(),
        ..hosts[0].clone()
    });
    let mut tally = Tally::default();
    one_round(access, &twins, "twins", "twins", false, &mut tally).await?;
    ensure!(
        tally.doubled == 1,
        "that two got in is not seen: the rig proves nothing"
    );
    one_round(access, hosts, "others", "another", false, &mut tally).await?;
    ensure!(
        tally.lost == 1,
        "that nobody got in is not seen: the rig proves nothing"
    );
    ensure!(tally.odd == 0, "there are {} odd answers", tally.odd);
    Ok(())
}

/// Has a token made for an agent, and all of the hosts ask for this one with it.
async fn one_round(
    access: &Access,
    hosts: &[Host],
    of: &str,
    agent: &str,
    approval: bool,
    tally: &mut Tally,
) -> Result<()> {
    let request = cpb::CreateJoinTokenRequest {
        request_id: format!("round-{of}"),
        agent_id: of.to_owned(),
        ttl_seconds: 0,
        approval,
    };
    let token = access
        .insist("a token", |channel| {
            let request = request.clone();
            async move {
                let mut people = ClusterServiceClient::new(channel);
                Ok(people.create_join_token(request).await?.into_inner().token)
            }
        })
        .await?;
    let start = Arc::new(Barrier::new(hosts.len()));
    let mut uses = JoinSet::new();
    for (number, host) in hosts.iter().cloned().enumerate() {
        let (start, token, agent) = (Arc::clone(&start), token.clone(), agent.to_owned());
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
                tell(&format!("{of}: host {number} is answered {other:?}"));
            }
        }
    }
    let [winner] = winners.as_slice() else {
        match winners.len() {
            0 => tally.lost += 1,
            _ => tally.doubled += 1,
        }
        tell(&format!("{of}: {winners:?} got in"));
        return Ok(());
    };
    let winner = &hosts[*winner];
    // The cluster has the key of the one that was told so, and knows of nobody else.
    let request = cpb::GetHostRequest {
        agent_id: agent.to_owned(),
    };
    let host = access
        .insist("the host", |channel| {
            let request = request.clone();
            async move {
                Ok(ClusterServiceClient::new(channel)
                    .get_host(request)
                    .await?
                    .into_inner()
                    .host)
            }
        })
        .await?;
    let host = host.context("there is a host")?;
    let known: Vec<&[u8]> = match approval {
        true => host.waiting.iter().map(|waiting| &*waiting.key).collect(),
        false => vec![&*host.key],
    };
    ensure!(known == [&winner.key[..]], "{of}: the cluster has another key");
    // A lost answer is asked for again by the one it was for, and by nobody else.
    let loser = hosts
        .iter()
        .find(|host| host.key != winner.key)
        .context("there are others")?;
    let again = enrol(winner, &token, agent).await?;
    ensure!(
        again.waiting == approval,
        "{of}: the winner is answered otherwise"
    );
    match enrol(loser, &token, agent).await {
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
    let deadline = Instant::now() + UNDECIDED;
    loop {
        let answer = EnrolmentServiceClient::new(host.channel.clone())
            .enrol(request.clone())
            .await;
        match answer {
            // Nothing is known of what became of it: as an agent does, it asks again, with the key that it has.
            Err(status) if is_undecided(status.code()) && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            answer => return answer.map(tonic::Response::into_inner),
        }
    }
}

/// Whether nothing is known of what became of a call.
const fn is_undecided(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Unknown
    )
}

/// Whether the token was refused, in Verger's own words.
fn is_refused(status: &Status) -> bool {
    let reason = status.get_details_error_info().map(|info| info.reason);
    status.code() == Code::PermissionDenied && reason.as_deref() == Some("TOKEN_REFUSED")
}
