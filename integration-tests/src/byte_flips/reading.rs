//! Everything that can be read of a member, and how two readings differ.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::{Code, Response, Status};
use verger_proto::cluster::v1 as cpb;
use verger_proto::cluster::v1::audit_service_client::AuditServiceClient;
use verger_proto::cluster::v1::certificate_service_client::CertificateServiceClient;
use verger_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use verger_proto::cluster::v1::member_service_client::MemberServiceClient;
use verger_proto::policy::v1::policy_service_client::PolicyServiceClient;
use verger_proto::policy::v1::{GetSetRequest, GetSetResponse};

use super::load::{Acknowledged, Person, enrol, give_login};
use crate::access::Access;

/// Whoever is not answered within this hangs.
const HANGS: Duration = Duration::from_secs(30);

/// What a member that was just started shows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    /// The set with its bodies, seal and trust roots.
    set: GetSetResponse,
    cluster: (String, String, String),
    members: Vec<cpb::Member>,
    leader: String,
    invitations: Vec<cpb::Invitation>,
    hosts: Vec<(String, Vec<u8>, i32)>,
    /// By whom agents are known.
    agent_cas: Vec<Vec<u8>>,
    pub(super) audit: Vec<cpb::AuditRow>,
    /// Who is let in.
    pub(super) people: BTreeMap<String, bool>,
}

/// An answer, in time.
pub(super) async fn ask<T>(what: &str, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T> {
    let answer = timeout(HANGS, call).await;
    let answer = answer.with_context(|| format!("{what}: no answer within {HANGS:?}"))?;
    Ok(answer.with_context(|| what.to_owned())?.into_inner())
}

impl Reading {
    /// Reads all of it.
    pub(super) async fn take(access: &Access, people: &[Person]) -> Result<Self> {
        let channel = timeout(HANGS, access.channel())
            .await
            .context("no connection")??;
        let mut policies = PolicyServiceClient::new(channel.clone());
        let mut set = ask("the set", policies.get_set(GetSetRequest { with_bodies: true })).await?;
        // They move with every entry of the log, and every minute.
        (set.revision, set.stamp) = (0, None);
        let mut cluster = ClusterServiceClient::new(channel.clone());
        let status = ask("the status", cluster.get_status(cpb::GetStatusRequest {})).await?;
        let hosts = cpb::ListHostsRequest {
            page_size: 1_000,
            page_token: String::new(),
        };
        let hosts = ask("the hosts", cluster.list_hosts(hosts))
            .await?
            .hosts
            .into_iter();
        let mut members = MemberServiceClient::new(channel.clone());
        let listed = ask(
            "the members",
            members.list_members(cpb::ListMembersRequest { stale_ok: false }),
        )
        .await?;
        let me = ask(
            "who I am",
            CertificateServiceClient::new(channel.clone()).who_am_i(cpb::WhoAmIRequest {}),
        )
        .await?;
        let audit = audit(AuditServiceClient::new(channel)).await?;
        let without_times = |mut member: cpb::Member| {
            (member.matched, member.heard_millis_ago) = (None, None);
            member
        };
        Ok(Self {
            set,
            cluster: (status.cluster_id, status.member_id, status.ca_pin),
            members: listed.members.into_iter().map(without_times).collect(),
            leader: listed.leader,
            invitations: listed.invitations,
            hosts: hosts
                .map(|host| (host.agent_id, host.key.into(), host.standing))
                .collect(),
            agent_cas: me.agent_cas.into_iter().map(Into::into).collect(),
            audit,
            people: let_in(people).await?,
        })
    }

    /// How a later one differs where it must not.
    pub(super) fn differs(&self, later: &Self) -> Option<String> {
        let parts = [
            ("the set", self.set == later.set),
            ("the cluster's identity", self.cluster == later.cluster),
            (
                "the members",
                (&self.members, &self.leader) == (&later.members, &later.leader),
            ),
            ("the invitations", self.invitations == later.invitations),
            ("the hosts", self.hosts == later.hosts),
            ("by whom agents are known", self.agent_cas == later.agent_cas),
            ("who is let in", self.people == later.people),
        ];
        if let Some((part, _)) = parts.into_iter().find(|(_, same)| !same) {
            return Some(format!("{part} is another than was acknowledged"));
        }
        let Some(more) = later.audit.strip_prefix(&*self.audit) else {
            return Some("the audit is another than was acknowledged".to_owned());
        };
        // That somebody was refused is written a little later than it happens.
        let made_up = more
            .iter()
            .find(|row| row.entry.as_ref().is_none_or(|entry| entry.action != "denied"));
        made_up.map(|row| format!("the audit has a row that nobody caused: {:?}", row.entry))
    }

    /// Whether it is what was acknowledged.
    pub(super) fn is_of(&self, acknowledged: &Acknowledged) -> Result<()> {
        let (epoch, root) = (acknowledged.set.epoch(), acknowledged.set.root());
        ensure!(
            (self.set.epoch, &*self.set.root) == (epoch, root.as_bytes()),
            "epoch {} is shown, and {epoch} was acknowledged",
            self.set.epoch
        );
        for person in &acknowledged.people {
            ensure!(
                self.people.get(&person.name) == Some(&person.serves),
                "{} is not as was acknowledged",
                person.name
            );
        }
        Ok(())
    }

    /// One whose set has another byte.
    pub(super) fn with_another_body(mut self) -> Option<Self> {
        let body = self.set.bodies.first_mut()?;
        let mut bytes = body.canonical.to_vec();
        *bytes.last_mut()? ^= 1;
        body.canonical = bytes.into();
        Some(self)
    }

    /// One with a row of the audit that is another.
    pub(super) fn with_another_row(mut self) -> Option<Self> {
        let middle = self.audit.len() / 2;
        self.audit.get_mut(middle)?.entry.as_mut()?.actor.push('x');
        Some(self)
    }
}

async fn audit(mut client: AuditServiceClient<tonic::transport::Channel>) -> Result<Vec<cpb::AuditRow>> {
    let mut rows = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = cpb::ListRequest {
            filter: None,
            page_size: 1_000,
            page_token,
            newest_first: false,
        };
        let page = ask("the audit", client.list(request)).await?;
        rows.extend(page.rows);
        if page.next_page_token.is_empty() {
            return Ok(rows);
        }
        page_token = page.next_page_token;
    }
}

