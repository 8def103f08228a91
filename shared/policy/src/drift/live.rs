//! What runs now against what the runtime was given.
//!
//! The expectation is the instance's own configuration, not the workload's: a configuration that deviates is told once,
//! by the rules about configuration.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::live_mounts;
use super::sets::rlimit;
use super::sheet::{Sheet, member};
use crate::facts::{
    ConfigFacts, Evidence, LiveFacts, NamespaceIds, ProcessFacts, SeccompFacts, SeccompMode, capabilities,
};
use crate::model::printable_within;
use crate::rules::{self, Rule};

/// The rules this module judges, and their fields.
const JUDGED: &[(&Rule, &str)] = &[
    (&rules::LIVE_MOUNTS, "live.mounts"),
    (&rules::LIVE_NAMESPACES, "live.namespaces"),
    (&rules::LIVE_LIMITS, "live.limits"),
    (&rules::LIVE_USER, "live.user"),
    (&rules::LIVE_CAPABILITIES, "live.capabilities"),
    (&rules::LIVE_NO_NEW_PRIVILEGES, "live.noNewPrivileges"),
    (&rules::LIVE_SECCOMP, "live.seccomp"),
    (&rules::FOREIGN_PROCESS, "live.processes"),
];

pub(super) fn skip(sheet: &mut Sheet, reason: &str) {
    for (rule, field) in JUDGED {
        sheet.skip(rule, *field, reason);
    }
}

pub(super) fn judge(sheet: &mut Sheet, config: &ConfigFacts, live: &LiveFacts) {
    let own: Vec<&ProcessFacts> = live
        .processes
        .iter()
        .filter(|process| process.in_cgroup)
        .collect();
    foreign(sheet, live);
    live_mounts::judge(sheet, config, live);
    namespaces(sheet, live, &own);
    limits(sheet, config, &own);
    user(sheet, config, &own);
    caps(sheet, config, &own);

    let rule = &rules::LIVE_NO_NEW_PRIVILEGES;
    match &config.no_new_privileges {
        Evidence::Missing(reason) => sheet.skip(rule, "live.noNewPrivileges", reason),
        Evidence::Seen(given) => match own.iter().find(|process| *given && !process.no_new_privs) {
            Some(process) => sheet.fail_because(
                rule,
                "live.noNewPrivileges",
                "true",
                &format!("false ({})", name(process)),
                because(rule, process),
            ),
            None => sheet.pass(rule, "live.noNewPrivileges"),
        },
    }
    let rule = &rules::LIVE_SECCOMP;
    match &config.seccomp {
        Evidence::Missing(reason) => sheet.skip(rule, "live.seccomp", reason),
        Evidence::Seen(given) => {
            let filtered = matches!(given, SeccompFacts::Profile { .. });
            match own
                .iter()
                .find(|process| filtered && process.seccomp == SeccompMode::Disabled)
            {
                Some(process) => sheet.fail_because(
                    rule,
                    "live.seccomp",
                    "filter",
                    &format!("off ({})", name(process)),
                    because(rule, process),
                ),
                None => sheet.pass(rule, "live.seccomp"),
            }
        }
    }
}

/// A process's name, safe to show and without its pid: the same deviation reads the same after a restart.
pub(super) fn name(process: &ProcessFacts) -> String {
    let name = printable_within(&process.comm, 32);
    match process.thread {
        None => format!("`{name}`"),
        Some(_) => format!("a thread of `{name}`"),
    }
}

/// Why the rule is, and who had the process started, where that is known.
pub(super) fn because(rule: &Rule, process: &ProcessFacts) -> Cow<'static, str> {
    told(rule.reason.into(), process)
}

