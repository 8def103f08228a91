//! State to rows.

use bytes::Bytes;
use jiff::Timestamp;
use verger_policy::digest::Digest;
use verger_policy::finding::FindingUid;
use verger_policy::model::{AgentId, Name, ObjectKey};
use verger_policy::set::PolicySet;
use verger_proto::stored::v1 as stored;

use super::{
    AUDIT_HEAD_KEY, CLOCK_KEY, CLUSTER_KEY, FORMAT, HELD_BACK_KEY, HORIZONS_KEY, PARTIAL_STAMP_KEY,
    PROPOSAL_HEAD_KEY, RESTORED_KEY, RowChange, SEAL_APART, SEAL_KEY, STAMP_KEY, TRUST_ROOT_PREFIX, Tree,
    VERSION_KEY,
};
use crate::audit::{AuditHead, AuditMark, Done};
use crate::clock::HeldBack;
use crate::command::{Action, Command};
use crate::convert;
use crate::findings::FindingState;
use crate::objects::Version;
use crate::proposals::Proposal;
use crate::response::Response;
use crate::stamps::{self, Stamped, Stamps};
use crate::state::{
    Cluster, Host, Login, LoginKind, MemberRecord, Remembered, Restored, Standing, State, Token, Verdict,
    Vouched,
};
use crate::version::ClusterVersion;

fn put(tree: Tree, key: impl Into<Vec<u8>>, row: &impl prost::Message) -> RowChange {
    RowChange {
        tree,
        key: key.into(),
        value: Some(row.encode_to_vec()),
    }
}

fn gone(tree: Tree, key: impl Into<Vec<u8>>) -> RowChange {
    RowChange {
        tree,
        key: key.into(),
        value: None,
    }
}

/// The founding, the epoch and the seal.
pub(crate) fn cluster(state: &State) -> impl Iterator<Item = RowChange> {
    let is_apart = state.version.keeps_seal_apart();
    let row = state.cluster.as_ref().map(|cluster| {
        let Cluster {
            id,
            trust_root: _,
            envelope,
            later: _,
        } = cluster;
        let (format, seal) = match is_apart {
            true => (SEAL_APART, Bytes::new()),
            false => (FORMAT, state.seal.clone()),
        };
        let row = stored::ClusterRow {
            format,
            cluster_id: convert::bytes(id),
            trust_root_envelope: envelope.clone(),
            epoch: state.set.epoch(),
            seal,
        };
        put(Tree::Cluster, CLUSTER_KEY, &row)
    });
    let seal = is_apart.then(|| RowChange {
        tree: Tree::Cluster,
        key: SEAL_KEY.to_vec(),
        value: Some(state.seal.to_vec()),
    });
    row.into_iter().chain(seal)
}

/// The cluster's version.
pub(crate) fn version(version: ClusterVersion) -> RowChange {
    RowChange {
        tree: Tree::Cluster,
        key: VERSION_KEY.to_vec(),
        value: Some(version.number().to_be_bytes().to_vec()),
    }
}

/// A version of the trust root after the first.
pub(crate) fn trust_root(version: u64, envelope: &Bytes) -> RowChange {
    let row = stored::TrustRootRow {
        format: FORMAT,
        envelope: envelope.clone(),
    };
    let key = [TRUST_ROOT_PREFIX, &version.to_be_bytes()].concat();
    put(Tree::Cluster, key, &row)
}

pub(crate) fn clock(at: Timestamp) -> RowChange {
    RowChange {
        tree: Tree::Cluster,
        key: CLOCK_KEY.to_vec(),
        value: Some(at.as_millisecond().to_be_bytes().to_vec()),
    }
}

/// The row of stamps that were too far ahead.
pub(crate) fn held_back(held: Option<&HeldBack>) -> RowChange {
    let Some(HeldBack { offered, since, last }) = held else {
        return gone(Tree::Cluster, HELD_BACK_KEY);
    };
    let row = stored::HeldBackRow {
        format: FORMAT,
        offered_ms: offered.as_millisecond(),
        since_ms: since.as_millisecond(),
        last_ms: last.as_millisecond(),
    };
    put(Tree::Cluster, HELD_BACK_KEY, &row)
}

