//! Tokens of a provider, and of those who would be it.
#![allow(clippy::unwrap_used)]

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use super::*;

const ISSUER: &str = "https://id.example/realm";
const CLIENT: &str = "verger";
const NONCE: &str = "the nonce of this key";

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A provider's key.
struct Key {
    pair: EcdsaKeyPair,
    id: &'static str,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let bytes = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, bytes.as_ref(), &random).unwrap();
        Self { pair, id }
    }

    fn published(&self) -> Value {
        // Uncompressed: 4, then both coordinates.
        let point = self.pair.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
            "x": encode(&point[1..33]), "y": encode(&point[33..]),
        })
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let signed = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature.as_ref()))
    }
}

fn keys(of: &[&Key]) -> CoreJsonWebKeySet {
    let keys: Vec<Value> = of.iter().map(|key| key.published()).collect();
    serde_json::from_value(json!({ "keys": keys })).unwrap()
}

fn header() -> Value {
    json!({ "alg": "ES256", "typ": "JWT", "kid": "k1" })
}

fn good() -> Value {
    let now = Timestamp::now().as_second();
    json!({
        "iss": ISSUER, "aud": CLIENT, "azp": CLIENT, "sub": "b-1", "nonce": NONCE,
        "iat": now, "exp": now + 300, "preferred_username": "bea", "groups": ["sre"],
    })
}

fn with(changes: Value) -> Value {
    let mut claims = good();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn expected() -> Expected<'static> {
    Expected {
        issuer: ISSUER,
        client: CLIENT,
        nonce: NONCE,
        now: Timestamp::now(),
    }
}

