//! What is in a set: entries and bodies that are left out, put in, altered, swapped, or no such thing.

use anyhow::{Context as _, Result};
use verger_proto::agent::v1 as pb;
use verger_proto::policy::v1::{Body, Entry, ObjectKey};
use verger_wire::IntoWire as _;

use super::super::cluster::{host, object, workload};
use super::Attack;
use crate::scene::HOST;

/// More entries than any set has; each is as short as can be.
const MANY: usize = 1_000_000;

pub(super) fn attacks() -> Vec<Attack> {
    vec![
        Attack::repaired("an entry left out, with its body", "entry-left-out", |stage| {
            let mut update = stage.honest();
            update.entries.retain(|entry| !is(entry.key.as_ref(), "pay/web"));
            update.bodies.retain(|body| !is(body.key.as_ref(), "pay/web"));
            Ok(update)
        }),
        Attack::repaired("an entry of another host left out", "entry-left-out", |stage| {
            let mut update = stage.honest();
            update.entries.retain(|entry| !is(entry.key.as_ref(), "pay/db"));
            Ok(update)
        }),
        Attack::repaired("an entry added, with its body", "entry-added", |stage| {
            let mut update = stage.honest();
            let (entry, body) = added(stage.honest.set.epoch())?;
            update.entries.push(entry);
            update.bodies.push(body);
            Ok(update)
        }),
        Attack::repaired("an entry in the place of another", "root-mismatch", |stage| {
            let mut update = stage.honest();
            let (entry, _) = added(stage.honest.set.epoch())?;
            *entry_of(&mut update, "pay/db")? = Entry {
                hosts: [("zone".to_owned(), "us".to_owned())].into(),
                ..entry
            };
            Ok(update)
        }),
        Attack::repaired("an entry twice", "entry-twice", |stage| {
            let mut update = stage.honest();
            update.entries.push(update.entries[0].clone());
            Ok(update)
        }),
        Attack::repaired("a second object that labels this host", "agent-twice", |stage| {
            let mut update = stage.honest();
            let (entry, body) = parts_of(&host("stowaway", HOST, "us"), stage.honest.set.epoch())?;
            update.entries.push(entry);
            update.bodies.push(body);
            Ok(update)
        }),
        Attack::repaired("an altered byte in an entry's digest", "root-mismatch", |stage| {
            let mut update = stage.honest();
            let entry = entry_of(&mut update, "pay/db")?;
            let mut digest = entry.digest.to_vec();
            digest[7] ^= 1;
            entry.digest = digest.into();
            Ok(update)
        }),
        Attack::repaired("an entry's epoch set back", "root-mismatch", |stage| {
            let mut update = stage.honest();
            entry_of(&mut update, "pay/web")?.epoch -= 1;
            Ok(update)
        }),
        Attack::repaired(
            "an entry that changed after the set was made",
            "entry-from-the-future",
            |stage| {
                let mut update = stage.honest();
                entry_of(&mut update, "pay/web")?.epoch += 1;
                Ok(update)
            },
        ),
        Attack::repaired("a workload moved to other hosts", "root-mismatch", |stage| {
            let mut update = stage.honest();
            entry_of(&mut update, "pay/web")?.hosts = [("zone".to_owned(), "us".to_owned())].into();
            update.bodies.retain(|body| !is(body.key.as_ref(), "pay/web"));
            Ok(update)
        }),
        Attack::repaired("a body that is not of its digest", "body-mismatch", |stage| {
            let mut update = stage.honest();
            let other = object(&workload("pay/web", "eu", 4_000_000))?;
            body_of(&mut update, "pay/web")?.canonical = other.canonical_bytes().into();
            Ok(update)
        }),
        Attack::repaired("the body of the epoch before", "body-mismatch", |stage| {
            let mut update = stage.honest();
            let before = stage
                .cluster
                .set
                .objects()
                .find(|one| one.metadata.name.to_string() == "pay/web");
            let before = before
                .context("the set before has the workload")?
                .canonical_bytes();
            body_of(&mut update, "pay/web")?.canonical = before.into();
            Ok(update)
        }),
        Attack::repaired("an altered byte in a body", "not-canonical", |stage| {
            let mut update = stage.honest();
            let body = body_of(&mut update, "pay/web")?;
            let mut bytes = body.canonical.to_vec();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            body.canonical = bytes.into();
            Ok(update)
        }),
        Attack::repaired(
            "another host's body under this host's key",
            "mislabelled-body",
            |stage| {
                let mut update = stage.honest();
                let other = stage
                    .honest
                    .set
                    .objects()
                    .find(|one| one.metadata.name.to_string() == "pay/db");
                let other = other.context("the set has the other host's")?.canonical_bytes();
                body_of(&mut update, "pay/web")?.canonical = other.into();
                Ok(update)
            },
        ),
        Attack::repaired("a body twice", "body-twice", |stage| {
            let mut update = stage.honest();
            update.bodies.push(update.bodies[0].clone());
            Ok(update)
        }),
        Attack::repaired("a body that no entry names", "stray-body", |stage| {
            let mut update = stage.honest();
            update.bodies.push(added(stage.honest.set.epoch())?.1);
            Ok(update)
        }),
        Attack::repaired("the changed body left out", "missing-body", |stage| {
            let mut update = stage.honest();
            update.bodies.retain(|body| !is(body.key.as_ref(), "pay/web"));
            Ok(update)
        }),
        Attack::repaired("a digest of five bytes", "unreadable", |stage| {
            let mut update = stage.honest();
            entry_of(&mut update, "pay/web")?.digest = b"short".as_slice().into();
            Ok(update)
        }),
        Attack::repaired("a name that turns a terminal", "unreadable", |stage| {
            let mut update = stage.honest();
            let key = entry_of(&mut update, "pay/web")?.key.as_mut();
            key.context("an entry has a key")?.name = "\u{1b}[2J\u{202e}pay/web".to_owned();
            Ok(update)
        }),
        Attack::repaired("a million entries", "too-much", |stage| {
            Ok(pb::SetUpdate {
                entries: vec![Entry::default(); MANY],
                ..stage.honest()
            })
        }),
        Attack::repaired("a million bodies", "too-much", |stage| {
            Ok(pb::SetUpdate {
                bodies: vec![Body::default(); MANY],
                ..stage.honest()
            })
        }),
    ]
}

fn is(key: Option<&ObjectKey>, name: &str) -> bool {
    key.is_some_and(|key| key.name == name)
}

fn entry_of<'a>(update: &'a mut pb::SetUpdate, name: &str) -> Result<&'a mut Entry> {
    let entry = update
        .entries
        .iter_mut()
        .find(|entry| is(entry.key.as_ref(), name));
    entry.with_context(|| format!("no entry of {name}"))
}

fn body_of<'a>(update: &'a mut pb::SetUpdate, name: &str) -> Result<&'a mut Body> {
    let body = update.bodies.iter_mut().find(|body| is(body.key.as_ref(), name));
    body.with_context(|| format!("no body of {name}"))
}

/// An object that people never sealed.
fn added(epoch: u64) -> Result<(Entry, Body)> {
    parts_of(&workload("evil/web", "eu", 0), epoch)
}

fn parts_of(text: &str, epoch: u64) -> Result<(Entry, Body)> {
    let body = verger_policy::set::Body::new(&object(text)?)?;
    Ok(((&body.entry(epoch)).into_wire(), (&body).into_wire()))
}