/// The last whole stamp, and the one that waits for more signatures.
pub(crate) fn stamps(stamps: &Stamps) -> [RowChange; 2] {
    let row = |key: &[u8], stamped: &Option<Stamped>| match stamped {
        None => gone(Tree::Cluster, key),
        Some(Stamped { stamp: _, envelope }) => {
            let row = stored::StampRow {
                format: FORMAT,
                envelope: stamps::bytes(envelope),
            };
            put(Tree::Cluster, key, &row)
        }
    };
    [
        row(STAMP_KEY, &stamps.whole),
        row(PARTIAL_STAMP_KEY, &stamps.partial),
    ]
}

/// Of which snapshot this goes on.
pub(crate) fn restored(restored: &Restored) -> RowChange {
    let Restored { from, at, revision } = restored;
    let row = stored::RestoredRow {
        format: FORMAT,
        from: Some(convert::stored_place(from)),
        at_ms: at.as_millisecond(),
        revision: *revision,
    };
    put(Tree::Cluster, RESTORED_KEY, &row)
}

pub(crate) fn horizons(state: &State) -> RowChange {
    let row = stored::HorizonsRow {
        format: FORMAT,
        objects: state.objects.forgotten,
        findings: state.findings.forgotten,
    };
    put(Tree::Cluster, HORIZONS_KEY, &row)
}

pub(crate) fn object(set: &PolicySet, key: &ObjectKey, version: Version) -> Option<RowChange> {
    let (entry, body) = (set.entry(key)?, set.body(key)?);
    let row = stored::ObjectRow {
        format: FORMAT,
        epoch: entry.epoch,
        canonical: Bytes::copy_from_slice(body.bytes()),
        revision: version.changed,
        born: version.born,
    };
    Some(put(Tree::Objects, key.to_string(), &row))
}

pub(crate) fn tombstone(key: &ObjectKey, revision: u64) -> RowChange {
    let row = stored::ObjectRow {
        format: FORMAT,
        epoch: 0,
        canonical: Bytes::new(),
        revision,
        born: 0,
    };
    put(Tree::Objects, key.to_string(), &row)
}

pub(crate) fn object_gone(key: &ObjectKey) -> RowChange {
    gone(Tree::Objects, key.to_string())
}

/// The number given last to a proposal.
pub(crate) fn proposal_head(last: u64) -> RowChange {
    let row = stored::ProposalHeadRow { format: FORMAT, last };
    put(Tree::Cluster, PROPOSAL_HEAD_KEY, &row)
}

fn proposal_body_key(number: u64, place: usize) -> Vec<u8> {
    let mut key = number.to_be_bytes().to_vec();
    key.extend(u32::try_from(place).unwrap_or(u32::MAX).to_be_bytes());
    key
}

/// A proposal without its bodies: what signing changes.
pub(crate) fn proposal_row(number: u64, proposal: &Proposal) -> RowChange {
    let Proposal {
        actor,
        created,
        expected_epoch,
        upserts,
        deletes,
        seal,
        not_after,
    } = proposal;
    let row = stored::ProposalRow {
        format: FORMAT,
        actor: actor.clone(),
        created_ms: created.as_millisecond(),
        expected_epoch: *expected_epoch,
        deletes: deletes.iter().map(convert::stored_key).collect(),
        seal: seal.clone(),
        upserts: u32::try_from(upserts.len()).unwrap_or(u32::MAX),
        not_after_ms: not_after.as_millisecond(),
    };
    put(Tree::Proposals, number.to_be_bytes(), &row)
}

