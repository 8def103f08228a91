//! What the API needs of an identity provider (OpenID Connect Core 1.0), and nothing of how it is talked to.

use async_trait::async_trait;
use verger_controller_state::Vouched;
use verger_policy::digest::Digest;
use verger_transport::Label;

/// Where a browser is sent back to: `http://127.0.0.1:PORT/callback`, on the person's own machine (RFC 8252, 7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loopback(pub u16);

impl Loopback {
    /// As the provider knows it.
    pub fn url(self) -> String {
        format!("http://127.0.0.1:{}/callback", self.0)
    }
}

/// What the provider is to put into its token, so that it vouches for this key alone: whoever gets hold of the token can do
/// nothing with it that the holder of the key did not ask for.
pub fn nonce(key: &Digest) -> String {
    let mut bytes = b"verger/v1/login\0".to_vec();
    bytes.extend(key.as_bytes());
    Digest::of(&bytes).hex()
}

/// A login that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Where the browser comes back to.
    pub redirect: Loopback,
    /// By which it is known there.
    pub state: String,
    /// SHA-256 of the verifier, base64url (RFC 7636).
    pub challenge: String,
    /// See [`nonce`].
    pub nonce: String,
}

/// What a browser came back with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redemption {
    /// Where it came back to.
    pub redirect: Loopback,
    /// The provider's code.
    pub code: String,
    /// What the challenge was made of.
    pub verifier: String,
    /// See [`nonce`].
    pub nonce: String,
}

/// Somebody whom the provider vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The name in the cluster.
    pub person: Label,
    /// What the provider said.
    pub word: Vouched,
    /// How long a login on it lasts from when it was given, seconds.
    pub seconds: i64,
    /// Whether that may take the place of a login that is not of this provider and subject.
    pub replaces: bool,
}

/// Why nobody is vouched for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The provider does not answer, or not in time; or too many ask at once. Trying again may help.
    #[error("the identity provider cannot be asked: {0}")]
    Unreachable(String),
    /// It does not take the code.
    #[error("the identity provider refused the login: {0}")]
    Refused(String),
    /// Its token does not hold. The word is stable.
    #[error("the identity provider's token is refused: {detail}")]
    Token {
        /// `TOKEN_EXPIRED`, `TOKEN_NONCE` …
        word: &'static str,
        /// In a sentence.
        detail: String,
    },
    /// What the token says of the person gives no login here.
    #[error("the identity provider's token gives no login: {0}")]
    Claims(String),
}

/// An identity provider.
#[async_trait]
pub trait IdentityProvider: Send + Sync + 'static {
    /// Its name.
    fn issuer(&self) -> &str;

    /// Where a browser is to go.
    async fn begin(&self, attempt: Attempt) -> Result<String, ProviderError>;

    /// Redeems a code, and verifies the token that it gives.
    async fn redeem(&self, redemption: Redemption) -> Result<Known, ProviderError>;
}
