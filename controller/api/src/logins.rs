//! Which logins still serve, and what comes with one.

mod layer;

use std::collections::BTreeSet;

use tonic::{Code, Status};
use verger_controller_state::{LoginKind, Refused, State, is_break_glass};
use verger_policy::digest::Digest;
use verger_policy::model::Name;

use crate::status::{refused, with_reason};

pub use layer::{CheckLogins, LoginsLayer};

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
