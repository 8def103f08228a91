//! Mounts: one failing check per mount, or per part of a mount, that differs.

use std::collections::{BTreeMap, BTreeSet};

use super::sets::both;
use super::sheet::{Sheet, member};
use crate::compile::passes_as_default;
use crate::facts::{Evidence, ImageDefaults, MountFacts, MountOrigin};
use crate::model::{Access, Mount, MountSource, Propagation, Stated};
use crate::rules::{self, Rule};

pub(super) fn judge(
    sheet: &mut Sheet,
    stated: &Stated<Vec<Mount>>,
    facts: &Evidence<BTreeMap<String, MountFacts>>,
    image: &Evidence<ImageDefaults>,
) {
    let rule = &rules::MOUNTS;
    let Some((wanted, seen)) = both(sheet, rule, "mounts", stated, facts) else {
        return;
    };
    let mark = sheet.mark();
    let wanted: BTreeMap<&str, &Mount> = wanted
        .into_iter()
        .flatten()
        .map(|mount| (target(&mount.target), mount))
        .collect();
    // Sets, so that many mounts and many volumes are not held against each other one by one.
    let there: BTreeSet<&str> = seen.keys().map(|path| target(path)).collect();
    let declared: Evidence<BTreeSet<&str>> = match image {
        Evidence::Seen(image) => Evidence::Seen(image.volumes.iter().map(|volume| target(volume)).collect()),
        Evidence::Missing(reason) => Evidence::Missing(reason.clone()),
    };
    for (path, facts) in seen {
        let path = target(path);
        match wanted.get(path) {
            Some(mount) => mount_pair(sheet, rule, path, mount, facts),
            None if facts.origin == MountOrigin::AnonymousVolume => match &declared {
                Evidence::Seen(declared) if declared.contains(path) => {
                    propagation(sheet, path, &Stated::Absent, facts);
                }
                Evidence::Missing(reason) => sheet.skip(rule, member("mounts", path), reason),
                Evidence::Seen(_) => sheet.fail(rule, member("mounts", path), "no mount", &describe(facts)),
            },
            None => sheet.fail(rule, member("mounts", path), "no mount", &describe(facts)),
        }
    }
    for (path, mount) in wanted {
        if !there.contains(path) {
            let expected = format!("{} {}", source(&mount.source), wanted_access(mount));
            sheet.fail(rule, member("mounts", path), &expected, "no mount");
        }
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(rule, "mounts");
    }
}

fn mount_pair(sheet: &mut Sheet, rule: &'static Rule, path: &str, wanted: &Mount, seen: &MountFacts) {
    let field = |part: &str| format!("{}.{part}", member("mounts", path));
    let same = match (&wanted.source, &seen.origin) {
        (MountSource::Volume(a), MountOrigin::Volume(b)) => a == b,
        (MountSource::Bind(a), MountOrigin::Bind(b)) => target(a) == target(b),
        (MountSource::AnonymousVolume, MountOrigin::AnonymousVolume)
        | (MountSource::Tmpfs, MountOrigin::Tmpfs) => true,
        _ => false,
    };
    if !same {
        sheet.fail(
            rule,
            field("source"),
            &source(&wanted.source),
            &origin(&seen.origin),
        );
    }
    match wanted.access {
        Stated::Any => sheet.opted_out(rule, field("access")),
        Stated::Absent | Stated::Is(_) if wanted_access(wanted) == seen.access.word() => {}
        Stated::Absent | Stated::Is(_) => {
            sheet.fail(rule, field("access"), wanted_access(wanted), seen.access.word());
        }
    }
    let missing: Vec<&str> = wanted
        .options
        .difference(&seen.options)
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        let expected: Vec<&str> = wanted.options.iter().map(String::as_str).collect();
        let actual = format!("without {}", missing.join(", "));
        sheet.fail(rule, field("options"), &expected.join(", "), &actual);
    }
    propagation(sheet, path, &wanted.propagation, seen);
}

/// Only a bind or a volume has peers on the host.
fn propagation(sheet: &mut Sheet, path: &str, wanted: &Stated<Propagation>, seen: &MountFacts) {
    let of_host = match seen.origin {
        MountOrigin::Bind(_) | MountOrigin::Volume(_) | MountOrigin::AnonymousVolume => true,
        MountOrigin::Tmpfs | MountOrigin::Other(_) => false,
    };
    if !of_host {
        return;
    }
    let rule = &rules::MOUNTS;
    let field = || format!("{}.propagation", member("mounts", path));
    match (wanted, &seen.propagation) {
        (Stated::Any, _) => sheet.opted_out(rule, field()),
        (_, Evidence::Missing(reason)) => sheet.skip(rule, field(), reason),
        (Stated::Absent, Evidence::Seen(seen_is)) if passes_as_default(&seen.origin, *seen_is) => {}
        (Stated::Is(wanted), Evidence::Seen(seen)) if wanted == seen => {}
        (Stated::Absent, Evidence::Seen(seen)) => {
            sheet.fail(rule, field(), Propagation::Rprivate.word(), seen.word());
        }
        (Stated::Is(wanted), Evidence::Seen(seen)) => sheet.fail(rule, field(), wanted.word(), seen.word()),
    }
}

