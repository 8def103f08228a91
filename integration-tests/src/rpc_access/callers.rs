//! Those who come to the doors of a controller: with a right, and without one of every kind.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use tonic::Code;
use tonic::transport::Channel;
use verger_proto::cluster::v1 as cpb;
use verger_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use verger_transport::{Authority, Client, Identity, KeyPair, Purpose, SpiffeId};

use super::probe::{self, Answer, Door};
use crate::access::Access;
use crate::scene::{Scene, checked};

const HOUR: Duration = Duration::from_secs(3_600);

/// How a caller without a right is refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    NoHandshake,
    NotServed,
    Denied(&'static str),
}

impl PartialEq<Answer> for Wanted {
    fn eq(&self, answer: &Answer) -> bool {
        match (self, answer) {
            (Self::NoHandshake, Answer::NoHandshake) | (Self::NotServed, Answer::NotServed) => true,
            (Self::Denied(wanted), Answer::Denied(reason)) => wanted == reason,
            _ => false,
        }
    }
}

/// Who calls, and how he is to be refused.
pub(super) struct Caller<'a> {
    pub(super) who: &'static str,
    pub(super) wanted: Wanted,
    stranger: &'a Stranger,
}

impl Caller<'_> {
    pub(super) async fn call(&self, rpc: &str) -> Result<Answer> {
        match &self.stranger.channel {
            Some(channel) => probe::call_over(channel.clone(), rpc).await,
            // Each call is a handshake of its own.
            None => probe::call(&self.stranger.door, rpc).await,
        }
    }
}

/// Somebody at a door. Whoever gets through the handshake keeps the connection.
struct Stranger {
    door: Door,
    channel: Option<Channel>,
}

/// All of them.
pub(super) struct Callers {
    person: Channel,
    agent: Channel,
    nobody: Stranger,
    nobody_at_enrolment: Stranger,
    of_another_cluster: Stranger,
    by_another_authority: Stranger,
    by_the_wrong_authority: Stranger,
    wrong_person: Stranger,
    without_a_login: Stranger,
    wrong_agent: Stranger,
    wrong_member: Stranger,
    ended_person: Stranger,
    ended_agent: Stranger,
    revoked: Stranger,
    evicted: Stranger,
    unknown: Stranger,
    member: Channel,
    nobody_at_members: Stranger,
    person_at_members: Stranger,
    agent_at_members: Stranger,
    forged_at_members: Stranger,
    lent_at_members: Stranger,
}

/// Whose calls an rpc is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    People,
    Agents,
    /// At a door of its own, with a token.
    Joining,
    /// There too, with the word of an identity provider, of which the scene has none.
    LoggingIn,
    /// At the door of the other members.
    Members,
    /// Whoever has a certificate.
    Anybody,
}

fn whose(rpc: &str) -> For {
    if rpc.starts_with("verger.agent.v1.SessionService/") {
        For::Agents
    } else if rpc.starts_with("verger.peer.v1.") {
        For::Members
    } else if rpc.starts_with("verger.agent.v1.EnrolmentService/")
        || rpc.starts_with("verger.cluster.v1.JoinService/")
    {
        For::Joining
    } else if rpc.starts_with("verger.cluster.v1.LoginService/") {
        For::LoggingIn
    } else if rpc.starts_with("grpc.") {
        For::Anybody
    } else {
        For::People
    }
}

/// Where certificates come from: the scene's own authorities, which no caller has.
struct Pki {
    folder: PathBuf,
    cluster: String,
    member_cas: Vec<Vec<u8>>,
    address: String,
}

impl Pki {
    /// The door of people and agents, as `peer` comes to it with a certificate.
    fn door(&self, identity: &Identity) -> Result<Door> {
        Ok(Door {
            client: Arc::new(Client::new(&self.cluster, identity, &self.member_cas)?),
            address: self.address.clone(),
        })
    }

    fn authority(&self, purpose: Purpose) -> Result<Authority> {
        Ok(Authority::load(&self.folder, purpose)?)
    }

    /// Whoever gets through the handshake, with the cluster's own authority of that purpose.
    async fn inside(&self, purpose: Purpose, peer: &str, life: Duration) -> Result<(Stranger, KeyPair)> {
        let (identity, key) = issue(&self.authority(purpose)?, &self.cluster, peer, life)?;
        let door = self.door(&identity)?;
        let channel = door.open().await?;
        ensure!(channel.is_some(), "{peer} does not get through the handshake");
        Ok((Stranger { door, channel }, key))
    }

    fn outside(&self, identity: &Identity) -> Result<Stranger> {
        Ok(Stranger {
            door: self.door(identity)?,
            channel: None,
        })
    }
}

