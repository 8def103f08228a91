//! One join token, used by many hosts at once, at all members of a cluster whose leader changes meanwhile: exactly one of them gets in.

mod leading;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::{Barrier, Semaphore};
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
use leading::Members;

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
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Rounds.
    rounds: usize,
    /// Those in which another member was to begin to lead.
    asked: usize,
    /// Rounds in which several got in.
    doubled: usize,
    /// Rounds in which nobody did.
    lost: usize,
    /// Other answers than a certificate, and the refusal of the token.
    odd: usize,
    /// Rounds after which another member led than before, or in a later term.
    changes: usize,
    /// Rounds in which somebody came to lead after the first use had begun, and before the last was answered.
    amid: usize,
}

impl Tally {
    fn verdict(self) -> Verdict {
        let Self {
            rounds,
            asked,
            doubled,
            lost,
            odd,
            changes,
            amid,
        } = self;
        Verdict {
            figure: format!(
                "{doubled} double spends, {lost} lost, {odd} odd answers in {rounds} rounds of {HOSTS} concurrent uses at {MEMBERS} members, {} of them with approval; another \
                 leader or term after {changes}, between the first and the last use in {amid} of the {asked} that were to have one",
                rounds / APPROVAL_EVERY
            ),
            // Most of them: who is to lead may be behind, and then another goes on to; and the uses may be over first.
            holds: doubled == 0 && lost == 0 && odd == 0 && asked > 0 && changes.min(amid) * 2 >= asked,
        }
    }
}

/// One token, and who uses it.
struct Round<'a> {
    /// Whose token it is.
    of: &'a str,
    /// Who they say they are that use it.
    agent: &'a str,
    /// Whether a person has to approve who wins.
    approval: bool,
    /// Has a permit for each use that has begun.
    begun: Arc<Semaphore>,
}

impl<'a> Round<'a> {
    fn new(of: &'a str, agent: &'a str) -> Self {
        Self {
            of,
            agent,
            approval: false,
            begun: Arc::new(Semaphore::new(0)),
        }
    }
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
    let rows = scene.rows(&["cluster", "members"])?;
    let doors: Vec<String> = rows
        .iter()
        .filter_map(|row| row["enrolAddress"].as_str().map(str::to_owned))
        .collect();
    ensure!(
        doors.len() == MEMBERS,
        "{MEMBERS} members have a door each: {doors:?}"
    );
    let members = Arc::new(Members::of(&access, &rows).await?);
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
    let mut before = members.lead(None).await?;
    for number in 0..rounds {
        let agent = format!("host-{number}");
        let round = Round {
            approval: number % APPROVAL_EVERY == APPROVAL_EVERY - 1,
            ..Round::new(&agent, &agent)
        };
        let change = (number % LEADER_EVERY == 0).then(|| {
            let (members, begun) = (Arc::clone(&members), Arc::clone(&round.begun));
            let (request_id, last) = (format!("lead-{agent}"), before.clone());
            tokio::spawn(async move { members.hand_over(request_id, &last, &begun).await })
        });
        let last = one_round(&access, &hosts, &round, &mut tally).await?;
        tally.rounds += 1;
        if let Some(change) = change {
            let seen = change.await??;
            tally.asked += 1;
            tally.amid += usize::from(seen.is_some_and(|seen| seen < last));
        }
        let after = members.lead(Some(&before)).await?;
        tally.changes += usize::from(after.is_after(&before));
        before = after;
        if (number + 1) % 100 == 0 {
            tell(&format!("{} rounds", number + 1));
        }
    }
    Ok(tally.verdict())
}

/// Two rounds that are not as they should be: of two hosts with one key both get in, and nobody does with a token that is another's.
async fn planted(access: &Access, hosts: &[Host]) -> Result<()> {
    let twins = [0, 1].map(|number: usize| Host {
        channel: hosts[number].channel.clone(),
        ..hosts[0].clone()
    });
    let mut tally = Tally::default();
    one_round(access, &twins, &Round::new("twins", "twins"), &mut tally).await?;
    ensure!(
        tally.doubled == 1,
        "that two got in is not seen: the rig proves nothing"
    );
    one_round(access, hosts, &Round::new("others", "another"), &mut tally).await?;
    ensure!(
        tally.lost == 1,
        "that nobody got in is not seen: the rig proves nothing"
    );
    ensure!(tally.odd == 0, "there are {} odd answers", tally.odd);
    Ok(())
}

/// Has a token made for an agent, and all of the hosts ask for this one with it. Gives when the last of them was answered.
async fn one_round(access: &Access, hosts: &[Host], round: &Round<'_>, tally: &mut Tally) -> Result<Instant> {
    let Round {
        of,
        agent,
        approval,
        ref begun,
    } = *round;
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
        let (start, begun) = (Arc::clone(&start), Arc::clone(begun));
        let (token, agent) = (token.clone(), agent.to_owned());
        uses.spawn(async move {
            start.wait().await;
            begun.add_permits(1);
            let answer = enrol(&host, &token, &agent).await;
            (number, answer, Instant::now())
        });
    }
    let mut winners = Vec::new();
    let mut last = Instant::now();
    while let Some(used) = uses.join_next().await {
        let (number, answer, answered) = used?;
        last = last.max(answered);
        match (number, answer) {
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
        return Ok(last);
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
    Ok(last)
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

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Tally = Tally {
        rounds: 50,
        asked: 12,
        doubled: 0,
        lost: 0,
        odd: 0,
        changes: 6,
        amid: 6,
    };

    #[test]
    fn a_run_with_too_few_changes_of_leader_is_void() {
        assert!(FULL.verdict().holds);
        let few = [
            Tally { changes: 5, ..FULL },
            Tally { amid: 5, ..FULL },
            Tally { asked: 0, ..FULL },
        ];
        for tally in few {
            assert!(!tally.verdict().holds, "{tally:?}");
        }
    }

    #[test]
    fn a_token_that_was_not_spent_once_is_in_the_verdict() {
        for tally in [
            Tally { doubled: 1, ..FULL },
            Tally { lost: 1, ..FULL },
            Tally { odd: 1, ..FULL },
        ] {
            assert!(!tally.verdict().holds, "{tally:?}");
        }
    }
}
