//! Files of `/proc/PID` (proc(5)), read from bytes. Names in them are chosen by processes: hostile.

use std::collections::{BTreeMap, BTreeSet};

use super::{CapSets, Evidence, InvalidFacts, LiveMount, SeccompMode};
use crate::model::Rlimit;

/// `/proc/PID/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Command name, the kernel's escapes undone; hostile bytes.
    pub comm: String,
    /// Real, effective, saved and file-system uid.
    pub uids: [u32; 4],
    /// Real, effective, saved and file-system gid.
    pub gids: [u32; 4],
    /// Supplementary groups.
    pub groups: BTreeSet<u32>,
    /// Capability sets.
    pub caps: CapSets,
    /// NoNewPrivs.
    pub no_new_privs: bool,
    /// Seccomp mode.
    pub seccomp: SeccompMode,
}

/// Reads `/proc/PID/status`.
///
/// # Errors
/// When a line it needs is missing or malformed; names the line.
pub fn status(bytes: &[u8]) -> Result<Status, InvalidFacts> {
    const DOCUMENT: &str = "a /proc/PID/status";
    let text = String::from_utf8_lossy(bytes);
    // The name comes first and the kernel escapes newlines in it: no process can forge a line.
    let lines: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key, value.trim_ascii()))
        .collect();
    let invalid = |key: &str| InvalidFacts::new(DOCUMENT, &format!("line `{key}` is missing or malformed"));
    let get = |key: &str| lines.get(key).copied().ok_or_else(|| invalid(key));
    let ids = |key: &str| -> Result<[u32; 4], InvalidFacts> {
        let ids: Result<Vec<u32>, _> = get(key)?.split_ascii_whitespace().map(str::parse).collect();
        ids.ok()
            .and_then(|ids| ids.try_into().ok())
            .ok_or_else(|| invalid(key))
    };
    let mask = |key: &str| u64::from_str_radix(get(key)?, 16).map_err(|_| invalid(key));
    Ok(Status {
        comm: unescape_backslashes(lines.get("Name").copied().unwrap_or_default()),
        uids: ids("Uid")?,
        gids: ids("Gid")?,
        groups: get("Groups")?
            .split_ascii_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| invalid("Groups"))?,
        caps: CapSets {
            inheritable: mask("CapInh")?,
            permitted: mask("CapPrm")?,
            effective: mask("CapEff")?,
            bounding: mask("CapBnd")?,
            ambient: mask("CapAmb")?,
        },
        no_new_privs: match get("NoNewPrivs")? {
            "0" => false,
            "1" => true,
            _ => return Err(invalid("NoNewPrivs")),
        },
        seccomp: match get("Seccomp")? {
            "0" => SeccompMode::Disabled,
            "1" => SeccompMode::Strict,
            "2" => SeccompMode::Filter,
            _ => return Err(invalid("Seccomp")),
        },
    })
}

/// Reads `/proc/PID/mountinfo`.
///
/// # Errors
/// When a line is malformed; names its number.
pub fn mountinfo(bytes: &[u8]) -> Result<Vec<LiveMount>, InvalidFacts> {
    bytes
        .split(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(number, line)| {
            mount(line).ok_or_else(|| {
                InvalidFacts::new(
                    "a /proc/PID/mountinfo",
                    &format!("line {} is malformed", number + 1),
                )
            })
        })
        .collect()
}

fn mount(line: &[u8]) -> Option<LiveMount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    // id, parent, device, root, target, options, optional fields, `-`, type, source, super options.
    let dash = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    let text = |at: usize| fields.get(at).map(|field| unescape_octal(field));
    let optional = |prefix: &[u8]| fields[6..dash].iter().any(|field| field.starts_with(prefix));
    Some(LiveMount {
        shared: optional(b"shared:"),
        slave: optional(b"master:"),
        host_paths: Evidence::missing("the host's own mounts were not read"),
        device: text(2)?,
        root: text(3)?,
        target: text(4)?,
        options: text(5)?.split(',').map(str::to_owned).collect(),
        fstype: text(dash + 1)?,
        source: text(dash + 2)?,
    })
}

/// Undoes the kernel's escapes of space, tab, newline and backslash (`\040` …). Bytes that are no UTF-8 become U+FFFD.
fn unescape_octal(field: &[u8]) -> String {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match rest {
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                tail @ ..,
            ] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

fn unescape_backslashes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

/// One line of `/proc/PID/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupLine {
    /// Hierarchy number; 0 is cgroup v2.
    pub hierarchy: u32,
    /// Controllers, comma separated; empty for v2.
    pub controllers: String,
    /// Path in the hierarchy.
    pub path: String,
}

/// Reads `/proc/PID/cgroup`.
///
/// # Errors
/// When a line is malformed.
pub fn cgroup(bytes: &[u8]) -> Result<Vec<CgroupLine>, InvalidFacts> {
    let line = |line: &str| {
        let mut parts = line.splitn(3, ':');
        Some(CgroupLine {
            hierarchy: parts.next()?.parse().ok()?,
            controllers: parts.next()?.to_owned(),
            path: parts.next()?.to_owned(),
        })
    };
    // A path may end in a carriage return, which `lines` would take for part of the line's end.
    String::from_utf8_lossy(bytes)
        .split_terminator('\n')
        .map(|text| line(text).ok_or_else(|| InvalidFacts::new("a /proc/PID/cgroup", "a line is malformed")))
        .collect()
}