fn issue(authority: &Authority, cluster: &str, peer: &str, life: Duration) -> Result<(Identity, KeyPair)> {
    let key = KeyPair::generate()?;
    let id = SpiffeId {
        cluster: cluster.to_owned(),
        peer: peer.parse()?,
    };
    let issued = authority.issue(&key.request()?, &id, life, &[])?;
    Ok((Identity::new(issued.chain, &key), key))
}

/// A certificate of `c1` that the authority of `c9` made, which has the root's leave for `c9` alone.
fn lent(pki: &Pki, folder: &std::path::Path) -> Result<Identity> {
    std::fs::create_dir_all(folder)?;
    let key = KeyPair::generate()?;
    let own = SpiffeId {
        cluster: pki.cluster.clone(),
        peer: "controller/c9".parse()?,
    };
    let root = pki.authority(Purpose::Members)?;
    let below = root.below(&key.request()?, Purpose::Members, &own)?;
    let below = Authority::keep_below(folder, Purpose::Members, &key, &below, root.certificate())?;
    Ok(issue(&below, &pki.cluster, "controller/c1", HOUR)?.0)
}

impl Callers {
    pub(super) async fn new(scene: &Scene, peers: String) -> Result<Self> {
        let access = Access::of(scene)?;
        let person = access.channel().await?;
        let status = ClusterServiceClient::new(person.clone())
            .get_status(cpb::GetStatusRequest {})
            .await?
            .into_inner();
        let pki = Pki {
            folder: scene.path("controller").join("pki"),
            cluster: status.cluster_id.clone(),
            member_cas: vec![
                Authority::load(&scene.path("controller").join("pki"), Purpose::Members)?
                    .certificate()
                    .to_vec(),
            ],
            address: status.address.clone(),
        };
        let pinned = |address: &str| -> Result<Stranger> {
            Ok(Stranger {
                door: Door {
                    client: Arc::new(Client::pinned(&status.cluster_id, &status.ca_pin)?),
                    address: address.to_owned(),
                },
                channel: None,
            })
        };
        let mut nobody_at_enrolment = pinned(&status.enrol_address)?;
        nobody_at_enrolment.channel = nobody_at_enrolment.door.open().await?;

        // Somebody else's authorities, with this cluster's name and with their own.
        let folder = scene.path("others");
        std::fs::create_dir_all(&folder)?;
        let others = Authority::create(&folder, Purpose::People, &pki.cluster)?;
        let (forged, _) = issue(&others, &pki.cluster, "person/you", HOUR)?;
        let (foreign, _) = issue(&others, &"ab".repeat(32), "person/you", HOUR)?;
        let (crossed, _) = issue(&pki.authority(Purpose::Agents)?, &pki.cluster, "person/you", HOUR)?;
        let (ended, _) = issue(
            &pki.authority(Purpose::People)?,
            &pki.cluster,
            "person/late",
            Duration::ZERO,
        )?;
        let agents = [("agent", "enrolled-1"), ("evicted", "evicted-1")];
        let mut enrolled = Vec::new();
        for (file, name) in agents {
            enrolled.push(enrol(scene, &pki, file, name).await?);
        }
        scene.say(&["hosts", "evicted-1", "--evict"])?;
        let (agent, evicted) = match <[Stranger; 2]>::try_from(enrolled) {
            Ok([agent, evicted]) => (agent, evicted),
            Err(_) => anyhow::bail!("two agents were enrolled"),
        };
        let (revoked, _) = pki.inside(Purpose::People, "person/revoked", HOUR).await?;
        scene.say(&[
            "context",
            "revoke",
            "--person",
            "revoked",
            "--reason",
            "to show it",
        ])?;
        // Somebody with a login, whose calls are others'.
        let file = scene.path("wrong.json");
        let mut create = scene.verger();
        create.args(["context", "create", "--person", "wrong", "--out"]);
        checked(create.arg(&file))?;
        let access = Access::with(&file, verger_seal::SealingKey::from_seed([9; 32]))?;
        let door = Door {
            client: access.client(),
            address: status.address.clone(),
        };
        let channel = door.open().await?;
        let wrong_person = Stranger { door, channel };
        let (ended_agent, _) = pki
            .inside(Purpose::Agents, "agent/ended-1", Duration::ZERO)
            .await?;
        // Time itself is waited for: certificates end at a whole second.
        let end = ended.not_after()?.max(Timestamp::now().as_second());
        while Timestamp::now().as_second() <= end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The door of the other members.
        let peers = Pki {
            folder: pki.folder.clone(),
            cluster: pki.cluster.clone(),
            member_cas: pki.member_cas.clone(),
            address: peers,
        };
        let (own, _) = issue(
            &pki.authority(Purpose::Members)?,
            &pki.cluster,
            "controller/c9",
            HOUR,
        )?;
        let member = peers.door(&own)?.open().await?;
        let (person_there, _) = issue(&pki.authority(Purpose::People)?, &pki.cluster, "person/you", HOUR)?;
        let (agent_there, _) = issue(
            &pki.authority(Purpose::Agents)?,
            &pki.cluster,
            "agent/enrolled-1",
            HOUR,
        )?;
        let (forged_member, _) = issue(&others, &pki.cluster, "controller/c9", HOUR)?;
        let lent = lent(&pki, &scene.path("lent"))?;
        Ok(Self {
            member: member.context("a member gets in where members come")?,
            nobody_at_members: pinned(&peers.address)?,
            person_at_members: peers.outside(&person_there)?,
            agent_at_members: peers.outside(&agent_there)?,
            forged_at_members: peers.outside(&forged_member)?,
            lent_at_members: peers.outside(&lent)?,
            person,
            agent: agent.channel.context("an agent that is enrolled gets in")?,
            nobody: pinned(&status.address)?,
            nobody_at_enrolment,
            of_another_cluster: pki.outside(&foreign)?,
            by_another_authority: pki.outside(&forged)?,
            by_the_wrong_authority: pki.outside(&crossed)?,
            wrong_person,
            without_a_login: pki.inside(Purpose::People, "person/made-up", HOUR).await?.0,
            wrong_agent: pki.inside(Purpose::Agents, "agent/wrong-1", HOUR).await?.0,
            wrong_member: pki.inside(Purpose::Members, "controller/wrong-1", HOUR).await?.0,
            ended_person: pki.outside(&ended)?,
            ended_agent,
            revoked,
            evicted,
            unknown: pki.inside(Purpose::Agents, "agent/unknown-1", HOUR).await?.0,
        })
    }

