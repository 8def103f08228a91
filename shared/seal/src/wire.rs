//! SSH's encoding of data (RFC 4251, section 5), read strictly: a length that goes past the end is no value.

/// Takes one value after the other off the front of some bytes.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A `byte`; none when there is none left.
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|taken| taken[0])
    }

    /// A `uint32`; none when fewer than 4 bytes are left.
    pub fn uint32(&mut self) -> Option<u32> {
        let bytes = self.take(4)?.try_into().expect("four were taken");
        Some(u32::from_be_bytes(bytes))
    }

    /// A `string`, which is any bytes; none when fewer are left than its length says.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.uint32()?).ok()?;
        self.take(length)
    }

    /// Whether nothing is left.
    pub const fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left.
    pub const fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// Appends a `string`. Its length must fit the four bytes it has: everything this program writes is far below.
pub fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).expect("no string of this program is 4 GiB long");
    out.extend(length.to_be_bytes());
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_rfc_4251() {
        // Section 5: the string "testing"; 699921578 is 29 b7 f4 aa.
        let bytes = b"\x00\x00\x00\x07testing\x29\xb7\xf4\xaa\x01";
        let mut reader = Reader::new(bytes);
        assert_eq!(reader.string(), Some(&b"testing"[..]));
        assert_eq!(reader.uint32(), Some(699_921_578));
        assert_eq!((reader.byte(), reader.is_done()), (Some(1), true));
        let mut written = Vec::new();
        put_string(&mut written, b"testing");
        assert_eq!(written, bytes[..11]);
    }

    #[test]
    fn a_length_past_the_end_is_no_value() {
        for bytes in [&b""[..], b"\0\0\0", b"\0\0\0\x02a", b"\xff\xff\xff\xffab"] {
            assert_eq!(Reader::new(bytes).string(), None, "{bytes:?}");
        }
        assert_eq!(Reader::new(b"").byte(), None);
        assert_eq!(Reader::new(b"\0\0\0").uint32(), None);
        assert_eq!(Reader::new(b"\0\0\0\0").string(), Some(&b""[..]));
    }
}
