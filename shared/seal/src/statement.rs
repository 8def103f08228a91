//! What people sign of a policy set.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use verger_policy::digest::Digest;

use crate::dsse::Envelope;
use crate::keys::SealingKey;
use crate::refusal::Refusal;
use crate::trust_root::TrustRoot;

/// The DSSE payload type: bound to this purpose, so that no signature made for anything else serves here.
pub const SET_PAYLOAD_TYPE: &str = "application/vnd.verger.policy-set.v1+json";
/// How long a seal holds unless a person says otherwise.
pub const DEFAULT_VALID_DAYS: i64 = 30;
/// The end of a seal made at `at` of which a person said nothing else: [`DEFAULT_VALID_DAYS`] later, at most the last instant
/// there is.
pub fn default_not_after(at: Timestamp) -> Timestamp {
    at.saturating_add(SignedDuration::from_hours(24 * DEFAULT_VALID_DAYS))
        .unwrap_or(Timestamp::MAX)
}

/// The largest epoch: the largest integer that RFC 8785 JSON writes exactly.
pub const MAX_EPOCH: u64 = verger_policy::set::MAX_EPOCH;

/// The statement that is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetStatement {
    /// For this cluster only.
    pub cluster_id: Digest,
    /// The set's number.
    pub epoch: u64,
    /// The set's root.
    pub root: Digest,
    /// How many entries it has.
    pub entry_count: u64,
    /// The version of the trust root it was made under.
    pub trust_root_version: u64,
    /// The digest of that version.
    pub trust_root_digest: Digest,
    /// When the seal ends, in whole seconds.
    pub not_after: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Json {
    cluster_id: String,
    entry_count: u64,
    epoch: u64,
    not_after: String,
    root: String,
    trust_root_digest: String,
    trust_root_version: u64,
}

