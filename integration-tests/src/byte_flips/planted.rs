//! Differences that no checksum shows: the rig must see them, or it proves nothing.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use verger_controller_state::Tree;
use verger_controller_store::{Row, SledState, StateDb as _};

use super::images::{Facts, Images};
use super::reading::Reading;
use super::round::{End, Rounds};

/// The image whose rows are changed: all of its log is in them.
const IMAGE: usize = 0;

/// Plants each, and gives their number.
///
/// # Errors
/// When one is not seen.
pub(super) fn all(rounds: &mut Rounds, images: &mut Images) -> Result<usize> {
    let facts = images.facts(IMAGE);
    let mut planted = 0;
    for (what, tree, named) in [
        ("a login is gone", Tree::Logins, "p0-0"),
        ("tokens are gone", Tree::Tokens, ""),
        ("a host is gone", Tree::Hosts, "spent-0"),
    ] {
        images.put(IMAGE)?;
        without(images, tree, named)?;
        seen(rounds, images, &facts, what)?;
        planted += 1;
    }
    type Wrong = fn(Reading) -> Option<Reading>;
    for (what, wrong) in [
        ("an object is another", Reading::with_another_body as Wrong),
        ("a row of the audit is another", Reading::with_another_row),
    ] {
        images.put(IMAGE)?;
        let reading = wrong(facts.reading.clone()).context("there is one to change")?;
        let expected = Facts {
            reading,
            ..facts.clone()
        };
        seen(rounds, images, &expected, what)?;
        planted += 1;
    }
    Ok(planted)
}

fn seen(rounds: &Rounds, images: &mut Images, facts: &Facts, what: &str) -> Result<()> {
    match rounds.start(images, facts, Path::new("raft/state.sled/db"))? {
        End::Wrong(difference) => {
            let first = difference.lines().next().unwrap_or_default();
            ensure!(
                first.contains("than was acknowledged") || first.contains("is refused"),
                "{what}: it is seen otherwise: {difference}"
            );
            Ok(())
        }
        end => bail!("{what}, and the rig does not see it: {end:?}"),
    }
}

/// Takes rows of a tree out, those with this in their keys, and has all else vouch for what is left.
fn without(images: &Images, tree: Tree, named: &str) -> Result<()> {
    let state = SledState::open(&images.place().join("raft"))?;
    let mut rows = Vec::new();
    let mark = state.visit_all(&mut |row| {
        rows.push(row);
        Ok(())
    })?;
    let all = rows.len();
    let goes = |row: &Row| row.tree == tree.name() && String::from_utf8_lossy(&row.key).contains(named);
    rows.retain(|row| !goes(row));
    ensure!(rows.len() < all, "there is no {named:?} in {}", tree.name());
    state.replace_all(
        &mut rows.into_iter().map(Ok),
        &mark.context("something is applied")?,
    )?;
    Ok(())
}
