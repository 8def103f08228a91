//! Versions of the trust root: forged, skipped, withheld, foreign; and keys that were given up.

use anyhow::Result;
use jiff::Timestamp;
use verger_agent_core::ledger::offer;
use verger_proto::agent::v1 as pb;
use verger_seal::{SealingKey, TrustRoot};

use super::super::cluster::{People, Trust, envelope, newcomer, parsed, tomorrow};
use super::{Attack, Stage};

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        Attack::repaired(
            "a version of the trust root that its own keys alone signed",
            "trust-root-wrong-key",
            |stage| {
                let (next, version) = successor(stage, &usurpers(), |_, new| new)?;
                Ok(sealed(stage, &next, vec![version]))
            },
        ),
        Attack::repaired(
            "a version that the keys in force alone signed",
            "trust-root-wrong-key",
            |stage| {
                let (next, version) = successor(stage, &usurpers(), |old, _| old)?;
                Ok(sealed(stage, &next, vec![version]))
            },
        ),
        Attack::repaired(
            "a version that one of two keys in force signed",
            "trust-root-below-threshold",
            |stage| {
                let (next, version) =
                    successor(stage, &usurpers(), |old, new| [&old[..1], &new[..]].concat())?;
                Ok(sealed(stage, &next, vec![version]))
            },
        ),
        Attack::taken_by(
            "a version skipped",
            "trust-root-version",
            |stage| {
                let (second, _) = handed_over(stage, &heirs())?;
                let (third, version) = succeed(&second, &People::new(&[("erin", 35), ("frank", 36)]))?;
                Ok(sealed(stage, &third, vec![version]))
            },
            |stage| {
                // Who knows the version between takes it.
                let (second, version) = handed_over(stage, &heirs())?;
                let held = sealed(stage, &second, vec![version]);
                let known = offer(&stage.cluster.newcomer()?, &parsed(&held)?, Timestamp::now())?;
                Ok((known.next, Timestamp::now()))
            },
        ),
        Attack::repaired(
            "a version left out, other keys seal under it",
            "wrong-key",
            |stage| {
                let (second, _) = handed_over(stage, &heirs())?;
                Ok(sealed(stage, &second, Vec::new()))
            },
        ),
        Attack::repaired(
            "a version left out, the same keys seal under it",
            "trust-root-mismatch",
            |stage| {
                let (second, _) = handed_over(stage, &renamed(stage))?;
                Ok(sealed(stage, &second, Vec::new()))
            },
        ),
        Attack::taken_by(
            "another cluster's first version in front, and its seal",
            "wrong-key",
            |stage| {
                let people = usurpers();
                let (root, version) = people.found()?;
                Ok(sealed(stage, &Trust { root, people }, vec![version]))
            },
            |_| {
                let (root, version) = usurpers().found()?;
                Ok((newcomer(&root, &version)?, Timestamp::now()))
            },
        ),
        Attack::taken_by(
            "a second version of the same people's other cluster",
            "trust-root-mismatch",
            |stage| {
                let (elsewhere, _) = elsewhere(stage)?;
                let (next, version) = succeed(&elsewhere, &heirs())?;
                Ok(sealed(stage, &next, vec![version]))
            },
            |stage| {
                let (elsewhere, envelope) = elsewhere(stage)?;
                Ok((newcomer(&elsewhere.root, &envelope)?, Timestamp::now()))
            },
        ),
        Attack::repaired("a thousand versions", "too-much", |stage| {
            let mut update = stage.honest();
            update.trust_roots = vec![envelope(stage.cluster.envelope.clone()); 1_000];
            Ok(update)
        }),
        Attack::repaired("a version that is none", "trust-root-envelope", |stage| {
            let mut update = stage.honest();
            update.trust_roots = vec![envelope(b"version 2".to_vec())];
            Ok(update)
        }),
        Attack::repaired(
            "a seal in the place of a version",
            "trust-root-wrong-purpose",
            |stage| {
                let mut update = stage.honest();
                update.trust_roots = update.seal.iter().cloned().collect();
                Ok(update)
            },
        ),
    ]
}

