//! Commands: what members agree on, and its stored form.

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use verger_policy::digest::Digest;
use verger_policy::finding::{FindingUid, Transition};
use verger_policy::model::{AgentId, ObjectKey};
use verger_proto::stored::v1 as stored;

use crate::convert;
use crate::limits;

/// The stored format this version writes.
const FORMAT: u32 = 1;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The proposer's clock.
    pub stamp: Timestamp,
    /// Who asked: `person/ada`, `agent/h1`, `controller/1`.
    pub actor: String,
    /// Makes a repeat answer as the first did. `None` where the action is idempotent by itself.
    pub request_id: Option<String>,
    /// What to do.
    pub action: Action,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Found the cluster on trust root version 1.
    Found {
        /// Its envelope.
        trust_root: Bytes,
    },
    /// Make the next policy set.
    ApplySet {
        /// The epoch it was made on.
        expected_epoch: u64,
        /// Canonical bytes of objects put in or replaced.
        upserts: Vec<Bytes>,
        /// Objects taken out.
        deletes: Vec<ObjectKey>,
        /// The seal over the set it makes.
        seal: Bytes,
    },
    /// Keep a join token.
    CreateToken {
        /// Its public half.
        id: String,
        /// The hash of its secret half.
        secret_hash: Digest,
        /// The only agent it serves.
        agent: AgentId,
        /// When it ends.
        expires: Timestamp,
    },
    /// Spend a join token and record the host: both or neither.
    Enrol {
        /// The token's public half.
        token_id: String,
        /// The hash of the secret that was presented.
        secret_hash: Digest,
        /// Who it says it is.
        agent: AgentId,
        /// Digest of its public key.
        key: Digest,
    },
    /// Take in transitions of findings.
    Ingest {
        /// Whose.
        agent: AgentId,
        /// Sequence of the first.
        first_sequence: u64,
        /// In order, without a gap.
        transitions: Vec<Transition>,
    },
    /// Record that a person has seen a finding.
    AckFinding {
        /// Which.
        uid: FindingUid,
        /// Why it may wait.
        note: String,
    },
}

impl Action {
    /// Its word in the audit.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Found { .. } => "found",
            Self::ApplySet { .. } => "apply-set",
            Self::CreateToken { .. } => "create-token",
            Self::Enrol { .. } => "enrol",
            Self::Ingest { .. } => "ingest",
            Self::AckFinding { .. } => "acknowledge-finding",
        }
    }
}

/// Stored bytes that are no command this version knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCommand {
    /// Too long.
    #[error("a command of {0} bytes is over the limit")]
    TooLarge(usize),
    /// Not a message.
    #[error("the bytes of a command cannot be decoded")]
    Undecodable,
    /// Written by a newer version.
    #[error("the command has format {0}; this version knows 1")]
    Format(u32),
    /// A field has no valid value.
    #[error("the command's `{0}` is not valid")]
    Field(&'static str),
}

impl Command {
    /// Encodes in format 1.
    pub fn encode(&self) -> Bytes {
        use stored::command::Action as Stored;
        let action = match &self.action {
            Action::Found { trust_root } => Stored::Found(stored::Found {
                trust_root_envelope: trust_root.clone(),
            }),
            Action::ApplySet {
                expected_epoch,
                upserts,
                deletes,
                seal,
            } => Stored::ApplySet(stored::ApplySet {
                expected_epoch: *expected_epoch,
                upserts: upserts.clone(),
                deletes: deletes.iter().map(convert::stored_key).collect(),
                seal: seal.clone(),
            }),
            Action::CreateToken {
                id,
                secret_hash,
                agent,
                expires,
            } => Stored::CreateToken(stored::CreateToken {
                id: id.clone(),
                secret_hash: convert::bytes(secret_hash),
                agent_id: agent.to_string(),
                expires_ms: expires.as_millisecond(),
            }),
            Action::Enrol {
                token_id,
                secret_hash,
                agent,
                key,
            } => Stored::Enrol(stored::Enrol {
                token_id: token_id.clone(),
                secret_hash: convert::bytes(secret_hash),
                agent_id: agent.to_string(),
                key_digest: convert::bytes(key),
            }),
            Action::Ingest {
                agent,
                first_sequence,
                transitions,
            } => Stored::Ingest(stored::Ingest {
                agent_id: agent.to_string(),
                first_sequence: *first_sequence,
                transitions: transitions.iter().map(convert::stored_transition).collect(),
            }),
            Action::AckFinding { uid, note } => Stored::AckFinding(stored::AckFinding {
                uid: convert::bytes(&uid.0),
                note: note.clone(),
            }),
        };
        stored::Command {
            format: FORMAT,
            stamp_ms: self.stamp.as_millisecond(),
            actor: self.actor.clone(),
            request_id: self.request_id.clone().unwrap_or_default(),
            action: Some(action),
        }
        .encode_to_vec()
        .into()
    }

