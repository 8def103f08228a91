//! The cases: every field of the `config` block has a row in one table or the other, which a test holds.

/// How a container is started.
#[derive(Clone, Copy, Debug)]
pub(super) enum Launch {
    /// `docker run FLAGS TAIL`; the tail is the image and its arguments.
    Run {
        flags: &'static [&'static str],
        tail: &'static [&'static str],
    },
    /// Over the API, for what the CLI has no flag for: the `HostConfig`, JSON.
    Api { host_config: &'static str },
}

/// Two containers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    /// The field it is about, as policies write it.
    pub(super) field: &'static str,
    /// The one that is blessed.
    pub(super) first: Launch,
    /// The one that runs in its place.
    pub(super) second: Launch,
    /// The field of the one finding this makes; none for two spellings of the same.
    pub(super) finding: Option<&'static str>,
}

const APP: &[&str] = &["verger-test/app"];

const fn run(flags: &'static [&'static str]) -> Launch {
    Launch::Run { flags, tail: APP }
}

const fn same(field: &'static str, first: &'static [&'static str], second: &'static [&'static str]) -> Case {
    Case {
        field,
        first: run(first),
        second: run(second),
        finding: None,
    }
}

const fn other(
    field: &'static str,
    finding: &'static str,
    first: &'static [&'static str],
    second: &'static [&'static str],
) -> Case {
    Case {
        field,
        first: run(first),
        second: run(second),
        finding: Some(finding),
    }
}

const fn by_api(
    field: &'static str,
    first: &'static str,
    second: &'static str,
    finding: Option<&'static str>,
) -> Case {
    Case {
        field,
        first: Launch::Api { host_config: first },
        second: Launch::Api { host_config: second },
        finding,
    }
}

/// Two spellings of the same configuration.
pub(super) const PAIRS: &[Case] = &[
    Case {
        field: "images",
        first: run(&[]),
        second: Launch::Run {
            flags: &[],
            tail: &["IMAGE-ID"],
        },
        finding: None,
    },
    Case {
        field: "command",
        first: run(&[]),
        second: Launch::Run {
            flags: &["--entrypoint", "/bin/sh"],
            tail: &["verger-test/app", "-c", "exec sleep 3600"],
        },
        finding: None,
    },
    same("env", &["-e", "A=1", "-e", "B=2"], &["--env=B=2", "--env=A=1"]),
    same("env", &["-e", "INHERITED"], &["--env", "INHERITED=from-outside"]),
    same("env", &["-e", "APP_MODE=production"], &[]),
    same("user", &[], &["--user", "65534:65534"]),
    same(
        "user",
        &["--group-add", "5", "--group-add", "7"],
        &["--group-add=7", "--group-add=5"],
    ),
    same("workingDir", &[], &["--workdir", "/srv/"]),
    same(
        "capabilities",
        &["--cap-add", "SYS_NICE"],
        &["--cap-add=cap_sys_nice"],
    ),
    same(
        "capabilities",
        &["--cap-drop", "ALL", "--cap-add", "CHOWN"],
        &["--cap-add", "chown", "--cap-drop", "all"],
    ),
    same("capabilities", &[], &["--cap-drop", "SYS_ADMIN"]),
    same(
        "noNewPrivileges",
        &["--security-opt", "no-new-privileges"],
        &["--security-opt=no-new-privileges:true"],
    ),
    same(
        "seccomp",
        &["--security-opt", "seccomp=unconfined"],
        &["--security-opt", "seccomp:unconfined"],
    ),
    same("rootfs", &["--read-only"], &["--read-only=true"]),
    same("namespaces.network", &[], &["--network", "default"]),
    same("namespaces.network", &["--net", "host"], &["--network=host"]),
    same("namespaces.ipc", &[], &["--ipc", "private"]),
    same("namespaces.pid", &["--pid", "host"], &["--pid=host"]),
    same("namespaces.uts", &["--hostname", "one"], &["--hostname", "two"]),
    same("namespaces.user", &[], &["--userns", "host"]),
    same(
        "namespaces.cgroup",
        &["--cgroupns", "private"],
        &["--cgroupns=private"],
    ),
    same(
        "mounts",
        &["-v", "/var/tmp:/data"],
        &["--mount", "type=bind,source=/var/tmp,target=/data"],
    ),
    same(
        "mounts",
        &["-v", "/var/tmp:/data"],
        &["-v", "/var/tmp:/data:rw,rprivate"],
    ),
    same(
        "mounts",
        &["-v", "verger-canonical:/data:ro"],
        &["--mount", "type=volume,src=verger-canonical,dst=/data,readonly"],
    ),
    same(
        "mounts",
        &["--tmpfs", "/scratch:size=1048576"],
        &["--mount", "type=tmpfs,dst=/scratch,tmpfs-size=1048576"],
    ),
    same(
        "devices",
        &["--device", "/dev/fuse"],
        &["--device", "/dev/fuse:/dev/fuse:rwm"],
    ),
    same(
        "sysctls",
        &[
            "--sysctl",
            "net.ipv4.ip_forward=1",
            "--sysctl",
            "kernel.msgmax=8192",
        ],
        &[
            "--sysctl",
            "kernel.msgmax=8192",
            "--sysctl",
            "net.ipv4.ip_forward=1",
        ],
    ),
    same("limits.memory", &["--memory", "64m"], &["-m", "67108864b"]),
    same("limits.pids", &[], &["--pids-limit", "-1"]),
    same(
        "limits.cpu",
        &["--cpus", "0.5"],
        &["--cpu-period", "100000", "--cpu-quota", "50000"],
    ),
    same(
        "limits.rlimits",
        &["--ulimit", "nofile=64"],
        &["--ulimit", "nofile=64:64"],
    ),
    same("ports", &["-p", "18080:80"], &["--publish", "18080:80/tcp"]),
    by_api(
        "maskedPaths",
        "{}",
        r#"{"MaskedPaths":["/sys/firmware","/proc/scsi","/proc/sched_debug","/proc/timer_stats","/proc/timer_list","/proc/latency_stats","/proc/keys","/proc/kcore","/proc/acpi","/proc/asound"]}"#,
        None,
    ),
    by_api(
        "readonlyPaths",
        r#"{"ReadonlyPaths":["/proc/sysrq-trigger","/proc/sys","/proc/irq","/proc/fs","/proc/bus"]}"#,
        "{}",
        None,
    ),
];

