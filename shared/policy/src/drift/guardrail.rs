//! The typed rules of guardrails: the Pod Security Standards, in our terms.
//!
//! Differences from their text, each because the runtime is not Kubernetes: the runtime's default capabilities
//! (CAP_NET_RAW among them) are allowed by `baseline`, as Kubernetes allows what it does not add; a published port is
//! allowed where a workload states it; SELinux is not among the facts of this version.

use std::collections::{BTreeMap, BTreeSet};

use super::Outcome;
use super::mounts::origin;
use super::sheet::{Sheet, member};
use crate::compile::{Compiled, CompiledCheck, CompiledGuardrail, CompiledWorkload};
use crate::expression::{Subject, Verdict};
use crate::facts::{
    ConfigFacts, Evidence, MountOrigin, NamespaceOwner, RUNTIME_MASKED_PATHS, RUNTIME_READONLY_PATHS,
    RUNTIME_SYSCTLS, SeccompFacts, capabilities,
};
use crate::model::{Publish, RuleId, Stated};
use crate::rules::{self, Rule};

/// Kernel parameters that are per namespace and harmless (Pod Security Standards, v1.32).
pub const SAFE_SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// What `restricted` lets a workload keep.
const MINIMAL: u64 = capabilities::mask_of(&["CAP_NET_BIND_SERVICE"]);

