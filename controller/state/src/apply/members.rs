//! Who the members of the control plane are.

use jiff::Timestamp;
use subtle::ConstantTimeEq as _;
use verger_policy::digest::Digest;
use verger_policy::model::Name;

use super::Outcome;
use crate::limits;
use crate::response::{Refused, Response};
use crate::rows::{self, RowChange};
use crate::state::{MemberRecord, State};
use crate::version::ClusterVersion;

/// The number of the member that founded the cluster: no other has it.
pub(crate) const FOUNDER: u64 = 1;

impl State {
    /// Whether somebody is let in as a member: its number, where it was let in already with the same secret and key. Decided
    /// again when it is asked for; asked before that, it costs the log nothing.
    ///
    /// # Errors
    /// When it is not invited under that name with that secret, or too late, or somebody with another key came first: one reason
    /// for all. When its program does not know the cluster's version: it would stop at the first row of a form that it does not know.
    pub fn may_admit(
        &self,
        member: &Name,
        secret_hash: &Digest,
        key: &Digest,
        newest: ClusterVersion,
    ) -> Result<Option<u64>, Refused> {
        let number = self.is_invited(member, secret_hash, key)?;
        match newest < self.version {
            true => Err(Refused::VersionNewer {
                cluster: self.version,
                newest,
            }),
            false => Ok(number),
        }
    }

    fn is_invited(&self, member: &Name, secret_hash: &Digest, key: &Digest) -> Result<Option<u64>, Refused> {
        let holds = |hash: &Digest| bool::from(hash.as_bytes().ct_eq(secret_hash.as_bytes()));
        match self.members.get(member) {
            Some(MemberRecord::Invited {
                secret_hash: hash,
                expires,
            }) if holds(hash) && *expires > self.clock.now => Ok(None),
            Some(MemberRecord::Admitted {
                number,
                secret_hash: hash,
                key: known,
                at: _,
            }) if holds(hash) && known == key => Ok(Some(*number)),
            _ => Err(Refused::Token),
        }
    }

    pub(super) fn invite_member(
        &mut self,
        member: &Name,
        id: &str,
        secret_hash: Digest,
        expires: Timestamp,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        if let Some(MemberRecord::Admitted { .. } | MemberRecord::Removed { .. }) = self.members.get(member) {
            return Err(Refused::MemberNameTaken(member.clone()));
        }
        self.forget_invitations(changes);
        if !self.members.contains_key(member) {
            self.has_room_for_member()?;
        }
        let expires = self.token_end(expires);
        self.put_member(member, MemberRecord::Invited { secret_hash, expires }, changes);
        Ok(Response::MemberInvited(id.to_owned()))
    }

    pub(super) fn admit_member(
        &mut self,
        member: &Name,
        secret_hash: Digest,
        key: Digest,
        newest: ClusterVersion,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        if let Some(number) = self.may_admit(member, &secret_hash, &key, newest)? {
            return Ok(Response::MemberAdmitted { number });
        }
        let number = self.next_member_number();
        let record = MemberRecord::Admitted {
            number,
            secret_hash,
            key,
            at: self.clock.now,
        };
        self.put_member(member, record, changes);
        Ok(Response::MemberAdmitted { number })
    }

    /// Whether the version can be raised now. Who was let in a moment ago is not among those whose versions are known yet.
    ///
    /// # Errors
    /// When somebody was let in within [`limits::JOINING_SECONDS`].
    pub(super) fn may_raise(&self) -> Result<(), Refused> {
        let joins = |(name, record): (&Name, &MemberRecord)| match record {
            MemberRecord::Admitted { at, .. } => {
                let since = self.clock.now.as_second().saturating_sub(at.as_second());
                (since < limits::JOINING_SECONDS).then(|| name.clone())
            }
            MemberRecord::Invited { .. } | MemberRecord::Removed { .. } => None,
        };
        match self.members.iter().find_map(joins) {
            Some(member) => Err(Refused::MemberJoins(member)),
            None => Ok(()),
        }
    }

    /// Takes a member out for good. One that there is no record of is the one that founded the cluster.
    pub(super) fn remove_member(&mut self, member: &Name, by: &str, changes: &mut Vec<RowChange>) -> Outcome {
        self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        let number = match self.members.get(member) {
            Some(MemberRecord::Removed { .. }) => return Ok(Response::MemberRemoved),
            Some(MemberRecord::Invited { .. }) => {
                self.members.remove(member);
                changes.push(rows::member_gone(member));
                return Ok(Response::MemberRemoved);
            }
            Some(MemberRecord::Admitted { number, .. }) => Some(*number),
            None => {
                self.forget_invitations(changes);
                self.has_room_for_member()?;
                None
            }
        };
        let record = MemberRecord::Removed {
            number,
            by: by.to_owned(),
            at: self.clock.now,
        };
        self.put_member(member, record, changes);
        Ok(Response::MemberRemoved)
    }

    /// Nothing but the row in the audit that every action leaves.
    pub(super) fn note_member(&self) -> Outcome {
        self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        Ok(Response::MemberNoted)
    }

    /// Where in the log it is let in; after the last number given, where several are let in by one entry.
    fn next_member_number(&self) -> u64 {
        let given = self.members.values().filter_map(MemberRecord::number).max();
        let next = given.unwrap_or(FOUNDER).max(FOUNDER).saturating_add(1);
        self.revision.max(next)
    }

    pub(super) fn put_member(&mut self, member: &Name, record: MemberRecord, changes: &mut Vec<RowChange>) {
        changes.push(rows::member(member, &record));
        self.members.insert(member.clone(), record);
    }

    /// Takes out invitations that have ended.
    fn forget_invitations(&mut self, changes: &mut Vec<RowChange>) {
        let now = self.clock.now;
        self.members.retain(|name, record| {
            let is_over = matches!(record, MemberRecord::Invited { expires, .. } if *expires <= now);
            if is_over {
                changes.push(rows::member_gone(name));
            }
            !is_over
        });
    }

    fn has_room_for_member(&self) -> Result<(), Refused> {
        if self.members.len() < limits::MEMBERS {
            return Ok(());
        }
        Err(Refused::TooManyMembers(limits::MEMBERS))
    }
}