impl SetStatement {
    /// The bytes that are signed: RFC 8785 JSON.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let Self {
            cluster_id,
            epoch,
            root,
            entry_count,
            trust_root_version,
            trust_root_digest,
            not_after,
        } = self;
        let json = Json {
            cluster_id: cluster_id.to_string(),
            entry_count: *entry_count,
            epoch: *epoch,
            not_after: not_after.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            root: root.to_string(),
            trust_root_digest: trust_root_digest.to_string(),
            trust_root_version: *trust_root_version,
        };
        serde_json_canonicalizer::to_vec(&json).expect("strings and bounded integers")
    }

    /// Reads what was signed; only its canonical spelling.
    ///
    /// # Errors
    /// When it is no statement.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, Refusal> {
        let json: Json = serde_json::from_slice(bytes)
            .map_err(|_| Refusal::Malformed("not a statement on a policy set"))?;
        let Json {
            cluster_id,
            entry_count,
            epoch,
            not_after,
            root,
            trust_root_digest,
            trust_root_version,
        } = json;
        if epoch > MAX_EPOCH || entry_count > MAX_EPOCH || trust_root_version > MAX_EPOCH {
            return Err(Refusal::Malformed("a number is beyond 2^53 - 1"));
        }
        let statement = Self {
            cluster_id: cluster_id
                .parse()
                .map_err(|_| Refusal::Malformed("clusterId is no digest"))?,
            epoch,
            root: root
                .parse()
                .map_err(|_| Refusal::Malformed("root is no digest"))?,
            entry_count,
            trust_root_version,
            trust_root_digest: trust_root_digest
                .parse()
                .map_err(|_| Refusal::Malformed("trustRootDigest is no digest"))?,
            not_after: not_after
                .parse()
                .map_err(|_| Refusal::Malformed("notAfter is no instant"))?,
        };
        if statement.canonical_bytes() != bytes {
            return Err(Refusal::Malformed("not in its canonical spelling"));
        }
        Ok(statement)
    }

    /// States a set under a trust root. The end is cut to whole seconds.
    pub fn new(
        trust_root: &TrustRoot,
        epoch: u64,
        root: Digest,
        entry_count: u64,
        not_after: Timestamp,
    ) -> Self {
        Self {
            cluster_id: trust_root.cluster_id(),
            epoch,
            root,
            entry_count,
            trust_root_version: trust_root.version(),
            trust_root_digest: trust_root.digest(),
            not_after: Timestamp::from_second(not_after.as_second())
                .expect("an instant cut to its second is one"),
        }
    }

    /// Seals it.
    pub fn seal(&self, keys: &[&SealingKey]) -> Envelope {
        Envelope::seal(SET_PAYLOAD_TYPE, self.canonical_bytes(), keys)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn statement() -> SetStatement {
        let key = SealingKey::from_seed([1; 32]);
        let (root, _) = TrustRoot::found(&[("ada".to_owned(), &key)], 1).unwrap();
        let end = "2026-12-24T12:00:00.75Z".parse().unwrap();
        SetStatement::new(&root, 7, Digest::of(b"set"), 3, end)
    }

    #[test]
    fn the_end_is_in_whole_seconds_and_reads_back() {
        let statement = statement();
        assert_eq!(statement.not_after.to_string(), "2026-12-24T12:00:00Z");
        assert_eq!(
            SetStatement::from_canonical(&statement.canonical_bytes()),
            Ok(statement)
        );
    }

    #[test]
    fn a_seal_of_which_nothing_is_said_holds_thirty_days() {
        let at: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        assert_eq!(default_not_after(at).to_string(), "2026-12-24T12:00:00Z");
        assert_eq!(default_not_after(Timestamp::MAX), Timestamp::MAX);
    }

    #[test]
    fn other_spellings_of_a_statement_are_refused() {
        let text = String::from_utf8(statement().canonical_bytes()).unwrap();
        let digest = Digest::of(b"set").to_string();
        let cases = [
            text.replace("\"epoch\":7", "\"epoch\": 7"),
            text.replace("\"epoch\":7", "\"epoch\":7.0"),
            text.replace("\"epoch\":7", "\"epoch\":-7"),
            text.replace("\"epoch\":7", "\"epoch\":7,\"epoch\":7"),
            text.replace("\"epoch\":7", "\"epoch\":7,\"extra\":1"),
            text.replace("\"epoch\":7,", ""),
            text.replace("12:00:00Z", "12:00:00.5Z"),
            text.replace("12:00:00Z", "12:00:00+00:00"),
            text.replace("12:00:00Z", "12:00:00"),
            text.replace("2026-12-24", "2026-02-30"),
            text.replace(&digest, &digest.to_uppercase()),
            text.replace(&digest, &digest[..70]),
            format!("{text}\n"),
            format!("[{text}]"),
            String::new(),
        ];
        for case in cases {
            assert_ne!(case, text);
            assert_eq!(
                SetStatement::from_canonical(case.as_bytes()).unwrap_err().word(),
                "malformed",
                "{case}"
            );
        }
    }

    #[test]
    fn numbers_beyond_2_to_53_are_refused() {
        let text = String::from_utf8(statement().canonical_bytes()).unwrap();
        for number in [
            "9007199254740992",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
        ] {
            for field in ["\"epoch\":7", "\"entryCount\":3", "\"trustRootVersion\":1"] {
                let (name, _) = field.split_once(':').unwrap();
                let altered = text.replace(field, &format!("{name}:{number}"));
                assert_ne!(altered, text);
                assert_eq!(
                    SetStatement::from_canonical(altered.as_bytes())
                        .unwrap_err()
                        .word(),
                    "malformed"
                );
            }
        }
        let most = text.replace("\"epoch\":7", &format!("\"epoch\":{MAX_EPOCH}"));
        assert_eq!(
            SetStatement::from_canonical(most.as_bytes()).unwrap().epoch,
            MAX_EPOCH
        );
    }
}
