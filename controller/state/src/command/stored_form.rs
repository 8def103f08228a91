//! The stored form of commands.

mod parts;

use bytes::Bytes;
use prost::Message as _;
use verger_policy::finding::FindingUid;
use verger_proto::stored::v1 as stored;

use self::parts::{bounded, is_bounded, log_in, member_name, named, object_keys};
use super::{About, Action, Command, InvalidCommand, MemberTurn};
use crate::convert;
use crate::limits;
use crate::state::Vouched;
use crate::version::ClusterVersion;

/// The stored format this version writes.
const FORMAT: u32 = 1;

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
                approval,
            } => Stored::CreateToken(stored::CreateToken {
                id: id.clone(),
                secret_hash: convert::bytes(secret_hash),
                agent_id: agent.to_string(),
                expires_ms: expires.as_millisecond(),
                approval: *approval,
            }),
            Action::Enrol {
                token_id,
                secret_hash,
                agent,
                key,
                machine,
            } => Stored::Enrol(stored::Enrol {
                token_id: token_id.clone(),
                secret_hash: convert::bytes(secret_hash),
                agent_id: agent.to_string(),
                key_digest: convert::bytes(key),
                machine: convert::optional_bytes(machine.as_ref()),
            }),
            Action::Ingest {
                agent,
                first_sequence,
                transitions,
                anew,
                chain_before,
                head,
            } => Stored::Ingest(stored::Ingest {
                agent_id: agent.to_string(),
                first_sequence: *first_sequence,
                anew: *anew,
                chain_before: chain_before.as_ref().map(convert::bytes).unwrap_or_default(),
                head: head.as_ref().map(convert::stored_head),
                transitions: transitions.iter().map(convert::stored_transition).collect(),
            }),
            Action::AckFinding { uid, note } => Stored::AckFinding(stored::AckFinding {
                uid: convert::bytes(&uid.0),
                note: note.clone(),
            }),
            Action::Propose {
                expected_epoch,
                upserts,
                deletes,
                seal,
            } => Stored::Propose(stored::Propose {
                expected_epoch: *expected_epoch,
                upserts: upserts.clone(),
                deletes: deletes.iter().map(convert::stored_key).collect(),
                seal: seal.clone(),
            }),
            Action::SignProposal { number, seal } => Stored::SignProposal(stored::SignProposal {
                number: *number,
                seal: seal.clone(),
            }),
            Action::WithdrawProposal { number } => {
                Stored::WithdrawProposal(stored::WithdrawProposal { number: *number })
            }
            Action::RotateTrustRoot { trust_root, seal } => {
                Stored::RotateTrustRoot(stored::RotateTrustRoot {
                    trust_root_envelope: trust_root.clone(),
                    seal: seal.clone(),
                })
            }
            Action::RecoverLogin { person, reason, key } => Stored::RecoverLogin(stored::RecoverLogin {
                person: person.clone(),
                reason: reason.clone(),
                key_digest: convert::bytes(key),
            }),
            Action::CreateLogin { person, key } => Stored::CreateLogin(stored::CreateLogin {
                person: person.clone(),
                key_digest: convert::bytes(key),
            }),
            Action::LogIn {
                person,
                key,
                word,
                ends,
                replaces,
            } => {
                let Vouched {
                    issuer,
                    subject,
                    issued,
                    groups,
                } = word;
                Stored::LogIn(stored::LogIn {
                    person: person.clone(),
                    key_digest: convert::bytes(key),
                    issuer: issuer.clone(),
                    subject: subject.clone(),
                    issued_ms: issued.as_millisecond(),
                    ends_ms: ends.as_millisecond(),
                    groups: groups.iter().map(ToString::to_string).collect(),
                    replaces: *replaces,
                })
            }
            Action::BreakGlass {
                person,
                reason,
                key,
                ends,
            } => Stored::BreakGlass(stored::BreakGlass {
                person: person.clone(),
                reason: reason.clone(),
                key_digest: convert::bytes(key),
                ends_ms: ends.as_millisecond(),
            }),
            Action::EndBreakGlass { person } => Stored::EndBreakGlass(stored::EndBreakGlass {
                person: person.clone(),
            }),
            Action::InviteMember {
                member,
                id,
                secret_hash,
                expires,
            } => Stored::InviteMember(stored::InviteMember {
                member: member.to_string(),
                id: id.clone(),
                secret_hash: convert::bytes(secret_hash),
                expires_ms: expires.as_millisecond(),
            }),
            Action::AdmitMember {
                member,
                secret_hash,
                key,
                newest,
            } => Stored::AdmitMember(stored::AdmitMember {
                member: member.to_string(),
                secret_hash: convert::bytes(secret_hash),
                key_digest: convert::bytes(key),
                newest_version: newest.number(),
            }),
            Action::RemoveMember { member } => Stored::RemoveMember(stored::RemoveMember {
                member: member.to_string(),
            }),
            Action::NoteMember { member, turn, forced } => Stored::NoteMember(stored::NoteMember {
                member: member.to_string(),
                turn: match turn {
                    MemberTurn::Promoted => stored::MemberTurn::Promoted,
                    MemberTurn::Demoted => stored::MemberTurn::Demoted,
                    MemberTurn::Leads => stored::MemberTurn::Leads,
                }
                .into(),
                forced: *forced,
            }),
            Action::RaiseVersion { to } => Stored::RaiseVersion(stored::RaiseVersion { to: to.number() }),
            Action::SaveSnapshot => Stored::SaveSnapshot(stored::SaveSnapshot {}),
            Action::Restore { from, members } => Stored::Restore(stored::Restore {
                from: Some(convert::stored_place(from)),
                members: members
                    .iter()
                    .map(|(name, number)| stored::NumberedMember {
                        member: name.to_string(),
                        number: *number,
                    })
                    .collect(),
            }),
            Action::TellAhead { agent, epoch } => Stored::TellAhead(stored::TellAhead {
                agent_id: agent.to_string(),
                epoch: *epoch,
            }),
            Action::RemoveHost { agent } => Stored::RemoveHost(stored::RemoveHost {
                agent_id: agent.to_string(),
            }),
            Action::DecideHost { agent, key, approved } => Stored::DecideHost(stored::DecideHost {
                agent_id: agent.to_string(),
                key_digest: convert::bytes(key),
                approved: *approved,
            }),
            Action::EvictHost { agent, reason } => Stored::EvictHost(stored::EvictHost {
                agent_id: agent.to_string(),
                reason: reason.clone(),
            }),
            Action::BanHost { agent, reason } => Stored::BanHost(stored::BanHost {
                agent_id: agent.to_string(),
                reason: reason.clone(),
                lifted: false,
            }),
            Action::UnbanHost { agent } => Stored::BanHost(stored::BanHost {
                agent_id: agent.to_string(),
                reason: String::new(),
                lifted: true,
            }),
            Action::RevokeLogin { person, reason } => Stored::RevokeLogin(stored::RevokeLogin {
                person: person.clone(),
                reason: reason.clone(),
                lifted: false,
            }),
            Action::RestoreLogin { person } => Stored::RevokeLogin(stored::RevokeLogin {
                person: person.clone(),
                reason: String::new(),
                lifted: true,
            }),
            Action::TellCopy { agent, machine } => Stored::TellCopy(stored::TellCopy {
                agent_id: agent.to_string(),
                machine: convert::optional_bytes(machine.as_ref()),
            }),
            Action::TellSilence {
                agent,
                silent,
                since,
                unrecorded,
            } => Stored::TellSilence(stored::TellSilence {
                agent_id: agent.to_string(),
                silent: *silent,
                since_ms: since.map_or(0, |at| at.as_millisecond()),
                unrecorded: *unrecorded,
            }),
            Action::NoteDenied {
                rpc,
                reason,
                attempts,
                since,
                about,
            } => {
                let About {
                    verb,
                    resource,
                    request_id,
                } = about.clone();
                Stored::NoteDenied(stored::NoteDenied {
                    rpc: rpc.clone(),
                    reason: reason.clone(),
                    attempts: *attempts,
                    since_ms: since.as_millisecond(),
                    verb,
                    resource,
                    request_id,
                })
            }
            Action::RecordCertificate { person, digest, ends } => {
                Stored::RecordCertificate(stored::RecordCertificate {
                    person: person.clone(),
                    digest: convert::bytes(digest),
                    ends_ms: ends.as_millisecond(),
                })
            }
            Action::Stamp { envelope } => Stored::Stamp(stored::Stamp {
                envelope: envelope.clone(),
            }),
            Action::Tick { until } => Stored::Tick(stored::Tick {
                until_ms: until.as_millisecond(),
            }),
        };
        stored::Command {
            format: FORMAT,
            stamp_ms: self.stamp.as_millisecond(),
            actor: self.actor.clone(),
            request_id: self.request_id.clone().unwrap_or_default(),
            from: self.from.clone().unwrap_or_default(),
            policies: self.policies.clone(),
            counted: self.counted,
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
            from,
            policies,
            counted,
            action,
        } = stored::Command::decode(bytes).map_err(|_| InvalidCommand::Undecodable)?;
        if format != FORMAT {
            return Err(InvalidCommand::Format(format));
        }
        if actor.is_empty() {
            return Err(InvalidCommand::Field("actor"));
        }
        // They become keys and values of rows, which the store bounds.
        bounded("actor", &actor)?;
        bounded("request_id", &request_id)?;
        bounded("from", &from)?;
        if policies.len() > limits::POLICIES {
            return Err(InvalidCommand::Field("policies"));
        }
        policies
            .iter()
            .try_for_each(|policy| bounded("policies", policy))?;
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
                deletes: object_keys(deletes)?,
                seal,
            },
            Stored::Propose(stored::Propose {
                expected_epoch,
                upserts,
                deletes,
                seal,
            }) => Action::Propose {
                expected_epoch,
                upserts,
                deletes: object_keys(deletes)?,
                seal,
            },
            Stored::SignProposal(stored::SignProposal { number, seal }) => {
                Action::SignProposal { number, seal }
            }
            Stored::WithdrawProposal(stored::WithdrawProposal { number }) => {
                Action::WithdrawProposal { number }
            }
            Stored::CreateToken(stored::CreateToken {
                id,
                secret_hash,
                agent_id,
                expires_ms,
                approval,
            }) => Action::CreateToken {
                id: bounded("id", &id).map(|()| id)?,
                secret_hash: convert::digest(&secret_hash).ok_or(InvalidCommand::Field("secret_hash"))?,
                agent: agent_id.parse().map_err(|_| InvalidCommand::Field("agent_id"))?,
                expires: convert::time(expires_ms).ok_or(InvalidCommand::Field("expires_ms"))?,
                approval,
            },
            Stored::Enrol(stored::Enrol {
                token_id,
                secret_hash,
                agent_id,
                key_digest,
                machine,
            }) => Action::Enrol {
                token_id,
                secret_hash: convert::digest(&secret_hash).ok_or(InvalidCommand::Field("secret_hash"))?,
                agent: agent_id.parse().map_err(|_| InvalidCommand::Field("agent_id"))?,
                key: convert::digest(&key_digest).ok_or(InvalidCommand::Field("key_digest"))?,
                machine: convert::optional_digest(&machine).ok_or(InvalidCommand::Field("machine"))?,
            },
            Stored::Ingest(stored::Ingest {
                agent_id,
                first_sequence,
                transitions,
                anew,
                head,
                chain_before,
            }) => {
                if transitions.len() > limits::TRANSITIONS {
                    return Err(InvalidCommand::Field("transitions"));
                }
                Action::Ingest {
                    agent: agent_id.parse().map_err(|_| InvalidCommand::Field("agent_id"))?,
                    first_sequence,
                    anew,
                    chain_before: match &*chain_before {
                        [] => None,
                        bytes => Some(convert::digest(bytes).ok_or(InvalidCommand::Field("chain_before"))?),
                    },
                    // It becomes part of a row, which the store bounds.
                    head: match head.map(convert::head) {
                        Some(head) if !is_bounded(&head) => return Err(InvalidCommand::Field("head")),
                        head => head,
                    },
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
            Stored::RotateTrustRoot(stored::RotateTrustRoot {
                trust_root_envelope,
                seal,
            }) => Action::RotateTrustRoot {
                trust_root: trust_root_envelope,
                seal,
            },
            Stored::CreateLogin(stored::CreateLogin { person, key_digest }) => {
                bounded("person", &person)?;
                if person.is_empty() {
                    return Err(InvalidCommand::Field("person"));
                }
                Action::CreateLogin {
                    person,
                    key: convert::digest(&key_digest).ok_or(InvalidCommand::Field("key_digest"))?,
                }
            }
            Stored::LogIn(message) => log_in(message)?,
            Stored::BreakGlass(stored::BreakGlass {
                person,
                reason,
                key_digest,
                ends_ms,
            }) => {
                named("person", &person)?;
                named("reason", &reason)?;
                Action::BreakGlass {
                    person,
                    reason,
                    key: convert::digest(&key_digest).ok_or(InvalidCommand::Field("key_digest"))?,
                    ends: convert::time(ends_ms).ok_or(InvalidCommand::Field("ends_ms"))?,
                }
            }
            Stored::EndBreakGlass(stored::EndBreakGlass { person }) => {
                named("person", &person)?;
                Action::EndBreakGlass { person }
            }
            Stored::InviteMember(stored::InviteMember {
                member,
                id,
                secret_hash,
                expires_ms,
            }) => Action::InviteMember {
                member: member_name(&member)?,
                id: bounded("id", &id).map(|()| id)?,
                secret_hash: convert::digest(&secret_hash).ok_or(InvalidCommand::Field("secret_hash"))?,
                expires: convert::time(expires_ms).ok_or(InvalidCommand::Field("expires_ms"))?,
            },
            Stored::AdmitMember(stored::AdmitMember {
                member,
                secret_hash,
                key_digest,
                newest_version,
            }) => Action::AdmitMember {
                member: member_name(&member)?,
                secret_hash: convert::digest(&secret_hash).ok_or(InvalidCommand::Field("secret_hash"))?,
                key: convert::digest(&key_digest).ok_or(InvalidCommand::Field("key_digest"))?,
                newest: ClusterVersion::of(newest_version),
            },
            Stored::RemoveMember(stored::RemoveMember { member }) => Action::RemoveMember {
                member: member_name(&member)?,
            },
            Stored::NoteMember(note) => Action::NoteMember {
                turn: match note.turn() {
                    stored::MemberTurn::Promoted => MemberTurn::Promoted,
                    stored::MemberTurn::Demoted => MemberTurn::Demoted,
                    stored::MemberTurn::Leads => MemberTurn::Leads,
                    stored::MemberTurn::Unspecified => return Err(InvalidCommand::Field("turn")),
                },
                member: member_name(&note.member)?,
                forced: note.forced,
            },
            Stored::RaiseVersion(stored::RaiseVersion { to }) => Action::RaiseVersion {
                to: ClusterVersion::of(to),
            },
            Stored::SaveSnapshot(stored::SaveSnapshot {}) => Action::SaveSnapshot,
            Stored::Restore(stored::Restore { from, members }) => Action::Restore {
                from: from
                    .and_then(convert::place)
                    .ok_or(InvalidCommand::Field("from"))?,
                members: members
                    .into_iter()
                    .map(|stored::NumberedMember { member, number }| match number {
                        0 => Err(InvalidCommand::Field("number")),
                        number => Ok((member_name(&member)?, number)),
                    })
                    .collect::<Result<_, InvalidCommand>>()?,
            },
            Stored::TellAhead(stored::TellAhead { agent_id, epoch }) => Action::TellAhead {
                agent: agent_id.parse().map_err(|_| InvalidCommand::Field("agent_id"))?,
                epoch,
            },
            Stored::RemoveHost(stored::RemoveHost { agent_id }) => Action::RemoveHost {
                agent: agent_id.parse().map_err(|_| InvalidCommand::Field("agent_id"))?,
            },
            Stored::DecideHost(stored::DecideHost {
                agent_id,
                key_digest,
                approved,
            }) => Action::DecideHost {
                agent: agent_id.parse().map_err(|_| InvalidCommand::Field("agent_id"))?,
                key: convert::digest(&key_digest).ok_or(InvalidCommand::Field("key_digest"))?,
                approved,
            },
            Stored::EvictHost(stored::EvictHost { agent_id, reason }) => Action::EvictHost {
                agent: agent_id.parse().map_err(|_| InvalidCommand::Field("agent_id"))?,
                reason: bounded("reason", &reason).map(|()| reason)?,
            },
            Stored::BanHost(stored::BanHost {
                agent_id,
                reason,
                lifted,
            }) => {
                bounded("reason", &reason)?;
                let agent = agent_id.parse().map_err(|_| InvalidCommand::Field("agent_id"))?;
                match (lifted, reason.is_empty()) {
                    (true, true) => Action::UnbanHost { agent },
                    (false, false) => Action::BanHost { agent, reason },
                    _ => return Err(InvalidCommand::Field("reason")),
                }
            }
            Stored::RevokeLogin(stored::RevokeLogin {
                person,
                reason,
                lifted,
            }) => {
                bounded("person", &person)?;
                bounded("reason", &reason)?;
                if person.is_empty() {
                    return Err(InvalidCommand::Field("person"));
                }
                match (lifted, reason.is_empty()) {
                    (true, true) => Action::RestoreLogin { person },
                    (false, false) => Action::RevokeLogin { person, reason },
                    _ => return Err(InvalidCommand::Field("reason")),
                }
            }
            Stored::TellCopy(stored::TellCopy { agent_id, machine }) => Action::TellCopy {
                agent: agent_id.parse().map_err(|_| InvalidCommand::Field("agent_id"))?,
                machine: convert::optional_digest(&machine).ok_or(InvalidCommand::Field("machine"))?,
            },
            Stored::TellSilence(stored::TellSilence {
                agent_id,
                silent,
                since_ms,
                unrecorded,
            }) => Action::TellSilence {
                agent: agent_id.parse().map_err(|_| InvalidCommand::Field("agent_id"))?,
                silent,
                since: match since_ms {
                    0 => None,
                    at => Some(convert::time(at).ok_or(InvalidCommand::Field("since_ms"))?),
                },
                unrecorded,
            },
            Stored::RecoverLogin(stored::RecoverLogin {
                person,
                reason,
                key_digest,
            }) => {
                bounded("person", &person)?;
                bounded("reason", &reason)?;
                if person.is_empty() || reason.is_empty() {
                    return Err(InvalidCommand::Field("reason"));
                }
                Action::RecoverLogin {
                    person,
                    reason,
                    key: convert::digest(&key_digest).ok_or(InvalidCommand::Field("key_digest"))?,
                }
            }
            Stored::NoteDenied(stored::NoteDenied {
                rpc,
                reason,
                attempts,
                since_ms,
                verb,
                resource,
                request_id,
            }) => {
                bounded("rpc", &rpc)?;
                bounded("reason", &reason)?;
                bounded("verb", &verb)?;
                bounded("resource", &resource)?;
                bounded("request_id", &request_id)?;
                if reason.is_empty() || attempts == 0 {
                    return Err(InvalidCommand::Field("reason"));
                }
                Action::NoteDenied {
                    rpc,
                    reason,
                    attempts,
                    since: convert::time(since_ms).ok_or(InvalidCommand::Field("since_ms"))?,
                    about: About {
                        verb,
                        resource,
                        request_id,
                    },
                }
            }
            Stored::RecordCertificate(stored::RecordCertificate {
                person,
                digest,
                ends_ms,
            }) => {
                bounded("person", &person)?;
                if person.is_empty() {
                    return Err(InvalidCommand::Field("person"));
                }
                Action::RecordCertificate {
                    person,
                    digest: convert::digest(&digest).ok_or(InvalidCommand::Field("digest"))?,
                    ends: convert::time(ends_ms).ok_or(InvalidCommand::Field("ends_ms"))?,
                }
            }
            Stored::Stamp(stored::Stamp { envelope }) => Action::Stamp { envelope },
            Stored::Tick(stored::Tick { until_ms }) => Action::Tick {
                until: convert::time(until_ms).ok_or(InvalidCommand::Field("until_ms"))?,
            },
        };
        Ok(Self {
            stamp: convert::time(stamp_ms).ok_or(InvalidCommand::Field("stamp_ms"))?,
            actor,
            request_id: Some(request_id).filter(|id| !id.is_empty()),
            from: Some(from).filter(|from| !from.is_empty()),
            policies,
            counted,
            action,
        })
    }
}
