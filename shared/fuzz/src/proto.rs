//! Edits of protobuf messages, after their wire format (<https://protobuf.dev/programming-guides/encoding/>). Which message
//! it is, is not known: what reads as fields is taken for a message.

use bolero::Driver;

use crate::bytes;
use crate::dice::{TEXTS, below, chance, one};

/// Numbers at the ends of what varints are read into.
const VARINTS: &[u64] = &[
    0,
    1,
    2,
    127,
    999_999_999,
    1_000_000_000,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    1 << 53,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

#[derive(Clone, Debug)]
enum Field {
    Varint(u64, u64),
    Bytes(u64, Vec<u8>),
    /// Of a fixed width: 4 or 8 bytes.
    Fixed(u64, Vec<u8>),
}

/// Edits `message`. What is no message is left alone.
pub(crate) fn edit<D: Driver>(driver: &mut D, message: &[u8], edits: usize) -> Option<Vec<u8>> {
    let Some(mut fields) = read(message) else {
        return Some(message.to_vec());
    };
    for _ in 0..edits {
        change(driver, &mut fields, 0)?;
    }
    Some(write(&fields))
}

/// Whether it is whole fields.
pub(crate) fn is_syntax(message: &[u8]) -> bool {
    read(message).is_some()
}

fn change<D: Driver>(driver: &mut D, fields: &mut Vec<Field>, depth: usize) -> Option<()> {
    if fields.is_empty() {
        return Some(());
    }
    let at = below(driver, fields.len())?;
    // Mostly further in, where the leaves are.
    if depth < 8
        && !chance(driver, 4)?
        && let Field::Bytes(_, inner) = &mut fields[at]
        && let Some(mut nested) = read(inner).filter(|nested| !nested.is_empty())
    {
        change(driver, &mut nested, depth + 1)?;
        *inner = write(&nested);
        return Some(());
    }
    match (below(driver, 5)?, &mut fields[at]) {
        (0, _) => drop(fields.remove(at)),
        (1, _) => {
            let times = 1 + below(driver, 20)?;
            let field = fields[at].clone();
            fields.splice(at..at, std::iter::repeat_n(field, times));
        }
        (2, Field::Varint(number, _) | Field::Bytes(number, _) | Field::Fixed(number, _)) => {
            *number = 1 + below(driver, 20)? as u64;
        }
        (_, Field::Varint(_, value)) => *value = *VARINTS.get(below(driver, VARINTS.len())?)?,
        (3, Field::Bytes(_, inner)) => *inner = one(driver, TEXTS)?.as_bytes().to_vec(),
        (_, Field::Bytes(_, inner) | Field::Fixed(_, inner)) => {
            let width = inner.len();
            bytes::edit(driver, inner, b"")?;
            if let Field::Fixed(_, inner) = &mut fields[at] {
                inner.resize(width, 0);
            }
        }
    }
    Some(())
}

fn read(mut rest: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        let number = key >> 3;
        if number == 0 {
            return None;
        }
        fields.push(match key & 7 {
            0 => Field::Varint(number, varint(&mut rest)?),
            1 => Field::Fixed(number, take(&mut rest, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                Field::Bytes(number, take(&mut rest, length)?)
            }
            5 => Field::Fixed(number, take(&mut rest, 4)?),
            _ => return None,
        });
    }
    Some(fields)
}

fn take(rest: &mut &[u8], length: usize) -> Option<Vec<u8>> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken.to_vec())
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn write(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        match field {
            Field::Varint(number, value) => {
                put(&mut out, number << 3);
                put(&mut out, *value);
            }
            Field::Bytes(number, inner) => {
                put(&mut out, number << 3 | 2);
                put(&mut out, inner.len() as u64);
                out.extend(inner);
            }
            Field::Fixed(number, inner) => {
                put(&mut out, number << 3 | if inner.len() == 8 { 1 } else { 5 });
                out.extend(inner);
            }
        }
    }
    out
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_written_as_it_was_read() {
        let message = b"\x08\x96\x01\x12\x07testing\x1d\x01\x02\x03\x04\x21\x01\x02\x03\x04\x05\x06\x07\x08";
        assert_eq!(
            read(message).map(|fields| write(&fields)).as_deref(),
            Some(message.as_slice())
        );
        assert!(read(b"\x08").is_none() && read(b"\x12\x05x").is_none());
    }
}