pub(crate) fn proposal(number: u64, proposal: &Proposal) -> Vec<RowChange> {
    let body = |(place, canonical): (usize, &Bytes)| {
        let row = stored::ProposalBodyRow {
            format: FORMAT,
            canonical: canonical.clone(),
        };
        put(Tree::Proposals, proposal_body_key(number, place), &row)
    };
    let bodies = proposal.upserts.iter().enumerate().map(body);
    bodies.chain([proposal_row(number, proposal)]).collect()
}

pub(crate) fn proposal_gone(number: u64, proposal: &Proposal) -> Vec<RowChange> {
    let places = 0..proposal.upserts.len();
    let bodies = places.map(|place| gone(Tree::Proposals, proposal_body_key(number, place)));
    bodies
        .chain([gone(Tree::Proposals, number.to_be_bytes())])
        .collect()
}

pub(crate) fn token(id: &str, token: &Token) -> RowChange {
    let Token {
        secret_hash,
        agent,
        expires,
        spent,
        approval,
        asked,
    } = token;
    let asked = asked.as_ref();
    let row = stored::TokenRow {
        format: FORMAT,
        secret_hash: convert::bytes(secret_hash),
        agent_id: agent.to_string(),
        expires_ms: expires.as_millisecond(),
        spent: *spent,
        approval: *approval,
        asked_key: convert::optional_bytes(asked.map(|asked| &asked.key)),
        asked_machine: convert::optional_bytes(asked.and_then(|asked| asked.machine.as_ref())),
        asked_ms: asked.map_or(0, |asked| asked.at.as_millisecond()),
        refused_by: asked
            .and_then(|asked| asked.refused_by.clone())
            .unwrap_or_default(),
    };
    put(Tree::Tokens, id, &row)
}

pub(crate) fn token_gone(id: &str) -> RowChange {
    gone(Tree::Tokens, id)
}

pub(crate) fn login(person: &str, login: &Login) -> RowChange {
    let Login {
        key,
        created,
        revoked,
        kind,
    } = login;
    let (revoked_by, revoked_ms, revoked_reason) = verdict(revoked.as_ref());
    let mut row = stored::LoginRow {
        format: FORMAT,
        key_digest: convert::bytes(key),
        created_ms: created.as_millisecond(),
        revoked_by,
        revoked_ms,
        revoked_reason,
        issuer: String::new(),
        subject: String::new(),
        issued_ms: 0,
        groups: Vec::new(),
        ends_ms: login.ends().map_or(0, |ends| ends.as_millisecond()),
        reason: String::new(),
    };
    match kind {
        LoginKind::Local => {}
        LoginKind::Vouched { word, ends: _ } => {
            let Vouched {
                issuer,
                subject,
                issued,
                groups,
            } = word;
            row.issuer = issuer.clone();
            row.subject = subject.clone();
            row.issued_ms = issued.as_millisecond();
            row.groups = groups.iter().map(ToString::to_string).collect();
        }
        LoginKind::BreakGlass { reason, ends: _ } => row.reason = reason.clone(),
    }
    put(Tree::Logins, person, &row)
}

/// By whom, when and why; empty where nothing was decided.
fn verdict(verdict: Option<&Verdict>) -> (String, i64, String) {
    match verdict {
        Some(Verdict { by, at, reason }) => (by.clone(), at.as_millisecond(), reason.clone()),
        None => Default::default(),
    }
}

pub(crate) fn login_gone(person: &str) -> RowChange {
    gone(Tree::Logins, person)
}

pub(crate) fn host_gone(agent: &AgentId) -> RowChange {
    gone(Tree::Hosts, agent.as_str())
}

