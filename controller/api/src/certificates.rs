//! People's certificates.

mod issued;

use std::sync::Arc;

use bytes::Bytes;
use tonic::{Code, Request, Response, Status};
use verger_controller_state::{Action, LoginKind, Response as Answer, Vouched};
use verger_policy::model::{Resource, Verb};
use verger_proto::cluster::v1 as pb;
use verger_proto::cluster::v1::certificate_service_server::CertificateService;
use verger_transport::Label;
use verger_wire::{parse, timestamp};

use crate::asking::needed_reason;
use crate::authorizer::Authorizer;
use crate::ports::{Ambient, Holder, Issuer, Replicated, read};
use crate::status::{answered_otherwise, argument, invalid, issue, with_reason};
use issued::Renewed;
pub(crate) use issued::record;

/// The service.
pub struct Certificates {
    replicated: Arc<dyn Replicated>,
    ambient: Arc<dyn Ambient>,
    issuer: Arc<dyn Issuer>,
    authorizer: Arc<Authorizer>,
    renewed: Arc<Renewed>,
}

impl Certificates {
    /// Serves from the replicated state and the people's authority.
    pub fn new(
        replicated: Arc<dyn Replicated>,
        ambient: Arc<dyn Ambient>,
        issuer: Arc<dyn Issuer>,
        authorizer: Arc<Authorizer>,
    ) -> Self {
        Self {
            replicated,
            ambient,
            issuer,
            authorizer,
            renewed: Arc::default(),
        }
    }
}

#[tonic::async_trait]
impl CertificateService for Certificates {
    async fn create_login(
        &self,
        request: Request<pb::CreateLoginRequest>,
    ) -> Result<Response<pb::CreateLoginResponse>, Status> {
        let permit = self
            .authorizer
            .person(&request)?
            .may(Verb::Create, Resource::Certificates);
        let asker = permit.await?.asker();
        let pb::CreateLoginRequest {
            request_id: id,
            person,
            csr,
        } = request.into_inner();
        let name: Label = parse("person", &person).map_err(invalid)?;
        let key = self.issuer.key_of(&csr).map_err(|error| issue(&error))?;
        let action = Action::CreateLogin {
            person: person.clone(),
            key,
        };
        match asker
            .clone()
            .propose(&*self.replicated, &*self.ambient, &id, action)
            .await?
        {
            Answer::LoginCreated => {}
            other => return Err(answered_otherwise(&other)),
        }
        let holder = Holder::Person(name);
        let issued = self.issuer.issue(&csr, &holder).map_err(|error| issue(&error))?;
        record(&*self.replicated, &*self.ambient, asker, &person, &issued).await?;
        Ok(Response::new(pb::CreateLoginResponse {
            chain: issued.chain.into_iter().map(Bytes::from).collect(),
            not_after: Some(timestamp(issued.not_after)),
        }))
    }

    async fn revoke_login(
        &self,
        request: Request<pb::RevokeLoginRequest>,
    ) -> Result<Response<pb::RevokeLoginResponse>, Status> {
        let permit = self
            .authorizer
            .person(&request)?
            .may(Verb::Revoke, Resource::Certificates);
        let asker = permit.await?.asker();
        let pb::RevokeLoginRequest {
            request_id: id,
            person,
            reason,
            lift,
        } = request.into_inner();
        let _: Label = parse("person", &person).map_err(invalid)?;
        if asker.actor == format!("person/{person}") {
            return Err(argument(
                "person",
                "is yourself: give yourself another login, which takes the place of this one",
            ));
        }
        let action = if lift {
            Action::RestoreLogin { person }
        } else {
            let reason = needed_reason(reason)?;
            Action::RevokeLogin { person, reason }
        };
        match asker
            .propose(&*self.replicated, &*self.ambient, &id, action)
            .await?
        {
            Answer::Decided => Ok(Response::new(pb::RevokeLoginResponse {})),
            other => Err(answered_otherwise(&other)),
        }
    }

    async fn renew_certificate(
        &self,
        request: Request<pb::RenewCertificateRequest>,
    ) -> Result<Response<pb::RenewCertificateResponse>, Status> {
        let permit = self
            .authorizer
            .person(&request)?
            .may(Verb::Renew, Resource::Certificates);
        let permit = permit.await?;
        let (person, own) = permit.name_and_key();
        let lasts = read(&*self.replicated, |state| {
            state.login(&person).is_none_or(|login| login.ends().is_none())
        });
        if !lasts {
            return Err(with_reason(
                Code::FailedPrecondition,
                "LOGIN_NOT_RENEWED",
                "this login ends when it was given to, and is not renewed: log in again with `verger login`",
            ));
        }
        let pb::RenewCertificateRequest { csr } = request.into_inner();
        let key = self.issuer.key_of(&csr).map_err(|error| issue(&error))?;
        if key != own {
            return Err(argument(
                "csr",
                "has another key than the certificate: a certificate is renewed with its own key",
            ));
        }
        let holder = Holder::Person(parse("person", &person).map_err(invalid)?);
        let now = self.ambient.now();
        let issued = match self.renewed.find(&person, &key, now) {
            Some(issued) => issued,
            None => {
                let issued = self.issuer.issue(&csr, &holder).map_err(|error| issue(&error))?;
                let asker = permit.asker();
                record(&*self.replicated, &*self.ambient, asker, &person, &issued).await?;
                tracing::info!(%person, "a person's certificate was renewed");
                self.renewed.keep(person, key, now, issued.clone());
                issued
            }
        };
        Ok(Response::new(pb::RenewCertificateResponse {
            chain: issued.chain.into_iter().map(Bytes::from).collect(),
            not_after: Some(timestamp(issued.not_after)),
        }))
    }

    async fn who_am_i(
        &self,
        request: Request<pb::WhoAmIRequest>,
    ) -> Result<Response<pb::WhoAmIResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::WhoAmIRequest {} = request.into_inner();
        let (person, login) = caller.itself().await?;
        let mut answer = pb::WhoAmIResponse {
            person,
            agent_cas: self.issuer.agent_cas().into_iter().map(Bytes::from).collect(),
            ..Default::default()
        };
        if let Some(login) = login {
            answer.groups = login.groups().iter().map(ToString::to_string).collect();
            answer.ends = login.ends().map(timestamp);
            match login.kind {
                LoginKind::Local => {}
                LoginKind::Vouched { word, ends: _ } => {
                    let Vouched { issuer, subject, .. } = word;
                    (answer.issuer, answer.subject) = (issuer, subject);
                }
                LoginKind::BreakGlass { reason, ends: _ } => answer.break_glass = reason,
            }
        }
        Ok(Response::new(answer))
    }
}
