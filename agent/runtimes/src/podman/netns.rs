//! Whose a network namespace is that Podman names by a path.
//!
//! For a container's own it makes one and keeps it by a mount (containers/common `pkg/netns`); that of another container, or any other, may
//! be given by its path, too, and the config says the same of both. So what is in it is looked at: nothing is, before the
//! container that it was made for runs.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use verger_policy::facts::podman::is_made_network;
use verger_policy::facts::{Evidence, NamespaceOwner};

/// The host's first process: it has more privileges than any agent needs, and is in no container's namespace.
const INIT: u32 = 1;
/// `NSFS_MAGIC` (include/uapi/linux/magic.h): what namespaces are files of.
const NSFS: rustix::fs::FsWord = 0x6e73_6673;

/// Whose the namespace at `path` is for a container of which nothing runs but `own`, its first process, if that is there yet.
pub(super) fn owner(path: &str, own: Option<u32>) -> Evidence<NamespaceOwner> {
    let of_another = || Evidence::Seen(NamespaceOwner::Instance(path.to_owned()));
    if !is_made_network(path) {
        return of_another();
    }
    match is_used(Path::new(path), own) {
        Ok(false) => Evidence::Seen(NamespaceOwner::Own),
        Ok(true) => of_another(),
        Err(why) => Evidence::Missing(format!("whether its network is its own cannot be told: {why}")),
    }
}

/// Whether any process but `own` is in it.
fn is_used(path: &Path, own: Option<u32>) -> Result<bool, String> {
    let failed = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    let inode = |path: &Path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    // What is mounted there may be out of sight (mount_namespaces(7)), and the file below it is no namespace.
    let filesystem = rustix::fs::statfs(path).map_err(|error| failed(path, error.into()))?;
    if filesystem.f_type != NSFS {
        return Err(format!("{} is no namespace", path.display()));
    }
    let wanted = inode(path).map_err(|error| failed(path, error))?;
    let proc = Path::new("/proc");
    for entry in fs::read_dir(proc).map_err(|error| failed(proc, error))? {
        let entry = entry.map_err(|error| failed(proc, error))?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if own == Some(pid) {
            continue;
        }
        let link = entry.path().join("ns/net");
        match inode(&link) {
            Ok(found) if found == wanted => return Ok(true),
            Ok(_) => {}
            // It has ended.
            Err(error) if matches!(error.raw_os_error(), Some(2 | 3)) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && pid == INIT => {}
            Err(error) => {
                return Err(format!(
                    "{} ({error}); the agent needs CAP_SYS_PTRACE",
                    link.display()
                ));
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_podman_would_have_made_is_looked_at() {
        let made = "/run/netns/netns-62579d4b-a11a-80ae-fd64-9cf5b20e0042";
        assert!(is_made_network(made) && is_made_network(&made.replace("netns-", "cni-")));
        for other in [
            "/proc/1/ns/net",
            "/run/netns/blue",
            "/run/netns/netns-",
            "/run/netns/netns-62579d4b-a11a-80ae-fd64-9cf5b20e004",
            "/run/netns/netns-62579d4b-a11a-80ae-fd64-9cf5b20e00422",
            "/run/netns/netns-62579D4b-a11a-80ae-fd64-9cf5b20e0042",
            "/run/netns/netns-62579d4bxa11a-80ae-fd64-9cf5b20e0042",
            "/run/netns/../netns-62579d4b-a11a-80ae-fd64-9cf5b20e0042",
            "/run/netns//netns-62579d4b-a11a-80ae-fd64-9cf5b20e0042",
            "/tmp/run/netns/netns-62579d4b-a11a-80ae-fd64-9cf5b20e0042",
            "",
        ] {
            assert!(!is_made_network(other), "{other}");
            let owner = owner(other, None);
            assert_eq!(owner, Evidence::Seen(NamespaceOwner::Instance(other.to_owned())));
        }
        // It is gone: not its own, and not another's.
        assert!(matches!(owner(made, None), Evidence::Missing(_)));
    }

    #[test]
    fn a_file_that_is_no_namespace_is_nobodys_unused_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let why = is_used(file.path(), None).unwrap_err();
        assert!(why.ends_with("is no namespace"), "{why}");
    }

    #[test]
    fn a_namespace_that_somebody_is_in_is_used() {
        let own = std::process::id();
        let link = format!("/proc/{own}/ns/net");
        let used = is_used(Path::new(&link), None);
        // Whoever may not look at all processes cannot tell, unless one of those that are looked at first is in it.
        assert!(!matches!(used, Ok(false)), "this process is in it");
    }
}
