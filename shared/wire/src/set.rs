//! Keys, entries and bodies of policy sets.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use verger_policy::model::{Labels, ObjectKey};
use verger_policy::set::{Body, Entry};
use verger_proto::policy::v1 as pb;

use crate::{FromWire, IntoWire, InvalidMessage, digest, digest_bytes, parse, required};

impl FromWire<pb::ObjectKey> for ObjectKey {
    fn from_wire(message: pb::ObjectKey) -> Result<Self, InvalidMessage> {
        let pb::ObjectKey { kind, name } = message;
        Ok(Self {
            kind: parse("kind", &kind)?,
            name: parse("name", &name)?,
        })
    }
}

impl IntoWire<pb::ObjectKey> for &ObjectKey {
    fn into_wire(self) -> pb::ObjectKey {
        let ObjectKey { kind, name } = self;
        pb::ObjectKey {
            kind: kind.to_string(),
            name: name.to_string(),
        }
    }
}

impl FromWire<pb::Entry> for Entry {
    fn from_wire(message: pb::Entry) -> Result<Self, InvalidMessage> {
        let pb::Entry {
            key,
            epoch,
            digest: bytes,
            hosts,
        } = message;
        Ok(Self {
            key: ObjectKey::from_wire(required("key", key)?).map_err(|error| error.within("key"))?,
            epoch,
            digest: digest("digest", &bytes)?,
            hosts: Labels(hosts.into_iter().collect::<BTreeMap<_, _>>()),
        })
    }
}

impl IntoWire<pb::Entry> for &Entry {
    fn into_wire(self) -> pb::Entry {
        let Entry {
            key,
            epoch,
            digest,
            hosts,
        } = self;
        pb::Entry {
            key: Some(key.into_wire()),
            epoch: *epoch,
            digest: digest_bytes(digest),
            hosts: hosts.0.clone().into_iter().collect(),
        }
    }
}

impl FromWire<pb::Body> for Arc<Body> {
    fn from_wire(message: pb::Body) -> Result<Self, InvalidMessage> {
        let pb::Body { key, canonical } = message;
        let body = Body::from_canonical(canonical.to_vec())
            .map_err(|error| InvalidMessage::new("canonical", format!("is no policy object: {error}")))?;
        let key = ObjectKey::from_wire(required("key", key)?).map_err(|error| error.within("key"))?;
        if body.object().key() != key {
            return Err(InvalidMessage::new(
                "key",
                "names another object than the body holds",
            ));
        }
        Ok(Self::new(body))
    }
}

impl IntoWire<pb::Body> for &Body {
    fn into_wire(self) -> pb::Body {
        pb::Body {
            key: Some((&self.object().key()).into_wire()),
            canonical: Bytes::copy_from_slice(self.bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prost::Message as _;
    use verger_policy::draft;
    use verger_policy::set::PolicySet;
    use verger_proto::agent::v1::SetUpdate;

    use super::*;

    #[test]
    fn a_set_takes_no_more_bytes_on_its_way_than_it_says_and_not_much_less() {
        let object = |number: usize| {
            let labels: Vec<String> = (0..number % 7)
                .map(|label| format!("label-{label}: \"{}\"", "v".repeat(label)))
                .collect();
            let text = format!(
                "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: \"pay/{}{number}\" }}\nspec:\n  hosts: {{ {} }}\n  config:\n    images: [ \"sha256:{}\" ]\n",
                "n".repeat(number % 50),
                labels.join(", "),
                "ab".repeat(32)
            );
            draft::read("w.yaml", text.as_bytes()).unwrap().remove(0)
        };
        for count in [1, 200] {
            let set = PolicySet::empty().change((0..count).map(object), []).unwrap();
            let update = SetUpdate {
                entries: set.entries().map(|entry| entry.into_wire()).collect(),
                bodies: set
                    .parts()
                    .filter_map(|(_, body)| body)
                    .map(|body| (&**body).into_wire())
                    .collect(),
                ..Default::default()
            };
            let (said, takes) = (set.bytes(), update.encoded_len());
            assert!(takes <= said && said < 2 * takes, "{takes} of {said}");
        }
    }
}
