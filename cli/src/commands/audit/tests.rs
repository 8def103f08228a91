//! Whatever is done to an export shows.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use prost::Message as _;
use verger_proto::stored::v1 as stored;
use verger_seal::{BrokenChain, ChainHead, KeptHead, Verified};

use super::lines::{self, NotWhole, Reading};
use super::row::Row;

/// Rows of an audit, and the head after each.
pub(super) fn rows(count: u64) -> (Vec<Row>, Vec<ChainHead>) {
    let (mut rows, mut heads) = (Vec::new(), vec![ChainHead::START]);
    for number in 1..=count {
        let before = heads[heads.len() - 1];
        let stored = stored::AuditRow {
            format: 1,
            at_ms: 1_766_000_000_123 + number as i64,
            actor: "person/ada".to_owned(),
            action: "apply-set".to_owned(),
            request_id: format!("request-{number}"),
            outcome: "ok".to_owned(),
            previous: before.digest.as_bytes().to_vec().into(),
            detail: "a\u{1b}[2J\u{202e}".to_owned(),
            from: "192.0.2.1:40000".to_owned(),
            before: vec![1; 32].into(),
            after: vec![2; 32].into(),
            policies: vec!["admin".to_owned()],
            attempts: 0,
        };
        let key = [&number.to_be_bytes()[..], &[0; 4]].concat();
        let value = stored.encode_to_vec();
        heads.push(before.then(&key, &value));
        rows.push(Row::read(number, key.into(), value.into()).unwrap());
    }
    (rows, heads)
}

/// The lines of an export.
pub(super) fn export(rows: &[Row], head: ChainHead, dropped: u64) -> Vec<String> {
    let mut text = vec![lines::begin().unwrap()];
    text.extend(rows.iter().map(|row| lines::row(row).unwrap()));
    text.push(lines::end(head, dropped).unwrap());
    text
}

pub(super) fn read(text: &[u8], kept: Option<ChainHead>) -> Result<Verified, NotWhole> {
    let mut reading = Reading::begin(kept);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        reading.line(line)?;
    }
    reading.finish()
}

#[derive(Clone, Debug)]
enum Tampering {
    Delete(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Double(prop::sample::Index),
    Cut(prop::sample::Index),
    CutBytes(prop::sample::Index),
    Change(prop::sample::Index, u8),
}

fn tampering() -> impl Strategy<Value = Tampering> {
    use Tampering::*;
    let index = any::<prop::sample::Index>;
    prop_oneof![
        index().prop_map(Delete),
        (index(), index()).prop_map(|(one, other)| Swap(one, other)),
        index().prop_map(Double),
        index().prop_map(Cut),
        index().prop_map(CutBytes),
        (index(), 1..=255_u8).prop_map(|(byte, bits)| Change(byte, bits)),
    ]
}

fn tamper(mut lines: Vec<String>, done: &Tampering) -> Vec<u8> {
    let count = lines.len();
    match done {
        Tampering::Delete(line) => drop(lines.remove(line.index(count))),
        Tampering::Swap(one, other) => lines.swap(one.index(count), other.index(count)),
        Tampering::Double(line) => lines.insert(line.index(count), lines[line.index(count)].clone()),
        Tampering::Cut(line) => lines.truncate(line.index(count)),
        Tampering::CutBytes(_) | Tampering::Change(..) => {}
    }
    let mut text = lines.concat().into_bytes();
    match done {
        Tampering::CutBytes(byte) => text.truncate(byte.index(text.len())),
        Tampering::Change(byte, bits) => {
            let byte = byte.index(text.len());
            text[byte] ^= bits;
        }
        _ => {}
    }
    text
}

/// How many rows there were, and how many of them are dropped: never the last.
fn sizes() -> impl Strategy<Value = (u64, u64)> {
    (0..12_u64).prop_flat_map(|count| (Just(count), 0..count.max(1)))
}

proptest! {
    #[test]
    fn whatever_is_done_to_an_export_shows((count, dropped) in sizes(), done in tampering()) {
        let (mut rows, heads) = rows(count);
        let head = heads[heads.len() - 1];
        rows.drain(..usize::try_from(dropped).unwrap());
        let lines = export(&rows, head, dropped);
        let whole = lines.concat().into_bytes();
        for kept in &heads {
            let verified = read(&whole, Some(*kept)).unwrap();
            let met = kept.count >= dropped;
            prop_assert_eq!(verified.kept == KeptHead::Met, met, "{:?}", verified);
        }
        let touched = tamper(lines, &done);
        prop_assume!(touched != whole);
        prop_assert!(read(&touched, None).is_err(), "{}", String::from_utf8_lossy(&touched));
    }
}

#[test]
fn a_whole_export_of_fewer_rows_is_caught_by_the_head_that_was_kept() {
    let (rows, heads) = rows(5);
    let short = export(&rows[..3], heads[3], 0).concat();
    assert_eq!(
        read(short.as_bytes(), Some(heads[3])).unwrap().kept,
        KeptHead::Met
    );
    assert_eq!(
        read(short.as_bytes(), Some(heads[5])),
        Err(BrokenChain::CutOff { written: 3, kept: 5 }.into())
    );
    let other = ChainHead { count: 2, ..heads[3] };
    assert_eq!(
        read(short.as_bytes(), Some(other)),
        Err(BrokenChain::Kept(2).into())
    );
}

#[test]
fn what_a_line_says_cannot_differ_from_what_it_holds() {
    let (rows, heads) = rows(1);
    let text = export(&rows, heads[1], 0).concat();
    let lie = text.replace("person/ada", "person/eve");
    assert_eq!(read(lie.as_bytes(), None), Err(NotWhole::Line(2)));
    let doubled = text.replace("\"says\":{", "\"says\":{\"actor\":\"person/eve\",");
    assert_eq!(read(doubled.as_bytes(), None), Err(NotWhole::Line(2)));
    assert!(text.is_ascii() && text.contains("\\u001b[2J\\u202e"), "{text}");
}

#[test]
fn the_lines_of_an_export_never_change() {
    let (rows, heads) = rows(1);
    let lines = export(&rows, heads[1], 0);
    assert_eq!(lines[0], "{\"format\":\"verger-audit/1\"}\n");
    let value = "080110fcf8b5eeb2331a0a706572736f6e2f616461";
    let line = format!("{{\"number\":1,\"key\":\"000000000000000100000000\",\"value\":\"{value}");
    assert!(lines[1].starts_with(&line), "{}", lines[1]);
    let says = "\"says\":{\"at\":\"2025-12-17T19:33:20.124Z\",\"actor\":\"person/ada\",\"action\":\"apply-set\",\"outcome\":\"ok\",\
        \"detail\":\"a\\u001b[2J\\u202e\",\"requestId\":\"request-1\",\"from\":\"192.0.2.1:40000\",";
    assert!(lines[1].contains(says), "{}", lines[1]);
    let end = format!("{{\"head\":\"{}\",\"dropped\":0}}\n", heads[1]);
    assert_eq!(lines[2], end);
}