pub(crate) fn host(agent: &AgentId, host: &Host) -> RowChange {
    let Host {
        enrolled,
        key,
        last_sequence,
        not_kept,
        machine,
        standing,
        chain,
        head,
    } = host;
    let (number, decided) = match standing {
        Standing::Enrolled => (0, None),
        Standing::Evicted(decided) => (1, Some(decided)),
        Standing::Banned(decided) => (2, Some(decided)),
    };
    let (standing_by, standing_ms, standing_reason) = verdict(decided);
    let row = stored::HostRow {
        format: FORMAT,
        enrolled_ms: enrolled.as_millisecond(),
        key_digest: convert::bytes(key),
        last_sequence: *last_sequence,
        not_kept: *not_kept,
        machine: convert::optional_bytes(machine.as_ref()),
        standing: number,
        standing_by,
        standing_ms,
        standing_reason,
        chain: chain.as_ref().map(convert::bytes).unwrap_or_default(),
        head: head.as_ref().map(convert::stored_head),
    };
    put(Tree::Hosts, agent.as_str(), &row)
}

pub(crate) fn member(name: &Name, record: &MemberRecord) -> RowChange {
    use stored::member_row::Record;
    let record = match record {
        MemberRecord::Invited { secret_hash, expires } => Record::Invited(stored::StoredInvitation {
            secret_hash: convert::bytes(secret_hash),
            expires_ms: expires.as_millisecond(),
        }),
        MemberRecord::Admitted {
            number,
            secret_hash,
            key,
            at,
        } => Record::Admitted(stored::StoredMember {
            number: *number,
            secret_hash: convert::bytes(secret_hash),
            key_digest: convert::bytes(key),
            admitted_ms: at.as_millisecond(),
        }),
        MemberRecord::Removed { number, by, at } => Record::Removed(stored::StoredRemoval {
            by: by.clone(),
            removed_ms: at.as_millisecond(),
            number: number.unwrap_or_default(),
        }),
    };
    let row = stored::MemberRow {
        format: FORMAT,
        record: Some(record),
    };
    put(Tree::Members, name.as_str(), &row)
}

pub(crate) fn member_gone(name: &Name) -> RowChange {
    gone(Tree::Members, name.as_str())
}

fn finding_key(uid: &FindingUid, agent: &AgentId) -> Vec<u8> {
    let mut key = uid.0.as_bytes().to_vec();
    key.extend(agent.as_str().as_bytes());
    key
}

/// What one host last told of a finding.
pub(crate) fn finding_row(uid: &FindingUid, agent: &AgentId, finding: &FindingState) -> Option<RowChange> {
    let row = stored::FindingRow {
        format: FORMAT,
        revision: finding.revision,
        last: Some(convert::stored_transition(finding.rows.get(agent)?)),
        resolved_ms: finding.resolved.get(agent).map(|at| at.as_millisecond()),
    };
    Some(put(Tree::Findings, finding_key(uid, agent), &row))
}

pub(crate) fn finding_row_gone(uid: &FindingUid, agent: &AgentId) -> RowChange {
    gone(Tree::Findings, finding_key(uid, agent))
}

/// The tombstone of a finding.
pub(crate) fn finding_gone(uid: &FindingUid, revision: u64) -> RowChange {
    let row = stored::FindingHead {
        format: FORMAT,
        revision,
        gone: true,
        ..stored::FindingHead::default()
    };
    put(Tree::FindingHeads, uid.0.as_bytes().as_slice(), &row)
}

pub(crate) fn finding_head_gone(uid: &FindingUid) -> RowChange {
    gone(Tree::FindingHeads, uid.0.as_bytes().as_slice())
}

pub(crate) fn finding_head(uid: &FindingUid, finding: &FindingState) -> RowChange {
    let acknowledged = finding.acknowledged.as_ref();
    let row = stored::FindingHead {
        format: FORMAT,
        revision: finding.revision,
        acknowledged_by: acknowledged.map(|word| word.person.clone()).unwrap_or_default(),
        note: acknowledged.map(|word| word.note.clone()).unwrap_or_default(),
        acknowledged_ms: acknowledged
            .map(|word| word.at.as_millisecond())
            .unwrap_or_default(),
        born: finding.born,
        turned: finding.turned,
        shrunk: finding.shrunk,
        gone: false,
    };
    put(Tree::FindingHeads, uid.0.as_bytes().as_slice(), &row)
}