    /// How an rpc is answered to those whom it is for.
    pub(super) async fn with_a_right(&self, rpc: &str) -> Result<Vec<(&'static str, Answer)>> {
        let answer = match whose(rpc) {
            For::People => ("a person", probe::call_over(self.person.clone(), rpc).await?),
            For::Agents => ("an agent", probe::call_over(self.agent.clone(), rpc).await?),
            For::Members => ("a member", probe::call_over(self.member.clone(), rpc).await?),
            // Shown by the agents that were enrolled to be here.
            For::Joining | For::LoggingIn | For::Anybody => return Ok(Vec::new()),
        };
        Ok(vec![answer])
    }

    /// Whether a member is let in anywhere with what only another would say, and everywhere with what it would say itself: by a question
    /// for a vote, and by the first part of a snapshot.
    pub(super) async fn as_another_and_itself(&self) -> Result<[bool; 2]> {
        use verger_proto::peer::v1::install_snapshot_request::Part;
        use verger_proto::peer::v1::peer_service_client::PeerServiceClient;
        use verger_proto::peer::v1::{Ballot, InstallSnapshotRequest, PreVoteRequest, SnapshotHead};
        use verger_proto::stored::v1::RaftVote;
        let mut let_in = [[false; 2]; 2];
        // Of the founder, and of a number that nobody has.
        for (place, number) in [1, 99].into_iter().enumerate() {
            let vote = RaftVote {
                format: 1,
                term: 1,
                voted_for: Some(number),
                committed: false,
            };
            let head = SnapshotHead {
                leader: Some(vote),
                ..SnapshotHead::default()
            };
            let first = InstallSnapshotRequest {
                part: Some(Part::Head(head)),
            };
            let request = PreVoteRequest {
                ballot: Some(Ballot {
                    vote: Some(vote),
                    ..Ballot::default()
                }),
            };
            let mut client = PeerServiceClient::new(self.member.clone());
            let asked = client.pre_vote(request).await.map(drop);
            let sent = client.install_snapshot(tokio_stream::iter([first])).await;
            let_in[place] = [
                asked.map_or_else(|status| is_heard(&status), |()| Ok(true))?,
                sent.map_or_else(|status| is_heard(&status), |_| Ok(true))?,
            ];
        }
        let [other, own] = let_in;
        Ok([other.contains(&true), !own.contains(&false)])
    }