    /// Decodes.
    ///
    /// # Errors
    /// When the bytes are not a command this version knows, or break a bound of [`limits`].
    pub fn decode(bytes: Bytes) -> Result<Self, InvalidCommand> {
        use stored::command::Action as Stored;
        if bytes.len() > limits::COMMAND_BYTES {
            return Err(InvalidCommand::TooLarge(bytes.len()));
        }
        let stored::Command {
            format,
            stamp_ms,
            actor,
            request_id,
            action,
        } = stored::Command::decode(bytes).map_err(|_| InvalidCommand::Undecodable)?;
        if format != FORMAT {
            return Err(InvalidCommand::Format(format));
        }
        if actor.is_empty() {
            return Err(InvalidCommand::Field("actor"));
        }
        let action = match action.ok_or(InvalidCommand::Field("action"))? {
            Stored::Found(stored::Found { trust_root_envelope }) => Action::Found {
                trust_root: trust_root_envelope,
            },
            Stored::ApplySet(stored::ApplySet {
                expected_epoch,
                upserts,
                deletes,
                seal,
            }) => Action::ApplySet {
                expected_epoch,
                upserts,
                deletes: deletes
                    .into_iter()
                    .map(|key| convert::object_key(key).ok_or(InvalidCommand::Field("deletes")))
                    .collect::<Result<_, _>>()?,
                seal,
            },
            Stored::CreateToken(stored::CreateToken {
                id,
                secret_hash,
                agent_id,
                expires_ms,
            }) => Action::CreateToken {
                id,
                secret_hash: convert::digest(&secret_hash).ok_or(InvalidCommand::Field("secret_hash"))?,
                agent: agent_id.parse().map_err(|_| InvalidCommand::Field("agent_id"))?,
                expires: convert::time(expires_ms).ok_or(InvalidCommand::Field("expires_ms"))?,
            },
            Stored::Enrol(stored::Enrol {
                token_id,
                secret_hash,
                agent_id,
                key_digest,
            }) => Action::Enrol {
                token_id,
                secret_hash: convert::digest(&secret_hash).ok_or(InvalidCommand::Field("secret_hash"))?,
                agent: agent_id.parse().map_err(|_| InvalidCommand::Field("agent_id"))?,
                key: convert::digest(&key_digest).ok_or(InvalidCommand::Field("key_digest"))?,
            },
            Stored::Ingest(stored::Ingest {
                agent_id,
                first_sequence,
                transitions,
            }) => {
                if transitions.len() > limits::TRANSITIONS {
                    return Err(InvalidCommand::Field("transitions"));
                }
                Action::Ingest {
                    agent: agent_id.parse().map_err(|_| InvalidCommand::Field("agent_id"))?,
                    first_sequence,
                    transitions: transitions
                        .into_iter()
                        .map(|transition| convert::transition(transition).map_err(InvalidCommand::Field))
                        .collect::<Result<_, _>>()?,
                }
            }
            Stored::AckFinding(stored::AckFinding { uid, note }) => {
                if note.len() > limits::TEXT_BYTES {
                    return Err(InvalidCommand::Field("note"));
                }
                Action::AckFinding {
                    uid: FindingUid(convert::digest(&uid).ok_or(InvalidCommand::Field("uid"))?),
                    note,
                }
            }
        };
        Ok(Self {
            stamp: convert::time(stamp_ms).ok_or(InvalidCommand::Field("stamp_ms"))?,
            actor,
            request_id: Some(request_id).filter(|id| !id.is_empty()),
            action,
        })
    }
}
