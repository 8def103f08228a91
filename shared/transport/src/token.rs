//! Join tokens, `id.secret`: single use, short-lived, kept only as a hash.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

const DOMAIN: &[u8] = b"verger/v1/join-token\0";

/// A join token.
#[derive(Clone)]
pub struct JoinToken {
    id: String,
    secret: Zeroizing<[u8; 32]>,
}

/// A text that is no join token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a join token: copy it whole, as `verger token create` printed it")]
pub struct InvalidToken;

impl JoinToken {
    /// Makes a token of random bytes.
    pub fn from_random(bytes: [u8; 40]) -> Self {
        let bytes = Zeroizing::new(bytes);
        let (id, secret) = bytes.split_at(8);
        let secret = secret.try_into().expect("40 bytes less 8");
        Self {
            id: hex::encode(id),
            secret: Zeroizing::new(secret),
        }
    }

    /// The public half: 16 hex digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is kept of the secret half.
    pub fn secret_hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(self.secret.as_slice());
        hash.finalize().into()
    }

    /// The whole token as text, to be shown once.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "{}.{}",
            self.id,
            URL_SAFE_NO_PAD.encode(self.secret.as_slice())
        ))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}.<secret>)", self.id)
    }
}

impl FromStr for JoinToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let (id, secret) = text.split_once('.').ok_or(InvalidToken)?;
        if id.len() != 16 || !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(InvalidToken);
        }
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.decode(secret).map_err(|_| InvalidToken)?);
        let secret = secret.as_slice().try_into().map_err(|_| InvalidToken)?;
        Ok(Self {
            id: id.to_owned(),
            secret: Zeroizing::new(secret),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_reads_back_and_its_hash_never_changes() {
        let token = JoinToken::from_random([7; 40]);
        let back: JoinToken = token.reveal().parse().unwrap();
        assert_eq!((back.id(), back.secret_hash()), (token.id(), token.secret_hash()));
        assert_eq!(token.id(), "0707070707070707");
        assert_eq!(
            hex::encode(token.secret_hash()),
            hex::encode(Sha256::digest(
                [b"verger/v1/join-token\0".as_slice(), &[7; 32]].concat()
            ))
        );
    }

    #[test]
    fn the_secret_is_never_in_debug_output_and_other_texts_are_refused() {
        let token = JoinToken::from_random([7; 40]);
        assert_eq!(format!("{token:?}"), "JoinToken(0707070707070707.<secret>)");
        for text in [
            "",
            ".",
            "0707070707070707.",
            "0707070707070707.AAAA",
            "X707070707070707.BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
        ] {
            assert!(text.parse::<JoinToken>().is_err(), "{text}");
        }
    }
}