pub(super) fn attacks_after() -> Vec<Attack> {
    vec![
        Attack::taken_by(
            "sealed with the keys that were given up",
            "wrong-key",
            |stage| {
                let mut update = stage.under(stage.cluster.first.seal(&stage.honest.set));
                update.trust_roots.clear();
                Ok(update)
            },
            |stage| Ok((stage.cluster.newcomer()?, Timestamp::now())),
        ),
        Attack::repaired(
            "sealed with keys given up, the versions shown",
            "wrong-key",
            |stage| Ok(stage.under(stage.cluster.first.seal(&stage.honest.set))),
        ),
        Attack::repaired(
            "sealed with keys in force for a version given up",
            "trust-root-mismatch",
            |stage| {
                let statement = stage.cluster.first.statement(&stage.honest.set, tomorrow());
                Ok(stage.under(statement.seal(&stage.cluster.trust.people.keys()).to_json()))
            },
        ),
        Attack::repaired(
            "another second version, signed by keys given up",
            "wrong-key",
            |stage| {
                // The known one is passed over whatever it says: what counts is what the agent has verified.
                let (next, version) = succeed(&stage.cluster.first, &usurpers())?;
                Ok(sealed(stage, &next, vec![version]))
            },
        ),
        Attack::repaired(
            "a third version, signed by keys given up",
            "trust-root-wrong-key",
            |stage| {
                let thieves = Trust {
                    root: stage.cluster.trust.root.clone(),
                    people: stage.cluster.first.people.clone(),
                };
                let (next, version) = succeed(&thieves, &usurpers())?;
                let mut update = sealed(stage, &next, Vec::new());
                update.trust_roots = stage.honest.update.trust_roots.clone();
                update.trust_roots.push(envelope(version));
                Ok(update)
            },
        ),
    ]
}

fn usurpers() -> People {
    People::new(&[("eve", 101), ("mallory", 102)])
}

fn heirs() -> People {
    People::new(&[("grace", 33), ("heidi", 34)])
}

/// The people in force, called otherwise.
fn renamed(stage: &Stage<'_>) -> People {
    let mut people = stage.cluster.trust.people.clone();
    for ((name, _), other) in people.0.iter_mut().zip(["one", "two"]) {
        *name = other;
    }
    people
}

/// A cluster that the same people founded.
fn elsewhere(stage: &Stage<'_>) -> Result<(Trust, Vec<u8>)> {
    let people = renamed(stage);
    let (root, envelope) = people.found()?;
    Ok((Trust { root, people }, envelope))
}

/// The version after the one in force, for these people and signed by a choice among both.
fn successor(
    stage: &Stage<'_>,
    people: &People,
    choose: impl for<'k> FnOnce(Vec<&'k SealingKey>, Vec<&'k SealingKey>) -> Vec<&'k SealingKey>,
) -> Result<(Trust, Vec<u8>)> {
    let trust = &stage.cluster.trust;
    let signing = choose(trust.people.keys(), people.keys());
    version(&trust.root, people, &signing)
}

/// The version after the one in force, as it should be.
fn handed_over(stage: &Stage<'_>, people: &People) -> Result<(Trust, Vec<u8>)> {
    succeed(&stage.cluster.trust, people)
}

fn succeed(trust: &Trust, people: &People) -> Result<(Trust, Vec<u8>)> {
    let signing = [trust.people.keys(), people.keys()].concat();
    version(&trust.root, people, &signing)
}

fn version(root: &TrustRoot, people: &People, signing: &[&SealingKey]) -> Result<(Trust, Vec<u8>)> {
    let envelope = root.succeed(&people.terms(), signing)?.to_json();
    let (root, _) = root.read_successor(&envelope)?;
    let people = people.clone();
    Ok((Trust { root, people }, envelope))
}

/// The honest set under this trust root, with these versions in front.
fn sealed(stage: &Stage<'_>, trust: &Trust, versions: Vec<Vec<u8>>) -> pb::SetUpdate {
    pb::SetUpdate {
        trust_roots: versions.into_iter().map(envelope).collect(),
        ..stage.under(trust.seal(&stage.honest.set))
    }
}
