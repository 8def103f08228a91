//! The mounts a container has now against those it was given.
//!
//! A mount must be one that was given, one that the runtime makes itself ([`own`]), or one that came along below a bind or
//! a volume: then the host has the same at that path. Whether a bind is of the path it was given is told by where the
//! host has the same now. One thing cannot be told: a bind whose source is a symbolic link is of another path than
//! the one it names; that is not evaluated.

mod own;
mod place;

use std::collections::{BTreeMap, BTreeSet};

use own::Own;
use place::Place;

use super::sheet::{Sheet, member};
use crate::facts::{ConfigFacts, Evidence, LiveFacts, LiveMount, MountFacts, MountOrigin};
use crate::model::{Access, Propagation};
use crate::rules;

const RULE: &rules::Rule = &rules::LIVE_MOUNTS;
const FIELD: &str = "live.mounts";

pub(super) fn judge(sheet: &mut Sheet, config: &ConfigFacts, facts: &LiveFacts) {
    let live = match &facts.mounts {
        Evidence::Seen(mounts) => mounts,
        Evidence::Missing(reason) => return sheet.skip(RULE, FIELD, reason),
    };
    let given = match &config.mounts {
        Evidence::Seen(given) => given,
        Evidence::Missing(reason) => return sheet.skip(RULE, FIELD, reason),
    };
    let given: BTreeMap<&str, &MountFacts> =
        given.iter().map(|(path, facts)| (trimmed(path), facts)).collect();
    let mark = sheet.mark();
    let mut seen = BTreeSet::new();
    let mut untold: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for mount in live {
        let target = mount.target.as_str();
        let first = seen.insert(target);
        match place::along(&given, mount) {
            // The host may have several mounts over each other there, and so does the container.
            Some((bind, facts, Place::Same)) => came_along(sheet, mount, bind, facts),
            _ if !first => sheet.fail(
                RULE,
                member(FIELD, target),
                "mounted once",
                &format!("mounted over by {}", describe(mount)),
            ),
            along => match (given.get(target), own::judge(config, &given, mount), along) {
                (Some(facts), _, _) => as_given(sheet, mount, facts),
                (None, _, _) if target == "/" => root(sheet, config, mount),
                (None, Own::Yes, _) => {}
                (None, Own::Writable, _) => {
                    sheet.fail(RULE, format!("{}.access", member(FIELD, target)), "ro", "rw");
                }
                (None, Own::No, Some((bind, _, Place::Untold(reason)))) => {
                    *untold.entry((bind, reason)).or_default() += 1;
                }
                (None, Own::No, _) => sheet.fail(RULE, member(FIELD, target), "no mount", &describe(mount)),
            },
        }
    }
    for target in given.keys().filter(|target| !seen.contains(*target)) {
        sheet.fail(RULE, member(FIELD, target), "mounted", "no mount");
    }
    covers(sheet, config, facts, &seen);
    for ((bind, reason), count) in untold {
        let reason =
            format!("{count} mounts below it may have come with it or have been made later: {reason}");
        sheet.skip(RULE, format!("{}/*", member(FIELD, bind)), &reason);
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(RULE, FIELD);
    }
}

/// Every path to be hidden or made read-only has a mount over it, unless this kernel does not have it.
fn covers(sheet: &mut Sheet, config: &ConfigFacts, facts: &LiveFacts, seen: &BTreeSet<&str>) {
    for (paths, expected) in [
        (&config.masked_paths, "hidden"),
        (&config.readonly_paths, "read-only"),
    ] {
        let paths = match paths {
            Evidence::Seen(paths) => paths,
            Evidence::Missing(reason) => {
                sheet.skip(RULE, format!("{}.{expected}", FIELD), reason);
                continue;
            }
        };
        for path in paths
            .iter()
            .map(|path| trimmed(path))
            .filter(|path| !seen.contains(path))
        {
            let field = member(FIELD, path);
            match &facts.kernel_paths {
                Evidence::Missing(reason) => sheet.skip(RULE, field, reason),
                Evidence::Seen(known) => match known.get(path) {
                    Some(true) => sheet.fail(RULE, field, expected, "the mount over it is gone"),
                    Some(false) => {}
                    None => sheet.skip(
                        RULE,
                        field,
                        "there is no mount over it, and whether the container has this path is not looked up",
                    ),
                },
            }
        }
    }
}

