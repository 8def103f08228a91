//! What the runtime is asked beyond what a workload can state: the same is asked of every instance, whatever its workload.

use std::collections::BTreeSet;

use super::sheet::{Sheet, member};
use crate::facts::{BeyondFacts, ConfigFacts, Evidence, RootFacts};
use crate::rules::{self, Rule};

/// AppArmor profiles that runtimes give where nothing is asked for: Docker, Podman (with its version behind), containerd's CRI.
const DEFAULT_PROFILES: [&str; 3] = [
    "docker-default",
    "containers-default",
    "cri-containerd.apparmor.d",
];
/// SELinux types that runtimes give where nothing is asked for (container-selinux; the last one before 2017).
const DEFAULT_TYPES: [&str; 3] = ["container_t", "container_init_t", "svirt_lxc_net_t"];

pub(super) fn judge(sheet: &mut Sheet, config: &ConfigFacts) {
    apparmor(sheet, &config.apparmor);
    let beyond = match &config.beyond {
        Evidence::Seen(beyond) => beyond,
        Evidence::Missing(reason) => {
            for (rule, field) in [
                (&rules::HOOKS, "hooks"),
                (&rules::ROOT_PATH, "root.path"),
                (&rules::ANNOTATIONS, "annotations"),
                (&rules::SECURITY_LABELS, "selinux"),
                (&rules::UNREAD, "unread"),
            ] {
                sheet.skip(rule, field, reason);
            }
            return;
        }
    };
    let BeyondFacts {
        hooks,
        root,
        annotations,
        selinux,
        unread,
    } = beyond;
    match hooks {
        Evidence::Missing(reason) => sheet.skip(&rules::HOOKS, "hooks", reason),
        Evidence::Seen(hooks) => none(
            sheet,
            &rules::HOOKS,
            "hooks",
            hooks.iter().map(|hook| (hook.as_str(), "run")),
        ),
    }
    root_path(sheet, root);
    let given = annotations
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    none(sheet, &rules::ANNOTATIONS, "annotations", given);
    self::selinux(sheet, selinux.as_deref());
    not_read(sheet, unread);
}

/// One failing check for each member of what should be empty.
fn none<'a>(
    sheet: &mut Sheet,
    rule: &'static Rule,
    set: &'static str,
    members: impl Iterator<Item = (&'a str, &'a str)>,
) {
    let mark = sheet.mark();
    for (name, value) in members {
        sheet.fail(rule, member(set, name), "none", value);
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(rule, set);
    }
}

fn root_path(sheet: &mut Sheet, root: &RootFacts) {
    let (rule, field) = (&rules::ROOT_PATH, "root.path");
    match &root.kept {
        Evidence::Missing(reason) => sheet.skip(rule, field, reason),
        Evidence::Seen(kept) if *kept == root.given => sheet.pass(rule, field),
        Evidence::Seen(kept) => sheet.fail(rule, field, kept, &root.given),
    }
}

/// Without a profile a process runs as its parent does; where AppArmor is off, nothing else is possible.
fn apparmor(sheet: &mut Sheet, profile: &Evidence<Option<String>>) {
    let (rule, field) = (&rules::SECURITY_LABELS, "apparmor");
    let profile = match profile {
        Evidence::Missing(reason) => return sheet.skip(rule, field, reason),
        Evidence::Seen(None) => {
            return sheet.not_applicable(
                rule,
                field,
                "no profile is given: this host confines nothing by AppArmor",
            );
        }
        Evidence::Seen(Some(profile)) => profile,
    };
    let is_default = |name: &&str| {
        profile
            .strip_prefix(*name)
            .is_some_and(|rest| rest.is_empty() || (*name == "containers-default" && rest.starts_with('-')))
    };
    if DEFAULT_PROFILES.iter().any(is_default) {
        sheet.pass(rule, field);
    } else {
        sheet.fail(rule, field, "the runtime's default profile", profile);
    }
}

fn selinux(sheet: &mut Sheet, label: Option<&str>) {
    let (rule, field) = (&rules::SECURITY_LABELS, "selinux");
    match label {
        None => sheet.not_applicable(
            rule,
            field,
            "no label is given: the runtime confines nothing by SELinux",
        ),
        Some(label) if DEFAULT_TYPES.contains(&label.split(':').nth(2).unwrap_or_default()) => {
            sheet.pass(rule, field);
        }
        Some(label) => sheet.fail(rule, field, "the runtime's default type (container_t)", label),
    }
}

fn not_read(sheet: &mut Sheet, unread: &BTreeSet<String>) {
    for path in unread {
        let reason = "it is set, and this version does not judge what it changes";
        sheet.skip(&rules::UNREAD, member("unread", path), reason);
    }
    if unread.is_empty() {
        sheet.pass(&rules::UNREAD, "unread");
    }
}