    /// Those whom an rpc is not for, and how each is to be refused.
    pub(super) fn without_a_right(&self, rpc: &str) -> Vec<Caller<'_>> {
        use Wanted::{Denied, NoHandshake, NotServed};
        let whose = whose(rpc);
        let mut callers = Vec::new();
        let mut add = |who, stranger, wanted| {
            callers.push(Caller {
                who,
                wanted,
                stranger,
            });
        };
        add("nobody", &self.nobody, NoHandshake);
        let at_enrolment = match whose {
            For::Joining => Denied("TOKEN_REFUSED"),
            For::LoggingIn => Denied("NO_PROVIDER"),
            _ => NotServed,
        };
        add(
            "nobody, where hosts enrol",
            &self.nobody_at_enrolment,
            at_enrolment,
        );
        add(
            "a person of another cluster",
            &self.of_another_cluster,
            NoHandshake,
        );
        add(
            "a person by another authority",
            &self.by_another_authority,
            NoHandshake,
        );
        add(
            "a person by the agents' authority",
            &self.by_the_wrong_authority,
            NoHandshake,
        );
        add(
            "a person whose certificate has ended",
            &self.ended_person,
            NoHandshake,
        );
        match whose {
            For::People => {
                add(
                    "a person whom nobody gave a login",
                    &self.without_a_login,
                    Denied("LOGIN_UNKNOWN"),
                );
                add("an agent", &self.wrong_agent, Denied("NOT_A_PERSON"));
                add("a member", &self.wrong_member, Denied("NOT_A_PERSON"));
                add(
                    "an agent whose certificate has ended",
                    &self.ended_agent,
                    Denied("NOT_A_PERSON"),
                );
                add(
                    "a person whose login was revoked",
                    &self.revoked,
                    Denied("LOGIN_REVOKED"),
                );
                add("an agent that was evicted", &self.evicted, Denied("NOT_A_PERSON"));
            }
            For::Agents => {
                // An ended certificate serves for its own renewal alone, and that only to who is enrolled.
                let ended = match rpc.ends_with("/Renew") {
                    true => "UNKNOWN_AGENT",
                    false => "CERTIFICATE_EXPIRED",
                };
                add("a person", &self.wrong_person, Denied("NOT_AN_AGENT"));
                add(
                    "a person whom nobody gave a login",
                    &self.without_a_login,
                    Denied("LOGIN_UNKNOWN"),
                );
                add("a member", &self.wrong_member, Denied("NOT_AN_AGENT"));
                add(
                    "an agent whose certificate has ended",
                    &self.ended_agent,
                    Denied(ended),
                );
                add(
                    "a person whose login was revoked",
                    &self.revoked,
                    Denied("LOGIN_REVOKED"),
                );
                add("an agent that was evicted", &self.evicted, Denied("EVICTED"));
                add(
                    "an agent that was never enrolled",
                    &self.unknown,
                    Denied("UNKNOWN_AGENT"),
                );
            }
            For::Joining | For::LoggingIn => {
                add("a person", &self.wrong_person, NotServed);
                add("an agent", &self.wrong_agent, NotServed);
                add("a member", &self.wrong_member, NotServed);
            }
            For::Members => {
                add("a person", &self.wrong_person, NotServed);
                add("an agent", &self.wrong_agent, NotServed);
                add(
                    "a member, where agents and people come",
                    &self.wrong_member,
                    NotServed,
                );
                add("nobody, where members come", &self.nobody_at_members, NoHandshake);
                add(
                    "a person, where members come",
                    &self.person_at_members,
                    NoHandshake,
                );
                add(
                    "an agent, where members come",
                    &self.agent_at_members,
                    NoHandshake,
                );
                add(
                    "a member by another authority",
                    &self.forged_at_members,
                    NoHandshake,
                );
                add(
                    "a member under another's authority",
                    &self.lent_at_members,
                    NoHandshake,
                );
            }
            For::Anybody => {}
        }
        callers
    }
}

/// Enrols an agent by the program itself, and comes to the door with its certificate.
async fn enrol(scene: &Scene, pki: &Pki, file: &str, name: &str) -> Result<Stranger> {
    let (config, data) = (format!("{file}-1.toml"), scene.path(&format!("{file}-1")));
    // Without an id of the machine, to which the host would be bound: the calls made here name none.
    std::fs::write(
        scene.path(&config),
        format!("data_dir = {data:?}\nmachine_id = \"/nonexistent\"\n"),
    )?;
    checked(&mut scene.join(name, &[], &config)?)?;
    let door = pki.door(&Identity::load(&data.join("identity.pem"))?)?;
    let channel = door.open().await?;
    ensure!(channel.is_some(), "{name} does not get through the handshake");
    Ok(Stranger { door, channel })
}

/// Whether a member that is refused was heard for what it is: what it said has no meaning. `false` where it speaks for another.
///
/// # Errors
/// When it is refused for anything else.
fn is_heard(status: &tonic::Status) -> Result<bool> {
    match status.code() {
        Code::InvalidArgument => Ok(true),
        Code::PermissionDenied if status.message().contains("speaks for") => Ok(false),
        _ => anyhow::bail!("refused otherwise: {status}"),
    }
}