/// The start time in `/proc/PID/stat`: clock ticks after boot (field 22).
///
/// # Errors
/// When there is none.
pub fn start_ticks(bytes: &[u8]) -> Result<u64, InvalidFacts> {
    // The command name may hold spaces and parentheses; the last `)` ends it.
    let end = bytes.iter().rposition(|byte| *byte == b')');
    end.and_then(|end| std::str::from_utf8(&bytes[end + 1..]).ok())
        .and_then(|rest| rest.split_ascii_whitespace().nth(19)?.parse().ok())
        .ok_or_else(|| InvalidFacts::new("a /proc/PID/stat", "field 22 is missing or malformed"))
}

/// Names of `/proc/PID/limits` and of getrlimit(2), without `RLIMIT_`.
const LIMITS: &[(&str, &str)] = &[
    ("Max cpu time", "cpu"),
    ("Max file size", "fsize"),
    ("Max data size", "data"),
    ("Max stack size", "stack"),
    ("Max core file size", "core"),
    ("Max resident set", "rss"),
    ("Max processes", "nproc"),
    ("Max open files", "nofile"),
    ("Max locked memory", "memlock"),
    ("Max address space", "as"),
    ("Max file locks", "locks"),
    ("Max pending signals", "sigpending"),
    ("Max msgqueue size", "msgqueue"),
    ("Max nice priority", "nice"),
    ("Max realtime priority", "rtprio"),
    ("Max realtime timeout", "rttime"),
];

/// The names that [`limits`] uses.
pub fn limit_names() -> impl Iterator<Item = &'static str> {
    LIMITS.iter().map(|(_, name)| *name)
}

/// Reads `/proc/PID/limits`. Limits of kernels to come are left out.
///
/// # Errors
/// When a known line is malformed.
pub fn limits(bytes: &[u8]) -> Result<BTreeMap<&'static str, Rlimit>, InvalidFacts> {
    let text = String::from_utf8_lossy(bytes);
    let mut limits = BTreeMap::new();
    for line in text.lines() {
        let Some((title, name)) = LIMITS.iter().find(|(title, _)| line.starts_with(title)) else {
            continue;
        };
        let mut values = line[title.len()..]
            .split_ascii_whitespace()
            .map(|word| match word {
                "unlimited" => Some(u64::MAX),
                word => word.parse().ok(),
            });
        let (Some(Some(soft)), Some(Some(hard))) = (values.next(), values.next()) else {
            return Err(InvalidFacts::new(
                "a /proc/PID/limits",
                &format!("line `{title}` is malformed"),
            ));
        };
        limits.insert(*name, Rlimit { soft, hard });
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn escaped_targets_are_decoded() {
        let line = b"36 35 98:0 /mnt1\\040a /mnt2\\012x\\134 rw,noatime master:1 - ext3 /dev/r\\134oot rw\n";
        let mount = &mountinfo(line).unwrap()[0];
        assert_eq!(
            (mount.root.as_str(), mount.target.as_str()),
            ("/mnt1 a", "/mnt2\nx\\")
        );
        assert_eq!(
            (mount.fstype.as_str(), mount.source.as_str()),
            ("ext3", "/dev/r\\oot")
        );
        assert!(mount.options.contains("noatime"));
        assert_eq!((mount.shared, mount.slave), (false, true));
    }

    #[test]
    fn a_malformed_mount_names_its_line() {
        let error = mountinfo(b"36 35 98:0 / / rw - ext3 x rw\nnonsense\n").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    #[test]
    fn start_time_survives_hostile_names() {
        let stat = b"42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_ticks(stat).unwrap(), 4711);
        assert!(start_ticks(b"42 (x) S").is_err());
    }

    #[test]
    fn limits_are_named_as_in_getrlimit() {
        let text = b"Limit                     Soft Limit           Hard Limit           Units\n\
                     Max open files            1024                 2048                 files\n\
                     Max core file size        0                    unlimited            bytes\n";
        let limits = limits(text).unwrap();
        assert_eq!(
            limits["nofile"],
            Rlimit {
                soft: 1024,
                hard: 2048
            }
        );
        assert_eq!(
            limits["core"],
            Rlimit {
                soft: 0,
                hard: u64::MAX
            }
        );
    }

    #[test]
    fn cgroup_lines_keep_colons_in_paths() {
        let lines = cgroup(b"0::/docker/a:b\n12:pids:/x\n").unwrap();
        assert_eq!(lines[0].path, "/docker/a:b");
        assert_eq!((lines[1].hierarchy, lines[1].controllers.as_str()), (12, "pids"));
        assert_eq!(cgroup(b"0::/x\r\n").unwrap()[0].path, "/x\r");
    }
}