/// Two configurations that differ in one field.
pub(super) const DIFFERENCES: &[Case] = &[
    Case {
        field: "images",
        first: run(&[]),
        second: Launch::Run {
            flags: &[],
            tail: &["verger-test/app:other"],
        },
        finding: Some("images"),
    },
    Case {
        field: "command",
        first: run(&[]),
        second: Launch::Run {
            flags: &[],
            tail: &["verger-test/app", "exec sleep 3601"],
        },
        finding: Some("command"),
    },
    other("env", "env[EXTRA]", &[], &["-e", "EXTRA=1"]),
    other("env", "env[APP_MODE]", &[], &["-e", "APP_MODE=debug"]),
    other("user", "user.uid", &[], &["--user", "1000:65534"]),
    other("user", "user.gid", &[], &["--user", "65534:1000"]),
    other(
        "user",
        "user.groups",
        &["--group-add", "5"],
        &["--group-add", "5", "--group-add", "7"],
    ),
    other("workingDir", "workingDir", &[], &["--workdir", "/tmp"]),
    other(
        "capabilities",
        "capabilities[CAP_WAKE_ALARM]",
        &[],
        &["--cap-add", "WAKE_ALARM"],
    ),
    other(
        "noNewPrivileges",
        "noNewPrivileges",
        &["--security-opt", "no-new-privileges"],
        &[],
    ),
    other(
        "seccomp",
        "seccomp",
        &[],
        &["--security-opt", "seccomp=unconfined"],
    ),
    other("rootfs", "rootfs", &["--read-only"], &[]),
    other(
        "namespaces.network",
        "namespaces.network",
        &["--network", "host"],
        &["--network", "none"],
    ),
    other("namespaces.ipc", "namespaces.ipc", &[], &["--ipc", "host"]),
    other(
        "namespaces.pid",
        "namespaces.pid",
        &[],
        &["--pid", "container:NAME"],
    ),
    other("namespaces.uts", "namespaces.uts", &[], &["--uts", "host"]),
    other(
        "namespaces.cgroup",
        "namespaces.cgroup",
        &["--cgroupns", "private"],
        &["--cgroupns", "host"],
    ),
    other("mounts", "mounts[/data]", &[], &["--tmpfs", "/data"]),
    other(
        "mounts",
        "mounts[/data].access",
        &["-v", "verger-canonical:/data:ro"],
        &["-v", "verger-canonical:/data"],
    ),
    other(
        "mounts",
        "mounts[/data].source",
        &["-v", "verger-canonical:/data"],
        &["-v", "verger-canonical-other:/data"],
    ),
    other(
        "mounts",
        "mounts[/data].propagation",
        &["-v", "/var/tmp:/data"],
        // The one other propagation that needs no shared file system on the host.
        &["-v", "/var/tmp:/data:private"],
    ),
    other(
        "mounts",
        "mounts[/scratch].options",
        &["--tmpfs", "/scratch"],
        &["--tmpfs", "/scratch:exec"],
    ),
    other("devices", "devices[/dev/fuse]", &[], &["--device", "/dev/fuse"]),
    other(
        "devices",
        "devices[/dev/fuse].access",
        &["--device", "/dev/fuse:/dev/fuse:r"],
        &["--device", "/dev/fuse"],
    ),
    other(
        "sysctls",
        "sysctls[net.ipv4.ip_forward]",
        &[],
        &["--sysctl", "net.ipv4.ip_forward=0"],
    ),
    other(
        "limits.memory",
        "limits.memory",
        &["--memory", "64m"],
        &["--memory", "65m"],
    ),
    other(
        "limits.pids",
        "limits.pids",
        &["--pids-limit", "100"],
        &["--pids-limit", "101"],
    ),
    other("limits.cpu", "limits.cpu", &["--cpus", "0.5"], &["--cpus", "0.6"]),
    other(
        "limits.rlimits",
        "limits.rlimits[nofile]",
        &["--ulimit", "nofile=64"],
        &["--ulimit", "nofile=65"],
    ),
    other("ports", "ports[80/tcp]", &[], &["-p", "127.0.0.1:18080:80"]),
    by_api(
        "maskedPaths",
        "{}",
        r#"{"MaskedPaths":["/proc/asound","/proc/acpi","/proc/keys","/proc/latency_stats","/proc/timer_list","/proc/timer_stats","/proc/sched_debug","/proc/scsi","/sys/firmware"]}"#,
        Some("maskedPaths[/proc/kcore]"),
    ),
    by_api(
        "readonlyPaths",
        "{}",
        r#"{"ReadonlyPaths":["/proc/bus","/proc/fs","/proc/irq","/proc/sys"]}"#,
        Some("readonlyPaths[/proc/sysrq-trigger]"),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::recorded::RECORDED;
    use std::collections::BTreeSet;

    #[test]
    fn every_field_of_the_config_block_has_a_row() {
        let fields: BTreeSet<&str> = verger_policy::compile::DEFAULTS
            .iter()
            .map(|row| row.field)
            .collect();
        let rows: BTreeSet<&str> = PAIRS.iter().chain(DIFFERENCES).map(|case| case.field).collect();
        assert_eq!(rows, fields);
    }

    #[test]
    fn every_field_has_a_difference_and_so_has_every_part_of_a_mount() {
        let recorded = RECORDED.iter().map(|case| case.finding);
        let findings: Vec<&str> = DIFFERENCES
            .iter()
            .filter_map(|case| case.finding)
            .chain(recorded)
            .collect();
        for row in verger_policy::compile::DEFAULTS {
            let told = |finding: &&str| {
                finding
                    .strip_prefix(row.field)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('[') || rest.starts_with('.'))
            };
            assert!(findings.iter().any(told), "{} has no row", row.field);
        }
        for part in ["source", "access", "options", "propagation"] {
            let told =
                |finding: &&str| finding.starts_with("mounts[") && finding.ends_with(&format!("].{part}"));
            assert!(findings.iter().any(told), "no row is about the {part} of a mount");
        }
    }

    #[test]
    fn the_tables_are_as_long_as_the_claim_says() {
        assert!(PAIRS.len() >= 24 && PAIRS.iter().all(|case| case.finding.is_none()));
        assert!(DIFFERENCES.len() >= 24 && DIFFERENCES.iter().all(|case| case.finding.is_some()));
    }

    #[test]
    fn a_finding_names_the_field_its_row_is_about() {
        for case in DIFFERENCES {
            let named = case.finding.unwrap_or_default();
            assert!(named.starts_with(case.field), "{named} is about {}", case.field);
        }
    }
}
