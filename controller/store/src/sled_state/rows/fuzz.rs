//! Fuzz targets: rows and the mark, behind their checksums.

#![allow(clippy::unwrap_used)]

use bolero::check;
use verger_fuzz::Damaged;

use super::*;
use crate::fuzz::assert_damage;

#[test]
fn hostile_rows_are_damage_or_lie_under_the_key_of_their_tree() {
    let key = row_key::join("hosts", b"edge-1").unwrap();
    let value = encode_value(&key, b"value").unwrap();
    check!()
        .with_generator((
            Damaged::bytes([&key]),
            Damaged::bytes([&value]),
            bolero::produce::<bool>(),
        ))
        .with_iterations(10_000)
        .for_each(|(key, value, framed)| {
            let file = Path::new("state");
            // Once as found, once with a checksum that fits: what is checked behind it counts then.
            let stored = if *framed {
                encode_tagged(key, value)
            } else {
                value.to_vec()
            };
            match decode_row(file, key, &stored) {
                Ok((
                    _,
                    Row {
                        tree,
                        key: rest,
                        value,
                    },
                )) => {
                    let full = [&[key[0]], tree.as_bytes(), &rest].concat();
                    assert_eq!((full, usize::from(key[0])), (key.to_vec(), tree.len()));
                    assert_eq!(encode_tagged(key, &value), stored);
                }
                Err(error) => assert_damage(&error, file),
            }
        });
}

#[test]
fn a_hostile_mark_is_damage_or_written_back_to_the_same_bytes() {
    let mark = AppliedMark {
        last: LogId { index: 1, term: 2 },
        membership: Bytes::from_static(b"m"),
    };
    let stored = encode_mark(&mark, Tally { rows: 3, digest: 4 });
    check!()
        .with_generator((
            Damaged::bytes([&stored, &stored[5..].to_vec()]),
            bolero::produce::<bool>(),
        ))
        .with_iterations(10_000)
        .for_each(|(bytes, framed)| {
            let file = Path::new("state");
            let stored = if *framed {
                encode_tagged(MARK_KEY, bytes)
            } else {
                bytes.to_vec()
            };
            match decode_mark(file, &stored) {
                Ok((mark, tally)) => assert_eq!(encode_mark(&mark, tally), stored),
                Err(error) => assert_damage(&error, file),
            }
        });
}
