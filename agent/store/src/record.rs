//! The frame around every value: format byte, payload, CRC-32C.

/// The format this build writes. A change of any stored form is a new number, an entry here and a frozen test:
/// - 1 (2026-11): first.
pub(crate) const FORMAT: u8 = 1;

/// The most bytes a payload may have: sled moves bigger values to blob files that are never reclaimed.
pub(crate) const MAX_PAYLOAD: usize = 256 * 1024 - 64;

/// Frames `payload` for storage under `key`. The checksum covers the key, so a value found under another key
/// does not pass for it.
pub(crate) fn seal(key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(payload.len() + 5);
    value.push(FORMAT);
    value.extend_from_slice(payload);
    value.extend_from_slice(&checksum(key, &value).to_le_bytes());
    value
}

/// Returns the payload of a framed value, or what is wrong with it.
pub(crate) fn open<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], String> {
    let (framed, stored) = value
        .split_last_chunk::<4>()
        .ok_or("a record is shorter than its checksum")?;
    if checksum(key, framed).to_le_bytes() != *stored {
        return Err(format!("the checksum of record {} does not match", hex(key)));
    }
    match framed.split_first() {
        Some((&FORMAT, payload)) => Ok(payload),
        Some((format, _)) => Err(format!(
            "record {} has format {format}; this version knows 1 to {FORMAT}",
            hex(key)
        )),
        None => Err(format!("record {} has no format", hex(key))),
    }
}

/// The weight of a framed value in the sum over a tree (see [`crate::journal`]): its own checksum. Not a checksum over
/// the value with its checksum, which a CRC makes the same for every value.
pub(crate) fn weight(value: &[u8]) -> u64 {
    value
        .last_chunk()
        .map_or(0, |stored| u64::from(u32::from_le_bytes(*stored)))
}

fn checksum(key: &[u8], framed: &[u8]) -> u32 {
    let length = u32::try_from(key.len())
        .expect("keys are far below 4 GiB")
        .to_le_bytes();
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&length), key), framed)
}

fn hex(key: &[u8]) -> String {
    key.iter().take(24).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn format_1_is_frozen() {
        assert_eq!(seal(b"k", b"payload"), b"\x01payload\x36\x03\x61\x10");
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let value = seal(b"key", b"some payload");
        assert_eq!(open(b"key", &value).unwrap(), b"some payload");
        for bit in 0..value.len() * 8 {
            let mut bad = value.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open(b"key", &bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_value_under_another_key_is_refused() {
        assert!(open(b"b", &seal(b"a", b"x")).is_err());
        assert!(open(b"", b"\x01\x02").is_err());
    }

    #[test]
    fn values_and_keys_weigh_differently() {
        let weights =
            [(b"a", b"1"), (b"a", b"2"), (b"b", b"1"), (b"b", b"2")].map(|(k, v)| weight(&seal(k, v)));
        assert_eq!(weights.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    }

    #[test]
    fn a_newer_format_is_named() {
        let mut value = vec![9, b'x'];
        value.extend(checksum(b"k", &value).to_le_bytes());
        assert!(open(b"k", &value).unwrap_err().contains("format 9"));
    }
}