fn as_given(sheet: &mut Sheet, mount: &LiveMount, given: &MountFacts) {
    let field = |part: &str| format!("{}.{part}", member(FIELD, &mount.target));
    let place = match &given.origin {
        MountOrigin::Tmpfs if mount.fstype == "tmpfs" => place::of_tmpfs(mount),
        MountOrigin::Other(fstype) if own::is_type(fstype, &mount.fstype) => Place::Same,
        MountOrigin::Tmpfs | MountOrigin::Other(_) => Place::Other,
        MountOrigin::Volume(_) | MountOrigin::AnonymousVolume | MountOrigin::Bind(_) => {
            place::of(given, "", mount)
        }
    };
    match place {
        Place::Same => {}
        Place::Untold(reason) => sheet.skip(RULE, field("source"), reason),
        Place::Other => {
            let expected = super::mounts::origin(&given.origin);
            sheet.fail(RULE, field("source"), &expected, &describe(mount));
        }
    }
    if given.access == Access::Ro && !mount.options.contains("ro") {
        sheet.fail(RULE, field("access"), "ro", "rw");
    }
    let lost: Vec<&str> = given
        .options
        .difference(&mount.options)
        .map(String::as_str)
        .collect();
    if !lost.is_empty() {
        let expected: Vec<&str> = given.options.iter().map(String::as_str).collect();
        sheet.fail(
            RULE,
            field("options"),
            &expected.join(", "),
            &format!("without {}", lost.join(", ")),
        );
    }
    propagation(sheet, mount, given);
}

/// A mount of the host below a bind that came with it. Runtimes do not make such mounts read-only with the bind, so their
/// access is the host's.
fn came_along(sheet: &mut Sheet, mount: &LiveMount, bind: &str, given: &MountFacts) {
    debug_assert!(mount.target.len() > bind.len());
    let recursive = matches!(
        given.propagation,
        Evidence::Seen(Propagation::Rprivate | Propagation::Rslave | Propagation::Rshared)
    );
    if recursive {
        propagation(sheet, mount, given);
    }
}

/// Live, a mount may have fewer peers than it was given (the host's side may have none), never more.
fn propagation(sheet: &mut Sheet, mount: &LiveMount, given: &MountFacts) {
    if given.host_path.is_none() {
        return;
    }
    let field = || format!("{}.propagation", member(FIELD, &mount.target));
    let given = match &given.propagation {
        Evidence::Seen(given) => *given,
        Evidence::Missing(reason) => return sheet.skip(RULE, field(), reason),
    };
    let more = match given {
        Propagation::Private | Propagation::Rprivate => mount.shared || mount.slave,
        Propagation::Slave | Propagation::Rslave => mount.shared,
        Propagation::Shared | Propagation::Rshared => false,
    };
    if more {
        let actual = if mount.shared {
            Propagation::Shared
        } else {
            Propagation::Slave
        };
        sheet.fail(RULE, field(), given.word(), actual.word());
    }
}

fn root(sheet: &mut Sheet, config: &ConfigFacts, mount: &LiveMount) {
    match &config.rootfs_readonly {
        Evidence::Seen(true) if !mount.options.contains("ro") => {
            sheet.fail(RULE, format!("{}.access", member(FIELD, "/")), "ro", "rw");
        }
        Evidence::Seen(_) => {}
        Evidence::Missing(reason) => sheet.skip(RULE, format!("{}.access", member(FIELD, "/")), reason),
    }
}

fn trimmed(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    }
}

fn describe(mount: &LiveMount) -> String {
    let access = if mount.options.contains("ro") { "ro" } else { "rw" };
    format!("{} {} of {} ({access})", mount.fstype, mount.root, mount.source)
}
