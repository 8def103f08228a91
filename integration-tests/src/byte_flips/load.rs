//! What is written through the API, and what was acknowledged of it.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use verger_policy::draft;
use verger_policy::model::PolicyObject;
use verger_policy::set::PolicySet;
use verger_proto::agent::v1::EnrolRequest;
use verger_proto::agent::v1::EnrolResponse;
use verger_proto::agent::v1::enrolment_service_client::EnrolmentServiceClient;
use verger_proto::cluster::v1 as cpb;
use verger_proto::cluster::v1::certificate_service_client::CertificateServiceClient;
use verger_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use verger_proto::cluster::v1::member_service_client::MemberServiceClient;
use verger_proto::policy::v1::policy_service_client::PolicyServiceClient;
use verger_proto::policy::v1::{ApplyRequest, GetSetRequest};
use verger_seal::{SetStatement, TrustRoot};
use verger_transport::{Client, Identity, KeyPair, channel_from};

use super::reading::ask;
use crate::access::{Access, apply_request};

/// Sets that one helping writes, of one changed object each.
const SETS: u64 = 40;
/// Objects that they are about.
const OBJECTS: u64 = 12;
/// Logins that one helping gives; the last of them is revoked.
const LOGINS: usize = 3;

/// A person with a login.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) access: Access,
    /// Whether the login was not revoked.
    pub(super) serves: bool,
}

/// What was acknowledged.
#[derive(Clone)]
pub(super) struct Acknowledged {
    pub(super) set: PolicySet,
    trust_root: TrustRoot,
    pub(super) people: Vec<Person>,
    /// A token nobody has used, and the host that it is for.
    pub(super) spare: (String, String),
    /// One that was used, and the host that it was for.
    pub(super) spent: (String, String),
    /// What people's certificates and hosts' have above them.
    pub(super) above_people: Vec<Vec<u8>>,
    pub(super) above_hosts: Vec<Vec<u8>>,
    helpings: usize,
}

fn id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn object(number: u64) -> Result<PolicyObject> {
    let text = format!(
        "apiVersion: verger/v1\nkind: Workload\nmetadata:\n  name: flips/web-{}\n  labels: {{ write: \"{number}\" }}\nspec:\n  match:\n    \
         container: {{ image: verger-test/app }}\n  config:\n    images: [ \"sha256:{}\" ]\n    command: [ /bin/sh, -c, \"exec sleep \
         {number}\" ]\n    user: {{ uid: 65534, gid: 65534 }}\n    workingDir: /srv\n    rootfs: readOnly\n",
        number % OBJECTS,
        "a".repeat(64),
    );
    let mut objects = draft::read("flips.yaml", text.as_bytes())
        .map_err(|problems| anyhow::anyhow!("the policy is wrong: {problems:?}"))?;
    objects.pop().context("one document is one object")
}

impl Acknowledged {
    /// Of a cluster that was just founded.
    pub(super) async fn of_nothing(access: &Access) -> Result<Self> {
        let mut policies = PolicyServiceClient::new(access.channel().await?);
        let set = ask("the set", policies.get_set(GetSetRequest { with_bodies: true })).await?;
        ensure!(set.epoch == 0, "the chain of sets begins at the first");
        let envelope = set.trust_root.context("a cluster has a trust root")?;
        Ok(Self {
            set: PolicySet::empty(),
            trust_root: TrustRoot::open_first(&envelope.json)?,
            people: Vec::new(),
            spare: Default::default(),
            spent: Default::default(),
            above_people: Vec::new(),
            above_hosts: Vec::new(),
            helpings: 0,
        })
    }

    /// The next set, and what asks for it.
    pub(super) fn next(&self, access: &Access) -> Result<(PolicySet, ApplyRequest)> {
        let next = self.set.change([object(self.set.epoch())?], [])?;
        let end = Timestamp::now() + SignedDuration::from_hours(24);
        let statement = SetStatement::new(
            &self.trust_root,
            next.epoch(),
            next.root(),
            next.len() as u64,
            end,
        );
        let request = apply_request(&self.set, &next, statement.seal(&[&access.key]).to_json());
        Ok((next, request))
    }

