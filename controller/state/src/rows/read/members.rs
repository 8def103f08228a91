//! The row of a member.

use verger_proto::stored::v1 as stored;

use super::super::DamagedRow;
use super::row::Row;
use crate::apply::FOUNDER;
use crate::convert;
use crate::state::{MemberRecord, State};

impl Row<'_> {
    pub(super) fn member(&self, state: &mut State) -> Result<(), DamagedRow> {
        use stored::member_row::Record;
        let row: stored::MemberRow = self.read(|row: &stored::MemberRow| row.format)?;
        let stored::MemberRow { format: _, record } = row;
        let record = match record.ok_or_else(|| self.damaged("it has no record"))? {
            Record::Invited(stored::StoredInvitation {
                secret_hash,
                expires_ms,
            }) => MemberRecord::Invited {
                secret_hash: self.digest(&secret_hash)?,
                expires: self.time(expires_ms)?,
            },
            Record::Admitted(stored::StoredMember {
                number,
                secret_hash,
                key_digest,
                admitted_ms,
            }) => MemberRecord::Admitted {
                number: Some(number)
                    .filter(|number| *number > FOUNDER)
                    .ok_or_else(|| self.damaged(format!("its number is {number}")))?,
                secret_hash: self.digest(&secret_hash)?,
                key: self.digest(&key_digest)?,
                at: self.time(admitted_ms)?,
            },
            Record::Removed(stored::StoredRemoval {
                by,
                removed_ms,
                number,
            }) => MemberRecord::Removed {
                number: Some(number).filter(|number| *number > 0),
                by,
                at: self.time(removed_ms)?,
            },
        };
        let name =
            convert::member_name(self.text()?).ok_or_else(|| self.damaged("its key names no member"))?;
        state.members.insert(name, record);
        Ok(())
    }
}
