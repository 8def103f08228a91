//! Whether a mount is of the path of the host it should be of.

use std::collections::BTreeMap;

use crate::facts::{Evidence, LiveMount, MountFacts, below, joined};

/// Where a mount comes from, as far as it can be told.
pub(super) enum Place<'a> {
    /// From where it should.
    Same,
    /// From elsewhere.
    Other,
    /// Why it cannot be told.
    Untold(&'a str),
}

const LINK: &str = "the host has it at another path than the one given; that path may be a symbolic link to it, which is not \
                    looked up: give the path that it leads to";

/// Directories that are symbolic links to others on today's hosts.
const LINKS: &[(&str, &str)] = &[
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
    ("/bin", "/usr/bin"),
    ("/sbin", "/usr/sbin"),
    ("/lib", "/usr/lib"),
    ("/lib64", "/usr/lib64"),
];

/// Whether a mount is of what a bind or volume was given, or of `rest` below that.
pub(super) fn of<'a>(given: &MountFacts, rest: &str, mount: &'a LiveMount) -> Place<'a> {
    let Some(base) = given.host_path.as_deref() else {
        return Place::Untold("the runtime does not say which path of the host it is");
    };
    let paths = match &mount.host_paths {
        Evidence::Seen(paths) => paths,
        Evidence::Missing(reason) => return Place::Untold(reason),
    };
    let base = super::trimmed(base);
    let is_there = |base: &str| paths.contains(&joined(base, rest));
    let by_link = LINKS
        .iter()
        .filter_map(|(link, to)| Some(joined(to, below(base, link)?)));
    if is_there(base) || by_link.into_iter().any(|base| is_there(&base)) {
        Place::Same
    } else if paths.is_empty() || super::super::mounts::is_volume(&given.origin) {
        // What the host has nowhere is no bind of a path of the host, by whatever links; and to the folder of a volume leads none.
        Place::Other
    } else {
        Place::Untold(LINK)
    }
}

/// Whether a tmpfs was made for the instance: such a one the host has nowhere. One that the host has is bound over it.
pub(super) fn of_tmpfs(mount: &LiveMount) -> Place<'_> {
    match &mount.host_paths {
        Evidence::Seen(paths) if paths.is_empty() => Place::Same,
        Evidence::Seen(_) => Place::Other,
        Evidence::Missing(reason) => Place::Untold(reason),
    }
}

/// The given bind or volume that a mount is below, and whether it came along with that.
pub(super) fn along<'a>(
    given: &BTreeMap<&'a str, &'a MountFacts>,
    mount: &'a LiveMount,
) -> Option<(&'a str, &'a MountFacts, Place<'a>)> {
    let mut above = mount.target.as_str();
    if given.contains_key(above) {
        return None;
    }
    while let Some((parent, _)) = above.rsplit_once('/') {
        above = parent;
        if let Some((path, facts)) = given.get_key_value(above) {
            facts.host_path.as_ref()?;
            return Some((path, facts, of(facts, &mount.target[above.len()..], mount)));
        }
    }
    None
}
