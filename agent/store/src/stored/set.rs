//! Entries and the head of a set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use verger_agent_core::store::SetHead;
use verger_policy::model::{Labels, ObjectKey};
use verger_policy::set::Entry;

use super::parse;

/// What identifies an object.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredKey {
    kind: String,
    name: String,
}

impl StoredKey {
    pub(crate) fn of(ObjectKey { kind, name }: &ObjectKey) -> Self {
        Self {
            kind: kind.word().to_owned(),
            name: name.as_str().to_owned(),
        }
    }

    pub(crate) fn into_domain(self) -> Result<ObjectKey, String> {
        Ok(ObjectKey {
            kind: parse(&self.kind)?,
            name: parse(&self.name)?,
        })
    }
}

/// One entry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredEntry {
    key: StoredKey,
    epoch: u64,
    digest: String,
    hosts: BTreeMap<String, String>,
}

impl StoredEntry {
    pub(crate) fn of(
        Entry {
            key,
            epoch,
            digest,
            hosts,
        }: &Entry,
    ) -> Self {
        Self {
            key: StoredKey::of(key),
            epoch: *epoch,
            digest: digest.to_string(),
            hosts: hosts.0.clone(),
        }
    }

    pub(crate) fn into_domain(self) -> Result<Entry, String> {
        let Self {
            key,
            epoch,
            digest,
            hosts,
        } = self;
        Ok(Entry {
            key: key.into_domain()?,
            epoch,
            digest: parse(&digest)?,
            hosts: Labels(hosts),
        })
    }
}

/// The head of a set, without its seal.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredHead {
    epoch: u64,
    root: String,
    not_after: String,
}

impl StoredHead {
    pub(crate) fn of(
        SetHead {
            epoch,
            root,
            not_after,
            seal: _,
        }: &SetHead,
    ) -> Self {
        Self {
            epoch: *epoch,
            root: root.to_string(),
            not_after: not_after.to_string(),
        }
    }

    pub(crate) fn into_domain(self, seal: Vec<u8>) -> Result<SetHead, String> {
        let Self {
            epoch,
            root,
            not_after,
        } = self;
        Ok(SetHead {
            epoch,
            root: parse(&root)?,
            not_after: parse(&not_after)?,
            seal,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use verger_policy::digest::Digest;
    use verger_policy::model::Kind;

    use super::super::{read, write};
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn entry_format_1_is_frozen() {
        let entry = Entry {
            key: ObjectKey {
                kind: Kind::Workload,
                name: "payments/web".parse().unwrap(),
            },
            epoch: 7,
            digest: Digest::of(b""),
            hosts: Labels([("zone".to_owned(), "eu-1".to_owned())].into()),
        };
        let frozen = format!(
            r#"{{"key":{{"kind":"Workload","name":"payments/web"}},"epoch":7,"digest":"{DIGEST}","hosts":{{"zone":"eu-1"}}}}"#
        );
        assert_eq!(
            String::from_utf8(write(&StoredEntry::of(&entry))).unwrap(),
            frozen
        );
        assert_eq!(
            read::<StoredEntry>(frozen.as_bytes())
                .unwrap()
                .into_domain()
                .unwrap(),
            entry
        );
    }

    #[test]
    fn head_format_1_is_frozen() {
        let head = SetHead {
            epoch: 7,
            root: Digest::of(b""),
            not_after: "2026-12-24T10:00:00.123456789Z".parse().unwrap(),
            seal: b"{}".to_vec(),
        };
        let frozen =
            format!(r#"{{"epoch":7,"root":"{DIGEST}","not_after":"2026-12-24T10:00:00.123456789Z"}}"#);
        assert_eq!(String::from_utf8(write(&StoredHead::of(&head))).unwrap(), frozen);
        assert_eq!(
            read::<StoredHead>(frozen.as_bytes())
                .unwrap()
                .into_domain(b"{}".to_vec())
                .unwrap(),
            head
        );
    }

    #[test]
    fn an_unknown_field_is_refused() {
        assert!(read::<StoredKey>(br#"{"kind":"Host","name":"a","more":1}"#).is_err());
    }
}
