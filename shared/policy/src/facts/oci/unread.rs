//! What of a config nobody reads: everything that is not listed here.
//!
//! The list holds the fields of runtime-spec 1.2 that the facts are made of, and those that change nothing for whoever is inside or
//! outside. A field that a later version of the specification adds is not on it, and so is never passed over.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

use super::document::Text;

/// Fields that are told one by one; that there are more is told in one more.
const TOLD: usize = 32;

/// What is known of a field.
#[derive(Clone, Copy)]
enum Known {
    /// It is read, or of no account whatever it says.
    Any,
    /// It is of no account where this holds of it.
    Where(fn(&RawValue) -> bool),
    /// Its members are listed.
    Object(&'static [Field]),
    /// It is a list of objects whose members are listed.
    List(&'static [Field]),
}

type Field = (&'static str, Known);
type Members<'a> = BTreeMap<String, &'a RawValue>;

use Known::{Any, List, Object, Where};

const SPEC: &[Field] = &[
    ("ociVersion", Any),
    ("process", Object(PROCESS)),
    ("root", Object(&[("path", Any), ("readonly", Any)])),
    // The runtimes set a name in a UTS namespace of the container's own alone.
    ("hostname", Any),
    ("domainname", Any),
    ("mounts", List(MOUNT)),
    ("hooks", Any),
    ("annotations", Any),
    ("linux", Object(LINUX)),
];

const PROCESS: &[Field] = &[
    ("terminal", Any),
    ("consoleSize", Any),
    (
        "user",
        Object(&[
            ("uid", Any),
            ("gid", Any),
            ("additionalGids", Any),
            // 022: what runtimes set where nothing is said.
            ("umask", Where(|raw| number(raw) == Some(0o022))),
            ("username", Where(is_nothing)),
        ]),
    ),
    ("args", Any),
    ("env", Any),
    ("cwd", Any),
    (
        "capabilities",
        Object(&[
            ("bounding", Any),
            ("effective", Any),
            ("inheritable", Any),
            ("permitted", Any),
            ("ambient", Any),
        ]),
    ),
    ("rlimits", List(&[("type", Any), ("hard", Any), ("soft", Any)])),
    ("noNewPrivileges", Any),
    ("apparmorProfile", Any),
    ("selinuxLabel", Any),
    // What is likelier to be ended than others takes nothing from them.
    (
        "oomScoreAdj",
        Where(|raw| number(raw).is_some_and(|score| score >= 0)),
    ),
    ("commandLine", Where(is_nothing)),
];

const MOUNT: &[Field] = &[
    ("destination", Any),
    ("type", Any),
    ("source", Any),
    ("options", Where(are_options_known)),
    ("uidMappings", Where(is_nothing)),
    ("gidMappings", Where(is_nothing)),
];

const LINUX: &[Field] = &[
    (
        "namespaces",
        List(&[("type", Where(is_namespace_known)), ("path", Any)]),
    ),
    ("uidMappings", Where(leaves_root_out)),
    ("gidMappings", Where(leaves_root_out)),
    ("timeOffsets", Where(is_nothing)),
    (
        "devices",
        List(&[
            ("path", Any),
            ("type", Any),
            ("major", Any),
            ("minor", Any),
            ("fileMode", Any),
            ("uid", Any),
            ("gid", Any),
        ]),
    ),
    (
        "cgroupsPath",
        Where(|raw| text(raw).is_some_and(|path| !path.split('/').any(|part| part == ".."))),
    ),
    ("resources", Object(RESOURCES)),
    ("sysctl", Any),
    ("maskedPaths", Any),
    ("readonlyPaths", Any),
    ("rootfsPropagation", Any),
    (
        "seccomp",
        Object(&[
            ("defaultAction", Any),
            ("defaultErrnoRet", Any),
            ("architectures", Any),
            ("flags", Any),
            ("syscalls", Any),
        ]),
    ),
    ("mountLabel", Where(is_file_label)),
];

const RESOURCES: &[Field] = &[
    ("devices", Any),
    (
        "memory",
        Object(&[
            ("limit", Any),
            ("reservation", Any),
            ("swap", Any),
            ("kernel", Any),
            ("kernelTCP", Any),
            ("swappiness", Any),
            ("disableOOMKiller", Where(is_nothing)),
            ("useHierarchy", Any),
            ("checkBeforeUpdate", Any),
        ]),
    ),
    (
        "cpu",
        Object(&[
            ("shares", Any),
            ("quota", Any),
            ("period", Any),
            ("burst", Any),
            ("cpus", Any),
            ("mems", Any),
            ("idle", Any),
            ("realtimeRuntime", Where(is_nothing)),
            ("realtimePeriod", Where(is_nothing)),
        ]),
    ),
    ("pids", Object(&[("limit", Any)])),
    // Limits, and shares of what there is.
    ("blockIO", Any),
    ("hugepageLimits", Any),
    ("rdma", Any),
    (
        "network",
        Object(&[("classID", Where(is_nothing)), ("priorities", Where(is_nothing))]),
    ),
    ("unified", Where(is_nothing)),
];

/// Options of mounts that are read, or change only times, sizes and modes of what is the container's own.
const OPTIONS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "defaults",
    "diratime",
    "dirsync",
    "newinstance",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "private",
    "rbind",
    "relatime",
    "ro",
    "rprivate",
    "rshared",
    "rslave",
    "runbindable",
    "rw",
    "shared",
    "slave",
    "strictatime",
    "sync",
    "tmpcopyup",
    "unbindable",
];
/// The same of options with a value (tmpfs(5), mount(8) on devpts).
const VALUED: &[&str] = &[
    "gid=",
    "mode=",
    "nr_blocks=",
    "nr_inodes=",
    "ptmxmode=",
    "size=",
    "uid=",
];
/// Those that take another one back: they say nothing where that one is not given.
const OPPOSITES: &[(&str, &str)] = &[("dev", "nodev"), ("exec", "noexec"), ("suid", "nosuid")];

/// The paths of what is set and not listed.
pub(super) fn unread(bytes: &[u8]) -> Result<BTreeSet<String>, serde_json::Error> {
    let members: Members<'_> = serde_json::from_slice(bytes)?;
    let mut walk = Walk::default();
    walk.object("", &members, SPEC);
    Ok(walk.found)
}

#[derive(Default)]
struct Walk {
    found: BTreeSet<String>,
}

impl Walk {
    fn object(&mut self, at: &str, members: &Members<'_>, fields: &[Field]) {
        for (key, value) in members {
            if value.get() == "null" {
                continue;
            }
            let path = || {
                if at.is_empty() {
                    key.clone()
                } else {
                    format!("{at}.{key}")
                }
            };
            let known = fields
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, known)| *known);
            match known {
                Some(Any) => {}
                Some(Where(holds)) if holds(value) => {}
                Some(Object(fields)) => match serde_json::from_str::<Members<'_>>(value.get()) {
                    Ok(members) => self.object(&path(), &members, fields),
                    Err(_) => self.put(path()),
                },
                Some(List(fields)) => match serde_json::from_str::<Vec<Option<Members<'_>>>>(value.get()) {
                    Ok(items) => {
                        for (place, item) in items.iter().enumerate() {
                            if let Some(item) = item {
                                self.object(&format!("{}[{}]", path(), label(item, place)), item, fields);
                            }
                        }
                    }
                    Err(_) => self.put(path()),
                },
                Some(Where(_)) | None => self.put(path()),
            }
        }
    }

    fn put(&mut self, path: String) {
        if self.found.len() < TOLD {
            self.found.insert(path);
        } else {
            self.found.insert("(more)".to_owned());
        }
    }
}

