//! Carrying out commands.

mod enrolment;
mod ingest;
mod logins;
mod members;
mod own;
mod policy;
mod proposals;
mod records;
mod requests;
mod restoring;
mod retention;
mod stamps;
mod standing;

use bytes::Bytes;
use verger_policy::digest::Digest;
use verger_policy::set::PolicySet;
use verger_seal::TrustRoot;

use self::ingest::Ingested;
pub use self::ingest::authentic_head;
pub(crate) use self::members::FOUNDER;
use crate::admission::Presented;
use crate::audit::{AuditMark, Done};
use crate::command::{Action, Command};
use crate::limits;
use crate::proposals::Proposal;
use crate::response::{Refused, Response};
use crate::rows::{self, RowChange};
use crate::state::{Cluster, State};
use crate::version::ClusterVersion;

type Outcome = Result<Response, Refused>;

/// What there was before a command.
struct Before {
    /// Root of the set.
    root: Option<Digest>,
    /// Digest of the record that it is about, if the row tells; `None` within where there was none.
    record: Option<Option<Digest>>,
}

impl State {
    /// Carries out one encoded command at `revision`, its index in the log (several commands may share one).
    ///
    /// Returns the answer and the rows that changed, its audit row included.
    pub fn apply(&mut self, revision: u64, ordinal: u32, command: Bytes) -> (Response, Vec<RowChange>) {
        self.pass(revision);
        let command = match Command::decode(command) {
            Ok(command) => command,
            Err(error) => return (Response::Refused(error.into()), Vec::new()),
        };
        let mut changes = Vec::new();
        // Before time moves: the clock of who takes it again may be ahead of who took it first.
        let repeated = self.repeated(&command);
        self.move_time(&command, &mut changes);
        self.forget_requests(&mut changes);
        self.forget_resolved(&mut changes);
        let before = self.there_is(&command);
        let outcome = match repeated {
            // Whoever takes an id that is not his is on record; who asks again for what he was answered is already.
            Some(Response::Refused(Refused::RequestIdReused)) => Err(Refused::RequestIdReused),
            Some(response) => return (response, changes),
            None => self.carry_out(&command, &mut changes),
        };
        if let Ok(response) = &outcome {
            self.remember(&command, response, &mut changes);
        }
        // Findings are their own record, time and freshness their own; an audit row of each would only repeat them. Refusals that
        // whoever proposed them counts become rows of their number.
        let is_counted = command.counted && outcome.is_err();
        if !is_counted
            && !matches!(
                command.action,
                Action::Ingest { .. }
                    | Action::TellSilence { unrecorded: true, .. }
                    | Action::TellAhead { .. }
                    | Action::Stamp { .. }
                    | Action::Tick { .. }
            )
        {
            let mark = AuditMark {
                revision: self.revision,
                ordinal,
                at: self.clock.now,
            };
            let done = self.done(&command, &outcome, before);
            self.write_audit(mark, &command, &done, &mut changes);
        }
        (outcome.unwrap_or_else(Response::Refused), changes)
    }

    /// What there is before a command. Of commands that are not counted nothing but the set is told: their rows are as they
    /// always were.
    fn there_is(&self, command: &Command) -> Before {
        Before {
            root: self.root,
            record: Some(self.record_of(&command.action)).filter(|_| command.counted),
        }
    }

    fn done(&self, command: &Command, outcome: &Outcome, before: Before) -> Done {
        let is_rotation = matches!(command.action, Action::RotateTrustRoot { .. });
        let (before, after) = match (outcome, before.record) {
            (Ok(_), Some(record)) if is_rotation => (record, self.record_of(&command.action)),
            (Ok(Response::SetApplied { root, .. }), _) => {
                let before = before.root.unwrap_or_else(|| PolicySet::empty().root());
                (Some(before), Some(*root))
            }
            (Ok(_), Some(record)) => match self.record_of(&command.action) {
                after if after == record => (None, None),
                after => (record, after),
            },
            _ => (None, None),
        };
        let word = match (outcome, &command.action) {
            (Ok(_), Action::NoteDenied { reason, .. }) => reason,
            // It is not in, and not refused.
            (Ok(Response::AwaitsApproval), _) => "AWAITS_APPROVAL",
            (Ok(_), _) => "ok",
            (Err(refused), _) => refused.word(),
        };
        Done {
            outcome: word.to_owned(),
            before,
            after,
        }
    }