#[track_caller]
fn word(token: &str, keys: &CoreJsonWebKeySet) -> &'static str {
    match claims(token, keys, &expected()) {
        Ok(_) => "good",
        Err(ProviderError::Token { word, detail }) => {
            assert!(!detail.is_empty());
            word
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_token_of_the_provider_for_this_client_and_key_is_its_word() {
    let key = Key::new("k1");
    let read = claims(&key.token(&header(), &good()), &keys(&[&key]), &expected()).unwrap();
    assert_eq!(
        (&read["preferred_username"], &read["groups"]),
        (&json!("bea"), &json!(["sre"]))
    );
    // Benign forms: a list of one audience, no party, no name of the key, several keys.
    for benign in [with(json!({"aud": [CLIENT]})), {
        let mut claims = good();
        claims.as_object_mut().unwrap().remove("azp");
        claims
    }] {
        assert_eq!(word(&key.token(&header(), &benign), &keys(&[&key])), "good");
    }
    let other = Key::new("k2");
    assert_eq!(
        word(&key.token(&header(), &good()), &keys(&[&other, &key])),
        "good"
    );
    assert_eq!(
        word(&key.token(&json!({"alg": "ES256"}), &good()), &keys(&[&key])),
        "good"
    );
}

#[test]
fn a_token_for_somebody_else_or_of_another_time_is_refused() {
    let key = Key::new("k1");
    let published = keys(&[&key]);
    let now = Timestamp::now().as_second();
    for (changes, wanted) in [
        (json!({"aud": "another"}), "TOKEN_AUDIENCE"),
        (json!({"aud": ["another"]}), "TOKEN_AUDIENCE"),
        (json!({"aud": [CLIENT, "another"]}), "TOKEN_AUDIENCE"),
        (json!({"azp": "another"}), "TOKEN_AUDIENCE"),
        (json!({"azp": 1}), "TOKEN_MALFORMED"),
        (json!({"iss": "https://id.example/other"}), "TOKEN_ISSUER"),
        (json!({"iss": "https://id.example/realm/"}), "TOKEN_ISSUER"),
        (json!({"exp": now - 1}), "TOKEN_EXPIRED"),
        (json!({"iat": now - 700}), "TOKEN_EXPIRED"),
        (json!({"iat": now + 120, "exp": now + 300}), "TOKEN_EXPIRED"),
        (json!({"nonce": "of another key"}), "TOKEN_NONCE"),
        (json!({"nonce": ""}), "TOKEN_NONCE"),
        (json!({"nonce": null}), "TOKEN_NONCE"),
    ] {
        assert_eq!(
            word(&key.token(&header(), &with(changes.clone())), &published),
            wanted,
            "{changes}"
        );
        // The same with nothing wrong.
        assert_eq!(word(&key.token(&header(), &good()), &published), "good");
    }
}

#[test]
fn a_token_that_the_provider_did_not_sign_is_refused() {
    let (key, other) = (Key::new("k1"), Key::new("k1"));
    let published = keys(&[&key]);
    let token = key.token(&header(), &good());
    assert_eq!(word(&token, &published), "good");
    assert_eq!(
        word(&other.token(&header(), &good()), &published),
        SIGNATURE,
        "another key of that name"
    );
    let stranger = json!({"alg": "ES256", "kid": "k9"});
    assert_eq!(word(&other.token(&stranger, &good()), &published), SIGNATURE);
    let parts: Vec<&str> = token.split('.').collect();
    let forged = encode(with(json!({"groups": ["admins"]})).to_string().as_bytes());
    assert_eq!(
        word(&format!("{}.{forged}.{}", parts[0], parts[2]), &published),
        SIGNATURE
    );
    // Not signed at all, under each name that has been used for that.
    for (alg, signature) in [("none", ""), ("none", parts[2]), ("None", ""), ("nOnE", "")] {
        let header = encode(json!({ "alg": alg }).to_string().as_bytes());
        let unsigned = format!("{header}.{}.{signature}", parts[1]);
        assert!(
            [SIGNATURE, "TOKEN_MALFORMED"].contains(&word(&unsigned, &published)),
            "{alg}"
        );
    }
    // The public key as if it were a secret.
    for alg in ["HS256", "HS384", "HS512"] {
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.pair.public_key().as_ref());
        let signed = format!(
            "{}.{}",
            encode(json!({ "alg": alg }).to_string().as_bytes()),
            parts[1]
        );
        let tag = ring::hmac::sign(&secret, signed.as_bytes());
        assert_eq!(
            word(&format!("{signed}.{}", encode(tag.as_ref())), &published),
            SIGNATURE,
            "{alg}"
        );
    }
}

#[test]
fn senseless_tokens_are_refused() {
    let key = Key::new("k1");
    let published = keys(&[&key]);
    let long = format!("{}.{}.x", encode(b"{}"), "A".repeat(TOKEN_BYTES));
    for token in ["", ".", "..", "a.b.c", "e30.e30.e30", "\u{1b}", long.as_str()] {
        assert_eq!(word(token, &published), "TOKEN_MALFORMED", "{token:.20}");
    }
    let not_json = key.token(&header(), &json!("text"));
    assert_eq!(word(&not_json, &published), "TOKEN_MALFORMED");
}

/// Fuzz target: tokens as a provider, or who is between, might send them.
mod fuzz {
    use bolero::check;
    use verger_fuzz::Damaged;

    use super::*;

    #[test]
    fn hostile_tokens_are_refused_with_a_word_unless_nothing_was_changed() {
        let key = Key::new("k1");
        let (published, token) = (keys(&[&key]), key.token(&header(), &good()));
        let expected = expected();
        check!()
            .with_generator(Damaged::bytes([token.as_bytes()]))
            .with_iterations(2_000)
            .for_each(|bytes| {
                let text = bytes.text();
                match claims(&text, &published, &expected) {
                    // The last character of a signature has bits that say nothing.
                    Ok(_) => assert_eq!(
                        text.rsplit_once('.').unwrap().0,
                        token.rsplit_once('.').unwrap().0
                    ),
                    Err(ProviderError::Token { word, detail }) => {
                        assert!(word.starts_with("TOKEN_"));
                        assert_eq!(verger_policy::model::printable(&detail), detail);
                    }
                    Err(other) => panic!("{other}"),
                }
            });
    }

    #[test]
    fn hostile_claims_make_no_name_that_is_none() {
        use crate::oidc::mapping::Mapping;
        let mapping = Mapping {
            person_claim: "email".to_owned(),
            person_domain: Some("example.org".to_owned()),
            groups_claim: "groups".to_owned(),
            groups: None,
            prefix: Some("corp".parse().unwrap()),
        };
        let seed = json!({
            "sub": "b-1", "iat": 1, "email": "bea@example.org", "email_verified": true, "groups": ["sre", "dev"],
        });
        check!()
            .with_generator(Damaged::json([seed.to_string().as_bytes()]))
            .with_iterations(5_000)
            .for_each(|bytes| {
                let Ok(claims) = serde_json::from_slice::<Claims>(bytes) else {
                    return;
                };
                if let Ok(person) = mapping.person(&claims) {
                    assert_eq!(claims["email"], format!("{person}@example.org"));
                    assert_eq!(claims["email_verified"], true);
                }
                if let Ok(groups) = mapping.groups(&claims) {
                    assert!(groups.iter().all(|group| group.as_str().starts_with("corp/")));
                }
            });
    }
}
