//! Proposals, each put together from several rows.

use std::collections::BTreeMap;

use bytes::Bytes;
use verger_proto::stored::v1 as stored;

use super::row::Row;
use crate::convert;
use crate::proposals::Proposal;
use crate::rows::DamagedRow;

/// Rows of proposals, in any order.
#[derive(Debug, Default)]
pub(super) struct ProposalParts {
    /// Without bodies, with their number.
    heads: BTreeMap<u64, (Proposal, u32)>,
    bodies: BTreeMap<(u64, u32), Bytes>,
}

impl ProposalParts {
    /// Puts them together.
    ///
    /// # Errors
    /// The number of one that has too few or too many bodies.
    pub(super) fn whole(self) -> Result<BTreeMap<u64, Proposal>, u64> {
        let Self { mut heads, bodies } = self;
        for ((number, place), body) in bodies {
            let (proposal, _) = heads.get_mut(&number).ok_or(number)?;
            if u32::try_from(proposal.upserts.len()) != Ok(place) {
                return Err(number);
            }
            proposal.upserts.push(body);
        }
        let whole = |(number, (proposal, upserts)): (u64, (Proposal, u32))| {
            let all = u32::try_from(proposal.upserts.len()) == Ok(upserts);
            if all { Ok((number, proposal)) } else { Err(number) }
        };
        heads.into_iter().map(whole).collect()
    }
}

impl Row<'_> {
    pub(super) fn proposal_head(&self) -> Result<u64, DamagedRow> {
        let row: stored::ProposalHeadRow = self.read(|row: &stored::ProposalHeadRow| row.format)?;
        let stored::ProposalHeadRow { format: _, last } = row;
        Ok(last)
    }

    pub(super) fn proposal(&self, parts: &mut ProposalParts) -> Result<(), DamagedRow> {
        match self.key.len() {
            8 => {
                let (number, head) = self.proposal_without_bodies()?;
                parts.heads.insert(number, head);
            }
            12 => {
                let row: stored::ProposalBodyRow = self.read(|row: &stored::ProposalBodyRow| row.format)?;
                let stored::ProposalBodyRow { format: _, canonical } = row;
                let (number, place) = self.key.split_at(8);
                let place = place.iter().fold(0, |all, byte| all << 8 | u32::from(*byte));
                parts.bodies.insert((big_endian(number), place), canonical);
            }
            _ => return Err(self.damaged("its key is not of 8 or 12 bytes")),
        }
        Ok(())
    }

    fn proposal_without_bodies(&self) -> Result<(u64, (Proposal, u32)), DamagedRow> {
        let row: stored::ProposalRow = self.read(|row: &stored::ProposalRow| row.format)?;
        let stored::ProposalRow {
            format: _,
            actor,
            created_ms,
            expected_epoch,
            deletes,
            seal,
            upserts,
            not_after_ms,
        } = row;
        let deletes = deletes
            .into_iter()
            .map(|key| convert::object_key(key).ok_or_else(|| self.damaged("a key names no object")))
            .collect::<Result<_, _>>()?;
        let proposal = Proposal {
            actor,
            created: self.time(created_ms)?,
            expected_epoch,
            upserts: Vec::new(),
            deletes,
            seal,
            not_after: self.time(not_after_ms)?,
        };
        Ok((big_endian(self.key), (proposal, upserts)))
    }
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte))
}
