//! Fuzz targets: names and values of containers, in every format.

#![allow(clippy::unwrap_used)]

use bolero::check;
use serde_json::{Value, json};
use verger_fuzz::Damaged;
use verger_policy::model::is_printable;

use super::*;

/// Every format.
pub(crate) const FORMATS: [Format; 6] = [
    Format::Table,
    Format::Wide,
    Format::Json,
    Format::Yaml,
    Format::Jsonl,
    Format::Name,
];

const COLUMNS: &[Column] = &[Column::new("NAME"), Column::wide("ID")];

/// A terminal shows the text and obeys none of it.
#[track_caller]
pub(crate) fn assert_shown(text: &str) {
    let obeyed = text.chars().find(|c| *c != '\n' && !is_printable(*c));
    assert_eq!(obeyed, None, "{text:.500}");
}

fn depth(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[test]
fn hostile_names_and_objects_are_shown_in_every_format_and_read_back_from_those_of_machines() {
    let object = r#"{"name":"web\u001b[31m","list":["yes","1.0","a: b",null,true,7,-1.5,{"k":"\u202e"}],"":{},"empty":[]}"#;
    check!()
        .with_generator((
            Damaged::bytes([b"web-1".as_slice(), "a\u{1b}[2J\u{202e}".as_bytes()]),
            Damaged::json([object]),
        ))
        .with_iterations(1_500)
        .for_each(|(name, object)| {
            let name = name.text();
            let object: Value = serde_json::from_slice(object).unwrap_or_default();
            let object = json!({ "name": name, "object": object });
            let mut sheet = Sheet::list(COLUMNS, "none");
            sheet.push(name.clone(), vec![name.clone(), "1".to_owned()], object.clone());
            for format in FORMATS {
                let text = sheet.render(format).unwrap();
                assert_shown(&text);
                match format {
                    // The readers of this test, not the output, end at so many levels.
                    _ if depth(&object) > 50 => {}
                    Format::Json => {
                        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!([object]))
                    }
                    Format::Jsonl => assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), object),
                    Format::Yaml => {
                        let read = serde_saphyr::from_str::<Value>(&text);
                        assert_eq!(read.as_ref().ok(), Some(&object), "{text}: {read:?}");
                    }
                    Format::Name => assert_eq!(text.lines().count(), 1),
                    // The head, and a row: no name makes a row of its own.
                    Format::Table | Format::Wide => assert_eq!(text.lines().count(), 2, "{text}"),
                }
            }
        });
}
