//! Fuzz target: the record on disk.

#![allow(clippy::unwrap_used)]

use bolero::check;
use serde_json::{Value, json};
use verger_fuzz::Damaged;

use crate::{Record, TOLD_APART};

#[test]
fn hostile_records_are_refused_or_bounded_and_written_again_to_the_same() {
    let record = json!({"version": 1, "more": 3, "strays": [
        {"method": "GET", "path": "/info", "user": "", "count": 2,
         "first": "2026-01-01T00:00:00Z", "last": "2026-01-02T00:00:00Z"}]})
    .to_string();
    check!()
        .with_generator(
            Damaged::bytes([record.as_bytes()])
                .framed(|bytes| serde_json::from_slice::<Value>(bytes).is_ok()),
        )
        .with_iterations(5_000)
        .for_each(|bytes| match Record::parse(bytes) {
            Ok(record) => {
                assert!(record.strays.len() <= TOLD_APART);
                let written = serde_json::to_vec(&record).unwrap();
                assert_eq!(Record::parse(&written).unwrap(), record);
            }
            Err(error) => assert!(!error.contains(char::is_control), "{error:?}"),
        });
}
