//! Effective root: who is it, and who can become it.

mod host;

use std::borrow::Cow;

pub use host::{RUNTIME_SOCKETS, SENSITIVE_PATHS};

use super::live::{name, nested, told};
use super::sheet::{Sheet, member};
use crate::facts::{
    CapSets, ConfigFacts, Evidence, LiveFacts, LiveMount, MountOrigin, NamespaceOwner, ProcessFacts,
    UserFacts, capabilities,
};
use crate::model::Access;
use crate::rules;

const BECOME: &rules::Rule = &rules::CAN_BECOME_ROOT;

/// Capabilities that make root of whoever has them in the host's user namespace, and how.
pub const DANGEROUS_CAPABILITIES: &[(&str, &str)] = &[
    ("CAP_CHOWN", "takes any file, setuid files included"),
    ("CAP_DAC_OVERRIDE", "writes any file"),
    ("CAP_DAC_READ_SEARCH", "opens any file of the host by its handle"),
    ("CAP_FOWNER", "changes the mode of any file"),
    ("CAP_SETGID", "takes any group"),
    ("CAP_SETUID", "takes any user"),
    ("CAP_SETPCAP", "hands capabilities on"),
    ("CAP_SETFCAP", "gives capabilities to files"),
    ("CAP_SYS_MODULE", "loads code into the kernel"),
    ("CAP_SYS_RAWIO", "writes memory and ports"),
    ("CAP_SYS_PTRACE", "takes over processes of root"),
    ("CAP_SYS_ADMIN", "mounts, enters namespaces"),
    ("CAP_SYS_BOOT", "loads another kernel"),
    ("CAP_MKNOD", "makes nodes of the host's disks"),
    ("CAP_MAC_OVERRIDE", "ignores mandatory access control"),
    ("CAP_MAC_ADMIN", "changes mandatory access control"),
    ("CAP_BPF", "reads and changes kernel data"),
    ("CAP_PERFMON", "reads kernel memory"),
];

const DANGEROUS: u64 = {
    let mut mask = 0;
    let mut i = 0;
    while i < DANGEROUS_CAPABILITIES.len() {
        mask |= capabilities::mask_of(&[DANGEROUS_CAPABILITIES[i].0]);
        i += 1;
    }
    mask
};

/// What runs, as far as it counts: nothing of a recorded configuration.
struct Running<'a> {
    own: Vec<&'a ProcessFacts>,
    mounts: &'a [LiveMount],
    /// Why processes or mounts that do run were not seen.
    unseen: Option<&'a str>,
    unseen_mounts: Option<&'a str>,
}

impl<'a> Running<'a> {
    fn of(live: Option<&'a Evidence<LiveFacts>>) -> Self {
        let mut running = Self {
            own: Vec::new(),
            mounts: &[],
            unseen: None,
            unseen_mounts: None,
        };
        match live {
            None => {}
            Some(Evidence::Missing(reason)) => {
                running.unseen = Some(reason);
                running.unseen_mounts = Some(reason);
            }
            Some(Evidence::Seen(live)) => {
                running.own = live
                    .processes
                    .iter()
                    .filter(|process| process.in_cgroup)
                    .collect();
                match &live.mounts {
                    Evidence::Seen(mounts) => running.mounts = mounts,
                    Evidence::Missing(reason) => running.unseen_mounts = Some(reason),
                }
            }
        }
        running
    }

    /// It passes, if all was seen.
    fn pass(&self, sheet: &mut Sheet, rule: &'static rules::Rule, field: &'static str) {
        match self.unseen {
            None => sheet.pass(rule, field),
            Some(reason) => sheet.skip(rule, field, reason),
        }
    }
}

/// Judges a recorded configuration (`live` is none), or what runs.
pub(super) fn judge(sheet: &mut Sheet, config: &ConfigFacts, live: Option<&Evidence<LiveFacts>>) {
    let running = Running::of(live);
    let root = is_root(sheet, config, &running);
    host::judge(sheet, config, &running);
    if root {
        sheet.not_applicable(BECOME, "user", "it is root already: see privilege/is-root");
        return;
    }
    dangerous_capabilities(sheet, config, &running);
    setuid(sheet, config, &running);
    groups(sheet, config, &running);
}

fn is_root(sheet: &mut Sheet, config: &ConfigFacts, running: &Running<'_>) -> bool {
    let rule = &rules::IS_ROOT;
    // As the host sees them: uid 0 of a user namespace that maps it elsewhere shows as that other uid.
    let own = || running.own.iter().filter(|process| process.uids.contains(&0));
    // What was there before anybody's exec is told as long as it lasts: execs come and go.
    let lasting = own().find(|process| process.started_by.is_none());
    if let Some(process) = lasting.or_else(|| own().next()) {
        let reason = format!(
            "{} runs as uid 0 of the host's user namespace. {}",
            name(process),
            rule.reason
        );
        let reason = told(reason.into(), process);
        sheet.fail_because(rule, "user", "another uid than 0", "0", reason);
        return true;
    }
    let configured = match &config.user {
        _ if running.own.iter().any(|process| nested(config, process)) => Evidence::Seen(None),
        Evidence::Seen(UserFacts {
            host_uid: Evidence::Seen(uid),
            ..
        }) => Evidence::Seen(Some(*uid)),
        Evidence::Seen(UserFacts {
            host_uid: Evidence::Missing(reason),
            uid,
            ..
        }) => match uid {
            // Whatever it is mapped to: 0 inside is where 0 outside could come from, another uid is not.
            Evidence::Seen(uid)
                if *uid != 0 && config.namespaces.user == Evidence::Seen(NamespaceOwner::Host) =>
            {
                Evidence::Seen(Some(*uid))
            }
            _ => Evidence::Missing(reason.clone()),
        },
        Evidence::Missing(reason) => Evidence::Missing(reason.clone()),
    };
    match configured {
        Evidence::Seen(Some(0)) => {
            let reason = format!(
                "Its configuration makes it uid 0 of the host's user namespace. {}",
                rule.reason
            );
            sheet.fail_because(rule, "user", "another uid than 0", "0", reason);
            true
        }
        Evidence::Seen(_) => {
            running.pass(sheet, rule, "user");
            false
        }
        Evidence::Missing(reason) => {
            sheet.skip(rule, "user", &reason);
            false
        }
    }
}

