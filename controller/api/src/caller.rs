//! Who calls: from the certificate alone, never from a message.

use tonic::{Code, Request, Status};
use verger_policy::model::AgentId;
use verger_transport::{Peer, peer_of};

use crate::status::with_reason;

/// A person, by the name in the certificate.
///
/// # Errors
/// When the caller is not a person.
pub fn person<T>(request: &Request<T>) -> Result<String, Status> {
    match peer_of(request) {
        Some(Peer::Person(name)) => Ok(name.to_string()),
        _ => Err(with_reason(
            Code::PermissionDenied,
            "NOT_A_PERSON",
            "only a person's certificate may call this",
        )),
    }
}

/// An agent, by the id in the certificate.
///
/// # Errors
/// When the caller is not an agent.
pub fn agent<T>(request: &Request<T>) -> Result<AgentId, Status> {
    let denied = || {
        with_reason(
            Code::PermissionDenied,
            "NOT_AN_AGENT",
            "only an agent's certificate may call this",
        )
    };
    match peer_of(request) {
        Some(Peer::Agent(id)) => id.to_string().parse().map_err(|_| denied()),
        _ => Err(denied()),
    }
}
