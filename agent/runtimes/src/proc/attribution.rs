//! Whose a process is whose own cgroup cannot be read.
//!
//! Linux does not show a cgroup whose path is longer than a page (`ENAMETOOLONG`; seen on 6.1). Who may make cgroups can
//! therefore hide which one its processes are in. They are of the instance whose namespaces they are in, or else of the one
//! that their nearest parent is of.

use std::collections::BTreeSet;
use std::io;

use verger_policy::facts::{Evidence, NamespaceIds};

use super::membership::Homes;
use super::source::ProcessDir;
use super::{CGROUP_LIMIT, Scan, parse};

/// So many parents are asked, each of which costs some 50 µs. A process has few between it and the first of its instance.
const MOST_PARENTS: usize = 32;

/// What is known of a process: its cgroups and namespaces, as far as they could be read.
struct Known {
    cgroup: Option<String>,
    namespaces: Option<NamespaceIds>,
}

impl Scan {
    /// Blinds the instances that a process may be of whose cgroup cannot be read.
    ///
    /// # Errors
    /// That error, where nothing tells whose it is.
    pub(super) fn attribute(&mut self, pid: u32, process: &ProcessDir, error: io::Error) -> io::Result<()> {
        let known = Known {
            cgroup: None,
            namespaces: process.namespaces().ok(),
        };
        let (proc, mut next) = (&self.proc, parse::parent(process.stat()));
        let parents = std::iter::from_fn(|| {
            let parent = proc.running(next.take().filter(|pid| *pid > 0)?).ok()?;
            next = parse::parent(parent.stat());
            let mut cgroup = Vec::new();
            let read = parent.read(c"cgroup", CGROUP_LIMIT, &mut cgroup);
            Some(Known {
                cgroup: read.ok().map(|()| String::from_utf8_lossy(&cgroup).into_owned()),
                namespaces: parent.namespaces().ok(),
            })
        });
        let places = places(&self.homes, &known, parents);
        if places.is_empty() {
            return Err(error);
        }
        for place in places {
            self.found[place] =
                Evidence::Missing(format!("the cgroup of its process {pid} cannot be read: {error}"));
        }
        Ok(())
    }
}

/// The instances that a process may be of; none if nothing tells. `parents` begins with the nearest. Pure.
fn places(homes: &Homes, process: &Known, parents: impl IntoIterator<Item = Known>) -> BTreeSet<usize> {
    let of = |known: &Known| -> BTreeSet<usize> {
        let cgroup = known.cgroup.as_deref().unwrap_or_default();
        homes
            .bonds(cgroup, known.namespaces.as_ref())
            .iter()
            .map(|bond| bond.place)
            .collect()
    };
    let own = of(process);
    if !own.is_empty() {
        return own;
    }
    let parents = parents.into_iter().take(MOST_PARENTS);
    parents
        .map(|parent| of(&parent))
        .find(|places| !places.is_empty())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HOST: NamespaceIds = ids(1);

    /// Seven namespaces of their own, or the host's.
    const fn ids(base: u64) -> NamespaceIds {
        NamespaceIds {
            mnt: base,
            pid: base + 1,
            net: base + 2,
            ipc: base + 3,
            uts: base + 4,
            user: base + 5,
            cgroup: base + 6,
        }
    }

    fn cgroup(digit: &str) -> String {
        format!("0::/docker/{}\n", digit.repeat(64))
    }

    fn homes() -> Homes {
        let mut homes = Homes::default();
        for (place, digit, base) in [(0, "a", 100), (1, "b", 200)] {
            let id = digit.repeat(64);
            homes.add(place, &id, &cgroup(digit), &ids(base), &HOST).unwrap();
        }
        homes
    }

    fn known(cgroup: Option<String>, namespaces: Option<NamespaceIds>) -> Known {
        Known { cgroup, namespaces }
    }

    /// What cannot be read of it is its cgroup.
    fn deep(namespaces: NamespaceIds) -> Known {
        known(None, Some(namespaces))
    }

    #[test]
    fn namespaces_tell_whose_it_is_and_nobody_else_is_blamed() {
        let never = std::iter::from_fn(|| -> Option<Known> { panic!("its parents are not asked") });
        assert_eq!(places(&homes(), &deep(ids(200)), never), [1].into());
        let one_left = NamespaceIds { net: 102, ..ids(900) };
        assert_eq!(places(&homes(), &deep(one_left), []), [0].into());
    }

    #[test]
    fn the_nearest_parent_of_an_instance_tells_of_what_left_its_namespaces() {
        let of_a = || known(Some(cgroup("a")), Some(ids(100)));
        let of_b = known(Some(cgroup("b")), None);
        // A parent may be as deep, or of the host.
        let parents = [deep(ids(900)), known(None, None), of_a(), of_b];
        assert_eq!(places(&homes(), &deep(ids(900)), parents), [0].into());
        let hosts = known(Some("0::/system.slice/sshd.service\n".to_owned()), Some(HOST));
        assert_eq!(places(&homes(), &deep(HOST), [hosts, of_a()]), [0].into());
    }

    #[test]
    fn where_nothing_tells_it_may_be_of_any() {
        let hosts = || known(Some("0::/init.scope\n".to_owned()), Some(HOST));
        assert!(places(&homes(), &deep(HOST), [hosts()]).is_empty());
        assert!(places(&homes(), &known(None, None), []).is_empty());
    }

    #[test]
    fn parents_are_asked_only_so_far() {
        let far = |above: usize| {
            let hosts = std::iter::repeat_with(|| deep(HOST)).take(above);
            hosts.chain([known(Some(cgroup("a")), None)])
        };
        assert_eq!(places(&homes(), &deep(HOST), far(MOST_PARENTS - 1)), [0].into());
        assert!(places(&homes(), &deep(HOST), far(MOST_PARENTS)).is_empty());
    }
}
