//! One row each.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_policy::finding::{Acknowledgement, Chain, FindingUid, Lifecycle};
use verger_policy::model::{AgentId, ObjectKey};
use verger_policy::set::{Body, Entry};
use verger_proto::stored::v1 as stored;
use verger_seal::TrustRoot;

use super::super::{DamagedRow, FORMAT, SEAL_APART, Tree};
use crate::audit::{AuditHead, AuditMark};
use crate::clock::HeldBack;
use crate::convert;
use crate::objects::Version;
use crate::response::Response;
use crate::state::{
    Asked, Cluster, Host, Login, LoginKind, Remembered, Restored, Standing, State, Token, Verdict, Vouched,
};
use crate::version::ClusterVersion;

/// An object as the set is assembled from it.
type Part = (Entry, Option<Arc<Body>>);

pub(super) struct Row<'a> {
    pub(super) tree: Tree,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

impl Row<'_> {
    pub(super) fn damaged(&self, what: impl ToString) -> DamagedRow {
        DamagedRow {
            tree: self.tree,
            what: what.to_string(),
        }
    }

    pub(super) fn read<M: prost::Message + Default>(
        &self,
        format: impl Fn(&M) -> u32,
    ) -> Result<M, DamagedRow> {
        let message = M::decode(self.value).map_err(|error| self.damaged(error))?;
        match format(&message) {
            FORMAT => Ok(message),
            other => Err(self.damaged(format!("its format is {other}; this version knows {FORMAT}"))),
        }
    }

    pub(super) fn text(&self) -> Result<&str, DamagedRow> {
        std::str::from_utf8(self.key).map_err(|_| self.damaged("its key is not text"))
    }

    pub(super) fn time(&self, milliseconds: i64) -> Result<Timestamp, DamagedRow> {
        convert::time(milliseconds).ok_or_else(|| self.damaged("an instant is out of range"))
    }

    pub(super) fn digest(&self, bytes: &[u8]) -> Result<Digest, DamagedRow> {
        convert::digest(bytes).ok_or_else(|| self.damaged("a digest is not of 32 bytes"))
    }

    fn optional_digest(&self, bytes: &[u8]) -> Result<Option<Digest>, DamagedRow> {
        convert::optional_digest(bytes).ok_or_else(|| self.damaged("a digest is not of 32 bytes"))
    }

    fn verdict(&self, by: String, at: i64, reason: String) -> Result<Verdict, DamagedRow> {
        let at = self.time(at)?;
        Ok(Verdict { by, at, reason })
    }

    pub(super) fn clock(&self) -> Result<Timestamp, DamagedRow> {
        let bytes = self
            .value
            .try_into()
            .map_err(|_| self.damaged("the clock is not of 8 bytes"))?;
        self.time(i64::from_be_bytes(bytes))
    }

    pub(super) fn version(&self) -> Result<ClusterVersion, DamagedRow> {
        let number = ClusterVersion::of_row(self.value);
        number.ok_or_else(|| self.damaged("the cluster's version is not of 4 bytes"))
    }

    pub(super) fn held_back(&self) -> Result<HeldBack, DamagedRow> {
        let row: stored::HeldBackRow = self.read(|row: &stored::HeldBackRow| row.format)?;
        let stored::HeldBackRow {
            format: _,
            offered_ms,
            since_ms,
            last_ms,
        } = row;
        Ok(HeldBack {
            offered: self.time(offered_ms)?,
            since: self.time(since_ms)?,
            last: self.time(last_ms)?,
        })
    }

    pub(super) fn restored(&self) -> Result<Restored, DamagedRow> {
        let row: stored::RestoredRow = self.read(|row: &stored::RestoredRow| row.format)?;
        let stored::RestoredRow {
            format: _,
            from,
            at_ms,
            revision,
        } = row;
        let from = from.and_then(convert::place);
        Ok(Restored {
            from: from.ok_or_else(|| self.damaged("it names no snapshot"))?,
            at: self.time(at_ms)?,
            revision,
        })
    }

    pub(super) fn horizons(&self) -> Result<(u64, u64), DamagedRow> {
        let row: stored::HorizonsRow = self.read(|row: &stored::HorizonsRow| row.format)?;
        let stored::HorizonsRow {
            format: _,
            objects,
            findings,
        } = row;
        Ok((objects, findings))
    }

    pub(super) fn audit_head(&self) -> Result<AuditHead, DamagedRow> {
        let row: stored::AuditHeadRow = self.read(|row: &stored::AuditHeadRow| row.format)?;
        let stored::AuditHeadRow {
            format: _,
            written,
            dropped,
            head,
        } = row;
        Ok(AuditHead {
            written,
            dropped,
            head: self.digest(&head)?,
        })
    }

    pub(super) fn audit(&self) -> Result<AuditMark, DamagedRow> {
        let row: stored::AuditRow = self.read(|row: &stored::AuditRow| row.format)?;
        let key: [u8; 12] = self
            .key
            .try_into()
            .map_err(|_| self.damaged("its key is not of 12 bytes"))?;
        let key = key
            .iter()
            .fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        Ok(AuditMark {
            revision: (key >> 32) as u64,
            ordinal: key as u32,
            at: self.time(row.at_ms)?,
        })
    }

    pub(super) fn cluster(&self, state: &mut State) -> Result<u64, DamagedRow> {
        let known = |format| match format {
            SEAL_APART if cfg!(feature = "next") => FORMAT,
            other => other,
        };
        let row: stored::ClusterRow = self.read(|row: &stored::ClusterRow| known(row.format))?;
        let stored::ClusterRow {
            format,
            cluster_id,
            trust_root_envelope,
            epoch,
            seal,
        } = row;
        let trust_root = TrustRoot::open_first(&trust_root_envelope).map_err(|error| self.damaged(error))?;
        let id = self.digest(&cluster_id)?;
        if id != trust_root.cluster_id() {
            return Err(self.damaged("its trust root is another cluster's"));
        }
        state.cluster = Some(Cluster {
            id,
            trust_root,
            envelope: trust_root_envelope,
            later: Vec::new(),
        });
        if format == FORMAT {
            state.seal = seal;
        }
        Ok(epoch)
    }

    pub(super) fn later_trust_root(&self) -> Result<Bytes, DamagedRow> {
        let row: stored::TrustRootRow = self.read(|row: &stored::TrustRootRow| row.format)?;
        let stored::TrustRootRow { format: _, envelope } = row;
        Ok(envelope)
    }

    pub(super) fn stamp(&self) -> Result<Bytes, DamagedRow> {
        let row: stored::StampRow = self.read(|row: &stored::StampRow| row.format)?;
        let stored::StampRow { format: _, envelope } = row;
        Ok(envelope)
    }

    pub(super) fn object(&self, state: &mut State) -> Result<Option<Part>, DamagedRow> {
        let row: stored::ObjectRow = self.read(|row: &stored::ObjectRow| row.format)?;
        let stored::ObjectRow {
            format: _,
            epoch,
            canonical,
            revision,
            born,
        } = row;
        let key: ObjectKey = self
            .text()?
            .parse()
            .map_err(|_| self.damaged("its key names no object"))?;
        if canonical.is_empty() {
            state.objects.tombstones.insert(key, revision);
            return Ok(None);
        }
        let body = Body::from_canonical(canonical.to_vec()).map_err(|error| self.damaged(error))?;
        if body.object().key() != key {
            return Err(self.damaged("it holds another object than its key says"));
        }
        let version = Version {
            born,
            changed: revision,
        };
        state.objects.versions.insert(key, version);
        Ok(Some((body.entry(epoch), Some(Arc::new(body)))))
    }

    pub(super) fn token(&self, state: &mut State) -> Result<(), DamagedRow> {
        let row: stored::TokenRow = self.read(|row: &stored::TokenRow| row.format)?;
        let stored::TokenRow {
            format: _,
            secret_hash,
            agent_id,
            expires_ms,
            spent,
            approval,
            asked_key,
            asked_machine,
            asked_ms,
            refused_by,
        } = row;
        let asked = match &*asked_key {
            [] => None,
            key => Some(Asked {
                key: self.digest(key)?,
                machine: self.optional_digest(&asked_machine)?,
                at: self.time(asked_ms)?,
                refused_by: Some(refused_by).filter(|by| !by.is_empty()),
            }),
        };
        let token = Token {
            secret_hash: self.digest(&secret_hash)?,
            agent: agent_id.parse().map_err(|error| self.damaged(error))?,
            expires: self.time(expires_ms)?,
            spent,
            approval,
            asked,
        };
        state.tokens.insert(self.text()?.to_owned(), token);
        Ok(())
    }

    pub(super) fn login(&self, state: &mut State) -> Result<(), DamagedRow> {
        let row: stored::LoginRow = self.read(|row: &stored::LoginRow| row.format)?;
        let stored::LoginRow {
            format: _,
            key_digest,
            created_ms,
            revoked_by,
            revoked_ms,
            revoked_reason,
            issuer,
            subject,
            issued_ms,
            groups,
            ends_ms,
            reason,
        } = row;
        let kind = match (issuer.is_empty(), reason.is_empty()) {
            (true, true) => LoginKind::Local,
            (true, false) => LoginKind::BreakGlass {
                reason,
                ends: self.time(ends_ms)?,
            },
            (false, true) => LoginKind::Vouched {
                word: Vouched {
                    issuer,
                    subject,
                    issued: self.time(issued_ms)?,
                    groups: groups
                        .iter()
                        .map(|group| group.parse().map_err(|error| self.damaged(error)))
                        .collect::<Result<_, _>>()?,
                },
                ends: self.time(ends_ms)?,
            },
            (false, false) => return Err(self.damaged("a login of two kinds")),
        };
        let login = Login {
            key: self.digest(&key_digest)?,
            created: self.time(created_ms)?,
            revoked: match &*revoked_by {
                "" => None,
                _ => Some(self.verdict(revoked_by, revoked_ms, revoked_reason)?),
            },
            kind,
        };
        state.logins.insert(self.text()?.to_owned(), login);
        Ok(())
    }

    pub(super) fn host(&self, state: &mut State) -> Result<(), DamagedRow> {
        let row: stored::HostRow = self.read(|row: &stored::HostRow| row.format)?;
        let stored::HostRow {
            format: _,
            enrolled_ms,
            key_digest,
            last_sequence,
            not_kept,
            machine,
            standing,
            standing_by,
            standing_ms,
            standing_reason,
            chain,
            head,
        } = row;
        let chain = match (chain.is_empty(), last_sequence) {
            (false, _) => Some(self.digest(&chain)?),
            // In rows of before it was kept; over nothing it is known all the same.
            (true, 0) => Some(Chain::START.digest),
            (true, _) => None,
        };
        let agent = self.text()?.parse().map_err(|error| self.damaged(error))?;
        let host = Host {
            enrolled: self.time(enrolled_ms)?,
            key: self.digest(&key_digest)?,
            last_sequence,
            not_kept,
            machine: self.optional_digest(&machine)?,
            standing: match standing {
                0 => Standing::Enrolled,
                1 => Standing::Evicted(self.verdict(standing_by, standing_ms, standing_reason)?),
                2 => Standing::Banned(self.verdict(standing_by, standing_ms, standing_reason)?),
                other => return Err(self.damaged(format!("its standing is {other}"))),
            },
            chain,
            head: head.map(convert::head),
        };
        state.hosts.insert(agent, host);
        Ok(())
    }

    pub(super) fn finding(&self, state: &mut State) -> Result<(), DamagedRow> {
        let row: stored::FindingRow = self.read(|row: &stored::FindingRow| row.format)?;
        let stored::FindingRow {
            format: _,
            revision: _,
            last,
            resolved_ms,
        } = row;
        let last = last.ok_or_else(|| self.damaged("it has no transition"))?;
        let last =
            convert::transition(last).map_err(|field| self.damaged(format!("`{field}` is not valid")))?;
        let (uid, agent) = self
            .key
            .split_at_checked(32)
            .ok_or_else(|| self.damaged("its key is too short"))?;
        let uid = FindingUid(self.digest(uid)?);
        let agent: AgentId = std::str::from_utf8(agent)
            .map_err(|error| self.damaged(error))?
            .parse()
            .map_err(|error: verger_policy::model::InvalidName| self.damaged(error))?;
        let finding = state.findings.load(uid);
        if last.lifecycle == Lifecycle::Resolved {
            // In rows of before it was kept the agent's word is all there is.
            let at = resolved_ms.map_or(Ok(last.at), |at| self.time(at))?;
            finding.resolved.insert(agent.clone(), at);
        }
        finding.rows.insert(agent, last);
        Ok(())
    }

    pub(super) fn finding_head(&self, state: &mut State) -> Result<(), DamagedRow> {
        let row: stored::FindingHead = self.read(|row: &stored::FindingHead| row.format)?;
        let stored::FindingHead {
            format: _,
            revision,
            acknowledged_by,
            note,
            acknowledged_ms,
            born,
            turned,
            shrunk,
            gone,
        } = row;
        let uid = FindingUid(self.digest(self.key)?);
        if gone {
            state.findings.load_gone(uid, revision);
            return Ok(());
        }
        let finding = state.findings.load(uid);
        finding.revision = revision;
        finding.born = born;
        finding.turned = turned;
        finding.shrunk = shrunk;
        if !acknowledged_by.is_empty() {
            let at = self.time(acknowledged_ms)?;
            finding.acknowledged = Some(Acknowledgement {
                person: acknowledged_by,
                note,
                at,
            });
        }
        Ok(())
    }

    pub(super) fn request(&self, state: &mut State) -> Result<(), DamagedRow> {
        use stored::request_row::Answer;
        let row: stored::RequestRow = self.read(|row: &stored::RequestRow| row.format)?;
        let stored::RequestRow {
            format: _,
            at_ms,
            answer,
            asked,
        } = row;
        let response = match answer.ok_or_else(|| self.damaged("it has no answer"))? {
            Answer::SetApplied(stored::StoredSetApplied {
                epoch,
                root,
                revision,
            }) => Response::SetApplied {
                epoch,
                root: self.digest(&root)?,
                revision,
            },
            Answer::Proposed(number) => Response::Proposed(number),
            Answer::Signed(stored::StoredSigned { number, wanting }) => Response::Signed { number, wanting },
            Answer::Withdrawn(number) => Response::Withdrawn(number),
            Answer::HostRemoved(_) => Response::HostRemoved,
            Answer::Decided(_) => Response::Decided,
            Answer::MemberInvited(id) => Response::MemberInvited(id),
            Answer::MemberRemoved(_) => Response::MemberRemoved,
            Answer::MemberNoted(_) => Response::MemberNoted,
            Answer::LoginCreated(_) => Response::LoginCreated,
            Answer::TokenCreated(id) => Response::TokenCreated(id),
            Answer::FindingAcknowledged(uid) => Response::FindingAcknowledged(FindingUid(self.digest(&uid)?)),
        };
        let asked = match &*asked {
            [] => None,
            asked => Some(self.digest(asked)?),
        };
        let request = Remembered {
            at: self.time(at_ms)?,
            asked,
            response,
        };
        state.put_request(self.text()?.to_owned(), request);
        Ok(())
    }
}
