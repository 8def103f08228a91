//! Where on the host the things are that a container has mounted.

use std::collections::{BTreeMap, BTreeSet};

use super::{Evidence, LiveMount};

/// The most paths of the host that are told of one mount.
const MOST_PATHS: usize = 256;
/// What the kernel adds to the path of a file that was removed or replaced since it was mounted.
const DELETED: &str = "//deleted";

/// The mounts of a host (or of the mount namespace that a runtime mounts from), by file system.
#[derive(Clone, Debug, Default)]
pub struct HostMounts {
    /// By device: the directory of the file system, and where it is mounted.
    by_device: BTreeMap<String, Vec<(String, String)>>,
}

impl HostMounts {
    /// Of its mountinfo.
    pub fn of(mounts: Vec<LiveMount>) -> Self {
        let mut by_device: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for LiveMount {
            device, root, target, ..
        } in mounts
        {
            by_device.entry(device).or_default().push((root, target));
        }
        Self { by_device }
    }

    /// Every path where the host has what a container has mounted. Paths that other mounts cover count: what was bound from
    /// there before stays what it was.
    pub fn paths_of(&self, mount: &LiveMount) -> Evidence<BTreeSet<String>> {
        let root = mount.root.strip_suffix(DELETED).unwrap_or(&mount.root);
        let mut paths = BTreeSet::new();
        for (above, target) in self.by_device.get(&mount.device).into_iter().flatten() {
            if let Some(rest) = below(root, above) {
                paths.insert(joined(target, rest));
            }
            if paths.len() > MOST_PATHS {
                let reason = format!("the host has it mounted at more than {MOST_PATHS} paths");
                return Evidence::Missing(reason);
            }
        }
        Evidence::Seen(paths)
    }
}

/// The rest of a path below another one, empty or with a slash in front.
pub(crate) fn below<'a>(path: &'a str, above: &str) -> Option<&'a str> {
    let rest = if above == "/" {
        path
    } else {
        path.strip_prefix(above)?
    };
    match rest {
        "/" => Some(""),
        rest if rest.is_empty() || rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

/// A path and the rest below it.
pub(crate) fn joined(above: &str, rest: &str) -> String {
    match (above, rest) {
        ("/", "") => "/".to_owned(),
        ("/", rest) => rest.to_owned(),
        (above, rest) => format!("{above}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::facts::proc::mountinfo;

    fn paths(line: &str) -> Vec<String> {
        let host = HostMounts::of(
            mountinfo(
                b"1 0 254:0 / / rw - ext4 /dev/vda rw\n2 1 254:0 /srv/b /mnt rw - ext4 /dev/vda rw\n\
                  3 1 0:4 net:[4026532177] /run/netns/x rw - nsfs nsfs rw\n4 1 8:1 /part /part rw - xfs /dev/sda1 rw\n",
            )
            .unwrap(),
        );
        let mount = mountinfo(line.as_bytes()).unwrap().remove(0);
        host.paths_of(&mount).seen().unwrap().iter().cloned().collect()
    }

    #[test]
    fn a_bind_is_found_wherever_the_host_has_it() {
        for (line, expected) in [
            (
                "9 8 254:0 /srv/b/c /x rw - ext4 /dev/vda rw\n",
                &["/mnt/c", "/srv/b/c"][..],
            ),
            ("9 8 254:0 /srv/b /x rw - ext4 /dev/vda rw\n", &["/mnt", "/srv/b"]),
            ("9 8 254:0 /srv/bee /x rw - ext4 /dev/vda rw\n", &["/srv/bee"]),
            ("9 8 254:0 / /x rw - ext4 /dev/vda rw\n", &["/"]),
            (
                "9 8 254:0 /etc/a//deleted /x rw - ext4 /dev/vda rw\n",
                &["/etc/a"],
            ),
            (
                "9 8 0:4 net:[4026532177] /x rw - nsfs nsfs rw\n",
                &["/run/netns/x"],
            ),
            ("9 8 0:4 net:[4026532178] /x rw - nsfs nsfs rw\n", &[]),
            ("9 8 8:1 /part/a /x rw - xfs /dev/sda1 rw\n", &["/part/a"]),
            ("9 8 8:1 /other /x rw - xfs /dev/sda1 rw\n", &[]),
            ("9 8 0:99 / /x rw - tmpfs tmpfs rw\n", &[]),
        ] {
            assert_eq!(paths(line), expected, "{line}");
        }
    }
}
