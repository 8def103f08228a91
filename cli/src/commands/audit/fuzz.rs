//! Fuzz targets: exports from anywhere, and rows of a controller that lies.

#![allow(clippy::unwrap_used)]

use bolero::check;
use prost::Message as _;
use verger_fuzz::Damaged;
use verger_policy::digest::Digest;
use verger_proto::cluster::v1 as pb;
use verger_seal::{Keepsake, MemberKey, SealingKey, Stamp, Terms, TrustRoot, TrustedKey};

use super::row::{COLUMNS, Row};
use super::signed::SignedHead;
use super::tests::{export, read, rows};
use crate::output::Sheet;
use crate::output::fuzz::{FORMATS, assert_shown};

#[test]
fn hostile_exports_are_refused_unless_they_are_whole() {
    let (all, heads) = rows(4);
    let seeds = [
        export(&[], heads[0], 0),
        export(&all[..1], heads[1], 0),
        export(&all, heads[4], 0),
        export(&all[2..], heads[4], 2),
    ]
    .map(|lines| lines.concat());
    let damaged = [
        Damaged::lines(&seeds),
        Damaged::lines(&seeds[2..]),
        Damaged::bytes(&seeds),
    ];
    check!()
        .with_generator((0..damaged.len(), damaged))
        .with_iterations(3_000)
        .for_each(|(which, inputs)| {
            let text: &[u8] = &inputs[*which];
            for kept in [None, Some(heads[2])] {
                match read(text, kept) {
                    Ok(_) => assert!(
                        seeds.iter().any(|seed| seed.as_bytes() == text),
                        "{:?}",
                        inputs[*which]
                    ),
                    Err(error) => assert_shown(&error.to_string()),
                }
            }
        });
}

#[test]
fn a_stranger_makes_no_signed_head_of_one_that_members_signed() {
    let key = SealingKey::from_seed([1; 32]);
    let member = MemberKey::from_seed([2; 32]);
    let named = |name: &str, public| TrustedKey {
        name: name.to_owned(),
        public,
    };
    let terms = Terms {
        keys: vec![named("ada", key.public())],
        threshold: 1,
        members: vec![named("c1", member.public())],
    };
    let first = TrustRoot::draft(&terms, &[&key]).unwrap().to_json();
    let root = TrustRoot::open_first(&first).unwrap();
    let (_, heads) = rows(4);
    let at = jiff::Timestamp::from_second(1_800_000_000).unwrap();
    let stamp = Stamp::new(&root, 0, Digest::of(b"root"), heads[4], at);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let file = serde_json::json!({
        "format": "verger-audit-head/2", "trustRoots": [text(first)], "stamp": text(member.stamp(&stamp).to_json()),
        "dropped": 2, "oldest": "2025-12-17T19:33:20Z",
    });
    let mut before = file.clone();
    before["format"] = "verger-audit-head/1".into();
    for unsigned in ["dropped", "oldest"] {
        before.as_object_mut().unwrap().remove(unsigned);
    }
    // What lies beside it nobody signs.
    let read = |text: String| SignedHead::parse(text.as_bytes(), root.cluster_id()).unwrap().1;
    assert_eq!(read(before.to_string()), Keepsake::of_head(heads[4]));
    assert_eq!(read(file.to_string()).dropped(), Some(2));
    check!()
        .with_generator(Damaged::json([file.to_string(), before.to_string()]))
        .with_iterations(2_000)
        .for_each(|bytes| match SignedHead::parse(bytes, root.cluster_id()) {
            Ok((signed, kept)) => {
                assert_eq!((signed.head, signed.at, kept.head()), (heads[4], at, heads[4]));
                assert!(kept.dropped().is_none_or(|dropped| dropped <= 4));
            }
            Err(what) => assert_shown(&what),
        });
}

#[test]
fn hostile_rows_are_refused_or_shown_in_one_line() {
    let (all, _) = rows(2);
    let seeds = all.into_iter().map(|row| {
        let row = pb::AuditRow {
            number: row.number,
            key: row.key,
            value: row.value,
            entry: None,
        };
        row.encode_to_vec()
    });
    check!()
        .with_generator(Damaged::proto(seeds))
        .with_iterations(3_000)
        .for_each(|bytes| {
            let Ok(message) = pb::AuditRow::decode(&**bytes) else {
                return;
            };
            let row = match Row::from_wire(message) {
                Ok(row) => row,
                Err(error) => return assert_shown(&error.to_string()),
            };
            let mut sheet = Sheet::list(COLUMNS, "none");
            row.push(&mut sheet);
            for format in FORMATS {
                assert_shown(&sheet.render(format).unwrap());
                let alone = row.render(format).unwrap();
                assert_shown(&alone);
                assert!(alone.ends_with('\n'));
            }
            let line = super::lines::row(&row).unwrap();
            assert!(line.is_ascii() && line.lines().count() == 1);
        });
}
