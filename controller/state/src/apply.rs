//! Carrying out commands.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use verger_policy::digest::Digest;
use verger_policy::finding::{Acknowledgement, FindingUid, Lifecycle, Transition};
use verger_policy::model::{AgentId, ObjectKey, PolicyObject};
use verger_seal::TrustRoot;

use crate::command::{Action, Command};
use crate::limits;
use crate::response::{Refused, Response};
use crate::rows::{self, RowChange};
use crate::state::{Cluster, Host, State, Token};

type Outcome = Result<Response, Refused>;

impl State {
    /// Carries out one encoded command at `revision`, its index in the log (several commands may share one).
    ///
    /// Returns the answer and the rows that changed, its audit row included.
    pub fn apply(&mut self, revision: u64, ordinal: u32, command: Bytes) -> (Response, Vec<RowChange>) {
        self.revision = self.revision.max(revision);
        let command = match Command::decode(command) {
            Ok(command) => command,
            Err(error) => return (Response::Refused(error.into()), Vec::new()),
        };
        // Time never runs back, whoever proposes.
        let mut changes = Vec::new();
        if command.stamp > self.clock {
            self.clock = command.stamp;
            changes.push(rows::clock(self.clock));
        }
        self.forget_requests(&mut changes);
        let remembered = command.request_id.as_ref().and_then(|id| self.requests.get(id));
        if let Some((_, response)) = remembered {
            return (repeat(response, &command.action), changes);
        }
        let outcome = self.carry_out(&command, &mut changes);
        if let (Ok(response), Some(id)) = (&outcome, &command.request_id)
            && let Some(change) = rows::request(id, self.clock, response)
        {
            self.put_request(id.clone(), self.clock, response.clone());
            changes.push(change);
        }
        let word = outcome.as_ref().map_or_else(Refused::word, |_| "ok");
        // Findings are their own record; an audit row per batch would only repeat them.
        if !matches!(command.action, Action::Ingest { .. }) {
            changes.push(rows::audit(self.revision, ordinal, self.clock, &command, word));
        }
        (outcome.unwrap_or_else(Response::Refused), changes)
    }

    fn carry_out(&mut self, command: &Command, changes: &mut Vec<RowChange>) -> Outcome {
        match &command.action {
            Action::Found { trust_root } => self.found(trust_root, changes),
            Action::ApplySet {
                expected_epoch,
                upserts,
                deletes,
                seal,
            } => self.apply_set(*expected_epoch, upserts, deletes, seal, changes),
            Action::CreateToken {
                id,
                secret_hash,
                agent,
                expires,
            } => {
                let longest = self
                    .clock
                    .saturating_add(SignedDuration::from_secs(limits::REQUEST_SECONDS));
                let expires = (*expires).min(longest.unwrap_or(Timestamp::MAX));
                let token = Token {
                    secret_hash: *secret_hash,
                    agent: agent.clone(),
                    expires,
                    spent: false,
                };
                self.create_token(id, token, changes)
            }
            Action::Enrol {
                token_id,
                secret_hash,
                agent,
                key,
            } => self.enrol(token_id, secret_hash, agent, *key, changes),
            Action::Ingest {
                agent,
                first_sequence,
                transitions,
            } => self.ingest(agent, *first_sequence, transitions, changes),
            Action::AckFinding { uid, note } => self.acknowledge(*uid, note, &command.actor, changes),
        }
    }

    fn found(&mut self, envelope: &Bytes, changes: &mut Vec<RowChange>) -> Outcome {
        if let Some(cluster) = &self.cluster {
            return Err(Refused::AlreadyFounded(cluster.id));
        }
        let trust_root =
            TrustRoot::open_first(envelope).map_err(|refusal| Refused::TrustRoot(refusal.to_string()))?;
        let id = trust_root.cluster_id();
        self.cluster = Some(Cluster {
            id,
            trust_root,
            envelope: envelope.clone(),
        });
        changes.extend(rows::cluster(self));
        Ok(Response::Founded(id))
    }

