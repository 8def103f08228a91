//! Whose a network namespace is that Podman names by a path.
//!
//! For a container's own it makes one and keeps it by a mount (containers/common `pkg/netns`); that of another container, or any other, may
//! be given by its path, too, and the config says the same of both. So what is in it is looked at: nothing is, before the
//! container that it was made for runs, and that one is the first that runs in it.

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
    let inode = |path: &Path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    let wanted = kept_at(path)?;
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

/// The namespace that is kept at a path, by device and inode number.
fn kept_at(path: &Path) -> Result<(u64, u64), String> {
    // What is mounted there may be out of sight (mount_namespaces(7)), and the file below it is no namespace.
    let filesystem = rustix::fs::statfs(path).map_err(|error| failed(path, error.into()))?;
    if filesystem.f_type != NSFS {
        return Err(format!("{} is no namespace", path.display()));
    }
    let metadata = fs::metadata(path).map_err(|error| failed(path, error))?;
    Ok((metadata.dev(), metadata.ino()))
}

fn failed(path: &Path, error: io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// The inode number of the namespace that is kept at a path.
pub(super) fn inode(path: &str) -> Result<u64, String> {
    kept_at(Path::new(path)).map(|(_, inode)| inode)
}

/// A container that runs, as far as its network goes.
#[derive(Clone, Debug)]
pub(super) struct Attached<'a> {
    /// Its full id.
    pub(super) id: &'a str,
    /// What its config says.
    pub(super) named: &'a Evidence<NamespaceOwner>,
    /// The inode number of the namespace that its first process is in, or why that is not known.
    pub(super) namespace: &'a Result<u64, String>,
    /// When that process started.
    pub(super) start_ticks: u64,
}

/// Whose network each of these containers has, `at` saying which namespace is kept at a path.
///
/// A namespace is of the one that it was made for. That one's config names it by the path that Podman gave it, or by none; so does the config of
/// whoever was given the same path, but later: where it was made, nobody was in it.
pub(super) fn owners(
    all: &[Attached<'_>],
    at: impl Fn(&str) -> Result<u64, String>,
) -> Vec<Evidence<NamespaceOwner>> {
    let makes = |one: &Attached<'_>| match (one.named, one.namespace) {
        (Evidence::Seen(NamespaceOwner::Own | NamespaceOwner::Isolated), Ok(_)) => true,
        (Evidence::Seen(NamespaceOwner::Instance(path)), Ok(namespace)) => {
            is_made_network(path) && at(path).as_ref() == Ok(namespace)
        }
        _ => false,
    };
    let makers: Vec<&Attached<'_>> = all.iter().filter(|one| makes(one)).collect();
    let of = |one: &Attached<'_>| {
        let Evidence::Seen(NamespaceOwner::Instance(path)) = one.named else {
            return one.named.clone();
        };
        let unknown =
            |why: &str| Evidence::Missing(format!("whether its network is its own cannot be told: {why}"));
        let namespace = match one.namespace {
            Ok(namespace) => *namespace,
            Err(why) => return unknown(why),
        };
        let among = makers.iter().filter(|maker| *maker.namespace == Ok(namespace));
        let Some(first) = among.clone().map(|maker| maker.start_ticks).min() else {
            return match at(path) {
                Err(why) if is_made_network(path) => unknown(&why),
                _ => one.named.clone(),
            };
        };
        let oldest: Vec<&str> = among
            .filter(|maker| maker.start_ticks == first)
            .map(|maker| maker.id)
            .collect();
        match oldest.as_slice() {
            [only] if *only == one.id => Evidence::Seen(NamespaceOwner::Own),
            [only] => Evidence::Seen(NamespaceOwner::Instance((*only).to_owned())),
            _ => unknown("containers that were started at one moment name the same"),
        }
    };
    all.iter().map(of).collect()
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

    const MADE: &str = "/run/netns/netns-62579d4b-a11a-80ae-fd64-9cf5b20e0042";

    fn path(path: &str) -> Evidence<NamespaceOwner> {
        Evidence::Seen(NamespaceOwner::Instance(path.to_owned()))
    }

    /// What is found of containers `a`, `b` … with these names of namespaces, namespaces and times of start.
    fn found(all: &[(Evidence<NamespaceOwner>, Result<u64, String>, u64)]) -> Vec<Evidence<NamespaceOwner>> {
        let ids = ["a", "b", "c"];
        let all: Vec<Attached<'_>> = all
            .iter()
            .zip(ids)
            .map(|((named, namespace, start_ticks), id)| Attached {
                id,
                named,
                namespace,
                start_ticks: *start_ticks,
            })
            .collect();
        owners(&all, |path| match path {
            MADE => Ok(7),
            other => Err(format!("{other} is gone")),
        })
    }

    #[test]
    fn a_network_is_of_the_first_that_runs_in_it_by_the_name_that_podman_gave_it() {
        let own = Evidence::Seen(NamespaceOwner::Own);
        assert_eq!(found(&[(path(MADE), Ok(7), 5)]).first(), Some(&own));
        // One that was given the same path, and one that was given the container.
        let of_a = path("a");
        assert_eq!(
            found(&[
                (path(MADE), Ok(7), 5),
                (path(MADE), Ok(7), 6),
                (path("/proc/7/ns/net"), Ok(7), 4)
            ]),
            [own.clone(), of_a.clone(), of_a.clone()]
        );
        // Of one that was made without a path.
        assert_eq!(
            found(&[(own.clone(), Ok(9), 5), (path("/proc/7/ns/net"), Ok(9), 6)]),
            [own, of_a]
        );
        let host = Evidence::Seen(NamespaceOwner::Host);
        assert_eq!(found(&[(host.clone(), Ok(1), 5)]), [host]);
    }

    #[test]
    fn what_nobody_runs_in_by_such_a_name_is_another_s_or_not_known() {
        let blue = path("/run/netns/blue");
        assert_eq!(found(&[(blue.clone(), Ok(9), 5)]), [blue]);
        let gone = path(&MADE.replace('6', "5"));
        for unknown in [
            found(&[(gone, Ok(7), 5)]),
            found(&[(path(MADE), Err("it may not be read".to_owned()), 5)]),
            found(&[(path(MADE), Ok(7), 5), (path(MADE), Ok(7), 5)]),
        ] {
            assert!(
                unknown.iter().all(|owner| matches!(owner, Evidence::Missing(_))),
                "{unknown:?}"
            );
        }
        // It is in another one than its name says.
        assert_eq!(found(&[(path(MADE), Ok(8), 5)]), [path(MADE)]);
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