    /// Notes an entry of the log that holds no command, so that the revision is the same after a restart.
    pub fn pass(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    fn move_time(&mut self, command: &Command, changes: &mut Vec<RowChange>) {
        let before = self.clock.clone();
        let until = match command.action {
            Action::Tick { until } => until,
            _ => command.stamp,
        };
        self.clock.offer(command.stamp, until);
        if self.clock.now != before.now {
            changes.push(rows::clock(self.clock.now));
        }
        if self.clock.held_back != before.held_back {
            changes.push(rows::held_back(self.clock.held_back.as_ref()));
        }
        self.tell_clock(changes);
        self.end_break_glass(changes);
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
            Action::RotateTrustRoot { trust_root, seal } => self.rotate_trust_root(trust_root, seal, changes),
            Action::CreateToken {
                id,
                secret_hash,
                agent,
                expires,
                approval,
            } => {
                let token = self.new_token(*secret_hash, agent, *expires, *approval);
                self.create_token(id, token, changes)
            }
            Action::Enrol {
                token_id,
                secret_hash,
                agent,
                key,
                machine,
            } => {
                let presented = Presented {
                    token: token_id,
                    secret: secret_hash,
                    agent,
                    key,
                    machine: machine.as_ref(),
                };
                self.enrol(&presented, changes)
            }
            Action::Ingest {
                agent,
                first_sequence,
                transitions,
                anew,
                chain_before,
                head,
            } => {
                let told = Ingested {
                    agent,
                    first_sequence: *first_sequence,
                    transitions,
                    anew: anew.then_some(*chain_before),
                    head: head.as_ref(),
                };
                self.ingest(&told, changes)
            }
            Action::AckFinding { uid, note } => self.acknowledge(*uid, note, &command.actor, changes),
            Action::Propose {
                expected_epoch,
                upserts,
                deletes,
                seal,
            } => {
                let proposal = Proposal {
                    actor: command.actor.clone(),
                    created: self.clock.now,
                    expected_epoch: *expected_epoch,
                    upserts: upserts.clone(),
                    deletes: deletes.clone(),
                    seal: seal.clone(),
                    not_after: self.clock.now,
                };
                self.propose(proposal, changes)
            }
            Action::SignProposal { number, seal } => self.sign_proposal(*number, seal, changes),
            Action::WithdrawProposal { number } => self.withdraw_proposal(*number, changes),
            Action::RecoverLogin { person, key, .. } | Action::CreateLogin { person, key } => {
                self.create_login(person, *key, changes)
            }
            Action::LogIn {
                person,
                key,
                word,
                ends,
                replaces,
            } => self.log_in(person, *key, word, *ends, *replaces, changes),
            Action::BreakGlass {
                person,
                reason,
                key,
                ends,
            } => self.break_glass(person, reason, *key, *ends, changes),
            Action::EndBreakGlass { person } => self.end_break_glass_of(person, changes),
            Action::InviteMember {
                member,
                id,
                secret_hash,
                expires,
            } => self.invite_member(member, id, *secret_hash, *expires, changes),
            Action::AdmitMember {
                member,
                secret_hash,
                key,
                newest,
            } => self.admit_member(member, *secret_hash, *key, *newest, changes),
            Action::RemoveMember { member } => self.remove_member(member, &command.actor, changes),
            Action::NoteMember { .. } => self.note_member(),
            Action::RaiseVersion { to } => self.raise_version(*to, changes),
            Action::SaveSnapshot => self.save_snapshot(),
            Action::Restore { from, members } => self.restore(from, members, &command.actor, changes),
            Action::RemoveHost { agent } => self.remove_host(agent, changes),
            Action::DecideHost { agent, key, approved } => {
                self.decide_host(agent, key, *approved, &command.actor, changes)
            }
            Action::EvictHost { agent, reason } => {
                self.evict_host(agent, self.verdict(&command.actor, reason), changes)
            }
            Action::BanHost { agent, reason } => {
                self.ban_host(agent, self.verdict(&command.actor, reason), changes)
            }
            Action::UnbanHost { agent } => {
                self.unban_host(agent, self.verdict(&command.actor, "the ban was lifted"), changes)
            }
            Action::RevokeLogin { person, reason } => {
                self.revoke_login(person, self.verdict(&command.actor, reason), changes)
            }
            Action::RestoreLogin { person } => self.restore_login(person, changes),
            Action::TellCopy { agent, machine } => self.tell_copy(agent, machine.as_ref(), changes),
            Action::TellSilence {
                agent,
                silent,
                since,
                unrecorded: _,
            } => self.hear_silence(agent, *silent, *since, changes),
            Action::TellAhead { agent, epoch } => self.hear_ahead(agent, *epoch, changes),
            // The audit row is what it is for.
            Action::NoteDenied { .. } => Ok(Response::DeniedNoted),
            Action::RecordCertificate { .. } => Ok(Response::CertificateRecorded),
            Action::Stamp { envelope } => self.take_stamp(envelope, changes),
            Action::Tick { .. } => {
                // Time has moved already.
                self.forget_logins(changes);
                Ok(Response::Ticked)
            }
        }
    }

    /// Moves to a version, and writes anew what it writes otherwise. Whether this program knows it is for who applies it.
    fn raise_version(&mut self, to: ClusterVersion, changes: &mut Vec<RowChange>) -> Outcome {
        self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        if to > self.version {
            self.may_raise()?;
            self.version = to;
            changes.push(rows::version(to));
            changes.extend(rows::cluster(self));
        }
        Ok(Response::VersionRaised)
    }

    fn found(&mut self, envelope: &Bytes, changes: &mut Vec<RowChange>) -> Outcome {
        if let Some(cluster) = &self.cluster {
            return Err(Refused::AlreadyFounded(cluster.id));
        }
        if envelope.len() > limits::ENVELOPE_BYTES {
            return Err(Refused::TrustRoot(over_envelope(envelope)));
        }
        let trust_root =
            TrustRoot::open_first(envelope).map_err(|refusal| Refused::TrustRoot(refusal.to_string()))?;
        let id = trust_root.cluster_id();
        self.cluster = Some(Cluster {
            id,
            trust_root,
            envelope: envelope.clone(),
            later: Vec::new(),
        });
        changes.extend(rows::cluster(self));
        changes.push(rows::horizons(self));
        Ok(Response::Founded(id))
    }
}

fn over_envelope(envelope: &Bytes) -> String {
    let (size, limit) = (envelope.len(), limits::ENVELOPE_BYTES);
    format!("an envelope of {size} bytes is over the limit of {limit}")
}