/// A reason, and who had the process started, where that is known.
pub(super) fn told(reason: Cow<'static, str>, process: &ProcessFacts) -> Cow<'static, str> {
    match &process.started_by {
        None => reason,
        Some(started) => format!("{reason}. The process was started by {started}").into(),
    }
}

/// Processes in the namespaces but not in the cgroup. Other instances that share a namespace by their configuration
/// are not among the facts.
fn foreign(sheet: &mut Sheet, live: &LiveFacts) {
    const SHOWN: usize = 4;
    let rule = &rules::FOREIGN_PROCESS;
    let foreign: Vec<&ProcessFacts> = live
        .processes
        .iter()
        .filter(|process| !process.in_cgroup)
        .collect();
    if foreign.is_empty() {
        return sheet.pass(rule, "live.processes");
    }
    let mut shown: Vec<String> = foreign
        .iter()
        .take(SHOWN)
        .map(|process| describe(process))
        .collect();
    if foreign.len() > SHOWN {
        shown.push(format!("and {} more", foreign.len() - SHOWN));
    }
    // One sentence is of all of them, or of nobody.
    let alike = foreign
        .iter()
        .all(|process| process.started_by == foreign[0].started_by);
    let why = if alike {
        because(rule, foreign[0])
    } else {
        rule.reason.into()
    };
    sheet.fail_because(
        rule,
        "live.processes",
        "only processes of its cgroup",
        &shown.join("; "),
        why,
    );
}

fn describe(process: &ProcessFacts) -> String {
    let shared: Vec<&str> = process.shared_namespaces.iter().copied().collect();
    format!(
        "{} (pid {}, uid {}, in namespaces {}, effective capabilities {:x}, NoNewPrivs {}, seccomp {})",
        name(process),
        process.pid,
        process.uids[1],
        shared.join(" "),
        process.caps.effective,
        u8::from(process.no_new_privs),
        match process.seccomp {
            SeccompMode::Disabled => "off",
            SeccompMode::Strict => "strict",
            SeccompMode::Filter => "filter",
        },
    )
}

fn namespaces(sheet: &mut Sheet, live: &LiveFacts, own: &[&ProcessFacts]) {
    let rule = &rules::LIVE_NAMESPACES;
    let init = own
        .iter()
        .find(|process| process.pid == live.init_pid && process.thread.is_none())
        .map(|process| &process.namespaces);
    let init = match init {
        Some(Evidence::Seen(init)) => init,
        Some(Evidence::Missing(reason)) => return sheet.skip(rule, "live.namespaces", reason),
        None => return sheet.skip(rule, "live.namespaces", "its first process was not seen"),
    };
    let mark = sheet.mark();
    let mut left: BTreeSet<&'static str> = BTreeSet::new();
    let mut unseen = None;
    for process in own {
        match &process.namespaces {
            Evidence::Missing(reason) => unseen = Some(reason),
            Evidence::Seen(ids) => {
                for (kind, (its, inits)) in KINDS.iter().zip(inodes(ids).into_iter().zip(inodes(init))) {
                    if its != inits && left.insert(kind) {
                        let actual = format!("another one ({})", name(process));
                        sheet.fail_because(
                            rule,
                            member("live.namespaces", kind),
                            "that of the first process",
                            &actual,
                            because(rule, process),
                        );
                    }
                }
            }
        }
    }
    match unseen {
        Some(reason) => sheet.skip(rule, "live.namespaces", reason),
        None if sheet.is_clean_since(mark) => sheet.pass(rule, "live.namespaces"),
        None => {}
    }
}

const KINDS: [&str; 7] = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"];

fn inodes(ids: &NamespaceIds) -> [u64; 7] {
    let NamespaceIds {
        mnt,
        pid,
        net,
        ipc,
        uts,
        user,
        cgroup,
    } = *ids;
    [mnt, pid, net, ipc, uts, user, cgroup]
}

/// A process may lower its limits, and raise the soft one up to the hard one; never the hard one without
/// CAP_SYS_RESOURCE.
fn limits(sheet: &mut Sheet, config: &ConfigFacts, own: &[&ProcessFacts]) {
    let rule = &rules::LIVE_LIMITS;
    let given = match &config.limits.rlimits {
        Evidence::Missing(reason) => return sheet.skip(rule, "live.limits", reason),
        Evidence::Seen(given) if given.is_empty() => return sheet.pass(rule, "live.limits"),
        Evidence::Seen(given) => given,
    };
    let mark = sheet.mark();
    let mut unseen = None;
    let mut raised: BTreeSet<&str> = BTreeSet::new();
    for process in own {
        match &process.limits {
            Evidence::Missing(reason) => unseen = Some(reason),
            Evidence::Seen(limits) => {
                for (limit, given) in given {
                    if let Some(now) = limits.get(limit.as_str())
                        && now.hard > given.hard
                        && raised.insert(limit)
                    {
                        let actual = format!("{} ({})", rlimit(now), name(process));
                        let why = because(rule, process);
                        sheet.fail_because(rule, member("live.limits", limit), &rlimit(given), &actual, why);
                    }
                }
            }
        }
    }
    match unseen {
        Some(reason) => sheet.skip(rule, "live.limits", reason),
        None if sheet.is_clean_since(mark) => sheet.pass(rule, "live.limits"),
        None => {}
    }
}

/// Processes as another user than the configured one. Those that dropped from root are as they should be; those that
/// became root are told by `privilege/is-root`.
fn user(sheet: &mut Sheet, config: &ConfigFacts, own: &[&ProcessFacts]) {
    let rule = &rules::LIVE_USER;
    let wanted = match &config.user {
        Evidence::Missing(reason) => return sheet.skip(rule, "live.user", reason),
        Evidence::Seen(user) => match (&user.uid, &user.host_uid) {
            (Evidence::Seen(0), _) => return sheet.pass(rule, "live.user"),
            (_, Evidence::Missing(reason)) => return sheet.skip(rule, "live.user", reason),
            (_, Evidence::Seen(wanted)) => *wanted,
        },
    };
    // A daemon that itself runs in a user namespace sees other numbers than the host.
    if own.iter().any(|process| nested(config, process)) {
        return sheet.skip(
            rule,
            "live.user",
            "the runtime runs in a user namespace of its own, whose mapping is not known",
        );
    }
    match own
        .iter()
        .find(|process| process.uids[1] != wanted && process.uids[1] != 0)
    {
        Some(process) => {
            let actual = format!("uid {} ({})", process.uids[1], name(process));
            let why = because(rule, process);
            sheet.fail_because(rule, "live.user", &format!("uid {wanted}"), &actual, why);
        }
        None => sheet.pass(rule, "live.user"),
    }
}

/// Whether the process is in a user namespace though its configuration says it has the host's.
pub(super) fn nested(config: &ConfigFacts, process: &ProcessFacts) -> bool {
    use crate::facts::NamespaceOwner::Host;
    config.namespaces.user == Evidence::Seen(Host) && process.host_user_namespace == Evidence::Seen(false)
}

fn caps(sheet: &mut Sheet, config: &ConfigFacts, own: &[&ProcessFacts]) {
    let rule = &rules::LIVE_CAPABILITIES;
    let given = match &config.capabilities {
        Evidence::Missing(reason) => return sheet.skip(rule, "live.capabilities", reason),
        // What this version cannot name it cannot take for excess either.
        Evidence::Seen(given) if !given.unnamed.is_empty() => given.given | !capabilities::ALL,
        Evidence::Seen(given) => given.given,
    };
    let mark = sheet.mark();
    let mut told = 0;
    for process in own {
        let sets = &process.caps;
        let has = sets.inheritable | sets.permitted | sets.effective | sets.bounding | sets.ambient;
        for capability in capabilities::names(has & !given & !told) {
            let actual = format!("had by {}", name(process));
            sheet.fail_because(
                rule,
                member("live.capabilities", &capability),
                "not given",
                &actual,
                because(rule, process),
            );
        }
        told |= has & !given;
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(rule, "live.capabilities");
    }
}