fn dangerous_capabilities(sheet: &mut Sheet, config: &ConfigFacts, running: &Running<'_>) {
    if config.namespaces.user == Evidence::Seen(NamespaceOwner::Own) {
        return running.pass(sheet, BECOME, "capabilities");
    }
    let given = match &config.capabilities {
        // The bounding set gives a user nothing by itself: what could be had from it by setuid files is told there.
        Evidence::Seen(given) => given.ambient,
        Evidence::Missing(reason) => return sheet.skip(BECOME, "capabilities", reason),
    };
    let now = running
        .own
        .iter()
        .filter(|process| process.host_user_namespace != Evidence::Seen(false))
        .fold(0, |mask, process| {
            mask | process.caps.permitted | process.caps.effective | process.caps.ambient
        });
    let dangerous = (given | now) & DANGEROUS;
    if dangerous == 0 {
        return running.pass(sheet, BECOME, "capabilities");
    }
    for capability in capabilities::names(dangerous) {
        let how = DANGEROUS_CAPABILITIES
            .iter()
            .find(|(name, _)| *name == capability)
            .map_or("", |(_, how)| how);
        let bit = capabilities::mask_of(&[capability.as_str()]);
        let has = |process: &&&ProcessFacts| {
            let CapSets {
                permitted,
                effective,
                ambient,
                ..
            } = process.caps;
            (permitted | effective | ambient) & bit != 0
        };
        let reason = Cow::from(format!("{capability} {how}"));
        // What one has that nobody's exec started, or all are given, is there whoever comes and goes.
        let mut having = running.own.iter().filter(has);
        let lasts = given & bit != 0 || having.clone().any(|process| process.started_by.is_none());
        let reason = match having.next().filter(|_| !lasts) {
            Some(process) => told(reason, process),
            None => reason,
        };
        sheet.fail_because(
            BECOME,
            member("capabilities", &capability),
            "not usable",
            "usable",
            reason,
        );
    }
}

fn setuid(sheet: &mut Sheet, config: &ConfigFacts, running: &Running<'_>) {
    match &config.no_new_privileges {
        Evidence::Missing(reason) => sheet.skip(BECOME, "setuid", reason),
        Evidence::Seen(true) if running.own.iter().all(|process| process.no_new_privs) => running.pass(sheet, BECOME, "setuid"),
        Evidence::Seen(_) => sheet.skip(
            BECOME,
            "setuid",
            "new privileges are allowed, and this version does not look for setuid files and file capabilities in the \
             container's layers",
        ),
    }
}

fn groups(sheet: &mut Sheet, config: &ConfigFacts, running: &Running<'_>) {
    let configured = match &config.user {
        Evidence::Missing(reason) => return sheet.skip(BECOME, "groups", reason),
        Evidence::Seen(user) => match (&user.gid, &user.groups) {
            (Evidence::Seen(gid), Evidence::Seen(groups)) => *gid == 0 || groups.contains(&0),
            (Evidence::Seen(0), _) => true,
            (Evidence::Missing(reason), _) | (_, Evidence::Missing(reason)) => {
                return sheet.skip(BECOME, "groups", reason);
            }
        },
    };
    let mapped = config.namespaces.user == Evidence::Seen(NamespaceOwner::Own);
    let now = running
        .own
        .iter()
        .any(|process| process.gids.contains(&0) || process.groups.contains(&0));
    if !now && (mapped || !configured) {
        return running.pass(sheet, BECOME, "groups");
    }
    if !now {
        // Group 0 inside: of the host it is only if the user namespace makes it so.
        match &config.namespaces.user {
            Evidence::Seen(NamespaceOwner::Host) => {}
            Evidence::Seen(_) => {
                let reason =
                    "its user namespace is another instance's, whose mapping of group 0 is not known here";
                return sheet.skip(BECOME, "groups", reason);
            }
            Evidence::Missing(reason) => return sheet.skip(BECOME, "groups", reason),
        }
    }
    let mounts = match &config.mounts {
        Evidence::Seen(mounts) => mounts,
        Evidence::Missing(reason) => return sheet.skip(BECOME, "groups", reason),
    };
    let bind = mounts
        .iter()
        .find(|(_, mount)| mount.access == Access::Rw && matches!(mount.origin, MountOrigin::Bind(_)));
    match (bind, &config.rootfs_readonly) {
        (Some((target, _)), _) => {
            let actual = format!("group 0, with write to {target} of the host");
            sheet.fail(BECOME, "groups", "no group 0 where files of the host may be written", &actual);
        }
        (None, Evidence::Missing(reason)) => sheet.skip(BECOME, "groups", reason),
        (None, Evidence::Seen(true)) => running.pass(sheet, BECOME, "groups"),
        (None, Evidence::Seen(false)) => sheet.skip(
            BECOME,
            "groups",
            "it is in group 0, and this version does not look for files in the container's layers that group 0 may write",
        ),
    }
}
