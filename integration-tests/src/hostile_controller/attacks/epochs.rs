//! Epochs: older ones, others, far ones, and parts of several put together. Most are sealed as they are: what speaks against them
//! is what the agent holds.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use verger_agent_core::ledger::{LedgerState, offer};
use verger_policy::set::PolicySet;
use verger_proto::agent::v1 as pb;
use verger_seal::MAX_EPOCH_JUMP;

use super::super::cluster::parsed;
use super::{Attack, Stage};

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        Attack::taken_by(
            "the set before, byte for byte",
            "lower-epoch",
            |stage| earlier(stage, 2),
            newcomer,
        ),
        Attack::taken_by(
            "the first set, byte for byte",
            "lower-epoch",
            |stage| Ok(first(stage)?.clone()),
            newcomer,
        ),
        Attack::taken_by(
            "the epoch that is held, with another root, sealed",
            "same-epoch-other-root",
            |stage| {
                let cluster = stage.cluster;
                let other = verger_policy::draft::read(
                    "other.yaml",
                    super::super::cluster::workload("pay/web", "eu", 4_000_001).as_bytes(),
                )
                .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
                let other = cluster.before.change(other, [])?;
                let seal = cluster.trust.seal(&other);
                Ok(cluster.update(&other, seal))
            },
            newcomer,
        ),
        Attack::taken_by(
            "an epoch beyond the bound, sealed",
            "epoch-jump",
            |stage| far(stage, stage.cluster.set.epoch() + MAX_EPOCH_JUMP + 1),
            newcomer,
        ),
        Attack::taken_by(
            "the last epoch there is, sealed",
            "epoch-jump",
            |stage| far(stage, verger_seal::MAX_EPOCH),
            newcomer,
        ),
        Attack::repaired("epoch 2^63, said and not signed", "epoch-too-large", |stage| {
            Ok(pb::SetUpdate {
                epoch: 1 << 63,
                ..stage.honest()
            })
        }),
        Attack::repaired(
            "the next but one epoch, said and not signed",
            "epoch-mismatch",
            |stage| {
                Ok(pb::SetUpdate {
                    epoch: stage.honest.update.epoch + 1,
                    ..stage.honest()
                })
            },
        ),
        Attack::repaired(
            "the next set under the seal of the one held",
            "epoch-mismatch",
            |stage| {
                Ok(pb::SetUpdate {
                    seal: earlier(stage, 1)?.seal,
                    ..stage.honest()
                })
            },
        ),
        Attack::repaired(
            "the set that is held under the next seal",
            "root-mismatch",
            |stage| {
                let held = earlier(stage, 1)?;
                Ok(pb::SetUpdate {
                    entries: held.entries,
                    bodies: held.bodies,
                    ..stage.honest()
                })
            },
        ),
        Attack::repaired(
            "bodies of the set that is held under the next one",
            "body-mismatch",
            |stage| {
                Ok(pb::SetUpdate {
                    bodies: earlier(stage, 1)?.bodies,
                    ..stage.honest()
                })
            },
        ),
        Attack::taken_by(
            "the next set's objects over an older set, sealed as another",
            "same-epoch-other-root",
            |stage| {
                // People sealed it once, for an epoch that went to another set.
                let cluster = stage.cluster;
                let objects = stage.honest.set.objects().cloned();
                let other = PolicySet::empty().change(objects, [])?;
                let parts: Vec<_> = other
                    .parts()
                    .map(|(entry, body)| (entry.clone(), body.cloned()))
                    .collect();
                let other = PolicySet::assemble(cluster.set.epoch(), parts)?;
                let seal = cluster.trust.seal(&other);
                Ok(cluster.update(&other, seal))
            },
            before,
        ),
    ]
}

/// An agent that has just joined.
fn newcomer(stage: &Stage<'_>) -> Result<(LedgerState, Timestamp)> {
    Ok((stage.cluster.newcomer()?, Timestamp::now()))
}

/// An agent that holds the set before the one that the real one holds.
fn before(stage: &Stage<'_>) -> Result<(LedgerState, Timestamp)> {
    let now = Timestamp::now();
    let held = offer(&stage.cluster.newcomer()?, &parsed(&earlier(stage, 2)?)?, now)?;
    Ok((held.next, now))
}

/// What the agent accepted so many offers ago; 1 is what it holds.
fn earlier(stage: &Stage<'_>, ago: usize) -> Result<pb::SetUpdate> {
    let accepted = &stage.cluster.accepted;
    let place = accepted.len().checked_sub(ago).context("it accepted that many")?;
    Ok(accepted[place].clone())
}

fn first<'a>(stage: &Stage<'a>) -> Result<&'a pb::SetUpdate> {
    stage
        .cluster
        .accepted
        .first()
        .context("the agent has accepted a set")
}

/// The next set under an epoch far ahead, sealed for it.
fn far(stage: &Stage<'_>, epoch: u64) -> Result<pb::SetUpdate> {
    let parts: Vec<_> = stage
        .honest
        .set
        .parts()
        .map(|(entry, body)| (entry.clone(), body.map(Arc::clone)))
        .collect();
    let far = PolicySet::assemble(epoch, parts)?;
    let seal = stage.cluster.trust.seal(&far);
    Ok(stage.cluster.update(&far, seal))
}