fn wanted_access(mount: &Mount) -> &'static str {
    match mount.access {
        Stated::Is(access) => access.word(),
        Stated::Any => "any",
        Stated::Absent => Access::Ro.word(),
    }
}

/// A path without a slash at its end.
fn target(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    }
}

fn source(source: &MountSource) -> String {
    match source {
        MountSource::Volume(name) => format!("volume:{name}"),
        MountSource::AnonymousVolume => "volume".to_owned(),
        MountSource::Bind(path) => format!("bind:{path}"),
        MountSource::Tmpfs => "tmpfs".to_owned(),
    }
}

pub(super) fn origin(origin: &MountOrigin) -> String {
    match origin {
        MountOrigin::Volume(name) => format!("volume:{name}"),
        MountOrigin::AnonymousVolume => "volume".to_owned(),
        MountOrigin::Bind(path) => format!("bind:{path}"),
        MountOrigin::Tmpfs => "tmpfs".to_owned(),
        MountOrigin::Other(fstype) => fstype.clone(),
    }
}

/// Whether it is in a folder that the runtime made.
pub(super) fn is_volume(origin: &MountOrigin) -> bool {
    matches!(origin, MountOrigin::Volume(_) | MountOrigin::AnonymousVolume)
}

fn describe(facts: &MountFacts) -> String {
    format!("{} {}", origin(&facts.origin), facts.access)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::drift::{Check, Outcome};

    /// What `judge` says, target by target, each looked for in the whole of the other list.
    fn naive(
        wanted: &[Mount],
        seen: &BTreeMap<String, MountFacts>,
        image: &Evidence<ImageDefaults>,
    ) -> BTreeSet<(String, Outcome)> {
        let mut told = BTreeSet::new();
        for (path, facts) in seen {
            let stated = wanted
                .iter()
                .rev()
                .find(|mount| target(&mount.target) == target(path));
            let outcome = match (stated, &facts.origin, image) {
                (Some(_), _, _) => None,
                (None, MountOrigin::AnonymousVolume, Evidence::Missing(_)) => Some(Outcome::NotEvaluated),
                (None, MountOrigin::AnonymousVolume, Evidence::Seen(image)) => {
                    let declared = image.volumes.iter().any(|volume| target(volume) == target(path));
                    (!declared).then_some(Outcome::Fail)
                }
                (None, _, _) => Some(Outcome::Fail),
            };
            told.extend(outcome.map(|outcome| (target(path).to_owned(), outcome)));
        }
        for mount in wanted {
            if !seen.keys().any(|path| target(path) == target(&mount.target)) {
                told.insert((target(&mount.target).to_owned(), Outcome::Fail));
            }
        }
        told
    }

    fn whole(checks: Vec<Check>) -> BTreeSet<(String, Outcome)> {
        let of_target = |check: &Check| {
            let name = check.field.strip_prefix("mounts[")?.strip_suffix(']')?;
            Some((name.to_owned(), check.result))
        };
        checks.iter().filter_map(of_target).collect()
    }

    proptest! {
        #[test]
        fn targets_are_matched_as_one_by_one(
            wanted in prop::collection::vec("/[ab]{0,2}/?", 0..6),
            seen in prop::collection::btree_map("/[ab]{0,2}/?", prop::sample::select(vec![
                MountOrigin::AnonymousVolume, MountOrigin::Tmpfs, MountOrigin::Volume("v".to_owned()),
            ]), 0..8),
            declared in prop::option::of(prop::collection::btree_set("/[ab]{0,2}/?", 0..6)),
        ) {
            let wanted: Vec<Mount> = wanted.into_iter().map(|target| Mount {
                target,
                source: MountSource::Tmpfs,
                access: Stated::Absent,
                options: BTreeSet::new(),
                propagation: Stated::Absent,
            }).collect();
            let seen: BTreeMap<String, MountFacts> = seen.into_iter().map(|(target, origin)| (target, MountFacts {
                origin,
                access: Access::Ro,
                options: BTreeSet::new(),
                propagation: Evidence::Seen(Propagation::Rprivate),
                host_path: None,
            })).collect();
            let image = match declared {
                Some(volumes) => Evidence::Seen(ImageDefaults { volumes, ..ImageDefaults::default() }),
                None => Evidence::missing("not seen"),
            };
            let mut sheet = Sheet::new();
            judge(&mut sheet, &Stated::Is(wanted.clone()), &Evidence::Seen(seen.clone()), &image);
            prop_assert_eq!(whole(sheet.finish()), naive(&wanted, &seen, &image));
        }
    }
}
