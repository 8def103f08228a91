//! The mounts of an instance, and where the host has the same.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use verger_policy::facts::{
    Evidence, HostMounts, LATER_MASKED_PATHS, LiveMount, RUNTIME_MASKED_PATHS, RUNTIME_READONLY_PATHS, proc,
};

use super::parse;
use super::source::{Proc, ProcessDir};

/// `/proc/PID/mountinfo`: the kernel allows 100,000 mounts in a namespace.
const MOUNTINFO_LIMIT: usize = 32 << 20;

/// The mounts that instances were bound from, by the mount namespace of who bound them.
#[derive(Debug, Default)]
pub(super) struct Sources {
    own: u64,
    /// By inode number of the namespace, or why they cannot be read.
    by_namespace: BTreeMap<u64, Result<HostMounts, String>>,
    buffer: Vec<u8>,
}

impl Sources {
    /// Those of a host whose own mount namespace, and this process's, is `own`.
    pub(super) fn new(own: u64) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }

    /// The mounts that the first process of an instance sees, with where the host has the same.
    pub(super) fn mounts(&mut self, proc: &Proc, init: &ProcessDir) -> Evidence<Vec<LiveMount>> {
        let mut mounts = match read(init, &mut self.buffer) {
            Ok(mounts) => mounts,
            Err(reason) => {
                return Evidence::Missing(format!(
                    "the mounts of its first process cannot be read: {reason}"
                ));
            }
        };
        let host = self.bound_from(proc, init);
        for mount in &mut mounts {
            mount.host_paths = match host {
                Ok(host) => host.paths_of(mount),
                Err(reason) => Evidence::Missing(format!("the host's own mounts cannot be read: {reason}")),
            };
        }
        Evidence::Seen(mounts)
    }

    /// The mounts of whoever made the instance's: its parent, the runtime's shim, which may be in another namespace than this
    /// process (a daemon with `PrivateMounts=`). Where that cannot be read, this process's own.
    fn bound_from(&mut self, proc: &Proc, init: &ProcessDir) -> &Result<HostMounts, String> {
        let parent = parse::parent(init.stat()).and_then(|pid| proc.running(pid).ok());
        let namespace = parent.as_ref().and_then(|parent| parent.mount_namespace().ok());
        let (key, dir) = match (namespace, parent) {
            (Some(namespace), Some(parent)) if namespace != self.own => (namespace, Ok(parent)),
            _ => (self.own, proc.myself()),
        };
        let Self {
            by_namespace, buffer, ..
        } = self;
        by_namespace.entry(key).or_insert_with(|| {
            let dir = dir.map_err(|error| error.to_string())?;
            read(&dir, buffer).map(HostMounts::of)
        })
    }
}

fn read(dir: &ProcessDir, buffer: &mut Vec<u8>) -> Result<Vec<LiveMount>, String> {
    dir.read(c"mountinfo", MOUNTINFO_LIMIT, buffer)
        .map_err(|error: io::Error| error.to_string())?;
    proc::mountinfo(buffer).map_err(|error| error.to_string())
}

/// Of the paths that runtimes hide or make read-only, whether this kernel has them: what is below `/proc` and `/sys` is the same
/// in a container.
pub(super) fn kernel_paths() -> Evidence<BTreeMap<String, bool>> {
    let mut found = BTreeMap::new();
    let fixed = [RUNTIME_MASKED_PATHS, RUNTIME_READONLY_PATHS, LATER_MASKED_PATHS];
    let mut paths: Vec<String> = fixed
        .iter()
        .copied()
        .flatten()
        .map(|path| (*path).to_owned())
        .collect();
    paths.extend(processors().map(|cpu| format!("/sys/devices/system/cpu/{cpu}/thermal_throttle")));
    for path in paths {
        match Path::new(&path).try_exists() {
            Ok(exists) => found.insert(path, exists),
            Err(error) => {
                return Evidence::Missing(format!("whether there is a {path} is not known: {error}"));
            }
        };
    }
    if !found["/proc/sys"] {
        return Evidence::missing("this process's own /proc shows no files of the kernel");
    }
    Evidence::Seen(found)
}

/// `cpu0`, `cpu1` …
fn processors() -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir("/sys/devices/system/cpu");
    entries.into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let number = name.strip_prefix("cpu")?;
        (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn this_process_sees_what_the_host_has() {
        let proc = Proc::open().unwrap();
        let own = proc.myself().unwrap();
        let mut sources = Sources::new(own.mount_namespace().unwrap());
        let mounts = sources.mounts(&proc, &own).seen().unwrap().clone();
        assert!(
            mounts
                .iter()
                .all(|mount| mount.host_paths.seen().unwrap().contains(&mount.target))
        );
        let kernel = kernel_paths().seen().unwrap().clone();
        assert!(kernel["/proc/sys"] && kernel.contains_key("/sys/firmware"));
    }
}
