//! What a version of the trust root states, and its one spelling.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use verger_policy::digest::Digest;
use verger_policy::model::is_printable;

use crate::keys::{Material, PublicKey};
use crate::refusal::Refusal;
use crate::statement::MAX_EPOCH;

/// The most keys in one, and the most members.
pub const MAX_KEYS: usize = 32;
/// The longest name of a key, bytes.
const MAX_NAME_BYTES: usize = 128;

/// A key, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// Whose it is. For people; what counts is the key.
    pub name: String,
    /// The key.
    pub public: PublicKey,
}

/// What a version states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The keys that may seal.
    pub keys: Vec<TrustedKey>,
    /// How many distinct ones of them must sign.
    pub threshold: usize,
    /// The keys of the cluster's members, Ed25519. A majority of them says which set is the newest and what time it is; none of
    /// them seals. Where there is none, nobody says that.
    pub members: Vec<TrustedKey>,
}

impl Terms {
    /// Keys that seal, and no members.
    pub const fn new(keys: Vec<TrustedKey>, threshold: usize) -> Self {
        Self {
            keys,
            threshold,
            members: Vec::new(),
        }
    }

    /// The payload of a version.
    pub(super) fn write(&self, version: u64, previous: Option<Digest>) -> Vec<u8> {
        let Self {
            keys,
            threshold,
            members,
        } = self;
        let listed = |keys: &[TrustedKey]| -> Vec<JsonKey> {
            keys.iter()
                .map(|TrustedKey { name, public }| JsonKey {
                    algorithm: public.algorithm().to_owned(),
                    name: name.clone(),
                    public: public.encoded(),
                })
                .collect()
        };
        let json = Json {
            api_version: "verger/v1".to_owned(),
            keys: listed(keys),
            kind: "TrustRoot".to_owned(),
            members: listed(members),
            previous: previous.map(|digest| digest.to_string()),
            threshold: *threshold as u64,
            version,
        };
        serde_json_canonicalizer::to_vec(&json).expect("strings and integers have a canonical spelling")
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Json {
    api_version: String,
    keys: Vec<JsonKey>,
    kind: String,
    /// Absent where there is none, as in versions of before there were any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    members: Vec<JsonKey>,
    /// The digest of the version before; version 1 has none. So a later version serves one cluster only, even where
    /// people use the same keys for two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    threshold: u64,
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JsonKey {
    algorithm: String,
    name: String,
    public: String,
}

/// What a payload says, checked by itself; who signed it is not.
pub(super) struct Content {
    pub(super) version: u64,
    pub(super) terms: Terms,
    pub(super) previous: Option<Digest>,
}

impl Content {
    /// Reads a payload.
    pub(super) fn read(payload: &[u8]) -> Result<Self, Refusal> {
        let refuse = |what| Err(Refusal::Malformed(what));
        let Ok(json) = serde_json::from_slice::<Json>(payload) else {
            return refuse("not a trust root");
        };
        if json.version == 0 || json.version > MAX_EPOCH || json.threshold > MAX_KEYS as u64 {
            return refuse("the version or the threshold is out of range");
        }
        if serde_json_canonicalizer::to_vec(&json).ok().as_deref() != Some(payload) {
            return refuse("not in its canonical spelling");
        }
        let Json {
            api_version,
            keys,
            kind,
            members,
            previous,
            threshold,
            version,
        } = json;
        if api_version != "verger/v1" || kind != "TrustRoot" {
            return refuse("not a verger/v1 TrustRoot");
        }
        let read = |keys: Vec<JsonKey>| keys.into_iter().map(read_key).collect::<Result<Vec<_>, _>>();
        let terms = Terms {
            keys: read(keys)?,
            threshold: usize::try_from(threshold).unwrap_or(usize::MAX),
            members: read(members)?,
        };
        check(&terms)?;
        let previous = previous
            .map(|text| {
                text.parse()
                    .map_err(|_| Refusal::Malformed("`previous` is no digest"))
            })
            .transpose()?;
        if previous.is_some() != (version > 1) {
            return refuse("every version but the first names the one before");
        }
        Ok(Self {
            version,
            terms,
            previous,
        })
    }
}

fn check(
    Terms {
        keys,
        threshold,
        members,
    }: &Terms,
) -> Result<(), Refusal> {
    let refuse = |what| Err(Refusal::Malformed(what));
    if keys.len() > MAX_KEYS || members.len() > MAX_KEYS {
        return refuse("there are more than 32 keys, or more than 32 members");
    }
    if *threshold == 0 || *threshold > keys.len() {
        return refuse("the threshold is 0, or more than there are keys");
    }
    if !members.iter().all(|key| key.public.is_own()) {
        return refuse("a member's key is not one of Verger's own: `verger-controller member-key` prints it");
    }
    for list in [keys, members] {
        let names: BTreeSet<&str> = list.iter().map(|key| key.name.as_str()).collect();
        if names.len() != list.len() {
            return refuse("a key, or a key's name, is there twice");
        }
    }
    // A member's key lies on a member: it must never seal.
    let both: Vec<Material> = keys
        .iter()
        .chain(members)
        .map(|key| key.public.material())
        .collect();
    let distinct: BTreeSet<&Material> = both.iter().collect();
    if distinct.len() != both.len() {
        return refuse("a key, or a key's name, is there twice");
    }
    Ok(())
}

fn read_key(
    JsonKey {
        algorithm,
        name,
        public,
    }: JsonKey,
) -> Result<TrustedKey, Refusal> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(is_printable) {
        return Err(Refusal::Malformed(
            "a key's name is empty, longer than 128 bytes, or not printable",
        ));
    }
    let public =
        PublicKey::from_parts(&algorithm, &public).map_err(|error| Refusal::Malformed(error.reason()))?;
    Ok(TrustedKey { name, public })
}
