//! Between the state machines' words and the messages.

use bytes::Bytes;
use verger_agent_core::ledger::{MAX_LATER_VERSIONS, SetUpdate};
use verger_agent_core::session::{Hello, Incoming, Outgoing, TOO_MUCH, UNREADABLE};
use verger_policy::model::ObjectKey;
use verger_policy::set::{Entry, MAX_OBJECTS};
use verger_proto::agent::v1 as pb;
use verger_proto::policy::v1::{Body, Envelope};
use verger_wire::{FromWire as _, InvalidMessage, digest_bytes, required};

/// A set that has no meaning is refused, as one whose seal does not hold is.
pub(crate) fn incoming(message: pb::ConnectResponse) -> Result<Incoming, InvalidMessage> {
    use pb::connect_response::Message;
    let pb::ConnectResponse { nonce, message } = message;
    Ok(match required("message", message)? {
        Message::Heartbeat(pb::Heartbeat {
            epoch,
            stamp,
            members: _,
        }) => Incoming::Heartbeat {
            epoch,
            stamp: stamp.map(|Envelope { json }| json.to_vec()),
        },
        Message::Set(update) => match too_much(&update) {
            Some(detail) => Incoming::Unread {
                nonce,
                reason: TOO_MUCH,
                detail,
            },
            None => match set_update(update) {
                Ok(update) => Incoming::Set { nonce, update },
                Err(error) => Incoming::Unread {
                    nonce,
                    reason: UNREADABLE,
                    detail: error.to_string(),
                },
            },
        },
    })
}

/// Takes out where a message says that members are called.
pub(crate) fn members(message: &mut pb::ConnectResponse) -> Vec<String> {
    match &mut message.message {
        Some(pb::connect_response::Message::Heartbeat(heartbeat)) => std::mem::take(&mut heartbeat.members),
        _ => Vec::new(),
    }
}

/// What there is more of than any set has. Its parts are read before its seal is looked at, so their number is bounded first.
fn too_much(update: &pb::SetUpdate) -> Option<String> {
    let parts = [
        ("entries", update.entries.len(), MAX_OBJECTS),
        ("bodies", update.bodies.len(), MAX_OBJECTS),
        (
            "later versions of the trust root",
            update.trust_roots.len(),
            MAX_LATER_VERSIONS,
        ),
    ];
    let (what, found, most) = parts.into_iter().find(|(_, found, most)| found > most)?;
    Some(format!(
        "the set comes with {found} {what}; at most {most} are looked at"
    ))
}

fn set_update(message: pb::SetUpdate) -> Result<SetUpdate, InvalidMessage> {
    let pb::SetUpdate {
        base_epoch,
        epoch,
        entries,
        bodies,
        seal,
        trust_roots,
    } = message;
    let body = |Body { key, canonical }: Body| {
        let key =
            ObjectKey::from_wire(required("bodies.key", key)?).map_err(|error| error.within("bodies"))?;
        Ok((key, canonical.to_vec()))
    };
    let Envelope { json } = required("seal", seal)?;
    Ok(SetUpdate {
        base_epoch,
        epoch,
        entries: entries
            .into_iter()
            .map(|entry| Entry::from_wire(entry).map_err(|error| error.within("entries")))
            .collect::<Result<_, _>>()?,
        bodies: bodies
            .into_iter()
            .map(body)
            .collect::<Result<_, InvalidMessage>>()?,
        seal: json.to_vec(),
        trust_roots: trust_roots
            .into_iter()
            .map(|Envelope { json }| json.to_vec())
            .collect(),
    })
}

/// That the agent is there.
pub(crate) const fn alive() -> pb::ConnectRequest {
    pb::ConnectRequest {
        message: Some(pb::connect_request::Message::Alive(pb::Alive {})),
    }
}

/// The message of what an agent says; `machine` is which one it is on, `status` the whole status as it is now.
pub(crate) fn outgoing(
    message: Outgoing,
    machine: Bytes,
    status: impl FnOnce() -> pb::Status,
) -> pb::ConnectRequest {
    use pb::connect_request::Message;
    let message = match message {
        Outgoing::Hello(Hello { epoch, root }) => Message::Hello(pb::Hello {
            epoch,
            root: root.as_ref().map(digest_bytes).unwrap_or_default(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            machine,
        }),
        Outgoing::Ack { nonce, epoch, root } => Message::Ack(pb::Ack {
            nonce,
            epoch,
            root: digest_bytes(&root),
        }),
        Outgoing::Nack {
            nonce,
            reason,
            detail,
        } => Message::Nack(pb::Nack {
            nonce,
            reason: reason.to_owned(),
            detail,
        }),
        Outgoing::Status => Message::Status(status()),
    };
    pb::ConnectRequest {
        message: Some(message),
    }
}
