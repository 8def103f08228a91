//! Rows of the audit as they are stored, which is what the chain is over and what exports hold.

use jiff::Timestamp;
use prost::Message as _;
use verger_policy::digest::Digest;
use verger_proto::cluster::v1 as pb;
use verger_proto::stored::v1 as stored;

use crate::{IntoWire, InvalidMessage, digest, digest_bytes, timestamp};

/// The stored format that is known.
const FORMAT: u32 = 1;
/// The longest row that is read, bytes: what the store holds.
pub const MAX_VALUE_BYTES: usize = 256 << 10;

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, by the replicated time.
    pub at: Timestamp,
    /// Who: `person/ada`, `agent/h1`, `controller/c1`, `nobody`, `others`.
    pub actor: String,
    /// What was done or asked for, a word.
    pub action: String,
    /// `ok`, or why it was refused.
    pub outcome: String,
    /// The request's id; empty where there is none.
    pub request_id: String,
    /// What it was about, in a sentence.
    pub detail: String,
    /// The address it was asked from; empty where nobody called, or that was not kept.
    pub from: String,
    /// The root of the policy set before, where it was changed; else the digest of the record that it was about, if that was there
    /// and was changed.
    pub before: Option<Digest>,
    /// And after.
    pub after: Option<Digest>,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// How many refused calls it stands for; 0 where it is of something else.
    pub attempts: u64,
    /// The head of the chain before it; `None` in rows of before there was one.
    pub previous: Option<Digest>,
}

fn maybe(field: &str, bytes: &[u8]) -> Result<Option<Digest>, InvalidMessage> {
    if bytes.is_empty() {
        return Ok(None);
    }
    digest(field, bytes).map(Some)
}

impl AuditEntry {
    /// Reads a row's value.
    ///
    /// # Errors
    /// When it is not what this version knows.
    pub fn read(value: &[u8]) -> Result<Self, InvalidMessage> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(InvalidMessage::new(
                "value",
                format!("is longer than {MAX_VALUE_BYTES} bytes"),
            ));
        }
        let stored::AuditRow {
            format,
            at_ms,
            actor,
            action,
            request_id,
            outcome,
            previous,
            detail,
            from,
            before,
            after,
            policies,
            attempts,
        } = stored::AuditRow::decode(value)
            .map_err(|_| InvalidMessage::new("value", "is no row of the audit"))?;
        if format != FORMAT {
            let what = format!("has format {format}; this version knows {FORMAT}");
            return Err(InvalidMessage::new("value", what));
        }
        let at = Timestamp::from_millisecond(at_ms)
            .map_err(|_| InvalidMessage::new("at_ms", "is out of range"))?;
        Ok(Self {
            at,
            actor,
            action,
            outcome,
            request_id,
            detail,
            from,
            before: maybe("before", &before)?,
            after: maybe("after", &after)?,
            policies,
            attempts,
            previous: maybe("previous", &previous)?,
        })
    }
}

impl IntoWire<pb::AuditEntry> for &AuditEntry {
    fn into_wire(self) -> pb::AuditEntry {
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
        } = self;
        pb::AuditEntry {
            at: Some(timestamp(*at)),
            actor: actor.clone(),
            action: action.clone(),
            outcome: outcome.clone(),
            request_id: request_id.clone(),
            detail: detail.clone(),
            from: from.clone(),
            before: before.as_ref().map(digest_bytes).unwrap_or_default(),
            after: after.as_ref().map(digest_bytes).unwrap_or_default(),
            policies: policies.clone(),
            attempts: *attempts,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_of_before_there_was_a_chain_are_read() {
        // As the first version wrote it: format, instant, actor, action, outcome.
        let value = b"\x08\x01\x10\x90\x4e\x1a\x01c\x22\x05found\x32\x02ok";
        let entry = AuditEntry::read(value).unwrap();
        assert_eq!(
            (
                entry.actor.as_str(),
                entry.action.as_str(),
                entry.outcome.as_str()
            ),
            ("c", "found", "ok")
        );
        assert_eq!(
            (entry.at.as_second(), entry.previous, entry.before),
            (10, None, None)
        );
    }

    #[test]
    fn what_is_no_row_names_what_is_wrong() {
        let row = |change: fn(&mut stored::AuditRow)| {
            let mut row = stored::AuditRow {
                format: 1,
                ..Default::default()
            };
            change(&mut row);
            AuditEntry::read(&row.encode_to_vec()).map_err(|error| error.to_string())
        };
        assert!(row(|_| ()).is_ok());
        assert!(row(|row| row.format = 2).unwrap_err().contains("format 2"));
        assert!(row(|row| row.at_ms = i64::MAX).unwrap_err().contains("at_ms"));
        assert!(
            row(|row| row.previous = vec![1].into())
                .unwrap_err()
                .contains("previous")
        );
        assert!(
            row(|row| row.after = vec![1; 33].into())
                .unwrap_err()
                .contains("after")
        );
        let long = row(|row| row.detail = "x".repeat(MAX_VALUE_BYTES));
        assert!(long.unwrap_err().contains("longer"));
        assert!(AuditEntry::read(b"\xff").is_err());
    }
}
