//! The cluster: identity, hosts, instances, join tokens.

mod decisions;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};
use verger_controller_state::{Action, Response as Answer, State};
use verger_policy::digest::Digest;
use verger_policy::model::{AgentId, Kind, Name, Resource, Verb};
use verger_proto::cluster::v1 as pb;
use verger_proto::cluster::v1::cluster_service_server::ClusterService;
use verger_proto::policy::v1::Envelope;
use verger_transport::{JoinToken, Label};
use verger_wire::{digest_bytes, parse, timestamp};

use crate::asking::{needed_reason, reason};
use crate::authorizer::{Authorizer, of_host};
use crate::fleet::{Fleet, Seen, is_heard};
use crate::paging;
use crate::ports::{Ambient, Replicated, read};
use crate::quotas::take_place;
use crate::status::{answered_otherwise, argument, invalid, not_found, with_reason};

use decisions::{Waiting, Which, not_decided, standing, waiting, waits};

/// The longest, and the usual, life of a join token in seconds.
const TOKEN_SECONDS: u32 = 600;

/// What this member says of itself.
#[derive(Clone, Debug)]
pub struct MemberInfo {
    /// Its name in certificates.
    pub member: String,
    /// Where agents and people connect: `HOST:PORT`.
    pub address: String,
    /// Where agents enrol.
    pub enrol_address: String,
    /// The pin of the members' authority.
    pub ca_pin: String,
    /// The identity provider people log in by, where there is one.
    pub oidc_issuer: Option<String>,
}

/// The service.
pub struct Cluster {
    replicated: Arc<dyn Replicated>,
    ambient: Arc<dyn Ambient>,
    fleet: Arc<Fleet>,
    authorizer: Arc<Authorizer>,
    info: MemberInfo,
}

impl Cluster {
    /// Serves from the replicated state and from what this member heard of agents.
    pub fn new(
        replicated: Arc<dyn Replicated>,
        ambient: Arc<dyn Ambient>,
        fleet: Arc<Fleet>,
        authorizer: Arc<Authorizer>,
        info: MemberInfo,
    ) -> Self {
        Self {
            replicated,
            ambient,
            fleet,
            authorizer,
            info,
        }
    }

    /// Looks at the state as it is here, which was brought up to date when the caller was let in.
    fn now<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        read(&*self.replicated, look)
    }

    fn host(&self, state: &State, agent: &AgentId, waiting: &Waiting<'_>) -> Option<pb::Host> {
        let (host, waiting) = (state.host(agent), waiting.get(agent));
        if host.is_none() && waiting.is_none() {
            return None;
        }
        let standing = standing(host);
        let Seen {
            sessions,
            last,
            heard,
            ledger,
            version,
            refusal,
            instances,
            controls,
            unreadable,
            findings_made,
            changes: _,
        } = self.fleet.of(agent);
        let (epoch, root) = ledger.unwrap_or((0, Digest::from_bytes([0; 32])));
        Some(pb::Host {
            agent_id: agent.to_string(),
            enrolled: host.map(|host| timestamp(host.enrolled)),
            last_seen: last.map(timestamp),
            // A host without power closes no session: of a silent one it is not known that it is there.
            connected: sessions > 0 && is_heard(heard, Instant::now()),
            epoch,
            root: digest_bytes(&root),
            agent_version: version,
            instances: u32::try_from(instances.len()).unwrap_or(u32::MAX),
            refusal,
            labels: state
                .set()
                .host_labels(agent)
                .map(|labels| labels.0.clone().into_iter().collect())
                .unwrap_or_default(),
            controls,
            unreadable: unreadable.into_iter().collect(),
            findings_received: host.map_or(0, |host| host.last_sequence),
            findings_made,
            key: host.map(|host| digest_bytes(&host.key)).unwrap_or_default(),
            waiting: waiting.into_iter().flatten().map(|asked| waits(asked)).collect(),
            ..standing
        })
    }
}

fn agent_id(text: &str) -> Result<AgentId, Status> {
    parse("agent_id", text).map_err(invalid)
}