    fn apply_set(
        &mut self,
        expected_epoch: u64,
        upserts: &[Bytes],
        deletes: &[ObjectKey],
        seal: &Bytes,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        let cluster = self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        if expected_epoch != self.set.epoch() {
            return Err(Refused::EpochConflict {
                expected: expected_epoch,
                current: self.set.epoch(),
            });
        }
        let mut objects = Vec::with_capacity(upserts.len());
        for bytes in upserts {
            if bytes.len() > limits::OBJECT_BYTES {
                let size = bytes.len();
                return Err(Refused::Set(format!(
                    "an object of {size} bytes is over the limit of {}",
                    limits::OBJECT_BYTES
                )));
            }
            objects
                .push(PolicyObject::from_canonical(bytes).map_err(|error| Refused::Set(error.to_string()))?);
        }
        let keys: Vec<ObjectKey> = objects.iter().map(PolicyObject::key).collect();
        let next = self
            .set
            .change(objects, deletes.iter().cloned())
            .map_err(|error| Refused::Set(error.to_string()))?;
        if next.len() > limits::OBJECTS {
            return Err(Refused::Set(format!(
                "a set holds at most {} objects",
                limits::OBJECTS
            )));
        }
        let root = next.root();
        seal_check(&cluster.trust_root, seal, self.clock, &next)?;
        let (revision, epoch) = (self.revision, next.epoch());
        for key in deletes {
            self.object_revisions.remove(key);
            self.tombstones.insert(key.clone(), revision);
            changes.push(rows::tombstone(key, revision));
        }
        for key in keys {
            // An upsert of what is there already changes nothing.
            if next.entry(&key).is_some_and(|entry| entry.epoch == epoch) {
                self.tombstones.remove(&key);
                self.object_revisions.insert(key.clone(), revision);
                changes.extend(rows::object(&next, &key, revision));
            }
        }
        self.set = next;
        self.seal = seal.clone();
        changes.extend(rows::cluster(self));
        self.forget_tombstones(changes);
        Ok(Response::SetApplied {
            epoch,
            root,
            revision,
        })
    }

    fn create_token(&mut self, id: &str, token: Token, changes: &mut Vec<RowChange>) -> Outcome {
        self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        let clock = self.clock;
        let over: Vec<String> = self
            .tokens
            .iter()
            .filter(|(_, token)| token.expires <= clock)
            .map(|(id, _)| id.clone())
            .collect();
        for id in over {
            self.tokens.remove(&id);
            changes.push(rows::token_gone(&id));
        }
        if self.tokens.len() >= limits::TOKENS {
            return Err(Refused::TooManyTokens);
        }
        changes.push(rows::token(id, &token));
        self.tokens.insert(id.to_owned(), token);
        Ok(Response::TokenCreated(id.to_owned()))
    }

    fn enrol(
        &mut self,
        token_id: &str,
        secret_hash: &Digest,
        agent: &AgentId,
        key: Digest,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        let clock = self.clock;
        if !self.token_serves(token_id, secret_hash, agent, &key) {
            return Err(Refused::Token);
        }
        let token = self.tokens.get_mut(token_id).ok_or(Refused::Token)?;
        token.spent = true;
        changes.push(rows::token(token_id, token));
        let known = self.hosts.get(agent).filter(|host| host.key == key).cloned();
        // Another key is another agent's life: it numbers its transitions from 1, and what the one before it told is no longer
        // known to hold. It tells all that it finds.
        if known.is_none() {
            self.forget_findings_of(agent, changes);
        }
        let host = known.unwrap_or(Host {
            enrolled: clock,
            key,
            last_sequence: 0,
        });
        changes.push(rows::host(agent, &host));
        self.hosts.insert(agent.clone(), host);
        Ok(Response::Enrolled)
    }

    fn forget_findings_of(&mut self, agent: &AgentId, changes: &mut Vec<RowChange>) {
        let of_it: Vec<FindingUid> = self
            .findings
            .iter()
            .filter(|(_, finding)| finding.rows.contains_key(agent))
            .map(|(uid, _)| *uid)
            .collect();
        for uid in of_it {
            let Some(mut finding) = self.findings.get(&uid).cloned() else {
                continue;
            };
            finding.rows.remove(agent);
            changes.push(rows::finding_row_gone(&uid, agent));
            if finding.rows.is_empty() {
                changes.push(rows::finding_head_gone(&uid));
                self.drop_finding(&uid);
            } else {
                finding.revision = self.revision;
                changes.push(rows::finding_head(&uid, &finding));
                self.put_finding(uid, finding);
            }
        }
    }