pub(super) fn judge(sheet: &mut Sheet, compiled: &Compiled, subject: &Subject<'_>) {
    let Subject {
        instance, workloads, ..
    } = *subject;
    let mut held: BTreeMap<&str, (&'static Rule, &CompiledGuardrail)> = BTreeMap::new();
    let mut unsupported: BTreeMap<&RuleId, &CompiledGuardrail> = BTreeMap::new();
    for guardrail in compiled
        .guardrails()
        .iter()
        .filter(|g| g.selects(workloads.iter().copied()))
    {
        for rule in &guardrail.rules {
            held.entry(rule.id).or_insert((rule, guardrail));
        }
        for id in &guardrail.unsupported {
            unsupported.entry(id).or_insert(guardrail);
        }
        sheet.decided_by(Some(&guardrail.key));
        for check in &guardrail.checks {
            own(sheet, check, subject);
        }
    }
    for (rule, guardrail) in held.into_values() {
        sheet.decided_by(Some(&guardrail.key));
        one(sheet, rule, workloads, &instance.config);
    }
    for (id, guardrail) in unsupported {
        sheet.decided_by(Some(&guardrail.key));
        let reason = format!("the guardrail names `{id}`, which is no guardrail's rule in this version");
        sheet.skip(&rules::UNSUPPORTED_RULE, member("rules", id.as_str()), &reason);
    }
}

/// A check of a guardrail's own.
fn own(sheet: &mut Sheet, check: &CompiledCheck, subject: &Subject<'_>) {
    let expression = match &check.expression {
        Ok(expression) => expression,
        Err(fault) => {
            let why = format!("this version cannot read it: {fault}");
            return sheet.own(check, Outcome::Error, "expression", None, why);
        }
    };
    let names: Vec<&str> = expression.fields().map(|field| field.name).collect();
    let field = match names.as_slice() {
        [] => "expression".to_owned(),
        names => names.join(", "),
    };
    let text = expression.text();
    match expression.judge(subject) {
        Verdict::True => sheet.own(check, Outcome::Pass, &field, None, "it holds".to_owned()),
        Verdict::False => sheet.own(check, Outcome::Fail, &field, Some(text), check.reason.clone()),
        Verdict::NotSeen(why) => sheet.own(check, Outcome::NotEvaluated, &field, None, why),
        Verdict::Error(why) => sheet.own(check, Outcome::Error, &field, None, why),
    }
}

fn one(sheet: &mut Sheet, rule: &'static Rule, workloads: &[&CompiledWorkload], config: &ConfigFacts) {
    match rule.id {
        id if id == rules::NO_HOST_NAMESPACES.id => host_namespaces(sheet, rule, config),
        id if id == rules::NOT_PRIVILEGED.id => privileged(sheet, rule, config),
        id if id == rules::BASELINE_CAPABILITIES.id => {
            caps(sheet, rule, config, capabilities::RUNTIME_DEFAULT)
        }
        id if id == rules::MINIMAL_CAPABILITIES.id => caps(sheet, rule, config, MINIMAL),
        id if id == rules::NO_HOST_PATHS.id => {
            mounts(sheet, rule, config, |origin| {
                matches!(origin, MountOrigin::Bind(_))
            });
        }
        id if id == rules::VOLUME_TYPES.id => mounts(sheet, rule, config, |origin| {
            !matches!(
                origin,
                MountOrigin::Volume(_) | MountOrigin::AnonymousVolume | MountOrigin::Tmpfs
            )
        }),
        id if id == rules::NO_HOST_PORTS.id => ports(sheet, rule, workloads, config),
        id if id == rules::APPARMOR_ON.id => apparmor(sheet, rule, config),
        id if id == rules::PROC_MASKED.id => masks(sheet, rule, config),
        id if id == rules::SECCOMP_ON.id => {
            holds(
                sheet,
                rule,
                "seccomp",
                &config.seccomp,
                "a filter",
                "unconfined",
                |seccomp| matches!(seccomp, SeccompFacts::Profile { .. }),
            );
        }
        id if id == rules::SAFE_SYSCTLS.id => sysctls(sheet, rule, config),
        id if id == rules::NO_ESCALATION.id => {
            holds(
                sheet,
                rule,
                "noNewPrivileges",
                &config.no_new_privileges,
                "true",
                "false",
                |on| *on,
            );
        }
        id if id == rules::NON_ROOT.id => match &config.user {
            Evidence::Seen(user) => holds(
                sheet,
                rule,
                "user.uid",
                &user.uid,
                "another uid than 0",
                "0",
                |uid| *uid != 0,
            ),
            Evidence::Missing(reason) => sheet.skip(rule, "user.uid", reason),
        },
        _ => sheet.skip(rule, "rules", "this version does not judge this rule"),
    }
}

fn holds<T>(
    sheet: &mut Sheet,
    rule: &'static Rule,
    field: &'static str,
    facts: &Evidence<T>,
    expected: &str,
    actual: &str,
    holds: impl Fn(&T) -> bool,
) {
    match facts {
        Evidence::Missing(reason) => sheet.skip(rule, field, reason),
        Evidence::Seen(facts) if holds(facts) => sheet.pass(rule, field),
        Evidence::Seen(_) => sheet.fail(rule, field, expected, actual),
    }
}

fn host_namespaces(sheet: &mut Sheet, rule: &'static Rule, config: &ConfigFacts) {
    let namespaces = &config.namespaces;
    for (field, owner) in [
        ("namespaces.network", &namespaces.network),
        ("namespaces.pid", &namespaces.pid),
        ("namespaces.ipc", &namespaces.ipc),
    ] {
        holds(sheet, rule, field, owner, "not the host's", "host", |owner| {
            *owner != NamespaceOwner::Host
        });
    }
}

/// Where nothing is given, a host without AppArmor confines nothing, and one with it lets the container run unconfined or under
/// its image's own: none of that is a profile that is on.
fn apparmor(sheet: &mut Sheet, rule: &'static Rule, config: &ConfigFacts) {
    match &config.apparmor {
        Evidence::Missing(reason) => sheet.skip(rule, "apparmor", reason),
        Evidence::Seen(None) => sheet.skip(
            rule,
            "apparmor",
            "no profile is given: the host has no AppArmor, or the runtime does not use it",
        ),
        Evidence::Seen(Some(profile)) if profile == "unconfined" => {
            sheet.fail(rule, "apparmor", "not unconfined", "unconfined");
        }
        Evidence::Seen(Some(_)) => sheet.pass(rule, "apparmor"),
    }
}

/// Privileged is no single setting by the time the kernel gets it: every capability, no filter and no mask together.
fn privileged(sheet: &mut Sheet, rule: &'static Rule, config: &ConfigFacts) {
    let given = match &config.capabilities {
        Evidence::Missing(reason) => return sheet.skip(rule, "privileged", reason),
        Evidence::Seen(given) => given,
    };
    // A host may lack a few capabilities itself; the ones that matter most are always among those of root.
    let all = given.given & PRIVILEGED == PRIVILEGED;
    let open = config.seccomp == Evidence::Seen(SeccompFacts::Unconfined)
        || config.masked_paths.seen().is_some_and(BTreeSet::is_empty);
    match (&config.seccomp, &config.masked_paths) {
        _ if all && open => sheet.fail(rule, "privileged", "false", "true"),
        (Evidence::Missing(reason), _) | (_, Evidence::Missing(reason)) => {
            sheet.skip(rule, "privileged", reason);
        }
        (Evidence::Seen(_), Evidence::Seen(_)) => sheet.pass(rule, "privileged"),
    }
}

const PRIVILEGED: u64 = capabilities::mask_of(&[
    "CAP_SYS_ADMIN",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_PTRACE",
    "CAP_NET_ADMIN",
]);

fn caps(sheet: &mut Sheet, rule: &'static Rule, config: &ConfigFacts, allowed: u64) {
    let given = match &config.capabilities {
        Evidence::Missing(reason) => return sheet.skip(rule, "capabilities", reason),
        Evidence::Seen(given) => given,
    };
    let mark = sheet.mark();
    for name in capabilities::names(given.given & !allowed).chain(given.unnamed.iter().cloned()) {
        sheet.fail(rule, member("capabilities", &name), "dropped", "kept");
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(rule, "capabilities");
    }
}

fn mounts(
    sheet: &mut Sheet,
    rule: &'static Rule,
    config: &ConfigFacts,
    forbidden: impl Fn(&MountOrigin) -> bool,
) {
    let mounts = match &config.mounts {
        Evidence::Missing(reason) => return sheet.skip(rule, "mounts", reason),
        Evidence::Seen(mounts) => mounts,
    };
    let mark = sheet.mark();
    for (target, mount) in mounts.iter().filter(|(_, mount)| forbidden(&mount.origin)) {
        sheet.fail(
            rule,
            member("mounts", target),
            "volume or tmpfs",
            &origin(&mount.origin),
        );
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(rule, "mounts");
    }
}

fn ports(sheet: &mut Sheet, rule: &'static Rule, workloads: &[&CompiledWorkload], config: &ConfigFacts) {
    let ports = match &config.ports {
        Evidence::Missing(reason) => return sheet.skip(rule, "ports", reason),
        Evidence::Seen(ports) => ports,
    };
    let stated = |listen: &str, place: &String| {
        workloads
            .iter()
            .any(|workload| match &workload.spec.config.ports {
                Stated::Is(ports) => ports.iter().any(|port| match &port.publish {
                    Publish::At(places) => port.listen == listen && places.contains(place),
                    Publish::None => false,
                }),
                Stated::Absent | Stated::Any => false,
            })
    };
    let mark = sheet.mark();
    for port in ports {
        let unstated: Vec<&str> = port
            .publish
            .iter()
            .filter(|place| !stated(&port.listen, place))
            .map(String::as_str)
            .collect();
        if !unstated.is_empty() {
            sheet.fail(
                rule,
                member("ports", &port.listen),
                "published only as a workload states",
                &unstated.join(", "),
            );
        }
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(rule, "ports");
    }
}

fn masks(sheet: &mut Sheet, rule: &'static Rule, config: &ConfigFacts) {
    for (field, default, seen) in [
        ("maskedPaths", RUNTIME_MASKED_PATHS, &config.masked_paths),
        ("readonlyPaths", RUNTIME_READONLY_PATHS, &config.readonly_paths),
    ] {
        holds(
            sheet,
            rule,
            field,
            seen,
            "at least the runtimes' default",
            "less",
            |seen| default.iter().all(|path| seen.contains(*path)),
        );
    }
}

fn sysctls(sheet: &mut Sheet, rule: &'static Rule, config: &ConfigFacts) {
    let sysctls = match &config.sysctls {
        Evidence::Missing(reason) => return sheet.skip(rule, "sysctls", reason),
        Evidence::Seen(sysctls) => sysctls,
    };
    let mark = sheet.mark();
    for (name, value) in sysctls {
        let own = RUNTIME_SYSCTLS.contains(&(name.as_str(), value.as_str()));
        if !own && !SAFE_SYSCTLS.contains(&name.as_str()) {
            sheet.fail(rule, member("sysctls", name), "not set", value);
        }
    }
    if sheet.is_clean_since(mark) {
        sheet.pass(rule, "sysctls");
    }
}
