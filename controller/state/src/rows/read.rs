//! Rows to state.

mod members;
mod proposals;
mod row;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use verger_policy::set::{Body, Entry, PolicySet};
use verger_seal::Stamp;

use self::proposals::ProposalParts;
use self::row::Row;
use super::{
    AUDIT_HEAD_KEY, CLOCK_KEY, CLUSTER_KEY, DamagedRow, HELD_BACK_KEY, HORIZONS_KEY, PARTIAL_STAMP_KEY,
    PROPOSAL_HEAD_KEY, RESTORED_KEY, SEAL_KEY, STAMP_KEY, TRUST_ROOT_PREFIX, Tree, VERSION_KEY,
};
use crate::audit::AuditHead;
use crate::stamps::{Stamped, Stamps};
use crate::state::State;

impl State {
    /// Rebuilds the state from its rows, applied up to `revision`.
    ///
    /// # Errors
    /// When a row cannot be read, or the rows do not fit together.
    pub fn from_rows(
        revision: u64,
        rows: impl IntoIterator<Item = (Tree, Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, DamagedRow> {
        let mut rebuild = Rebuild::at(revision);
        for (tree, key, value) in rows {
            rebuild.take(tree, &key, &value)?;
        }
        rebuild.finish()
    }
}

/// A state that is being rebuilt from its rows, given one by one in any order, each once.
#[derive(Debug)]
pub struct Rebuild {
    state: State,
    epoch: u64,
    objects: Vec<(Entry, Option<Arc<Body>>)>,
    horizons: Option<(u64, u64)>,
    audit: Option<AuditHead>,
    proposals: ProposalParts,
    /// Versions after the first, by their keys, which sort as they follow one another.
    trust_roots: BTreeMap<Vec<u8>, Bytes>,
    /// The whole one and the partial one: read under the trust root in force.
    stamps: [Option<Bytes>; 2],
}

impl Rebuild {
    /// Begins: the rows are those of the log up to `revision`.
    pub fn at(revision: u64) -> Self {
        Self {
            state: State {
                revision,
                ..State::default()
            },
            epoch: 0,
            objects: Vec::new(),
            horizons: None,
            audit: None,
            proposals: ProposalParts::default(),
            trust_roots: BTreeMap::new(),
            stamps: [None, None],
        }
    }

    /// Takes in a row.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn take(&mut self, tree: Tree, key: &[u8], value: &[u8]) -> Result<(), DamagedRow> {
        let row = Row { tree, key, value };
        let state = &mut self.state;
        match tree {
            Tree::Cluster => match key {
                CLUSTER_KEY => self.epoch = row.cluster(state)?,
                SEAL_KEY if cfg!(feature = "next") => state.seal = Bytes::copy_from_slice(value),
                VERSION_KEY => state.version = row.version()?,
                CLOCK_KEY => state.clock.now = row.clock()?,
                HELD_BACK_KEY => state.clock.held_back = Some(row.held_back()?),
                PROPOSAL_HEAD_KEY => state.proposals.last = row.proposal_head()?,
                RESTORED_KEY => state.restored = Some(row.restored()?),
                HORIZONS_KEY => self.horizons = Some(row.horizons()?),
                AUDIT_HEAD_KEY => self.audit = Some(row.audit_head()?),
                STAMP_KEY => self.stamps[0] = Some(row.stamp()?),
                PARTIAL_STAMP_KEY => self.stamps[1] = Some(row.stamp()?),
                _ if key.starts_with(TRUST_ROOT_PREFIX) => {
                    self.trust_roots.insert(key.to_vec(), row.later_trust_root()?);
                }
                _ => return Err(row.damaged("its key is unknown")),
            },
            Tree::Objects => self.objects.extend(row.object(state)?),
            Tree::Proposals => row.proposal(&mut self.proposals)?,
            Tree::Tokens => row.token(state)?,
            Tree::Logins => row.login(state)?,
            Tree::Hosts => row.host(state)?,
            Tree::Members => row.member(state)?,
            Tree::Findings => row.finding(state)?,
            Tree::FindingHeads => row.finding_head(state)?,
            Tree::Requests => row.request(state)?,
            Tree::Audit => state.audit.kept.push_back(row.audit()?),
        }
        Ok(())
    }

    /// Puts the rows together.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn finish(self) -> Result<State, DamagedRow> {
        let Self {
            mut state,
            epoch,
            objects,
            horizons,
            audit,
            proposals,
            trust_roots,
            stamps,
        } = self;
        let damaged = |tree, what| DamagedRow { tree, what };
        state.set =
            PolicySet::assemble(epoch, objects).map_err(|error| damaged(Tree::Objects, error.to_string()))?;
        state.root = (epoch > 0).then(|| state.set.root());
        if let Some(cluster) = &mut state.cluster {
            for envelope in trust_roots.into_values() {
                cluster.trust_root = cluster
                    .trust_root
                    .advance(&envelope)
                    .map_err(|error| damaged(Tree::Cluster, error.to_string()))?;
                cluster.later.push(envelope);
            }
            let read = |bytes: Option<Bytes>| -> Result<Option<Stamped>, DamagedRow> {
                let read = bytes
                    .map(|bytes| Stamp::read(&cluster.trust_root, &bytes))
                    .transpose();
                let read = read.map_err(|refusal| damaged(Tree::Cluster, refusal.to_string()))?;
                Ok(read.map(|(stamp, envelope)| Stamped { stamp, envelope }))
            };
            let [whole, partial] = stamps;
            state.stamps = Stamps {
                whole: read(whole)?,
                partial: read(partial)?,
            };
        }
        state.findings.index().map_err(|uid| {
            damaged(
                Tree::FindingHeads,
                format!("finding {uid} has a head without hosts, or hosts without a head"),
            )
        })?;
        state.objects.index();
        state.proposals.waiting = proposals
            .whole()
            .map_err(|number| damaged(Tree::Proposals, format!("proposal {number} is not whole")))?;
        match horizons {
            Some((objects, findings)) => {
                state.objects.forgotten = objects;
                state.findings.forgotten = findings;
            }
            None => state.objects.assume_forgotten(),
        }
        state.audit.kept.make_contiguous().sort_unstable();
        let kept = state.audit.kept.len() as u64;
        // Rows of before there was a chain are its beginning.
        state.audit.head = audit.unwrap_or(AuditHead {
            written: kept,
            ..state.audit.head
        });
        let AuditHead { written, dropped, .. } = state.audit.head;
        if written.checked_sub(dropped) != Some(kept) {
            let what = format!("{written} rows were written and {dropped} dropped, and {kept} are here");
            return Err(damaged(Tree::Audit, what));
        }
        Ok(state)
    }
}