#[tonic::async_trait]
impl ClusterService for Cluster {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        self.authorizer
            .person(&request)?
            .may(Verb::Get, Resource::Status)
            .await?;
        let leader = self.replicated.is_leading();
        let MemberInfo {
            member,
            address,
            enrol_address,
            ca_pin,
            oidc_issuer,
        } = self.info.clone();
        let response = self.now(|state| pb::GetStatusResponse {
            cluster_id: state
                .cluster()
                .map(|cluster| cluster.id.hex())
                .unwrap_or_default(),
            member_id: member,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: state.set().epoch(),
            revision: state.revision(),
            leader,
            trust_root: state.cluster().map(|cluster| Envelope {
                json: cluster.envelope.clone(),
            }),
            enrol_address,
            ca_pin,
            address,
            roles_in_force: state
                .set()
                .entries()
                .any(|entry| entry.key.kind == Kind::RoleBinding),
            oidc_issuer: oidc_issuer.unwrap_or_default(),
        });
        Ok(Response::new(response))
    }

    async fn create_join_token(
        &self,
        request: Request<pb::CreateJoinTokenRequest>,
    ) -> Result<Response<pb::CreateJoinTokenResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::CreateJoinTokenRequest {
            request_id: id,
            agent_id: agent,
            ttl_seconds,
            approval,
        } = request.into_inner();
        // It will be the name in a certificate, too: one label, no slash.
        let _: Label = parse("agent_id", &agent).map_err(invalid)?;
        let agent = agent_id(&agent)?;
        let permit = caller
            .may_all(|state| vec![of_host(state.set(), Verb::Create, Resource::Tokens, &agent)])
            .await?;
        let asker = permit.asker();
        let seconds = if ttl_seconds == 0 {
            TOKEN_SECONDS
        } else {
            ttl_seconds.min(TOKEN_SECONDS)
        };
        let mut random = [0; 40];
        self.ambient.random(&mut random);
        let token = JoinToken::from_random(random);
        let now = self.ambient.now();
        // By the cluster's time, where that is ahead of this member's clock.
        let begins = read(&*self.replicated, |state| state.clock()).max(now);
        let expires = begins + jiff::SignedDuration::from_secs(seconds.into());
        let action = Action::CreateToken {
            id: token.id().to_owned(),
            secret_hash: Digest::from_bytes(token.secret_hash()),
            agent,
            expires,
            approval,
        };
        match asker
            .propose(&*self.replicated, &*self.ambient, &id, action)
            .await?
        {
            Answer::TokenCreated(_) => Ok(Response::new(pb::CreateJoinTokenResponse {
                token: token.reveal().to_string(),
                expires: Some(timestamp(expires)),
            })),
            other => Err(answered_otherwise(&other)),
        }
    }

    async fn list_hosts(
        &self,
        request: Request<pb::ListHostsRequest>,
    ) -> Result<Response<pb::ListHostsResponse>, Status> {
        self.authorizer
            .person(&request)?
            .may(Verb::List, Resource::Hosts)
            .await?;
        take_place(&request).await?;
        let pb::ListHostsRequest {
            page_size,
            page_token,
        } = request.into_inner();
        let after: Option<AgentId> = paging::after(&page_token)?;
        let response = self.now(|state| {
            let waiting = waiting(state);
            let agents: BTreeSet<&AgentId> = state
                .hosts()
                .map(|(agent, _)| agent)
                .chain(waiting.keys().copied())
                .filter(|agent| after.as_ref().is_none_or(|after| *agent > after))
                .collect();
            let hosts = agents
                .into_iter()
                .filter_map(|agent| self.host(state, agent, &waiting));
            let (hosts, next_page_token) =
                paging::page(hosts, paging::size(page_size), |host| host.agent_id.clone());
            pb::ListHostsResponse {
                hosts,
                next_page_token,
            }
        });
        Ok(Response::new(response))
    }

    async fn get_host(
        &self,
        request: Request<pb::GetHostRequest>,
    ) -> Result<Response<pb::GetHostResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let agent = agent_id(&request.into_inner().agent_id)?;
        caller
            .may_all(|state| vec![of_host(state.set(), Verb::Get, Resource::Hosts, &agent)])
            .await?;
        let host = self.now(|state| self.host(state, &agent, &waiting(state)));
        let host = host.ok_or_else(|| not_found("enrolled host of this agent"))?;
        Ok(Response::new(pb::GetHostResponse { host: Some(host) }))
    }

    async fn remove_host(
        &self,
        request: Request<pb::RemoveHostRequest>,
    ) -> Result<Response<pb::RemoveHostResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::RemoveHostRequest {
            request_id: id,
            agent_id: agent,
        } = request.into_inner();
        let agent = agent_id(&agent)?;
        let permit = caller
            .may_all(|state| vec![of_host(state.set(), Verb::Delete, Resource::Hosts, &agent)])
            .await?;
        let asker = permit.asker();
        let action = Action::RemoveHost { agent };
        match asker
            .propose(&*self.replicated, &*self.ambient, &id, action)
            .await?
        {
            Answer::HostRemoved => Ok(Response::new(pb::RemoveHostResponse {})),
            other => Err(not_decided(&other)),
        }
    }

    async fn approve_host(
        &self,
        request: Request<pb::ApproveHostRequest>,
    ) -> Result<Response<pb::ApproveHostResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::ApproveHostRequest {
            request_id,
            agent_id,
            key,
        } = request.into_inner();
        let which = Which::of(request_id, &agent_id)?;
        self.answer_host(caller, which, &key, true).await?;
        Ok(Response::new(pb::ApproveHostResponse {}))
    }

    async fn reject_host(
        &self,
        request: Request<pb::RejectHostRequest>,
    ) -> Result<Response<pb::RejectHostResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::RejectHostRequest {
            request_id,
            agent_id,
            key,
        } = request.into_inner();
        let which = Which::of(request_id, &agent_id)?;
        self.answer_host(caller, which, &key, false).await?;
        Ok(Response::new(pb::RejectHostResponse {}))
    }

    async fn evict_host(
        &self,
        request: Request<pb::EvictHostRequest>,
    ) -> Result<Response<pb::EvictHostResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::EvictHostRequest {
            request_id,
            agent_id,
            reason: text,
        } = request.into_inner();
        let which = Which::of(request_id, &agent_id)?;
        let (agent, reason) = (which.agent.clone(), reason(text)?);
        let action = Action::EvictHost { agent, reason };
        self.decide_host(caller, Verb::Evict, which, action).await?;
        Ok(Response::new(pb::EvictHostResponse {}))
    }

    async fn ban_host(
        &self,
        request: Request<pb::BanHostRequest>,
    ) -> Result<Response<pb::BanHostResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::BanHostRequest {
            request_id,
            agent_id,
            reason,
        } = request.into_inner();
        let which = Which::of(request_id, &agent_id)?;
        let (agent, reason) = (which.agent.clone(), needed_reason(reason)?);
        let action = Action::BanHost { agent, reason };
        self.decide_host(caller, Verb::Ban, which, action).await?;
        Ok(Response::new(pb::BanHostResponse {}))
    }

    async fn unban_host(
        &self,
        request: Request<pb::UnbanHostRequest>,
    ) -> Result<Response<pb::UnbanHostResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::UnbanHostRequest { request_id, agent_id } = request.into_inner();
        let which = Which::of(request_id, &agent_id)?;
        let agent = which.agent.clone();
        self.decide_host(caller, Verb::Ban, which, Action::UnbanHost { agent })
            .await?;
        Ok(Response::new(pb::UnbanHostResponse {}))
    }

    async fn list_instances(
        &self,
        request: Request<pb::ListInstancesRequest>,
    ) -> Result<Response<pb::ListInstancesResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::ListInstancesRequest {
            agent_id: agent,
            workload,
            page_size,
            page_token,
        } = request.get_ref().clone();
        let agent = if agent.is_empty() {
            None
        } else {
            Some(agent_id(&agent)?)
        };
        if !matches!(workload.as_str(), "" | "-") {
            let _: Name = parse("workload", &workload).map_err(invalid)?;
        }
        if !page_token.is_empty() && !is_place(&page_token) {
            return Err(paging::foreign());
        }
        match &agent {
            None => caller.may(Verb::List, Resource::Instances).await?,
            Some(agent) => {
                let ask = |state: &State| vec![of_host(state.set(), Verb::List, Resource::Instances, agent)];
                caller.may_all(ask).await?
            }
        };
        take_place(&request).await?;
        let instances = self.fleet.instances(agent.as_ref()).into_iter();
        let mut chosen: Vec<pb::Instance> = instances
            .filter(|instance| match workload.as_str() {
                "" => true,
                "-" => instance.workloads.is_empty(),
                name => instance.workloads.iter().any(|of| of == name),
            })
            .map(|instance| pb::Instance {
                checks_json: Vec::new().into(),
                ..instance
            })
            .collect();
        chosen.sort_by_key(place);
        let rest = chosen
            .into_iter()
            .filter(|instance| page_token.is_empty() || place(instance) > page_token);
        let (instances, next_page_token) = paging::page(rest, paging::size(page_size), place);
        Ok(Response::new(pb::ListInstancesResponse {
            instances,
            next_page_token,
        }))
    }

    async fn get_instance(
        &self,
        request: Request<pb::GetInstanceRequest>,
    ) -> Result<Response<pb::GetInstanceResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::GetInstanceRequest {
            agent_id: agent,
            instance,
        } = request.into_inner();
        let agent = agent_id(&agent)?;
        if instance.is_empty() {
            return Err(argument(
                "instance",
                "is missing: give an id, a prefix of one, or a name",
            ));
        }
        caller
            .may_all(|state| vec![of_host(state.set(), Verb::Get, Resource::Instances, &agent)])
            .await?;
        let all = self.fleet.instances(Some(&agent));
        // A whole id first: what runs there chooses its name, and could choose another's id.
        let ways: [&dyn Fn(&pb::Instance) -> bool; 3] = [
            &|known| known.id == instance,
            &|known| known.name == instance,
            &|known| known.id.starts_with(&instance),
        ];
        let found: Vec<&pb::Instance> = ways
            .into_iter()
            .map(|fits| all.iter().filter(|known| fits(known)).collect::<Vec<_>>())
            .find(|found| !found.is_empty())
            .unwrap_or_default();
        match found.as_slice() {
            [] => Err(not_found("such instance on this host")),
            [one] => Ok(Response::new(pb::GetInstanceResponse {
                instance: Some((*one).clone()),
            })),
            _ => Err(with_reason(
                Code::FailedPrecondition,
                "AMBIGUOUS",
                "several instances fit; give more of the id",
            )),
        }
    }
}

fn is_place(token: &str) -> bool {
    let mut parts = token.splitn(3, '/');
    let agent = parts.next().is_some_and(|agent| agent.parse::<Label>().is_ok());
    agent && parts.count() == 2
}

fn place(instance: &pb::Instance) -> String {
    format!("{}/{}/{}", instance.agent_id, instance.runtime, instance.id)
}