/// Everybody tries.
async fn let_in(people: &[Person]) -> Result<BTreeMap<String, bool>> {
    let mut trying = JoinSet::new();
    for Person { name, access, .. } in people.iter().cloned() {
        trying.spawn(async move {
            let served = who_am_i(&access).await;
            served.map(|served| (name, served))
        });
    }
    let mut served = BTreeMap::new();
    while let Some(tried) = trying.join_next().await {
        served.extend([tried??]);
    }
    Ok(served)
}

/// Whether somebody is let in.
async fn who_am_i(access: &Access) -> Result<bool> {
    let channel = timeout(HANGS, access.channel())
        .await
        .context("no connection")??;
    let mut client = CertificateServiceClient::new(channel);
    let answer = timeout(HANGS, client.who_am_i(cpb::WhoAmIRequest {})).await;
    match answer.context("who I am: no answer")? {
        Ok(_) => Ok(true),
        Err(status) if matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied) => Ok(false),
        Err(status) => bail!("who I am: {status}"),
    }
}

/// Uses what is there: what was acknowledged is good for what comes after it. `None` where it is, else what is wrong.
pub(super) async fn used(
    access: &Access,
    acknowledged: &Acknowledged,
    tokens: bool,
) -> Result<Option<String>> {
    if tokens {
        let (token, host) = &acknowledged.spare;
        let above: Vec<Vec<u8>> = match enrol(access, token, host).await {
            Ok(answer) => answer.chain.into_iter().skip(1).map(Into::into).collect(),
            Err(error) if is_refused(&error) => {
                return Ok(Some(format!("the token of {host} is refused: {error:#}")));
            }
            Err(error) => return Err(error),
        };
        if above != acknowledged.above_hosts {
            return Ok(Some("a host's certificate is by another authority".to_owned()));
        }
        let (token, host) = &acknowledged.spent;
        match enrol(access, token, host).await {
            Ok(_) => return Ok(Some(format!("the token of {host} was used, and is good"))),
            Err(error) if is_refused(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let (person, above) = give_login(access, "afterwards").await?;
    if above != acknowledged.above_people {
        return Ok(Some("a person's certificate is by another authority".to_owned()));
    }
    if !who_am_i(&person.access).await? {
        return Ok(Some("a login that was just given does not serve".to_owned()));
    }
    let (next, request) = acknowledged.next(access)?;
    let mut policies = PolicyServiceClient::new(access.channel().await?);
    let answer = ask("the next set", policies.apply(request)).await?;
    let is_next = (answer.epoch, &*answer.root) == (next.epoch(), next.root().as_bytes());
    Ok((!is_next).then(|| "another set was acknowledged than was asked for".to_owned()))
}

fn is_refused(error: &anyhow::Error) -> bool {
    let status = error.downcast_ref::<Status>();
    status.is_some_and(|status| status.code() == Code::PermissionDenied)
}
