//! Logins that were replaced: whoever has the old one is nobody.

use std::sync::Arc;

use tonic::{Code, Request, Status};
use verger_policy::digest::Digest;
use verger_transport::{Peer, PeerCertificate, certificate_of};

use crate::ports::{Replicated, read};
use crate::status::with_reason;

/// Refuses people whose login gave way to another. Goes around all services, so that none can forget to ask.
///
/// # Errors
/// When the caller is a person whose login was replaced.
pub fn check<T>(replicated: &Arc<dyn Replicated>, request: Request<T>) -> Result<Request<T>, Status> {
    if let Some(PeerCertificate {
        peer: Peer::Person(name),
        key,
        not_after: _,
    }) = certificate_of(&request)
    {
        let key = Digest::from_bytes(*key);
        let replaced = read(&**replicated, |state| {
            state
                .login(&name.to_string())
                .is_some_and(|login| login.key != key)
        });
        if replaced {
            return Err(with_reason(
                Code::Unauthenticated,
                "LOGIN_REPLACED",
                "this login was replaced by another one of the same person: use that",
            ));
        }
    }
    Ok(request)
}
