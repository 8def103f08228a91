//! Verger's members, and people who write.
//!
//! The write is `RevokeLogin` of a name of the client's own, with a reason of the size that a value has: of all that people may ask for it
//! does the least besides being written. It makes no key and no certificate, as logins and tokens do, needs nothing that others made, as
//! what is done to findings and proposals does, and may be asked for again and again, which puts the new reason in the place of the old
//! one. That the name has no login yet makes no difference. It is authorized, remembered by its id and on record in the audit's chain as
//! everything else is.

use anyhow::{Context as _, Result, ensure};
use tokio::runtime::Handle;
use tonic::Status;
use tonic::transport::Channel;
use verger_proto::cluster::v1::audit_service_client::AuditServiceClient;
use verger_proto::cluster::v1::certificate_service_client::CertificateServiceClient;
use verger_proto::cluster::v1::{CreateLoginRequest, HeadRequest, RevokeLoginRequest};
use verger_transport::{Identity, KeyPair};

use super::MEMBERS;
use super::side::{Side, Write};
use crate::access::Access;
use crate::programs::Programs;
use crate::scene::Scene;

/// People who write: one may begin a thousand calls a second (`controller/api/src/quotas.rs`).
const PEOPLE: usize = 50;

/// One write of one client.
pub(super) struct Revocation {
    client: CertificateServiceClient<Channel>,
    person: String,
}

impl Revocation {
    pub(super) async fn write(&mut self, reason: String) -> Result<(), Status> {
        let request = RevokeLoginRequest {
            request_id: uuid::Uuid::new_v4().to_string(),
            person: self.person.clone(),
            reason,
            lift: false,
        };
        self.client.revoke_login(request).await.map(drop)
    }
}

/// The cluster.
pub(super) struct Verger {
    scene: Scene,
    names: Vec<String>,
    addresses: Vec<String>,
    admin: Access,
    people: Vec<Access>,
    handle: Handle,
}

impl Verger {
    /// Three members, and logins for those who write.
    pub(super) fn found(programs: &Programs, handle: &Handle) -> Result<Self> {
        let scene = Scene::of_members(programs, MEMBERS)?;
        let names = scene.member_names();
        let addresses: Result<Vec<String>> = names.iter().map(|name| scene.address(name)).collect();
        let mut verger = Self {
            admin: Access::of(&scene)?,
            scene,
            names,
            addresses: addresses?,
            people: Vec::new(),
            handle: handle.clone(),
        };
        ensure!(verger.addresses.len() == MEMBERS, "a member has no address");
        for number in 0..PEOPLE {
            verger.people.push(verger.log_in(&format!("writer-{number}"))?);
        }
        Ok(verger)
    }

    /// A folder of the scene, which is gone with it.
    pub(super) fn folder(&self, name: &str) -> std::path::PathBuf {
        self.scene.path(name)
    }

    fn log_in(&self, person: &str) -> Result<Access> {
        let key = KeyPair::generate()?;
        let request = CreateLoginRequest {
            request_id: uuid::Uuid::new_v4().to_string(),
            person: person.to_owned(),
            csr: key.request()?.into(),
        };
        let answer = self.handle.block_on(self.admin.insist("a login", |channel| {
            let request = request.clone();
            async move {
                Ok(CertificateServiceClient::new(channel)
                    .create_login(request)
                    .await?
                    .into_inner())
            }
        }))?;
        let chain = answer.chain.into_iter().map(Into::into).collect();
        self.admin.as_somebody(&Identity::new(chain, &key))
    }
}

impl Side for Verger {
    fn name(&self) -> &'static str {
        "Verger"
    }

    fn pids(&self) -> Result<Vec<u32>> {
        self.scene.member_pids()
    }

    fn leader(&self) -> Result<usize> {
        let leader = self.scene.leader()?;
        let place = self.names.iter().position(|name| *name == leader);
        place.with_context(|| format!("{leader} leads, and is no member"))
    }

    fn kill(&mut self, member: usize) -> Result<()> {
        self.scene.member(&self.names[member])?.kill()
    }

    fn start(&mut self, member: usize) -> Result<()> {
        self.scene.member(&self.names[member])?.start()?;
        // Who answers this has what the others have.
        self.written(member).map(drop)
    }

    fn connect(&self, number: usize, member: usize) -> Result<Channel> {
        let who = self.people[number % PEOPLE].at(&self.addresses[member]);
        self.handle.block_on(who.channel())
    }

    fn write_over(&self, number: usize, channel: &Channel) -> Write {
        Write::Verger(Revocation {
            client: CertificateServiceClient::new(channel.clone()),
            person: super::key_of(number),
        })
    }

    fn written(&self, member: usize) -> Result<u64> {
        let at = self.admin.at(&self.addresses[member]);
        let head = at.insist("the audit's head", |channel| async move {
            Ok(AuditServiceClient::new(channel)
                .head(HeadRequest {})
                .await?
                .into_inner())
        });
        Ok(self.handle.block_on(head)?.written)
    }
}
