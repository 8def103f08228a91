//! What is said to an agent and what it answers. Pure.

use verger_seal::{Reader, put_string};

/// The largest message, bytes; the agent's own limit.
const MOST_BYTES: u32 = 256 << 10;
/// The most keys an agent holds.
const MOST_KEYS: u32 = 2048;

// Section 5.1 of the draft.
const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::signer) enum Answer {
    /// It will not.
    Failure,
    /// The keys it holds, on the wire.
    Keys(Vec<Vec<u8>>),
    /// A signature proper.
    Signature(Vec<u8>),
}

/// Bytes that are no answer of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::signer) struct Unreadable;

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_string(&mut out, &[&[kind], body].concat());
    out
}

/// Asks which keys it holds.
pub(in crate::signer) fn list() -> Vec<u8> {
    framed(REQUEST_IDENTITIES, b"")
}

/// Asks for a signature by the key on the wire, over these bytes as they are.
pub(in crate::signer) fn sign(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    put_string(&mut body, key);
    put_string(&mut body, data);
    // No flags: they choose the hash of RSA signatures.
    body.extend(0_u32.to_be_bytes());
    framed(SIGN_REQUEST, &body)
}

/// How many bytes follow the first four of an answer.
pub(in crate::signer) fn length(first: [u8; 4]) -> Result<usize, Unreadable> {
    let length = u32::from_be_bytes(first);
    if length == 0 || length > MOST_BYTES {
        return Err(Unreadable);
    }
    Ok(length as usize)
}

/// Reads an answer, which is exactly these bytes.
pub(in crate::signer) fn read(bytes: &[u8]) -> Result<Answer, Unreadable> {
    let mut reader = Reader::new(bytes);
    let answer = match reader.byte().ok_or(Unreadable)? {
        FAILURE => return Ok(Answer::Failure),
        IDENTITIES_ANSWER => {
            let count = reader.uint32().filter(|count| *count <= MOST_KEYS);
            let mut keys = Vec::new();
            for _ in 0..count.ok_or(Unreadable)? {
                keys.push(reader.string().ok_or(Unreadable)?.to_vec());
                // Its comment, which anybody may have written.
                reader.string().ok_or(Unreadable)?;
            }
            Answer::Keys(keys)
        }
        SIGN_RESPONSE => Answer::Signature(reader.string().ok_or(Unreadable)?.to_vec()),
        _ => return Err(Unreadable),
    };
    if reader.is_done() {
        Ok(answer)
    } else {
        Err(Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_as_the_draft_has_them() {
        assert_eq!(list(), b"\0\0\0\x01\x0b");
        assert_eq!(
            sign(b"key", b"data"),
            b"\0\0\0\x14\x0d\0\0\0\x03key\0\0\0\x04data\0\0\0\0"
        );
    }

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let keys = b"\x0c\0\0\0\x01\0\0\0\x03key\0\0\0\x01c";
        let signature = b"\x0e\0\0\0\x03sig";
        assert_eq!(read(keys), Ok(Answer::Keys(vec![b"key".to_vec()])));
        assert_eq!(read(signature), Ok(Answer::Signature(b"sig".to_vec())));
        assert_eq!(read(&[FAILURE]), Ok(Answer::Failure));
        for whole in [&keys[..], signature] {
            for cut in 0..whole.len() {
                assert_eq!(read(&whole[..cut]), Err(Unreadable));
            }
            assert_eq!(read(&[whole, b"\0"].concat()), Err(Unreadable));
        }
        assert_eq!(read(b"\x0c\xff\xff\xff\xff"), Err(Unreadable));
        assert_eq!(read(b"\x06"), Err(Unreadable));
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(length([0; 4]), Err(Unreadable));
        assert_eq!(length([0, 4, 0, 1]), Err(Unreadable));
        assert_eq!(length([0, 4, 0, 0]), Ok(256 << 10));
    }
}