/// What people call an item of a list.
fn label(item: &Members<'_>, place: usize) -> String {
    let named = ["destination", "path", "type"]
        .iter()
        .find_map(|key| text(item.get(*key)?));
    named.unwrap_or_else(|| place.to_string())
}

fn text(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn number(raw: &RawValue) -> Option<i64> {
    serde_json::from_str(raw.get()).ok()
}

/// Whether it says what would hold without it.
fn is_nothing(raw: &RawValue) -> bool {
    matches!(raw.get(), "null" | "false" | "0" | "\"\"" | "[]" | "{}")
}

fn is_namespace_known(raw: &RawValue) -> bool {
    text(raw).is_some_and(|kind| {
        ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"].contains(&kind.as_str())
    })
}

/// Whether no id inside is root's outside.
fn leaves_root_out(raw: &RawValue) -> bool {
    let mappings: Result<Vec<super::document::Mapping>, _> = serde_json::from_str(raw.get());
    mappings.is_ok_and(|mappings| {
        mappings
            .iter()
            .all(|mapping| mapping.host != 0 || mapping.size == 0)
    })
}

fn are_options_known(raw: &RawValue) -> bool {
    let Ok(options) = serde_json::from_str::<Vec<Text<'_>>>(raw.get()) else {
        return false;
    };
    let has = |wanted: &str| options.iter().any(|Text(option)| option == wanted);
    options.iter().all(|Text(option)| {
        OPTIONS.contains(&&**option)
            || VALUED.iter().any(|name| option.starts_with(name))
            || OPPOSITES.iter().any(|(name, of)| option == name && !has(of))
    })
}

/// Whether it is a label that only containers' files have (container-selinux), or none.
fn is_file_label(raw: &RawValue) -> bool {
    text(raw).is_some_and(|label| {
        let kind = label.split(':').nth(2).unwrap_or_default();
        label.is_empty()
            || ["container_file_t", "container_ro_file_t", "svirt_sandbox_file_t"].contains(&kind)
    })
}

#[cfg(test)]
mod tests;
