//! Seals that are none: of whom, over what, for what, for whom, until when.

use anyhow::{Context as _, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use verger_proto::agent::v1 as pb;
use verger_seal::{Envelope, SET_PAYLOAD_TYPE, SealingKey, SetStatement, TRUST_ROOT_PAYLOAD_TYPE};

use super::super::cluster::{People, Trust, newcomer, tomorrow};
use super::{Attack, Stage};

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        Attack::repaired("sealed with keys of strangers", "wrong-key", |stage| {
            let strangers = People::new(&[("eve", 101), ("mallory", 102)]);
            Ok(stage.under(statement(stage).seal(&strangers.keys()).to_json()))
        }),
        Attack::repaired(
            "a stranger's signature under a trusted key's id",
            "altered",
            |stage| {
                let strangers = People::new(&[("eve", 101), ("mallory", 102)]);
                let seal = statement(stage).seal(&strangers.keys()).to_json();
                let ids: Vec<String> = ids(stage);
                let renamed = edited(&seal, |json| {
                    for (signature, id) in signatures(json).into_iter().flatten().zip(&ids) {
                        signature["keyid"] = id.as_str().into();
                    }
                })?;
                Ok(stage.under(renamed))
            },
        ),
        Attack::repaired("sealed by one of two", "below-threshold", |stage| {
            let keys = stage.cluster.trust.people.keys();
            Ok(stage.under(statement(stage).seal(&keys[..1]).to_json()))
        }),
        Attack::repaired("one key signs twice", "below-threshold", |stage| {
            let keys = stage.cluster.trust.people.keys();
            Ok(stage.under(statement(stage).seal(&[keys[0], keys[0]]).to_json()))
        }),
        Attack::repaired("one signature under two key ids", "below-threshold", |stage| {
            let keys = stage.cluster.trust.people.keys();
            let seal = statement(stage).seal(&[keys[0], keys[0]]).to_json();
            let other = keys[1].public().id();
            let renamed = edited(&seal, |json| {
                json["signatures"][1]["keyid"] = other.as_str().into()
            })?;
            Ok(stage.under(renamed))
        }),
        Attack::repaired("one key in two forms", "below-threshold", |stage| {
            let keys = stage.cluster.trust.people.keys();
            // The seed of the first of them, see the stage's people.
            let ssh = SealingKey::ssh_ed25519([super::super::ADA; 32]);
            ensure!(ssh.public().is_same_key(&keys[0].public()), "it is another key");
            Ok(stage.under(statement(stage).seal(&[keys[0], &ssh]).to_json()))
        }),
        Attack::repaired("an altered byte in what was signed", "altered", |stage| {
            let mut other = statement(stage);
            other.not_after = other.not_after.saturating_add(SignedDuration::from_secs(1))?;
            let other: Value = serde_json::from_slice(&other.seal(&[]).to_json())?;
            let altered = edited(&seal(stage)?, |json| json["payload"] = other["payload"].clone())?;
            Ok(stage.under(altered))
        }),
        Attack::repaired("an altered byte in one signature", "below-threshold", |stage| {
            let altered = edited(&seal(stage)?, |json| flip(&mut json["signatures"][0]["sig"]))?;
            Ok(stage.under(altered))
        }),
        Attack::repaired("an altered byte in every signature", "altered", |stage| {
            let altered = edited(&seal(stage)?, |json| {
                for signature in signatures(json).into_iter().flatten() {
                    flip(&mut signature["sig"]);
                }
            })?;
            Ok(stage.under(altered))
        }),
        Attack::repaired("signed for another purpose", "wrong-purpose", |stage| {
            let keys = stage.cluster.trust.people.keys();
            let bytes = statement(stage).canonical_bytes();
            Ok(stage.under(Envelope::seal(TRUST_ROOT_PAYLOAD_TYPE, bytes, &keys).to_json()))
        }),
        Attack::repaired("another spelling of the statement", "malformed", |stage| {
            let mut bytes = statement(stage).canonical_bytes();
            bytes.push(b' ');
            signed(stage, bytes)
        }),
        Attack::repaired("epoch 2^63, signed", "malformed", |stage| {
            let text = String::from_utf8(statement(stage).canonical_bytes())?;
            let epoch = format!("\"epoch\":{}", stage.honest.set.epoch());
            let far = text.replace(&epoch, &format!("\"epoch\":{}", 1_u64 << 63));
            ensure!(far != text, "the statement has an epoch");
            let update = signed(stage, far.into_bytes())?;
            Ok(pb::SetUpdate {
                epoch: 1 << 63,
                ..update
            })
        }),
        Attack::taken_by(
            "sealed by the same people for another cluster",
            "other-cluster",
            |stage| Ok(stage.under(other_cluster(stage)?.0.seal(&stage.honest.set))),
            |stage| {
                let (other, envelope) = other_cluster(stage)?;
                Ok((newcomer(&other.root, &envelope)?, Timestamp::now()))
            },
        ),
        Attack::taken_by(
            "a seal that has ended",
            "expired",
            |stage| {
                let ended = Timestamp::now() - SignedDuration::from_secs(1);
                let seal = stage.cluster.trust.seal_until(&stage.honest.set, ended);
                Ok(stage.under(seal))
            },
            |stage| {
                let before = Timestamp::now() - SignedDuration::from_hours(1);
                Ok((stage.cluster.newcomer()?, before))
            },
        ),
        Attack::repaired("no envelope", "envelope", |stage| Ok(stage.under(b"{}".to_vec()))),
        Attack::repaired("a hundred signatures", "envelope", |stage| {
            let key = stage.cluster.trust.people.keys()[0];
            Ok(stage.under(statement(stage).seal(&[key; 100]).to_json()))
        }),
        Attack::repaired("a seal of a megabyte", "envelope", |stage| {
            let mut seal = seal(stage)?;
            seal.resize(1 << 20, b' ');
            Ok(stage.under(seal))
        }),
        Attack::repaired("no seal at all", "unreadable", |stage| {
            Ok(pb::SetUpdate {
                seal: None,
                ..stage.honest()
            })
        }),
    ]
}

