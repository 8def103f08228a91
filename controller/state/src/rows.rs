//! The applied state as rows: what a member keeps on disk, and rebuilds the memory image from.

use bytes::Bytes;
use jiff::Timestamp;
use verger_policy::finding::{Acknowledgement, FindingUid, Transition};
use verger_policy::model::{AgentId, ObjectKey};
use verger_policy::set::{Body, PolicySet};
use verger_proto::stored::v1 as stored;
use verger_seal::TrustRoot;

use crate::command::Command;
use crate::convert;
use crate::response::Response;
use crate::state::{Cluster, FindingState, Host, State, Token};

const FORMAT: u32 = 1;

/// What a row is about. One tree of the store each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tree {
    /// The founding, the epoch, the seal, the clock.
    Cluster,
    /// Policy objects, and tombstones of deleted ones.
    Objects,
    /// Join tokens.
    Tokens,
    /// Enrolled hosts.
    Hosts,
    /// One row per finding and host.
    Findings,
    /// One row per finding.
    FindingHeads,
    /// Requests remembered.
    Requests,
    /// What was done, by whom.
    Audit,
}

impl Tree {
    /// Every tree.
    pub const ALL: [Self; 8] = [
        Self::Cluster,
        Self::Objects,
        Self::Tokens,
        Self::Hosts,
        Self::Findings,
        Self::FindingHeads,
        Self::Requests,
        Self::Audit,
    ];

    /// Its name in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Objects => "objects",
            Self::Tokens => "tokens",
            Self::Hosts => "hosts",
            Self::Findings => "findings",
            Self::FindingHeads => "finding_heads",
            Self::Requests => "requests",
            Self::Audit => "audit",
        }
    }

    /// The tree of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tree| tree.name() == name)
    }
}

/// A row put (`value` is there) or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// Where.
    pub tree: Tree,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// A stored row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row of `{tree}` cannot be read: {what}", tree = tree.name())]
pub struct DamagedRow {
    /// In this tree.
    pub tree: Tree,
    /// What is wrong.
    pub what: String,
}

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

const CLUSTER_KEY: &[u8] = b"cluster";

pub(crate) fn cluster(state: &State) -> Option<RowChange> {
    let Cluster {
        id,
        trust_root: _,
        envelope,
    } = state.cluster.as_ref()?;
    let row = stored::ClusterRow {
        format: FORMAT,
        cluster_id: convert::bytes(id),
        trust_root_envelope: envelope.clone(),
        epoch: state.set.epoch(),
        seal: state.seal.clone(),
    };
    Some(put(Tree::Cluster, CLUSTER_KEY, &row))
}

const CLOCK_KEY: &[u8] = b"clock";

// By itself, so that a restarted member's clock is where the others' is.
pub(crate) fn clock(at: Timestamp) -> RowChange {
    RowChange {
        tree: Tree::Cluster,
        key: CLOCK_KEY.to_vec(),
        value: Some(at.as_millisecond().to_be_bytes().to_vec()),
    }
}

pub(crate) fn object(set: &PolicySet, key: &ObjectKey, revision: u64) -> Option<RowChange> {
    let (entry, body) = (set.entry(key)?, set.body(key)?);
    let row = stored::ObjectRow {
        format: FORMAT,
        epoch: entry.epoch,
        canonical: Bytes::copy_from_slice(body.bytes()),
        revision,
    };
    Some(put(Tree::Objects, key.to_string(), &row))
}

pub(crate) fn tombstone(key: &ObjectKey, revision: u64) -> RowChange {
    let row = stored::ObjectRow {
        format: FORMAT,
        epoch: 0,
        canonical: Bytes::new(),
        revision,
    };
    put(Tree::Objects, key.to_string(), &row)
}

pub(crate) fn object_gone(key: &ObjectKey) -> RowChange {
    gone(Tree::Objects, key.to_string())
}

pub(crate) fn token(id: &str, token: &Token) -> RowChange {
    let Token {
        secret_hash,
        agent,
        expires,
        spent,
    } = token;
    let row = stored::TokenRow {
        format: FORMAT,
        secret_hash: convert::bytes(secret_hash),
        agent_id: agent.to_string(),
        expires_ms: expires.as_millisecond(),
        spent: *spent,
    };
    put(Tree::Tokens, id, &row)
}

pub(crate) fn token_gone(id: &str) -> RowChange {
    gone(Tree::Tokens, id)
}

pub(crate) fn host(agent: &AgentId, host: &Host) -> RowChange {
    let Host {
        enrolled,
        key,
        last_sequence,
    } = host;
    let row = stored::HostRow {
        format: FORMAT,
        enrolled_ms: enrolled.as_millisecond(),
        key_digest: convert::bytes(key),
        last_sequence: *last_sequence,
    };
    put(Tree::Hosts, agent.as_str(), &row)
}

