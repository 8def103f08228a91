//! People's certificates.

use std::sync::Arc;

use bytes::Bytes;
use tonic::{Request, Response, Status};
use verger_policy::model::{Resource, Verb};
use verger_proto::cluster::v1 as pb;
use verger_proto::cluster::v1::certificate_service_server::CertificateService;
use verger_wire::{parse, timestamp};

use crate::authorizer::Authorizer;
use crate::ports::{Holder, Issuer};
use crate::status::{argument, invalid, issue};

/// The service.
pub struct Certificates {
    issuer: Arc<dyn Issuer>,
    authorizer: Arc<Authorizer>,
}

impl Certificates {
    /// Serves from the people's authority.
    pub fn new(issuer: Arc<dyn Issuer>, authorizer: Arc<Authorizer>) -> Self {
        Self { issuer, authorizer }
    }
}

#[tonic::async_trait]
impl CertificateService for Certificates {
    async fn renew_certificate(
        &self,
        request: Request<pb::RenewCertificateRequest>,
    ) -> Result<Response<pb::RenewCertificateResponse>, Status> {
        let permit = self
            .authorizer
            .person(&request)?
            .may(Verb::Renew, Resource::Certificates);
        let (person, own) = permit.await?.name_and_key();
        let pb::RenewCertificateRequest { csr } = request.into_inner();
        let key = self.issuer.key_of(&csr).map_err(|error| issue(&error))?;
        if key != own {
            return Err(argument(
                "csr",
                "has another key than the certificate: a certificate is renewed with its own key",
            ));
        }
        let holder = Holder::Person(parse("person", &person).map_err(invalid)?);
        let issued = self.issuer.issue(&csr, &holder).map_err(|error| issue(&error))?;
        tracing::info!(%person, "a person's certificate was renewed");
        Ok(Response::new(pb::RenewCertificateResponse {
            chain: issued.chain.into_iter().map(Bytes::from).collect(),
            not_after: Some(timestamp(issued.not_after)),
        }))
    }
}
