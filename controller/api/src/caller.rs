//! Who calls: from the certificate alone, never from a message.

use std::net::SocketAddr;

use jiff::Timestamp;
use tonic::{Code, Request, Status};
use verger_policy::digest::Digest;
use verger_policy::model::AgentId;
use verger_transport::{Peer, PeerCertificate, RENEWAL_GRACE, certificate_of, peer_info};

use crate::status::with_reason;

/// A person, by the name in the certificate, with the digest of the certificate's key. Its connection ends with it. Handlers ask
/// the authorizer, which tells them only of what the person may.
pub(crate) fn person_with_key<T>(request: &Request<T>) -> Result<(String, Digest), Status> {
    match certificate_of(request) {
        Some(PeerCertificate {
            peer: Peer::Person(name),
            key,
            not_after: _,
        }) => Ok((name.to_string(), Digest::from_bytes(*key))),
        _ => Err(with_reason(
            Code::PermissionDenied,
            "NOT_A_PERSON",
            "only a person's certificate may call this",
        )),
    }
}

/// The address a request came from, as this member sees it: `192.0.2.1:40000`.
pub fn from<T>(request: &Request<T>) -> Option<String> {
    let address = peer_info(request)?.address;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()).to_string())
}

/// An agent, as its certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallingAgent {
    /// Its id.
    pub id: AgentId,
    /// SHA-256 of the certificate's public key.
    pub key: Digest,
    /// The address it calls from.
    pub from: Option<String>,
    /// When its certificate ends, seconds since the Unix epoch.
    pub not_after: i64,
}

impl CallingAgent {
    /// Refuses an agent whose certificate has ended by `now`. Asked again while a stream is open: it would outlive its certificate.
    ///
    /// # Errors
    /// When it has.
    pub fn in_time(&self, now: Timestamp) -> Result<(), Status> {
        if self.not_after >= now.as_second() {
            return Ok(());
        }
        Err(with_reason(
            Code::Unauthenticated,
            "CERTIFICATE_EXPIRED",
            "the agent's certificate has ended: it serves for nothing but its renewal",
        ))
    }
}

/// An agent whose certificate is good at `now`.
///
/// # Errors
/// When the caller is not an agent, or its certificate has ended.
pub fn agent<T>(request: &Request<T>, now: Timestamp) -> Result<CallingAgent, Status> {
    let agent = named(request)?;
    agent.in_time(now)?;
    Ok(agent)
}

/// An agent whose certificate may have ended within the grace that the transport gives, for its renewal alone.
///
/// # Errors
/// When the caller is not an agent.
pub fn renewing_agent<T>(request: &Request<T>, now: Timestamp) -> Result<CallingAgent, Status> {
    let agent = named(request)?;
    // The handshake looked at it, and the connection may be old by now.
    let grace = i64::try_from(RENEWAL_GRACE.as_secs()).unwrap_or(i64::MAX);
    if agent.not_after.saturating_add(grace) < now.as_second() {
        return Err(with_reason(
            Code::Unauthenticated,
            "CERTIFICATE_EXPIRED",
            "the agent's certificate ended too long ago to be renewed: enrol the host again",
        ));
    }
    Ok(agent)
}

fn named<T>(request: &Request<T>) -> Result<CallingAgent, Status> {
    let denied = || {
        with_reason(
            Code::PermissionDenied,
            "NOT_AN_AGENT",
            "only an agent's certificate may call this",
        )
    };
    match certificate_of(request) {
        Some(PeerCertificate {
            peer: Peer::Agent(id),
            key,
            not_after,
        }) => {
            let id = id.to_string().parse().map_err(|_| denied())?;
            let key = Digest::from_bytes(*key);
            let from = from(request);
            Ok(CallingAgent {
                id,
                key,
                from,
                not_after: *not_after,
            })
        }
        _ => Err(denied()),
    }
}
