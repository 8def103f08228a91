//! The small pieces.

use std::fmt::Display;
use std::str::FromStr;

use bytes::Bytes;
use jiff::Timestamp;
use verger_policy::digest::Digest;

use crate::InvalidMessage;

/// Parses a text field.
///
/// # Errors
/// Names the field and what its type says of the text.
pub fn parse<T: FromStr>(field: &str, text: &str) -> Result<T, InvalidMessage>
where
    T::Err: Display,
{
    text.parse()
        .map_err(|error: T::Err| InvalidMessage::new(field, format!("is not valid: {error}")))
}

/// Takes a field that must be there.
///
/// # Errors
/// Names the field.
pub fn required<T>(field: &str, value: Option<T>) -> Result<T, InvalidMessage> {
    value.ok_or_else(|| InvalidMessage::new(field, "is missing"))
}

/// Reads 32 bytes.
///
/// # Errors
/// Names the field.
pub fn digest(field: &str, bytes: &[u8]) -> Result<Digest, InvalidMessage> {
    let bytes = bytes
        .try_into()
        .map_err(|_| InvalidMessage::new(field, "is not a digest of 32 bytes"))?;
    Ok(Digest::from_bytes(bytes))
}

/// Reads `sha256:…`, or nothing from an empty text.
///
/// # Errors
/// Names the field.
pub fn digest_text(field: &str, text: &str) -> Result<Option<Digest>, InvalidMessage> {
    if text.is_empty() {
        Ok(None)
    } else {
        parse(field, text).map(Some)
    }
}

/// The 32 bytes.
pub fn digest_bytes(digest: &Digest) -> Bytes {
    Bytes::copy_from_slice(digest.as_bytes())
}

/// Renders an instant.
pub fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let nanoseconds = at.as_nanosecond();
    let seconds = nanoseconds.div_euclid(1_000_000_000);
    let rest = nanoseconds.rem_euclid(1_000_000_000);
    prost_types::Timestamp {
        seconds: i64::try_from(seconds).expect("instants are within 64 bits of seconds"),
        nanos: i32::try_from(rest).expect("a remainder below 10^9"),
    }
}

/// Reads an instant, to the millisecond.
///
/// # Errors
/// Names the field when it is out of range.
pub fn instant(field: &str, at: prost_types::Timestamp) -> Result<Timestamp, InvalidMessage> {
    let prost_types::Timestamp { seconds, nanos } = at;
    let bad = || InvalidMessage::new(field, "is not an instant");
    if !(0..1_000_000_000).contains(&nanos) {
        return Err(bad());
    }
    let milliseconds = seconds
        .checked_mul(1_000)
        .and_then(|whole| whole.checked_add(i64::from(nanos / 1_000_000)));
    Timestamp::from_millisecond(milliseconds.ok_or_else(bad)?).map_err(|_| bad())
}
