//! The mounts a container has now against those it was given.
//!
//! Recognised by shape are the runtime's own mounts, the masks it puts over paths, and what came along below a bind.
//! Not recognised: that a bind was replaced by one of another path of the host at the same target; the kernel does not
//! tell the path a bind was made from.

use std::collections::{BTreeMap, BTreeSet};

use super::sheet::{Sheet, member};
use crate::facts::{ConfigFacts, Evidence, LiveMount, MountFacts, MountOrigin, is_per_container};
use crate::model::Access;
use crate::rules;

const RULE: &rules::Rule = &rules::LIVE_MOUNTS;
const FIELD: &str = "live.mounts";

/// Targets of the runtime's own mounts and the file system types they have.
const OWN: &[(&str, &[&str])] = &[
    ("/proc", &["proc"]),
    ("/dev", &["tmpfs"]),
    ("/dev/pts", &["devpts"]),
    ("/dev/console", &["devpts"]),
    ("/dev/mqueue", &["mqueue"]),
    ("/dev/shm", &["tmpfs"]),
    ("/sys", &["sysfs"]),
    ("/sys/fs/cgroup", &["tmpfs", "cgroup", "cgroup2"]),
];

/// Device nodes that are bound from the host where a container may not make nodes (own user namespace).
const NODES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

pub(super) fn judge(sheet: &mut Sheet, config: &ConfigFacts, live: &[LiveMount]) {
    let given = match &config.mounts {
        Evidence::Seen(given) => given,
        Evidence::Missing(reason) => return sheet.skip(RULE, FIELD, reason),
    };
    let given: BTreeMap<&str, &MountFacts> =
        given.iter().map(|(path, facts)| (trimmed(path), facts)).collect();
    let mark = sheet.mark();
    let mut seen = BTreeSet::new();
    let mut below: BTreeMap<&str, usize> = BTreeMap::new();
    for mount in live {
        let target = mount.target.as_str();
        if !seen.insert(target) {
            sheet.fail(
                RULE,
                member(FIELD, target),
                "mounted once",
                &format!("mounted over by {}", describe(mount)),
            );
            continue;
        }
        match given.get(target) {
            Some(facts) => as_given(sheet, mount, facts),
            None if target == "/" => root(sheet, config, mount),
            None if is_runtimes_own(config, mount) => {}
            None => match bind_above(&given, target) {
                Some(bind) => *below.entry(bind).or_default() += 1,
                None => sheet.fail(RULE, member(FIELD, target), "no mount", &describe(mount)),
            },
        }
    }
    for target in given.keys().filter(|target| !seen.contains(*target)) {
        sheet.fail(RULE, member(FIELD, target), "mounted", "no mount");
    }
    // Always there in a kernel, so a read-only mount over it cannot be absent unless it was taken away.
    if let Evidence::Seen(paths) = &config.readonly_paths
        && paths.contains("/proc/sys")
        && !seen.contains("/proc/sys")
    {
        sheet.fail(RULE, member(FIELD, "/proc/sys"), "read-only", "the mount is gone");
    }
    for (bind, count) in below {
        let reason = format!(
            "{count} mounts below this bind of the host: whether they came with it or were made later cannot be told"
        );
        sheet.skip(RULE, format!("{}/*", member(FIELD, bind)), &reason);
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(RULE, FIELD);
    }
}

fn as_given(sheet: &mut Sheet, mount: &LiveMount, given: &MountFacts) {
    let field = |part: &str| format!("{}.{part}", member(FIELD, &mount.target));
    let tmpfs = mount.fstype == "tmpfs";
    let fits = match &given.origin {
        MountOrigin::Tmpfs => tmpfs,
        MountOrigin::Other(fstype) => *fstype == mount.fstype || fstype.is_empty(),
        MountOrigin::Volume(_) | MountOrigin::AnonymousVolume | MountOrigin::Bind(_) => true,
    };
    if !fits {
        sheet.fail(
            RULE,
            field("source"),
            &super::sets::origin(&given.origin),
            &describe(mount),
        );
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
}

fn root(sheet: &mut Sheet, config: &ConfigFacts, mount: &LiveMount) {
    if config.rootfs_readonly == Evidence::Seen(true) && !mount.options.contains("ro") {
        sheet.fail(RULE, format!("{}.access", member(FIELD, "/")), "ro", "rw");
    }
}

fn is_runtimes_own(config: &ConfigFacts, mount: &LiveMount) -> bool {
    let LiveMount {
        target,
        fstype,
        root,
        options,
        ..
    } = mount;
    let (target, fstype, read_only) = (target.as_str(), fstype.as_str(), options.contains("ro"));
    let holds = |paths: &Evidence<BTreeSet<String>>| paths.seen().is_some_and(|paths| paths.contains(target));
    let init = || {
        config
            .command
            .seen()
            .and_then(|argv| argv.first())
            .is_some_and(|first| first == target)
    };
    if let Some((_, types)) = OWN.iter().find(|(path, _)| *path == target) {
        return types.contains(&fstype);
    }
    if target.starts_with("/sys/fs/cgroup/") {
        return matches!(fstype, "cgroup" | "cgroup2");
    }
    // A mask: an empty read-only tmpfs over a directory, /dev/null over a file.
    if holds(&config.masked_paths) {
        return (fstype == "tmpfs" && read_only)
            || (matches!(fstype, "tmpfs" | "devtmpfs") && root == "/null");
    }
    if holds(&config.readonly_paths) {
        return read_only && matches!(fstype, "proc" | "sysfs");
    }
    if let Some(node) = target.strip_prefix("/dev/") {
        let known = NODES.contains(&node)
            || config
                .devices
                .seen()
                .is_some_and(|devices| devices.contains_key(target));
        return known && fstype == "devtmpfs" && root.rsplit('/').next() == node.rsplit('/').next();
    }
    match target {
        "/sbin/docker-init" => init() && read_only,
        "/etc/resolv.conf" => is_per_container(root, "resolv.conf"),
        "/etc/hostname" => is_per_container(root, "hostname"),
        "/etc/hosts" => is_per_container(root, "hosts"),
        "/run/.containerenv" => is_per_container(root, ".containerenv"),
        _ => false,
    }
}

/// The given bind that a target is below.
fn bind_above<'a>(given: &BTreeMap<&'a str, &MountFacts>, target: &str) -> Option<&'a str> {
    given.iter().find_map(|(path, facts)| {
        let below = target
            .strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('/'));
        (below && matches!(facts.origin, MountOrigin::Bind(_))).then_some(*path)
    })
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