    fn ingest(
        &mut self,
        agent: &AgentId,
        first_sequence: u64,
        transitions: &[Transition],
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        let host = self.hosts.get(agent).ok_or(Refused::UnknownAgent)?;
        let expected = host.last_sequence.saturating_add(1);
        if first_sequence > expected || first_sequence == 0 {
            return Err(Refused::SequenceGap { expected });
        }
        // What was taken in before a lost acknowledgement is skipped.
        let seen = usize::try_from(expected - first_sequence).unwrap_or(usize::MAX);
        let fresh = transitions.get(seen..).unwrap_or_default();
        let new = fresh
            .iter()
            .filter(|transition| !self.holds(agent, &transition.uid))
            .count();
        if self.findings_of.get(agent).copied().unwrap_or(0) + new > limits::FINDINGS_PER_AGENT {
            return Err(Refused::TooManyFindings);
        }
        for transition in fresh {
            self.take_in(agent, transition, changes);
        }
        let host = self.hosts.get_mut(agent).ok_or(Refused::UnknownAgent)?;
        host.last_sequence = host.last_sequence.saturating_add(fresh.len() as u64);
        changes.push(rows::host(agent, host));
        Ok(Response::Ingested(host.last_sequence))
    }

    fn holds(&self, agent: &AgentId, uid: &FindingUid) -> bool {
        self.findings
            .get(uid)
            .is_some_and(|finding| finding.rows.contains_key(agent))
    }

    fn take_in(&mut self, agent: &AgentId, transition: &Transition, changes: &mut Vec<RowChange>) {
        let uid = transition.uid;
        let mut finding = self.findings.get(&uid).cloned().unwrap_or_default();
        let before = finding.rows.insert(agent.clone(), transition.clone());
        let opens = transition.lifecycle == Lifecycle::Open
            && before.is_none_or(|before| before.lifecycle != Lifecycle::Open);
        if opens {
            finding.acknowledged = None;
        }
        finding.revision = self.revision;
        changes.push(rows::finding_row(&uid, agent, transition, self.revision));
        changes.push(rows::finding_head(&uid, &finding));
        self.put_finding(uid, finding);
    }

    fn acknowledge(
        &mut self,
        uid: FindingUid,
        note: &str,
        actor: &str,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        let mut finding = self.findings.get(&uid).cloned().ok_or(Refused::NoSuchFinding)?;
        // Never empty, which in a row means that nobody has seen it.
        let name = actor.strip_prefix("person/").filter(|name| !name.is_empty());
        let person = name.unwrap_or(actor).to_owned();
        finding.acknowledged = Some(Acknowledgement {
            person,
            note: note.to_owned(),
            at: self.clock,
        });
        finding.revision = self.revision;
        changes.push(rows::finding_head(&uid, &finding));
        self.put_finding(uid, finding);
        Ok(Response::FindingAcknowledged(uid))
    }

    fn forget_requests(&mut self, changes: &mut Vec<RowChange>) {
        let horizon = self
            .clock
            .saturating_sub(SignedDuration::from_secs(limits::REQUEST_SECONDS));
        let horizon = horizon.unwrap_or(Timestamp::MIN);
        while let Some((at, id)) = self.requests_by_time.first().cloned() {
            if at >= horizon && self.requests.len() <= limits::REQUESTS {
                break;
            }
            self.drop_request(&id);
            changes.push(rows::request_gone(&id));
        }
    }

    fn forget_tombstones(&mut self, changes: &mut Vec<RowChange>) {
        while self.tombstones.len() > limits::TOMBSTONES {
            let Some(key) = self
                .tombstones
                .iter()
                .min_by_key(|(_, at)| **at)
                .map(|(key, _)| key.clone())
            else {
                return;
            };
            self.tombstones.remove(&key);
            changes.push(rows::object_gone(&key));
        }
    }
}

fn repeat(response: &Response, action: &Action) -> Response {
    match (response, action) {
        (Response::TokenCreated(made), Action::CreateToken { id, .. }) if made != id => {
            Response::Refused(Refused::TokenAlreadyCreated(made.clone()))
        }
        _ => response.clone(),
    }
}

fn seal_check(
    trust_root: &TrustRoot,
    seal: &Bytes,
    at: jiff::Timestamp,
    set: &verger_policy::set::PolicySet,
) -> Result<(), Refused> {
    let refused = |refusal: verger_seal::Refusal| Refused::Seal {
        word: refusal.word(),
        detail: refusal.to_string(),
    };
    let sealed = verger_seal::verify_set(trust_root, seal, at).map_err(refused)?;
    sealed
        .matches(set.epoch(), &set.root(), set.len() as u64)
        .map_err(refused)
}