pub(crate) fn finding_row(uid: &FindingUid, agent: &AgentId, last: &Transition, revision: u64) -> RowChange {
    let row = stored::FindingRow {
        format: FORMAT,
        revision,
        last: Some(convert::stored_transition(last)),
    };
    let mut key = uid.0.as_bytes().to_vec();
    key.extend(agent.as_str().as_bytes());
    put(Tree::Findings, key, &row)
}

pub(crate) fn finding_row_gone(uid: &FindingUid, agent: &AgentId) -> RowChange {
    let mut key = uid.0.as_bytes().to_vec();
    key.extend(agent.as_str().as_bytes());
    gone(Tree::Findings, key)
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
    };
    put(Tree::FindingHeads, uid.0.as_bytes().as_slice(), &row)
}

pub(crate) fn request(id: &str, at: Timestamp, response: &Response) -> Option<RowChange> {
    use stored::request_row::Answer;
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
        Response::Founded(_) | Response::Enrolled | Response::Ingested(_) | Response::Refused(_) => {
            return None;
        }
    };
    let row = stored::RequestRow {
        format: FORMAT,
        at_ms: at.as_millisecond(),
        answer: Some(answer),
    };
    Some(put(Tree::Requests, id, &row))
}

pub(crate) fn request_gone(id: &str) -> RowChange {
    gone(Tree::Requests, id)
}

pub(crate) fn audit(
    revision: u64,
    ordinal: u32,
    at: Timestamp,
    command: &Command,
    outcome: &str,
) -> RowChange {
    let row = stored::AuditRow {
        format: FORMAT,
        at_ms: at.as_millisecond(),
        actor: command.actor.clone(),
        action: command.action.word().to_owned(),
        request_id: command.request_id.clone().unwrap_or_default(),
        outcome: outcome.to_owned(),
    };
    let mut key = revision.to_be_bytes().to_vec();
    key.extend(ordinal.to_be_bytes());
    put(Tree::Audit, key, &row)
}

