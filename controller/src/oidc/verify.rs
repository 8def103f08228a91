//! What makes a token the provider's word for this login (OpenID Connect Core 1.0, 3.1.3.7).

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier, CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use openidconnect::{ClaimsVerificationError, ClientId, IssuerUrl, Nonce, SignatureVerificationError};
use serde_json::Value;
use subtle::ConstantTimeEq as _;
use verger_controller_api::identity_provider::ProviderError;
use verger_policy::model::printable_within;

use super::mapping::Claims;

/// The word for a signature that does not hold.
pub(super) const SIGNATURE: &str = "TOKEN_SIGNATURE";
/// How old a token may be. It comes straight from the provider.
const OLDEST: SignedDuration = SignedDuration::from_mins(10);
/// How far the provider's clock may be ahead.
const AHEAD: SignedDuration = SignedDuration::from_secs(60);
/// The longest token, bytes.
const TOKEN_BYTES: usize = 128 << 10;

/// What a token has to say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) client: &'a str,
    pub(super) nonce: &'a str,
    pub(super) now: Timestamp,
}

pub(super) fn fault(word: &'static str, detail: &str) -> ProviderError {
    ProviderError::Token {
        word,
        detail: detail.to_owned(),
    }
}

/// Signatures that only the provider can make. Not `none`, and none with a secret that others know too.
fn algorithms() -> [CoreJwsSigningAlgorithm; 9] {
    use CoreJwsSigningAlgorithm as Alg;
    [
        Alg::RsaSsaPkcs1V15Sha256,
        Alg::RsaSsaPkcs1V15Sha384,
        Alg::RsaSsaPkcs1V15Sha512,
        Alg::RsaSsaPssSha256,
        Alg::RsaSsaPssSha384,
        Alg::RsaSsaPssSha512,
        Alg::EcdsaP256Sha256,
        Alg::EcdsaP384Sha384,
        Alg::EdDsa,
    ]
}

/// The claims of a token, once it holds: signature, issuer, audience, party, times, nonce.
///
/// # Errors
/// Says what does not hold, with a stable word.
pub(super) fn claims(
    token: &str,
    keys: &CoreJsonWebKeySet,
    expected: &Expected<'_>,
) -> Result<Claims, ProviderError> {
    let malformed = |what: &str| fault("TOKEN_MALFORMED", what);
    if token.len() > TOKEN_BYTES {
        return Err(malformed("it is too long"));
    }
    let parsed = CoreIdToken::from_str(token)
        .map_err(|_| malformed("it is not a signed token with the claims of one"))?;
    let issuer =
        IssuerUrl::new(expected.issuer.to_owned()).map_err(|_| malformed("the issuer is not a URL"))?;
    let client = ClientId::new(expected.client.to_owned());
    let verifier =
        CoreIdTokenVerifier::new_public_client(client, issuer, keys.clone()).set_allowed_algs(algorithms());
    let nonce = |said: Option<&Nonce>| {
        let said = said.map_or("", |nonce| nonce.secret().as_str());
        let same = bool::from(said.as_bytes().ct_eq(expected.nonce.as_bytes()));
        if same {
            Ok(())
        } else {
            Err("it is for another key than the one that logs in, or for none".to_owned())
        }
    };
    parsed
        .claims(&verifier, nonce)
        .map_err(|error| unverified(&error))?;
    // The signature holds over these very bytes.
    let payload = token.split('.').nth(1).unwrap_or_default();
    let payload = URL_SAFE_NO_PAD
        .decode(payload)
        .map_err(|_| malformed("its claims are not base64url"))?;
    let claims: Claims =
        serde_json::from_slice(&payload).map_err(|_| malformed("its claims are no object"))?;
    party(&claims, expected.client)?;
    age(&claims, expected.now)?;
    Ok(claims)
}

/// Whom the token was made for, where it says so.
fn party(claims: &Claims, client: &str) -> Result<(), ProviderError> {
    match claims.get("azp") {
        None => Ok(()),
        Some(Value::String(party)) if party == client => Ok(()),
        Some(_) => Err(fault("TOKEN_AUDIENCE", "it was made for another client (`azp`)")),
    }
}

fn age(claims: &Claims, now: Timestamp) -> Result<(), ProviderError> {
    let issued = claims
        .get("iat")
        .and_then(Value::as_i64)
        .and_then(|at| Timestamp::from_second(at).ok());
    let Some(issued) = issued else {
        return Err(fault(
            "TOKEN_MALFORMED",
            "it does not say when it was issued (`iat`)",
        ));
    };
    let age = now.duration_since(issued);
    if age > OLDEST || age < -AHEAD {
        return Err(fault(
            "TOKEN_EXPIRED",
            &format!(
                "it was issued at {issued}, and it is {now} here: log in again, and see that the clocks are right"
            ),
        ));
    }
    Ok(())
}

fn unverified(error: &ClaimsVerificationError) -> ProviderError {
    use ClaimsVerificationError as Error;
    let (word, text) = match error {
        Error::Expired(text) => ("TOKEN_EXPIRED", text.clone()),
        Error::InvalidAudience(text) => ("TOKEN_AUDIENCE", format!("it is not for this client: {text}")),
        Error::InvalidIssuer(text) => ("TOKEN_ISSUER", format!("it is not of this provider: {text}")),
        Error::InvalidNonce(text) => ("TOKEN_NONCE", text.clone()),
        Error::SignatureVerification(error) => (SIGNATURE, signature(error)),
        other => ("TOKEN_MALFORMED", other.to_string()),
    };
    fault(word, &printable_within(&text, 300))
}

fn signature(error: &SignatureVerificationError) -> String {
    use SignatureVerificationError as Error;
    match error {
        Error::NoMatchingKey => "it is signed with a key that the provider does not publish".to_owned(),
        Error::NoSignature => "it is not signed".to_owned(),
        Error::CryptoError(_) => "its signature is not that of the provider's key".to_owned(),
        other => format!("its signature cannot be taken: {other}"),
    }
}

#[cfg(test)]
mod tests;
