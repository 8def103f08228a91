//! Reading rows: which there are from the state, what they say from the store.

use bytes::Bytes;
use tonic::{Code, Status};
use verger_controller_state::AuditPlace;
use verger_proto::cluster::v1 as pb;
use verger_wire::IntoWire as _;
use verger_wire::audit::AuditEntry;

use super::{Audit, Filter};
use crate::ports::read;
use crate::status::{unavailable, with_reason};
use crate::watch::expired;

/// Rows read from the store in one go.
const CHUNK: usize = 256;
/// Rows looked at for one page, where a filter lets little through.
const LOOKED_AT: usize = 16 * CHUNK;
/// Bytes of keys and values after which a page is full. Messages hold what the values say beside them.
const PAGE_BYTES: usize = 1 << 20;

/// From where, and whereto.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// From this number on; from 0, from the oldest there is.
    Onwards(u64),
    /// From before this number back.
    Back(u64),
}

/// Rows that were looked at.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Those that the filter lets through.
    pub(super) rows: Vec<pb::AuditRow>,
    /// The number of the last one that was looked at; `None` where there was none.
    pub(super) reached: Option<u64>,
    /// There are more that way.
    pub(super) more: bool,
}

impl Audit {
    /// Looks at rows until `most` are found, or enough were looked at.
    pub(super) async fn look(&self, way: Way, filter: &Filter, most: usize) -> Result<Looked, Status> {
        let mut looked = Looked::default();
        let mut bytes = 0;
        let mut places = self.places(way, filter)?.into_iter().peekable();
        while places.peek().is_some() {
            let chunk: Vec<_> = places.by_ref().take(CHUNK).collect();
            let keys = chunk.iter().map(|place| place.key.clone()).collect();
            let values = self.rows.values(keys).await;
            let values = values.map_err(|error| unavailable(&error))?;
            for (place, value) in chunk.into_iter().zip(values) {
                if looked.rows.len() >= most || bytes >= PAGE_BYTES {
                    looked.more = true;
                    return Ok(looked);
                }
                looked.reached = Some(place.number);
                let Some(value) = value else {
                    self.must_be_dropped(&place)?;
                    match way {
                        Way::Back(_) => continue,
                        Way::Onwards(0) if looked.rows.is_empty() => continue,
                        Way::Onwards(_) => return Err(expired()),
                    }
                };
                bytes += place.key.len() + value.len();
                looked.rows.extend(row(place, value, filter)?);
            }
        }
        looked.more = looked
            .reached
            .is_some_and(|reached| self.goes_on(way, reached, filter));
        Ok(looked)
    }

    /// Where the next rows are, at most as many as are looked at. Those of entries that are not in the store yet are left for later.
    fn places(&self, way: Way, filter: &Filter) -> Result<Vec<AuditPlace>, Status> {
        let stored = *self.replicated.revisions().borrow();
        read(&*self.replicated, |state| {
            let within = state.audit_numbers(filter.since, filter.until);
            let of = |start: u64, end: u64| state.audit_places(start..end);
            let is_stored = |place: &AuditPlace| place.revision <= stored;
            Ok(match way {
                // Rows are not passed over in silence.
                Way::Onwards(from) if (1..=state.audit_head().dropped).contains(&from) => {
                    return Err(expired());
                }
                Way::Onwards(from) => of(within.start.max(from), within.end)
                    .take_while(is_stored)
                    .take(LOOKED_AT)
                    .collect(),
                Way::Back(before) => of(within.start, within.end.min(before))
                    .rev()
                    .skip_while(|place| !is_stored(place))
                    .take(LOOKED_AT)
                    .collect(),
            })
        })
    }

    fn goes_on(&self, way: Way, reached: u64, filter: &Filter) -> bool {
        let stored = *self.replicated.revisions().borrow();
        read(&*self.replicated, |state| {
            let within = state.audit_numbers(filter.since, filter.until);
            let next = match way {
                Way::Onwards(_) => state.audit_places(reached.saturating_add(1)..within.end).next(),
                Way::Back(_) => state.audit_places(within.start..reached).next_back(),
            };
            next.is_some_and(|place| place.revision <= stored)
        })
    }

    /// A row that the store has no more must have been dropped since it was named.
    fn must_be_dropped(&self, place: &AuditPlace) -> Result<(), Status> {
        if place.number <= self.head().dropped {
            return Ok(());
        }
        Err(damaged(place.number, "it is not in the store"))
    }
}

fn row(place: AuditPlace, value: Bytes, filter: &Filter) -> Result<Option<pb::AuditRow>, Status> {
    let entry = AuditEntry::read(&value).map_err(|error| damaged(place.number, &error.to_string()))?;
    Ok(filter.lets(&entry).then(|| pb::AuditRow {
        number: place.number,
        key: place.key.into(),
        value,
        entry: Some((&entry).into_wire()),
    }))
}

fn damaged(number: u64, what: &str) -> Status {
    tracing::error!(number, what, "a row of the audit cannot be read");
    with_reason(
        Code::DataLoss,
        "AUDIT_ROW_DAMAGED",
        format!("row {number} of the audit cannot be read: {what}"),
    )
}
