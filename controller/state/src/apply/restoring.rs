//! Going on, as a new cluster of one member, with what a snapshot held.

use verger_policy::model::Name;

use super::Outcome;
use crate::command::SnapshotPlace;
use crate::response::{Refused, Response};
use crate::rows::{self, RowChange};
use crate::state::{MemberRecord, Restored, State};

impl State {
    /// Nothing but the row in the audit that every action leaves.
    pub(super) fn save_snapshot(&self) -> Outcome {
        self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        Ok(Response::SnapshotNoted)
    }

    /// Takes out whoever was a member before, and what would let anybody in who was let in since; and has every watcher begin anew, whose
    /// revision may be one of what came after the snapshot. Who was invited may have come after the snapshot: that name is used, too.
    pub(super) fn restore(
        &mut self,
        from: &SnapshotPlace,
        members: &[(Name, u64)],
        by: &str,
        changes: &mut Vec<RowChange>,
    ) -> Outcome {
        self.cluster.as_ref().ok_or(Refused::NotFounded)?;
        let known = members.iter().map(|(name, number)| (name.clone(), Some(*number)));
        let recorded = self.members.iter().filter_map(|(name, record)| match record {
            MemberRecord::Admitted { number, .. } => Some((name.clone(), Some(*number))),
            MemberRecord::Invited { .. } => Some((name.clone(), None)),
            MemberRecord::Removed { .. } => None,
        });
        let gone: Vec<_> = known.chain(recorded).collect();
        for (name, number) in gone {
            if let Some(MemberRecord::Removed { .. }) = self.members.get(&name) {
                continue;
            }
            let record = MemberRecord::Removed {
                number,
                by: by.to_owned(),
                at: self.clock.now,
            };
            self.put_member(&name, record, changes);
        }
        for id in std::mem::take(&mut self.tokens).into_keys() {
            changes.push(rows::token_gone(&id));
        }
        self.objects.forgotten = self.revision;
        self.findings.forgotten = self.revision;
        changes.push(rows::horizons(self));
        let restored = Restored {
            from: from.clone(),
            at: self.clock.now,
            revision: self.revision,
        };
        changes.push(rows::restored(&restored));
        self.restored = Some(restored);
        Ok(Response::Restored)
    }
}
