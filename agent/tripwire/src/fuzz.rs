//! Fuzz targets: what the daemon says, with a stranger's words in it, and the record on disk.

#![allow(clippy::unwrap_used)]

use std::panic::AssertUnwindSafe;

use bolero::check;
use jiff::Timestamp;
use serde_json::{Value, json};
use verger_fuzz::Damaged;

use crate::judgement::judge;
use crate::mark::{HEADER, Mark};
use crate::strays::Strays;

#[test]
fn hostile_questions_pass_with_the_mark_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mark = AssertUnwindSafe(Mark::make(&folder.path().join("mark")).unwrap());
    let question = |headers: Value| {
        json!({"User": "", "RequestMethod": "POST", "RequestUri": "/v1.41/containers/create?name=a",
            "RequestBody": "e30=", "RequestHeaders": headers})
        .to_string()
    };
    let marked = question(json!({HEADER: mark.as_str(), "Content-Type": "application/json"}));
    let plain = question(json!({"Content-Type": "application/json"}));
    check!()
        .with_generator(
            Damaged::bytes([marked.as_bytes(), plain.as_bytes()])
                .framed(|bytes| serde_json::from_slice::<Value>(bytes).is_ok()),
        )
        .with_iterations(5_000)
        .for_each(|bytes| match judge(bytes, &mark) {
            Ok(()) => {
                let text = String::from_utf8_lossy(bytes);
                assert!(text.contains(mark.as_str()) || text.contains("_ping"), "{text}");
            }
            Err(stray) => {
                for text in [&stray.method, &stray.path, &stray.user] {
                    assert!(!text.contains(char::is_control), "{text:?}");
                    assert!(text.len() < 4_096, "{} bytes", text.len());
                }
            }
        });
}

#[test]
fn hostile_records_are_put_aside_or_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("strays.json");
    let record = json!({"version": 1, "more": 3, "strays": [
        {"method": "GET", "path": "/info", "user": "", "count": 2,
         "first": "2026-01-01T00:00:00Z", "last": "2026-01-02T00:00:00Z"}]})
    .to_string();
    check!()
        .with_generator(Damaged::bytes([record.as_bytes()]))
        .with_iterations(500)
        .for_each(|bytes| {
            std::fs::write(&file, &**bytes).unwrap();
            let mut strays = Strays::open(&file).unwrap();
            let stray = judge(b"", &Mark::make(&folder.path().join("mark")).unwrap()).unwrap_err();
            strays.note(stray, Timestamp::UNIX_EPOCH).unwrap();
            let again = Strays::open(&file).unwrap().record();
            let held = strays.record();
            assert_eq!((again.more, again.strays.len()), (held.more, held.strays.len()));
        });
}