/// The row of a request whose answer is kept for its repeats.
pub(crate) fn request(id: &str, request: &Remembered) -> Option<RowChange> {
    use stored::request_row::Answer;
    let Remembered { at, asked, response } = request;
    let answer = match response {
        Response::SetApplied {
            epoch,
            root,
            revision,
        } => Answer::SetApplied(stored::StoredSetApplied {
            epoch: *epoch,
            root: convert::bytes(root),
            revision: *revision,
        }),
        Response::TokenCreated(id) => Answer::TokenCreated(id.clone()),
        Response::FindingAcknowledged(uid) => Answer::FindingAcknowledged(convert::bytes(&uid.0)),
        Response::Proposed(number) => Answer::Proposed(*number),
        Response::Signed { number, wanting } => Answer::Signed(stored::StoredSigned {
            number: *number,
            wanting: *wanting,
        }),
        Response::Withdrawn(number) => Answer::Withdrawn(*number),
        Response::HostRemoved => Answer::HostRemoved(true),
        Response::Decided => Answer::Decided(true),
        Response::MemberInvited(id) => Answer::MemberInvited(id.clone()),
        Response::MemberRemoved => Answer::MemberRemoved(true),
        Response::MemberNoted => Answer::MemberNoted(true),
        Response::LoginCreated => Answer::LoginCreated(true),
        Response::Founded(_)
        | Response::Enrolled
        | Response::AwaitsApproval
        | Response::Ingested(_)
        | Response::BreakGlassEnded
        | Response::MemberAdmitted { .. }
        | Response::VersionRaised
        | Response::SilenceTold
        | Response::CopyTold
        | Response::AheadTold
        | Response::SnapshotNoted
        | Response::Restored
        | Response::DeniedNoted
        | Response::CertificateRecorded
        | Response::Ticked
        | Response::Stamped { .. }
        | Response::Refused(_) => return None,
    };
    let row = stored::RequestRow {
        format: FORMAT,
        at_ms: at.as_millisecond(),
        answer: Some(answer),
        asked: asked.as_ref().map(convert::bytes).unwrap_or_default(),
    };
    Some(put(Tree::Requests, id, &row))
}

pub(crate) fn request_gone(id: &str) -> RowChange {
    gone(Tree::Requests, id)
}

/// An audit row, and its value.
pub(crate) fn audit(
    mark: &AuditMark,
    command: &Command,
    done: &Done,
    previous: &Digest,
) -> (RowChange, Vec<u8>) {
    let (attempts, request_id) = match &command.action {
        Action::NoteDenied { attempts, about, .. } => (*attempts, about.request_id.clone()),
        _ => (0, command.request_id.clone().unwrap_or_default()),
    };
    let row = stored::AuditRow {
        format: FORMAT,
        at_ms: mark.at.as_millisecond(),
        actor: command.actor.clone(),
        action: command.action.word().to_owned(),
        request_id,
        outcome: done.outcome.clone(),
        previous: convert::bytes(previous),
        detail: command.action.detail(),
        from: command.from.clone().unwrap_or_default(),
        before: convert::optional_bytes(done.before.as_ref()),
        after: convert::optional_bytes(done.after.as_ref()),
        policies: command.policies.clone(),
        attempts,
    };
    let change = put(Tree::Audit, mark.key(), &row);
    let value = change.value.clone().unwrap_or_default();
    (change, value)
}

pub(crate) fn audit_gone(mark: &AuditMark) -> RowChange {
    gone(Tree::Audit, mark.key())
}

pub(crate) fn audit_head(head: &AuditHead) -> RowChange {
    let AuditHead {
        written,
        dropped,
        head,
    } = head;
    let row = stored::AuditHeadRow {
        format: FORMAT,
        written: *written,
        dropped: *dropped,
        head: convert::bytes(head),
    };
    put(Tree::Cluster, AUDIT_HEAD_KEY, &row)
}
