//! Fuzz target: what the daemon says, with a stranger's words in it.

#![allow(clippy::unwrap_used)]

use std::panic::AssertUnwindSafe;

use bolero::check;
use serde_json::{Value, json};
use verger_fuzz::Damaged;
use verger_tripwire_protocol::MARK_HEADER;

use crate::judgement::judge;
use crate::mark::Mark;

#[test]
fn hostile_questions_pass_with_the_mark_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mark = AssertUnwindSafe(Mark::make(&folder.path().join("mark")).unwrap());
    let question = |headers: Value| {
        json!({"User": "", "RequestMethod": "POST", "RequestUri": "/v1.41/containers/create?name=a",
            "RequestBody": "e30=", "RequestHeaders": headers})
        .to_string()
    };
    let marked = question(json!({MARK_HEADER: mark.as_str(), "Content-Type": "application/json"}));
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
