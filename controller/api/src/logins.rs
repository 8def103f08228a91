//! Which logins still serve, and what comes with one.

use std::collections::BTreeSet;
use std::sync::Arc;

use tonic::{Code, Request, Status};
use verger_controller_state::{LoginKind, Refused, State, is_break_glass};
use verger_policy::digest::Digest;
use verger_policy::model::Name;
use verger_transport::{Peer, PeerCertificate, certificate_of};

use crate::ports::{Replicated, read};
use crate::status::{refused, with_reason};

/// What a login that serves says of its person beside the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The groups that roles are bound to.
    pub(crate) groups: BTreeSet<Name>,
    /// Whether the glass was broken: it has every power through the API, past all roles.
    pub(crate) break_glass: bool,
    /// Whether somebody of this cluster gave the login, and not an identity provider: it has every power until a role is bound.
    pub(crate) local: bool,
}

impl Standing {
    /// That of the person with this name and certificate's key.
    ///
    /// # Errors
    /// When the login was revoked or replaced, or is over: a connection may be older than either. And where there is none: a
    /// certificate alone, whoever issued it, is no login.
    pub(crate) fn of(state: &State, name: &str, key: &Digest) -> Result<Self, Status> {
        if state.cluster().is_none() {
            return Err(refused(&Refused::NotFounded));
        }
        let Some(login) = state.login(name) else {
            // Broken glass has a row for as long as it lasts.
            return Err(match is_break_glass(name) {
                true => over(),
                false => with_reason(
                    Code::Unauthenticated,
                    "LOGIN_UNKNOWN",
                    "the cluster knows no login of this name: log in again with `verger login`, or ask whoever may create logins",
                ),
            });
        };
        if login.revoked.is_some() {
            return Err(with_reason(
                Code::Unauthenticated,
                "LOGIN_REVOKED",
                "this login was revoked: whoever may create logins can give you another one",
            ));
        }
        if login.key != *key {
            return Err(with_reason(
                Code::Unauthenticated,
                "LOGIN_REPLACED",
                "this login was replaced by another one of the same person: use that",
            ));
        }
        if login.ends().is_some_and(|ends| ends <= state.clock()) {
            return Err(over());
        }
        Ok(Self {
            groups: login.groups(),
            break_glass: matches!(login.kind, LoginKind::BreakGlass { .. }),
            local: matches!(login.kind, LoginKind::Local),
        })
    }
}

fn over() -> Status {
    with_reason(
        Code::Unauthenticated,
        "LOGIN_ENDED",
        "this login is over: log in again with `verger login`, or ask whoever gave it",
    )
}

/// Refuses people whose login gave way to another, was revoked, is over, or was never given. Goes around all services, so that none can forget to ask.
///
/// # Errors
/// When the caller is a person whose login serves no more.
pub fn check<T>(replicated: &Arc<dyn Replicated>, request: Request<T>) -> Result<Request<T>, Status> {
    if let Some(PeerCertificate {
        peer: Peer::Person(name),
        key,
        not_after: _,
    }) = certificate_of(&request)
    {
        let key = Digest::from_bytes(*key);
        read(&**replicated, |state| {
            Standing::of(state, &name.to_string(), &key).map(drop)
        })?;
    }
    Ok(request)
}