impl State {
    /// Rebuilds the state from its rows, applied up to `revision`.
    ///
    /// # Errors
    /// When a row cannot be read, or the rows do not fit together.
    pub fn from_rows(
        revision: u64,
        rows: impl IntoIterator<Item = (Tree, Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, DamagedRow> {
        let mut state = Self {
            revision,
            ..Self::default()
        };
        let mut objects = Vec::new();
        let mut epoch = 0;
        for (tree, key, value) in rows {
            let row = Row { tree, key, value };
            match tree {
                Tree::Cluster if row.key == CLOCK_KEY => state.clock = row.clock()?,
                Tree::Cluster => epoch = row.cluster(&mut state)?,
                Tree::Objects => row.object(&mut state, &mut objects)?,
                Tree::Tokens => row.token(&mut state)?,
                Tree::Hosts => row.host(&mut state)?,
                Tree::Findings => row.finding(&mut state)?,
                Tree::FindingHeads => row.finding_head(&mut state)?,
                Tree::Requests => row.request(&mut state)?,
                Tree::Audit => {}
            }
        }
        state.set = PolicySet::assemble(epoch, objects).map_err(|error| DamagedRow {
            tree: Tree::Objects,
            what: error.to_string(),
        })?;
        // Watchers find a finding by its revision, which is in its head; and without a host it says nothing.
        for (uid, finding) in &state.findings {
            if finding.revision == 0 || finding.rows.is_empty() {
                return Err(DamagedRow {
                    tree: Tree::FindingHeads,
                    what: format!("finding {uid} has a head without hosts, or hosts without a head"),
                });
            }
        }
        state.findings_by_revision = state
            .findings
            .iter()
            .map(|(uid, finding)| (finding.revision, *uid))
            .collect();
        Ok(state)
    }
}

struct Row {
    tree: Tree,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Row {
    fn damaged(&self, what: impl ToString) -> DamagedRow {
        DamagedRow {
            tree: self.tree,
            what: what.to_string(),
        }
    }

    fn read<M: prost::Message + Default>(&self, format: impl Fn(&M) -> u32) -> Result<M, DamagedRow> {
        let message = M::decode(self.value.as_slice()).map_err(|error| self.damaged(error))?;
        match format(&message) {
            FORMAT => Ok(message),
            other => Err(self.damaged(format!("its format is {other}; this version knows {FORMAT}"))),
        }
    }

    fn text(&self) -> Result<&str, DamagedRow> {
        std::str::from_utf8(&self.key).map_err(|_| self.damaged("its key is not text"))
    }

    fn time(&self, milliseconds: i64) -> Result<Timestamp, DamagedRow> {
        convert::time(milliseconds).ok_or_else(|| self.damaged("an instant is out of range"))
    }

    fn digest(&self, bytes: &[u8]) -> Result<verger_policy::digest::Digest, DamagedRow> {
        convert::digest(bytes).ok_or_else(|| self.damaged("a digest is not of 32 bytes"))
    }

    fn clock(&self) -> Result<Timestamp, DamagedRow> {
        let bytes = self
            .value
            .as_slice()
            .try_into()
            .map_err(|_| self.damaged("the clock is not of 8 bytes"))?;
        self.time(i64::from_be_bytes(bytes))
    }

    fn cluster(&self, state: &mut State) -> Result<u64, DamagedRow> {
        let row: stored::ClusterRow = self.read(|row: &stored::ClusterRow| row.format)?;
        let stored::ClusterRow {
            format: _,
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
        });
        state.seal = seal;
        Ok(epoch)
    }

    fn object(
        &self,
        state: &mut State,
        objects: &mut Vec<(verger_policy::set::Entry, Option<std::sync::Arc<Body>>)>,
    ) -> Result<(), DamagedRow> {
        let row: stored::ObjectRow = self.read(|row: &stored::ObjectRow| row.format)?;
        let stored::ObjectRow {
            format: _,
            epoch,
            canonical,
            revision,
        } = row;
        let key: ObjectKey = self
            .text()?
            .parse()
            .map_err(|_| self.damaged("its key names no object"))?;
        if canonical.is_empty() {
            state.tombstones.insert(key, revision);
            return Ok(());
        }
        let body = Body::from_canonical(canonical.to_vec()).map_err(|error| self.damaged(error))?;
        if body.object().key() != key {
            return Err(self.damaged("it holds another object than its key says"));
        }
        objects.push((body.entry(epoch), Some(std::sync::Arc::new(body))));
        state.object_revisions.insert(key, revision);
        Ok(())
    }

    fn token(&self, state: &mut State) -> Result<(), DamagedRow> {
        let row: stored::TokenRow = self.read(|row: &stored::TokenRow| row.format)?;
        let stored::TokenRow {
            format: _,
            secret_hash,
            agent_id,
            expires_ms,
            spent,
        } = row;
        let token = Token {
            secret_hash: self.digest(&secret_hash)?,
            agent: agent_id.parse().map_err(|error| self.damaged(error))?,
            expires: self.time(expires_ms)?,
            spent,
        };
        state.tokens.insert(self.text()?.to_owned(), token);
        Ok(())
    }

    fn host(&self, state: &mut State) -> Result<(), DamagedRow> {
        let row: stored::HostRow = self.read(|row: &stored::HostRow| row.format)?;
        let stored::HostRow {
            format: _,
            enrolled_ms,
            key_digest,
            last_sequence,
        } = row;
        let agent = self.text()?.parse().map_err(|error| self.damaged(error))?;
        let host = Host {
            enrolled: self.time(enrolled_ms)?,
            key: self.digest(&key_digest)?,
            last_sequence,
        };
        state.hosts.insert(agent, host);
        Ok(())
    }

    fn finding(&self, state: &mut State) -> Result<(), DamagedRow> {
        let row: stored::FindingRow = self.read(|row: &stored::FindingRow| row.format)?;
        let last = row.last.ok_or_else(|| self.damaged("it has no transition"))?;
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
        *state.findings_of.entry(agent.clone()).or_default() += 1;
        state.findings.entry(uid).or_default().rows.insert(agent, last);
        Ok(())
    }

    fn finding_head(&self, state: &mut State) -> Result<(), DamagedRow> {
        let row: stored::FindingHead = self.read(|row: &stored::FindingHead| row.format)?;
        let stored::FindingHead {
            format: _,
            revision,
            acknowledged_by,
            note,
            acknowledged_ms,
        } = row;
        let finding = state
            .findings
            .entry(FindingUid(self.digest(&self.key)?))
            .or_default();
        finding.revision = revision;
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

    fn request(&self, state: &mut State) -> Result<(), DamagedRow> {
        use stored::request_row::Answer;
        let row: stored::RequestRow = self.read(|row: &stored::RequestRow| row.format)?;
        let response = match row.answer.ok_or_else(|| self.damaged("it has no answer"))? {
            Answer::SetApplied(stored::StoredSetApplied {
                epoch,
                root,
                revision,
            }) => Response::SetApplied {
                epoch,
                root: self.digest(&root)?,
                revision,
            },
            Answer::TokenCreated(id) => Response::TokenCreated(id),
            Answer::FindingAcknowledged(uid) => Response::FindingAcknowledged(FindingUid(self.digest(&uid)?)),
        };
        let at = self.time(row.at_ms)?;
        state.put_request(self.text()?.to_owned(), at, response);
        Ok(())
    }
}
