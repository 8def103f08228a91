//! Policy objects, and changes of the set under a seal.

use bytes::Bytes;
use jiff::SignedDuration;
use verger_controller_state::{Action, Response};
use verger_policy::draft;
use verger_policy::model::{ObjectKey, PolicyObject};
use verger_policy::set::PolicySet;
use verger_proto::policy::v1 as pb;
use verger_seal::{SealingKey, SetStatement};
use verger_wire::IntoWire as _;

use super::{World, start};

/// The label that places hosts and selects them.
type Zone = &'static str;

fn object(yaml: &str) -> PolicyObject {
    draft::read_at("test.yaml", yaml.as_bytes(), start())
        .unwrap()
        .remove(0)
}

/// The host of an agent, in a zone.
pub(crate) fn host(agent: &str, zone: Zone) -> PolicyObject {
    object(&format!(
        "apiVersion: verger/v1\nkind: Host\nmetadata: {{ name: {agent} }}\nspec: {{ agent: {agent}, labels: {{ zone: {zone} }} }}\n"
    ))
}

/// A workload of the hosts of a zone. Another `uid` makes another version of it.
pub(crate) fn workload(name: &str, zone: Zone, uid: u32) -> PolicyObject {
    filler(name, zone, uid, 0)
}

/// A workload that takes up that many bytes, and some more.
pub(crate) fn filler(name: &str, zone: Zone, uid: u32, bytes: usize) -> PolicyObject {
    object(&format!(
        "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: {name} }}\nspec:\n  hosts: {{ zone: {zone} }}\n  config:\n    images: [ \"sha256:{}\" ]\n    user: {{ uid: {uid}, gid: 1 }}\n    env: {{ require: {{ FILL: \"{}\" }} }}\n",
        "ab".repeat(32),
        "x".repeat(bytes),
    ))
}

/// A binding of a role to a person, with more fields.
pub(crate) fn binding(name: &str, role: &str, person: &str, more: &str) -> PolicyObject {
    object(&format!(
        "apiVersion: verger/v1\nkind: RoleBinding\nmetadata: {{ name: {name} }}\nspec: {{ role: {role}, subjects: [ person/{person} ]{more} }}\n"
    ))
}

/// A role of one rule.
pub(crate) fn role(name: &str, rule: &str) -> PolicyObject {
    object(&format!(
        "apiVersion: verger/v1\nkind: Role\nmetadata: {{ name: {name} }}\nspec: {{ rules: [ {{ {rule} }} ] }}\n"
    ))
}

/// A workload with one label.
pub(crate) fn labelled(name: &str, app: &str, uid: u32) -> PolicyObject {
    let mut object = workload(name, "a", uid);
    object.metadata.labels.0.insert("app".to_owned(), app.to_owned());
    object
}

/// The smallest object there is.
pub(crate) fn guardrail() -> PolicyObject {
    object("apiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: g }\nspec: { profile: baseline }\n")
}

/// Reads `KIND/NAME`.
pub(crate) fn key_of(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

/// A body as it is sent.
pub(crate) fn body(object: &PolicyObject) -> pb::Body {
    pb::Body {
        key: Some((&object.key()).into_wire()),
        canonical: object.canonical_bytes().into(),
    }
}

impl World {
    /// A seal over a set by a key, as of now and for a day.
    pub(crate) fn seal(&self, set: &PolicySet, key: &SealingKey) -> pb::Envelope {
        self.seal_by(set, &[key])
    }

    /// A seal by all who are needed.
    fn whole_seal(&self, set: &PolicySet) -> pb::Envelope {
        let needed = self.log.state().cluster().unwrap().trust_root.threshold();
        self.seal_by(set, &[&self.key, &self.second][..needed])
    }

    fn seal_by(&self, set: &PolicySet, keys: &[&SealingKey]) -> pb::Envelope {
        let trust_root = self.log.state().cluster().unwrap().trust_root.clone();
        let count = u64::try_from(set.len()).unwrap();
        let end = start() + SignedDuration::from_hours(24);
        let envelope = SetStatement::new(&trust_root, set.epoch(), set.root(), count, end).seal(keys);
        pb::Envelope {
            json: envelope.to_json().into(),
        }
    }

    /// The set that a change of the current one makes.
    pub(crate) fn next_set(&self, upserts: &[PolicyObject], deletes: &[&str]) -> PolicySet {
        let deletes = deletes.iter().map(|key| key_of(key));
        self.log.state().set().change(upserts.to_vec(), deletes).unwrap()
    }

    /// A good request for a change of the current set.
    pub(crate) fn change(&self, upserts: &[PolicyObject], deletes: &[&str]) -> pb::ApplyRequest {
        let next = self.next_set(upserts, deletes);
        pb::ApplyRequest {
            request_id: self.request_id(),
            expected_epoch: next.epoch() - 1,
            upserts: upserts.iter().map(body).collect(),
            deletes: deletes.iter().map(|key| (&key_of(key)).into_wire()).collect(),
            seal: Some(self.whole_seal(&next)),
            dry_run: false,
        }
    }

    /// Changes the set without anybody else getting a turn.
    pub(crate) fn run_change(&self, upserts: &[PolicyObject], deletes: &[&str]) {
        let next = self.next_set(upserts, deletes);
        let applied = self.run(Action::ApplySet {
            expected_epoch: next.epoch() - 1,
            upserts: upserts
                .iter()
                .map(|object| object.canonical_bytes().into())
                .collect(),
            deletes: deletes.iter().map(|key| key_of(key)).collect(),
            seal: self.whole_seal(&next).json,
        });
        assert!(matches!(applied, Response::SetApplied { .. }), "{applied:?}");
    }

    /// Changes the set, as Ada does.
    pub(crate) async fn apply(&self, upserts: &[PolicyObject], deletes: &[&str]) -> pb::ApplyResponse {
        let request = self.change(upserts, deletes);
        self.ada().policy().apply(request).await.unwrap().into_inner()
    }

    /// Epoch and root of the current set, as messages have them.
    pub(crate) fn position(&self) -> (u64, Bytes) {
        let state = self.log.state();
        (
            state.set().epoch(),
            verger_wire::digest_bytes(&state.set().root()),
        )
    }
}
