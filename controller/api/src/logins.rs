//! Logins that were replaced or revoked: whoever has one is nobody.

use std::sync::Arc;

use tonic::{Code, Request, Status};
use verger_controller_state::{Login, State};
use verger_policy::digest::Digest;
use verger_transport::{Peer, PeerCertificate, certificate_of};

use crate::ports::{Replicated, read};
use crate::status::with_reason;

/// Refuses people whose login gave way to another, or was revoked. Goes around all services, so that none can forget to ask.
///
/// # Errors
/// When the caller is a person whose login was replaced or revoked.
pub fn check<T>(replicated: &Arc<dyn Replicated>, request: Request<T>) -> Result<Request<T>, Status> {
    if let Some(PeerCertificate {
        peer: Peer::Person(name),
        key,
        not_after: _,
    }) = certificate_of(&request)
    {
        let key = Digest::from_bytes(*key);
        read(&**replicated, |state| serves(state, &name.to_string(), &key))?;
    }
    Ok(request)
}

/// Whether a person's certificate with this key serves.
pub(crate) fn serves(state: &State, person: &str, key: &Digest) -> Result<(), Status> {
    match state.login(person) {
        Some(Login { revoked: Some(_), .. }) => Err(with_reason(
            Code::Unauthenticated,
            "LOGIN_REVOKED",
            "this login was revoked: whoever may create logins can give you another one",
        )),
        Some(login) if login.key != *key => Err(with_reason(
            Code::Unauthenticated,
            "LOGIN_REPLACED",
            "this login was replaced by another one of the same person: use that",
        )),
        _ => Ok(()),
    }
}
