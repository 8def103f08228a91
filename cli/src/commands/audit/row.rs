//! A row: as it is stored, what it says, and how that is shown.

use bytes::Bytes;
use serde::Serialize;
use verger_policy::model::printable;
use verger_proto::cluster::v1 as pb;
use verger_seal::ChainRow;
use verger_wire::InvalidMessage;
use verger_wire::audit::AuditEntry;

use crate::args::Format;
use crate::output::{Column, Sheet, ascii_json};

pub(super) const COLUMNS: &[Column] = &[
    Column::new("ROW"),
    Column::new("AT"),
    Column::new("ACTOR"),
    Column::new("ACTION"),
    Column::new("OUTCOME"),
    Column::new("DETAIL"),
    Column::wide("FROM"),
    Column::wide("REQUEST"),
    Column::wide("BEFORE"),
    Column::wide("AFTER"),
    Column::wide("POLICIES"),
];

/// Widths of columns that scroll by. Longer cells push the rest of their row aside.
const WIDTHS: [usize; 11] = [7, 24, 20, 20, 20, 40, 21, 36, 71, 71, 12];

/// A row of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::commands) struct Row {
    /// 1 is the first that ever was.
    pub(in crate::commands) number: u64,
    pub(super) key: Bytes,
    pub(super) value: Bytes,
    pub(in crate::commands) entry: AuditEntry,
}

/// What a row says, for machines. Stable, also in its order: exports are compared with it byte for byte.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Says<'a> {
    at: String,
    actor: &'a str,
    action: &'a str,
    outcome: &'a str,
    detail: &'a str,
    request_id: &'a str,
    from: &'a str,
    before: Option<String>,
    after: Option<String>,
    policies: &'a [String],
    attempts: u64,
}

#[derive(Serialize)]
struct Numbered<'a> {
    number: u64,
    #[serde(flatten)]
    says: Says<'a>,
}

impl Row {
    /// Reads a row from what is stored of it.
    pub(super) fn read(number: u64, key: Bytes, value: Bytes) -> Result<Self, InvalidMessage> {
        let entry = AuditEntry::read(&value).map_err(|error| error.within(&format!("row {number}")))?;
        Ok(Self {
            number,
            key,
            value,
            entry,
        })
    }

    /// What the controller says of the value is not looked at.
    pub(super) fn from_wire(row: pb::AuditRow) -> Result<Self, InvalidMessage> {
        let pb::AuditRow {
            number,
            key,
            value,
            entry: _,
        } = row;
        Self::read(number, key, value)
    }

    /// As the chain is checked.
    pub(in crate::commands) fn link(&self) -> ChainRow<'_> {
        ChainRow {
            number: self.number,
            key: &self.key,
            value: &self.value,
            previous: self.entry.previous,
        }
    }

    pub(super) fn says(&self) -> Says<'_> {
        let AuditEntry {
            at,
            actor,
            action,
            outcome,
            request_id,
            detail,
            from,
            before,
            after,
            policies,
            attempts,
            previous: _,
        } = &self.entry;
        Says {
            at: at.to_string(),
            actor,
            action,
            outcome,
            detail,
            request_id,
            from,
            before: before.map(|root| root.to_string()),
            after: after.map(|root| root.to_string()),
            policies,
            attempts: *attempts,
        }
    }

    fn object(&self) -> anyhow::Result<serde_json::Value> {
        let numbered = Numbered {
            number: self.number,
            says: self.says(),
        };
        Ok(serde_json::to_value(numbered)?)
    }

    /// A cell per column.
    fn cells(&self) -> Vec<String> {
        let AuditEntry {
            at,
            actor,
            action,
            outcome,
            request_id,
            detail,
            from,
            before,
            after,
            policies,
            attempts,
            previous: _,
        } = &self.entry;
        let detail = match attempts {
            0 | 1 => detail.clone(),
            many => format!("{many} times: {detail}"),
        };
        let root = |root: &Option<verger_policy::digest::Digest>| {
            root.map(|root| root.to_string()).unwrap_or_default()
        };
        vec![
            self.number.to_string(),
            at.to_string(),
            actor.clone(),
            action.clone(),
            outcome.clone(),
            detail,
            from.clone(),
            request_id.clone(),
            root(before),
            root(after),
            policies.join(", "),
        ]
    }

    pub(super) fn push(&self, sheet: &mut Sheet) {
        let object = self.object().unwrap_or_default();
        sheet.push(self.number.to_string(), self.cells(), object);
    }

    /// By itself, where rows scroll by.
    pub(super) fn render(&self, format: Format) -> anyhow::Result<String> {
        Ok(match format {
            Format::Table | Format::Wide => aligned(&self.cells(), format == Format::Wide),
            Format::Json | Format::Jsonl => ascii_json(&self.object()?, false)? + "\n",
            Format::Yaml | Format::Name => {
                let mut sheet = Sheet::one(COLUMNS);
                self.push(&mut sheet);
                sheet.render(format)?
            }
        })
    }
}

/// The head of rows that scroll by.
pub(super) fn head(wide: bool) -> String {
    let heads: Vec<String> = COLUMNS.iter().map(|column| column.head.to_owned()).collect();
    aligned(&heads, wide)
}

fn aligned(cells: &[String], wide: bool) -> String {
    let mut text = String::new();
    for ((cell, width), column) in cells.iter().zip(WIDTHS).zip(COLUMNS) {
        if wide || !column.wide {
            text.push_str(&format!("{:<width$}  ", printable(cell)));
        }
    }
    format!("{}\n", text.trim_end())
}
