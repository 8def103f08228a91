//! Parts of stored commands, read and bounded.

use verger_policy::model::{Name, ObjectKey};
use verger_proto::stored::v1 as stored;
use verger_seal::SignedHead;

use super::{Action, InvalidCommand};
use crate::convert;
use crate::limits;
use crate::state::Vouched;

pub(super) fn log_in(message: stored::LogIn) -> Result<Action, InvalidCommand> {
    let stored::LogIn {
        person,
        key_digest,
        issuer,
        subject,
        issued_ms,
        ends_ms,
        groups,
        replaces,
    } = message;
    named("person", &person)?;
    for (field, text) in [("issuer", &issuer), ("subject", &subject)] {
        if text.is_empty() || text.len() > limits::PROVIDER_BYTES {
            return Err(InvalidCommand::Field(field));
        }
    }
    if groups.len() > limits::GROUPS {
        return Err(InvalidCommand::Field("groups"));
    }
    let groups = groups
        .iter()
        .map(|group| group.parse().map_err(|_| InvalidCommand::Field("groups")));
    Ok(Action::LogIn {
        person,
        key: convert::digest(&key_digest).ok_or(InvalidCommand::Field("key_digest"))?,
        word: Vouched {
            issuer,
            subject,
            issued: convert::time(issued_ms).ok_or(InvalidCommand::Field("issued_ms"))?,
            groups: groups.collect::<Result<_, _>>()?,
        },
        ends: convert::time(ends_ms).ok_or(InvalidCommand::Field("ends_ms"))?,
        replaces,
    })
}

pub(super) fn member_name(text: &str) -> Result<Name, InvalidCommand> {
    convert::member_name(text).ok_or(InvalidCommand::Field("member"))
}

/// Bounded, and there.
pub(super) fn named(field: &'static str, text: &str) -> Result<(), InvalidCommand> {
    if text.is_empty() {
        return Err(InvalidCommand::Field(field));
    }
    bounded(field, text)
}

pub(super) fn object_keys(keys: Vec<stored::StoredKey>) -> Result<Vec<ObjectKey>, InvalidCommand> {
    keys.into_iter()
        .map(|key| convert::object_key(key).ok_or(InvalidCommand::Field("deletes")))
        .collect()
}

pub(super) fn is_bounded(head: &SignedHead) -> bool {
    let SignedHead {
        statement,
        key,
        signature,
    } = head;
    [statement, key, signature]
        .iter()
        .all(|part| part.len() <= limits::HEAD_BYTES)
}

pub(super) fn bounded(field: &'static str, text: &str) -> Result<(), InvalidCommand> {
    if text.len() <= limits::NAME_BYTES {
        return Ok(());
    }
    Err(InvalidCommand::Field(field))
}