/// What people said of the next set.
fn statement(stage: &Stage<'_>) -> SetStatement {
    stage.cluster.trust.statement(&stage.honest.set, tomorrow())
}

/// Their seal.
fn seal(stage: &Stage<'_>) -> Result<Vec<u8>> {
    let seal = stage.honest.update.seal.as_ref();
    Ok(seal.context("the honest offer has a seal")?.json.to_vec())
}

/// The honest offer under these bytes, signed by people as a statement is.
fn signed(stage: &Stage<'_>, bytes: Vec<u8>) -> Result<pb::SetUpdate> {
    let keys = stage.cluster.trust.people.keys();
    Ok(stage.under(Envelope::seal(SET_PAYLOAD_TYPE, bytes, &keys).to_json()))
}

fn ids(stage: &Stage<'_>) -> Vec<String> {
    let keys = stage.cluster.trust.people.keys();
    keys.iter().map(|key| key.public().id()).collect()
}

/// A cluster that the same people founded under other names.
fn other_cluster(stage: &Stage<'_>) -> Result<(Trust, Vec<u8>)> {
    let mut people = stage.cluster.first.people.clone();
    for ((name, _), other) in people.0.iter_mut().zip(["one", "two"]) {
        *name = other;
    }
    let (root, envelope) = people.found()?;
    Ok((Trust { root, people }, envelope))
}

fn edited(envelope: &[u8], edit: impl FnOnce(&mut Value)) -> Result<Vec<u8>> {
    let mut json: Value = serde_json::from_slice(envelope)?;
    edit(&mut json);
    Ok(serde_json::to_vec(&json)?)
}

fn signatures(json: &mut Value) -> Option<&mut Vec<Value>> {
    json["signatures"].as_array_mut()
}

/// Another digit of base64 in the middle of a text.
fn flip(text: &mut Value) {
    let Some(old) = text.as_str() else { return };
    let mut bytes = old.as_bytes().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] = if bytes[middle] == b'A' { b'B' } else { b'A' };
    *text = String::from_utf8_lossy(&bytes).into_owned().into();
}