    /// Writes some of everything.
    pub(super) async fn helping(&mut self, access: &Access) -> Result<()> {
        let channel = access.channel().await?;
        let helping = self.helpings;
        self.helpings += 1;
        let mut policies = PolicyServiceClient::new(channel.clone());
        for _ in 0..SETS {
            let (next, request) = self.next(access)?;
            let answer = ask("a set", policies.apply(request)).await?;
            ensure!(
                (answer.epoch, &*answer.root) == (next.epoch(), next.root().as_bytes()),
                "another set was acknowledged than was asked for"
            );
            self.set = next;
        }
        for number in 0..LOGINS {
            let (mut person, above) = give_login(access, &format!("p{helping}-{number}")).await?;
            if number + 1 == LOGINS {
                let request = cpb::RevokeLoginRequest {
                    request_id: id(),
                    person: person.name.clone(),
                    reason: "the rig".to_owned(),
                    lift: false,
                };
                ask(
                    "a revocation",
                    CertificateServiceClient::new(channel.clone()).revoke_login(request),
                )
                .await?;
                person.serves = false;
            }
            self.above_people = above;
            self.people.push(person);
        }
        let mut hosts = ClusterServiceClient::new(channel.clone());
        for name in ["spare", "spent"] {
            let host = format!("{name}-{helping}");
            let request = cpb::CreateJoinTokenRequest {
                request_id: id(),
                agent_id: host.clone(),
                ttl_seconds: 0,
                approval: false,
            };
            let token = ask("a token", hosts.create_join_token(request)).await?.token;
            match name {
                "spare" => self.spare = (token, host),
                _ => {
                    self.above_hosts = enrol(access, &token, &host)
                        .await?
                        .chain
                        .split_off(1)
                        .into_iter()
                        .map(Into::into)
                        .collect();
                    self.spent = (token, host);
                }
            }
        }
        let request = cpb::InviteMemberRequest {
            request_id: id(),
            name: format!("c9{helping}"),
            ttl_seconds: 0,
        };
        ask(
            "an invitation",
            MemberServiceClient::new(channel).invite_member(request),
        )
        .await?;
        Ok(())
    }
}

/// Gives a login; says what its certificate has above it, too.
pub(super) async fn give_login(access: &Access, name: &str) -> Result<(Person, Vec<Vec<u8>>)> {
    let key = KeyPair::generate()?;
    let request = cpb::CreateLoginRequest {
        request_id: id(),
        person: name.to_owned(),
        csr: key.request()?.into(),
    };
    let mut logins = CertificateServiceClient::new(access.channel().await?);
    let answer = ask("a login", logins.create_login(request)).await?;
    let chain: Vec<Vec<u8>> = answer.chain.into_iter().map(Into::into).collect();
    let above = chain.get(1..).unwrap_or_default().to_vec();
    let person = Person {
        name: name.to_owned(),
        access: access.as_somebody(&Identity::new(chain, &key))?,
        serves: true,
    };
    Ok((person, above))
}

/// Uses a token.
pub(super) async fn enrol(access: &Access, token: &str, host: &str) -> Result<EnrolResponse> {
    let mut hosts = ClusterServiceClient::new(access.channel().await?);
    let status = ask("the status", hosts.get_status(cpb::GetStatusRequest {})).await?;
    let client = Arc::new(Client::pinned(&status.cluster_id, &status.ca_pin)?);
    let channel = channel_from(client, &[status.enrol_address], None).await?;
    let request = EnrolRequest {
        token: token.to_owned(),
        csr: KeyPair::generate()?.request()?.into(),
        agent_id: host.to_owned(),
        machine: Default::default(),
    };
    ask(
        "a host that joins",
        EnrolmentServiceClient::new(channel).enrol(request),
    )
    .await
}
