//! The honest side: the cluster's people with their keys, and the sets they seal through the honest controller's API.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use tonic::transport::Channel;
use verger_agent_core::ledger::{self, LedgerState};
use verger_policy::draft;
use verger_policy::model::{Labels, ObjectKey, PolicyObject};
use verger_policy::set::{Entry, PolicySet};
use verger_proto::agent::v1 as pb;
use verger_proto::policy::v1::policy_service_client::PolicyServiceClient;
use verger_proto::policy::v1::{Envelope, RotateTrustRootRequest};
use verger_seal::{MemberKey, Rotation, SealingKey, SetStatement, Terms, TrustRoot, TrustedKey};
use verger_wire::{FromWire as _, IntoWire as _};

use crate::access::{Access, apply_request};
use crate::scene::HOST;

/// The members that the trust root names, with the seeds of their keys. The second is the one that was taken over.
pub(super) const MEMBERS: [(&str, u8); 3] = [("c1", 51), ("c2", 52), ("c3", 53)];

/// People, and a key of each.
#[derive(Clone)]
pub(super) struct People(pub(super) Vec<(&'static str, Arc<SealingKey>)>);

impl People {
    pub(super) fn new(names: &[(&'static str, u8)]) -> Self {
        let key = |seed: &u8| Arc::new(SealingKey::from_seed([*seed; 32]));
        Self(names.iter().map(|(name, seed)| (*name, key(seed))).collect())
    }

    pub(super) fn keys(&self) -> Vec<&SealingKey> {
        self.0.iter().map(|(_, key)| &**key).collect()
    }

    fn trusted(&self) -> Vec<TrustedKey> {
        let trusted = |(name, key): &(&str, Arc<SealingKey>)| TrustedKey {
            name: (*name).to_owned(),
            public: key.public(),
        };
        self.0.iter().map(trusted).collect()
    }

    /// Version 1 of a trust root of theirs; all must sign.
    pub(super) fn found(&self) -> Result<(TrustRoot, Vec<u8>)> {
        let envelope = TrustRoot::draft(&self.terms(), &self.keys())?.to_json();
        Ok((TrustRoot::open_first(&envelope)?, envelope))
    }

    /// The terms of a trust root of theirs; the members stay the same.
    pub(super) fn terms(&self) -> Terms {
        let member = |(name, seed): &(&str, u8)| TrustedKey {
            name: (*name).to_owned(),
            public: MemberKey::from_seed([*seed; 32]).public(),
        };
        Terms {
            keys: self.trusted(),
            threshold: self.0.len(),
            members: MEMBERS.iter().map(member).collect(),
        }
    }
}

/// A trust root with the people whose keys are in it.
#[derive(Clone)]
pub(super) struct Trust {
    pub(super) root: TrustRoot,
    pub(super) people: People,
}

impl Trust {
    /// Seals a set until then.
    pub(super) fn seal_until(&self, set: &PolicySet, not_after: Timestamp) -> Vec<u8> {
        self.statement(set, not_after).seal(&self.people.keys()).to_json()
    }

    /// Seals a set for a day.
    pub(super) fn seal(&self, set: &PolicySet) -> Vec<u8> {
        self.seal_until(set, tomorrow())
    }

    pub(super) fn statement(&self, set: &PolicySet, not_after: Timestamp) -> SetStatement {
        SetStatement::new(&self.root, set.epoch(), set.root(), set.len() as u64, not_after)
    }
}

pub(super) fn tomorrow() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(24)
}

/// The cluster as its people know it.
pub(super) struct Cluster {
    channel: Channel,
    /// Version 1 of the trust root.
    pub(super) first: Trust,
    /// Its envelope.
    pub(super) envelope: Vec<u8>,
    /// The version in force.
    pub(super) trust: Trust,
    /// The versions after the first.
    later: Vec<Vec<u8>>,
    /// The set that the agent holds, with all bodies; and the one before it.
    pub(super) set: Arc<PolicySet>,
    pub(super) before: Arc<PolicySet>,
    /// Offers that the agent accepted, as they were sent.
    pub(super) accepted: Vec<pb::SetUpdate>,
    number: u32,
}

/// The next honest set, which the honest controller has acknowledged.
pub(super) struct Next {
    pub(super) set: Arc<PolicySet>,
    pub(super) update: pb::SetUpdate,
}

impl Cluster {
    pub(super) async fn new(access: &Access, first: Trust, envelope: Vec<u8>) -> Result<Self> {
        Ok(Self {
            channel: access.channel().await?,
            trust: first.clone(),
            first,
            envelope,
            later: Vec::new(),
            set: Arc::new(PolicySet::empty()),
            before: Arc::new(PolicySet::empty()),
            accepted: Vec::new(),
            number: 0,
        })
    }

    /// What the host's agent is offered of a set under a seal, all of it.
    pub(super) fn update(&self, set: &PolicySet, seal: Vec<u8>) -> pb::SetUpdate {
        let none = Labels::default();
        let labels = HOST
            .parse()
            .ok()
            .and_then(|agent| set.host_labels(&agent).cloned());
        let bodies = set
            .needed_by(labels.as_ref().unwrap_or(&none))
            .filter_map(|entry| set.body(&entry.key))
            .map(|body| (&**body).into_wire())
            .collect();
        pb::SetUpdate {
            base_epoch: 0,
            epoch: set.epoch(),
            entries: set.entries().map(|entry| entry.into_wire()).collect(),
            bodies,
            seal: Some(Envelope { json: seal.into() }),
            trust_roots: self.later.iter().map(|json| envelope(json.clone())).collect(),
        }
    }

    /// The set after the one held, with another user in the workload of this host's zone.
    pub(super) fn change(&self, uid: u32) -> Result<PolicySet> {
        let mut objects = web(uid)?;
        if self.set.is_empty() {
            objects.extend(hosts()?);
        }
        Ok(self.set.change(objects, [])?)
    }

    /// People seal the next set, and the honest controller takes it in.
    pub(super) async fn publish(&mut self) -> Result<Next> {
        self.number += 1;
        let next = self.change(self.number)?;
        let seal = self.trust.seal(&next);
        let request = apply_request(&self.set, &next, seal.clone());
        let answer = PolicyServiceClient::new(self.channel.clone())
            .apply(request)
            .await
            .context("the honest controller refuses an honest set")?
            .into_inner();
        ensure!(
            answer.epoch == next.epoch() && *answer.root == *next.root().as_bytes(),
            "the honest controller made another set than people sealed"
        );
        Ok(Next {
            update: self.update(&next, seal),
            set: Arc::new(next),
        })
    }

    /// People hand the trust root over to others, through the honest controller.
    pub(super) async fn rotate(&mut self, to: People) -> Result<Next> {
        let current = self.trust.root.clone();
        let draft = current.succeed(&to.terms(), &[])?;
        let (next_root, _) = current.read_successor(&draft.to_json())?;
        let next = self.set.change([], [])?;
        let trust = Trust {
            root: next_root,
            people: to,
        };
        let mut rotation = Rotation::new(&current, &draft, trust.statement(&next, tomorrow()))?;
        for key in self.trust.people.keys().into_iter().chain(trust.people.keys()) {
            rotation.sign(&current, key)?;
        }
        let (version, seal) = rotation.envelopes();
        let (version, seal) = (version.to_json(), seal.to_json());
        let request = RotateTrustRootRequest {
            request_id: uuid::Uuid::new_v4().to_string(),
            trust_root: Some(envelope(version.clone())),
            seal: Some(envelope(seal.clone())),
        };
        PolicyServiceClient::new(self.channel.clone())
            .rotate_trust_root(request)
            .await
            .context("the honest controller refuses an honest change of keys")?;
        self.later.push(version);
        self.trust = trust;
        Ok(Next {
            update: self.update(&next, seal),
            set: Arc::new(next),
        })
    }

    /// The agent has accepted it.
    pub(super) fn accepted(&mut self, next: Next) {
        let Next { set, update } = next;
        self.before = std::mem::replace(&mut self.set, set);
        self.accepted.push(update);
    }

    /// An agent of this host that has just joined: what it would take, only what is held keeps from being taken.
    pub(super) fn newcomer(&self) -> Result<LedgerState> {
        newcomer(&self.first.root, &self.envelope)
    }
}

/// An agent that has just joined the cluster of this trust root.
pub(super) fn newcomer(root: &TrustRoot, envelope: &[u8]) -> Result<LedgerState> {
    let agent = HOST.parse().context("the host's name is an id")?;
    Ok(LedgerState::found(agent, &root.cluster_id(), envelope)?.0)
}

pub(super) fn envelope(json: Vec<u8>) -> Envelope {
    Envelope { json: json.into() }
}

/// An offer as the core judges it.
pub(super) fn parsed(update: &pb::SetUpdate) -> Result<ledger::SetUpdate> {
    let pb::SetUpdate {
        base_epoch,
        epoch,
        entries,
        bodies,
        seal,
        trust_roots,
    } = update.clone();
    Ok(ledger::SetUpdate {
        base_epoch,
        epoch,
        entries: entries
            .into_iter()
            .map(Entry::from_wire)
            .collect::<Result<_, _>>()?,
        bodies: bodies
            .into_iter()
            .map(|body| {
                let key = body.key.context("a body has a key")?;
                Ok((ObjectKey::from_wire(key)?, body.canonical.to_vec()))
            })
            .collect::<Result<_>>()?,
        seal: seal.context("an offer has a seal")?.json.to_vec(),
        trust_roots: trust_roots.into_iter().map(|one| one.json.to_vec()).collect(),
    })
}

fn objects(text: &str) -> Result<Vec<PolicyObject>> {
    draft::read("hostile.yaml", text.as_bytes())
        .map_err(|problems| anyhow::anyhow!("the policy is wrong: {problems:?}"))
}

/// This host, another one, and what concerns that alone.
fn hosts() -> Result<Vec<PolicyObject>> {
    let text = [
        host(HOST, HOST, "eu"),
        host("other", "other", "us"),
        workload("pay/db", "us", 1),
    ];
    objects(&text.join("---\n"))
}

/// An object that labels an agent's host.
pub(super) fn host(name: &str, agent: &str, zone: &str) -> String {
    format!(
        "apiVersion: verger/v1\nkind: Host\nmetadata: {{ name: {name} }}\nspec: {{ agent: {agent}, labels: {{ zone: {zone} }} }}\n"
    )
}

fn web(uid: u32) -> Result<Vec<PolicyObject>> {
    objects(&workload("pay/web", "eu", uid))
}

/// A workload of a zone.
pub(super) fn workload(name: &str, zone: &str, uid: u32) -> String {
    format!(
        "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: {name} }}\nspec:\n  match: {{ container: {{ image: registry.example/{name} }} }}\n  hosts: {{ zone: {zone} }}\n  config:\n    images: [ \"sha256:{}\" ]\n    user: {{ uid: {uid}, gid: 1 }}\n",
        "ab".repeat(32)
    )
}

/// One object of a text.
pub(super) fn object(text: &str) -> Result<PolicyObject> {
    objects(text)?.pop().context("one document is one object")
}
