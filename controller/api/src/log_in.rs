//! Logins by the identity provider. Who logs in has no certificate yet: everything hangs on what the provider vouches for, and
//! that is bound to the key that the certificate is asked for.

use std::sync::Arc;

use bytes::Bytes;
use jiff::SignedDuration;
use tonic::{Code, Request, Response, Status};
use verger_controller_state::{Action, Command, Response as Answer};
use verger_policy::digest::Digest;
use verger_proto::cluster::v1 as pb;
use verger_proto::cluster::v1::login_service_server::LoginService;
use verger_wire::timestamp;

use crate::asking::Asker;
use crate::caller;
use crate::certificates::record;
use crate::identity_provider::{
    Attempt, IdentityProvider, Known, Loopback, ProviderError, Redemption, nonce,
};
use crate::ports::{Ambient, Holder, Issuer, Replicated, read, refused_surely};
use crate::status::{argument, issue, refused, unavailable, unexpected, with_reason};

/// The longest state, challenge, code and verifier that are sent on to the provider, bytes. Some providers' codes are long.
const PART_BYTES: usize = 4_096;

/// The service.
pub struct LogIn {
    replicated: Arc<dyn Replicated>,
    ambient: Arc<dyn Ambient>,
    issuer: Arc<dyn Issuer>,
    provider: Option<Arc<dyn IdentityProvider>>,
    address: String,
}

impl LogIn {
    /// Serves by a provider; without one it says so. People connect to `address` afterwards.
    pub fn new(
        replicated: Arc<dyn Replicated>,
        ambient: Arc<dyn Ambient>,
        issuer: Arc<dyn Issuer>,
        provider: Option<Arc<dyn IdentityProvider>>,
        address: String,
    ) -> Self {
        Self {
            replicated,
            ambient,
            issuer,
            provider,
            address,
        }
    }

    fn provider(&self) -> Result<&Arc<dyn IdentityProvider>, Status> {
        self.provider.as_ref().ok_or_else(|| {
            with_reason(
                Code::FailedPrecondition,
                "NO_PROVIDER",
                "this cluster has no identity provider: ask an administrator for a context file, or set `[oidc]` in the controllers' configuration",
            )
        })
    }

    fn key(&self, csr: &[u8]) -> Result<Digest, Status> {
        self.issuer.key_of(csr).map_err(|error| issue(&error))
    }
}

#[tonic::async_trait]
impl LoginService for LogIn {
    async fn begin_login(
        &self,
        request: Request<pb::BeginLoginRequest>,
    ) -> Result<Response<pb::BeginLoginResponse>, Status> {
        let pb::BeginLoginRequest {
            csr,
            port,
            state,
            code_challenge,
        } = request.into_inner();
        let provider = self.provider()?;
        let attempt = Attempt {
            redirect: loopback(port)?,
            state: part("state", state)?,
            challenge: part("code_challenge", code_challenge)?,
            nonce: nonce(&self.key(&csr)?),
        };
        let url = provider
            .begin(attempt)
            .await
            .map_err(|error| not_vouched(&error))?;
        Ok(Response::new(pb::BeginLoginResponse {
            url,
            issuer: provider.issuer().to_owned(),
        }))
    }

    async fn complete_login(
        &self,
        request: Request<pb::CompleteLoginRequest>,
    ) -> Result<Response<pb::CompleteLoginResponse>, Status> {
        let from = caller::from(&request);
        let pb::CompleteLoginRequest {
            csr,
            port,
            code,
            code_verifier,
        } = request.into_inner();
        let provider = self.provider()?;
        let key = self.key(&csr)?;
        let redemption = Redemption {
            redirect: loopback(port)?,
            code: part("code", code)?,
            verifier: part("code_verifier", code_verifier)?,
            nonce: nonce(&key),
        };
        // A code serves once: who cannot give a login takes none.
        let caught_up = self.replicated.catch_up().await;
        caught_up.map_err(|error| unavailable(&error))?;
        let known = provider.redeem(redemption).await;
        let Known {
            person,
            word,
            seconds,
            replaces,
        } = known.map_err(|error| not_vouched(&error))?;
        // Whoever gets no login costs the log nothing. What is decided here is decided again where it is given.
        refused_surely(&*self.replicated, |state| {
            let taken = state.takes_word(&person.to_string(), &key, &word, replaces);
            taken.map(drop).map_err(|error| refused(&error))
        })
        .await?;
        let ends = word.issued.saturating_add(SignedDuration::from_secs(seconds));
        let command = Command {
            stamp: self.ambient.now(),
            actor: format!("person/{person}"),
            request_id: None,
            from: from.clone(),
            policies: Vec::new(),
            counted: true,
            action: Action::LogIn {
                person: person.to_string(),
                key,
                word,
                ends: ends.unwrap_or(jiff::Timestamp::MAX),
                replaces,
            },
        };
        let answer = self.replicated.propose(command).await;
        match answer.map_err(|error| unavailable(&error))? {
            Answer::LoginCreated => {}
            other => return Err(unexpected(&other)),
        }
        let login = read(&*self.replicated, |state| {
            state.login(&person.to_string()).cloned()
        });
        // Somebody may have been given another one meanwhile.
        let login = login.filter(|login| login.key == key);
        let (Some(ends), Some(login)) = (login.as_ref().and_then(|login| login.ends()), login) else {
            return Err(with_reason(
                Code::Aborted,
                "LOGIN_REPLACED",
                "another login took the place of this one at once: log in again",
            ));
        };
        let holder = Holder::PersonUntil(person.clone(), ends);
        let issued = self.issuer.issue(&csr, &holder).map_err(|error| issue(&error))?;
        let asker = Asker {
            actor: format!("person/{person}"),
            from,
            policies: Vec::new(),
        };
        record(
            &*self.replicated,
            &*self.ambient,
            asker,
            &person.to_string(),
            &issued,
        )
        .await?;
        tracing::info!(%person, "a person logged in by the identity provider");
        Ok(Response::new(pb::CompleteLoginResponse {
            chain: issued.chain.into_iter().map(Bytes::from).collect(),
            not_after: Some(timestamp(issued.not_after)),
            member_cas: self.issuer.member_cas().into_iter().map(Bytes::from).collect(),
            address: self.address.clone(),
            person: person.to_string(),
            groups: login.groups().iter().map(ToString::to_string).collect(),
        }))
    }
}

fn loopback(port: u32) -> Result<Loopback, Status> {
    match u16::try_from(port) {
        Ok(port) if port > 0 => Ok(Loopback(port)),
        _ => Err(argument("port", "is not a port: 1 to 65535")),
    }
}

/// A text that is sent on.
fn part(field: &'static str, text: String) -> Result<String, Status> {
    if text.is_empty() || text.len() > PART_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(argument(
            field,
            "is missing, too long, or has other than printable characters",
        ));
    }
    Ok(text)
}

fn not_vouched(error: &ProviderError) -> Status {
    let (code, reason) = match error {
        // Not `Unavailable`: this member answers, and another one would ask the same provider.
        ProviderError::Unreachable(_) => (Code::FailedPrecondition, "PROVIDER_UNREACHABLE"),
        ProviderError::Refused(_) => (Code::PermissionDenied, "PROVIDER_REFUSED"),
        ProviderError::Token { word, .. } => (Code::PermissionDenied, *word),
        ProviderError::Claims(_) => (Code::PermissionDenied, "CLAIMS_REFUSED"),
    };
    if code != Code::PermissionDenied {
        tracing::warn!(%error, "nobody could log in");
    }
    with_reason(code, reason, error.to_string())
}
