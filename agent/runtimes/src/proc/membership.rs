//! Which processes belong to which instances: pure, over what was read.
//!
//! Two joins, because each alone is evaded: a process that enters an instance's namespaces from outside (nsenter(1))
//! is in no cgroup of it, and one that unshares its namespaces is still in the cgroup.

use std::collections::{BTreeMap, BTreeSet};

use verger_policy::facts::NamespaceIds;

/// Kinds of namespaces, as in `/proc/PID/ns` and in [`ProcessFacts`](verger_policy::facts::ProcessFacts).
pub(super) const KINDS: [&str; 7] = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"];

/// The inode numbers in the order of [`KINDS`].
pub(super) fn inodes(ids: &NamespaceIds) -> [u64; 7] {
    let NamespaceIds {
        mnt,
        pid,
        net,
        ipc,
        uts,
        user,
        cgroup,
    } = *ids;
    [mnt, pid, net, ipc, uts, user, cgroup]
}

/// Where the processes of one instance are in the hierarchies, and which namespaces are its own.
#[derive(Debug)]
pub(super) struct Home {
    /// By hierarchy (the controllers of its line in `/proc/PID/cgroup`), the instance's cgroup.
    cgroups: BTreeMap<String, String>,
    namespaces: [u64; 7],
}

/// All instances' homes, by their place in the list that was asked for.
#[derive(Debug, Default)]
pub(super) struct Homes {
    by_place: BTreeMap<usize, Home>,
    by_id: BTreeMap<String, usize>,
    by_namespace: BTreeMap<(usize, u64), Vec<usize>>,
}

/// What joins a process to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bond {
    /// The instance.
    pub(super) place: usize,
    /// Whether it is in the instance's cgroup or below, in all hierarchies that know the instance.
    pub(super) in_cgroup: bool,
    /// Namespaces it shares with the instance's first process, though nothing of its own configuration says so.
    pub(super) shared: BTreeSet<&'static str>,
}

impl Homes {
    /// Adds the instance `id`, whose first process has these cgroups and namespaces. Refused where the first
    /// process is in no cgroup of the instance: then its pid has become another process's.
    pub(super) fn add(
        &mut self,
        place: usize,
        id: &str,
        cgroup: &str,
        namespaces: &NamespaceIds,
        host: &NamespaceIds,
    ) -> Result<(), String> {
        let cgroups: BTreeMap<String, String> = lines(cgroup)
            .filter_map(|(hierarchy, path)| {
                Some((
                    hierarchy.to_owned(),
                    path[..end_of(path, |part| part.contains(id) && !is_conmons(part))?].to_owned(),
                ))
            })
            .collect();
        if cgroups.is_empty() {
            return Err(
                "its first process is in no cgroup of it: it may have ended, or was moved out".to_owned(),
            );
        }
        let mut own = inodes(namespaces);
        for (kind, (inode, hosts)) in own.iter_mut().zip(inodes(host)).enumerate() {
            if *inode == hosts {
                *inode = 0;
            } else {
                self.by_namespace.entry((kind, *inode)).or_default().push(place);
            }
        }
        self.by_id.insert(id.to_owned(), place);
        self.by_place.insert(
            place,
            Home {
                cgroups,
                namespaces: own,
            },
        );
        Ok(())
    }

    /// The instances a process is bound to, by its cgroups and, where they could be read, its namespaces.
    pub(super) fn bonds(&self, cgroup: &str, namespaces: Option<&NamespaceIds>) -> Vec<Bond> {
        let owner = self.owner(cgroup);
        let mut bonds: BTreeMap<usize, Bond> = BTreeMap::new();
        if let Some(place) = owner {
            let home = &self.by_place[&place];
            let here: BTreeMap<&str, &str> = lines(cgroup).collect();
            let in_cgroup = home.cgroups.iter().all(|(hierarchy, base)| {
                here.get(hierarchy.as_str())
                    .is_some_and(|path| is_below(path, base))
            });
            bonds.insert(
                place,
                Bond {
                    place,
                    in_cgroup,
                    shared: BTreeSet::new(),
                },
            );
        }
        for (kind, inode) in namespaces.map(inodes).into_iter().flatten().enumerate() {
            for &place in self.by_namespace.get(&(kind, inode)).into_iter().flatten() {
                // Two instances that were configured to share (`--network container:…`): that is in their
                // configuration, and no sign of an intrusion by each of their processes.
                let configured = owner
                    .is_some_and(|owner| owner != place && self.by_place[&owner].namespaces[kind] == inode);
                if !configured {
                    bonds
                        .entry(place)
                        .or_insert_with(|| Bond {
                            place,
                            in_cgroup: false,
                            shared: BTreeSet::new(),
                        })
                        .shared
                        .insert(KINDS[kind]);
                }
            }
        }
        bonds.into_values().collect()
    }

    /// The outermost instance whose cgroup the process is in, in any hierarchy.
    fn owner(&self, cgroup: &str) -> Option<usize> {
        lines(cgroup).find_map(|(hierarchy, path)| {
            let place = path
                .split('/')
                .find_map(|part| self.by_id.get(id_in(part)?).copied())?;
            let base = self.by_place[&place].cgroups.get(hierarchy)?;
            // The id alone proves nothing: a container may name a cgroup of its own after another container.
            is_below(path, base).then_some(place)
        })
    }
}

/// The lines of `/proc/PID/cgroup` (cgroups(7)): `hierarchy-ID:controllers:path`.
fn lines(cgroup: &str) -> impl Iterator<Item = (&str, &str)> {
    cgroup.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        Some((parts.next()?, parts.next()?))
    })
}

/// The ids of containers in the text of a `/proc/PID/cgroup`.
pub(crate) fn container_ids(cgroup: &str) -> BTreeSet<String> {
    let parts = lines(cgroup).flat_map(|(_, path)| path.split('/'));
    parts.filter_map(id_in).map(str::to_owned).collect()
}

/// Whether a part of a path is the group of what holds a container for Podman, which is not of the container: by its manager
/// `systemd` (libpod `oci_conmon_linux.go`). By the other it has no id in it.
fn is_conmons(part: &str) -> bool {
    part.starts_with("libpod-conmon-")
}

/// The 64 hex digits in one part of a path, such as `ID` or `docker-ID.scope`.
fn id_in(part: &str) -> Option<&str> {
    if is_conmons(part) {
        return None;
    }
    let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let bytes = part.as_bytes();
    if bytes.len() < 64 {
        return None;
    }
    let mut start = 0;
    for end in 0..=bytes.len() {
        if end == bytes.len() || !is_hex(bytes[end]) {
            if end - start == 64 {
                return part.get(start..end);
            }
            start = end + 1;
        }
    }
    None
}

/// Where the first part of the path that `matches` ends.
fn end_of(path: &str, matches: impl Fn(&str) -> bool) -> Option<usize> {
    let mut end = 0;
    for part in path.split('/') {
        end += part.len();
        if matches(part) {
            return Some(end);
        }
        end += 1;
    }
    None
}

fn is_below(path: &str, base: &str) -> bool {
    path.strip_prefix(base)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HOST: NamespaceIds = ids([1, 2, 3, 4, 5, 6, 7]);

    const fn ids([mnt, pid, net, ipc, uts, user, cgroup]: [u64; 7]) -> NamespaceIds {
        NamespaceIds {
            mnt,
            pid,
            net,
            ipc,
            uts,
            user,
            cgroup,
        }
    }

    fn id(digit: char) -> String {
        digit.to_string().repeat(64)
    }

    fn v1_and_v2(path: &str) -> String {
        format!("8:pids:{path}\n2:cpu,cpuacct:{path}\n0::{path}\n")
    }

    fn docker(digit: char) -> String {
        v1_and_v2(&format!("/docker/{}", id(digit)))
    }

    /// `a` has namespaces of its own but for user; `b` shares the network of `a`.
    fn two() -> Homes {
        let mut homes = Homes::default();
        homes
            .add(
                0,
                &id('a'),
                &docker('a'),
                &ids([10, 20, 30, 40, 50, 6, 70]),
                &HOST,
            )
            .unwrap();
        homes
            .add(
                1,
                &id('b'),
                &docker('b'),
                &ids([11, 21, 30, 41, 51, 6, 71]),
                &HOST,
            )
            .unwrap();
        homes
    }

    fn bond(place: usize, in_cgroup: bool, shared: &[&'static str]) -> Bond {
        Bond {
            place,
            in_cgroup,
            shared: shared.iter().copied().collect(),
        }
    }

    #[test]
    fn an_ordinary_process_is_bound_by_both() {
        let bonds = two().bonds(&docker('a'), Some(&ids([10, 20, 30, 40, 50, 6, 70])));
        assert_eq!(
            bonds,
            [bond(0, true, &["mnt", "pid", "net", "ipc", "uts", "cgroup"])]
        );
    }

    #[test]
    fn sharing_by_configuration_binds_no_process_of_the_other() {
        let bonds = two().bonds(&docker('b'), Some(&ids([11, 21, 30, 41, 51, 6, 71])));
        assert_eq!(
            bonds,
            [bond(1, true, &["mnt", "pid", "net", "ipc", "uts", "cgroup"])]
        );
    }

    #[test]
    fn a_process_that_enters_from_another_instance_is_bound_to_both() {
        let bonds = two().bonds(&docker('b'), Some(&ids([10, 21, 30, 41, 51, 6, 71])));
        assert_eq!(
            bonds,
            [
                bond(0, false, &["mnt"]),
                bond(1, true, &["pid", "net", "ipc", "uts", "cgroup"])
            ]
        );
    }

    #[test]
    fn a_process_that_enters_from_the_host_is_not_in_the_cgroup() {
        let bonds = two().bonds(&v1_and_v2("/"), Some(&ids([10, 2, 3, 4, 5, 6, 7])));
        assert_eq!(bonds, [bond(0, false, &["mnt"])]);
    }

    #[test]
    fn a_namespace_of_the_host_binds_nobody() {
        assert_eq!(two().bonds(&v1_and_v2("/user.slice"), Some(&HOST)), []);
    }

    #[test]
    fn one_hierarchy_left_is_not_in_the_cgroup() {
        let cgroup = docker('a').replacen(&format!("/docker/{}", id('a')), "/", 1);
        assert_eq!(two().bonds(&cgroup, None), [bond(0, false, &[])]);
    }

    #[test]
    fn cgroups_below_belong_to_the_instance_and_names_of_others_mislead_nobody() {
        let below = v1_and_v2(&format!("/docker/{}/{}", id('a'), id('b')));
        assert_eq!(two().bonds(&below, None), [bond(0, true, &[])]);
        let elsewhere = v1_and_v2(&format!("/user.slice/{}", id('b')));
        assert_eq!(two().bonds(&elsewhere, None), []);
        let longer = v1_and_v2(&format!("/docker/{}0", id('a')));
        assert_eq!(two().bonds(&longer, None), []);
    }

    #[test]
    fn scopes_of_systemd_are_understood() {
        let mut homes = Homes::default();
        let scope = format!("/system.slice/docker-{}.scope", id('a'));
        homes
            .add(0, &id('a'), &format!("0::{scope}/init.scope\n"), &HOST, &HOST)
            .unwrap();
        assert_eq!(
            homes.bonds(&format!("0::{scope}/system.slice\n"), None),
            [bond(0, true, &[])]
        );
        assert_eq!(homes.bonds("0::/system.slice\n", None), []);
    }

    #[test]
    fn groups_of_podmans_are_understood_and_what_holds_a_container_is_not_of_it() {
        let (by_systemd, by_itself) = (
            format!("/machine.slice/libpod-{}.scope", id('a')),
            format!("/libpod_parent/libpod-{}", id('a')),
        );
        for (own, below, conmon) in [
            (
                &by_systemd,
                "container",
                format!("/machine.slice/libpod-conmon-{}.scope", id('a')),
            ),
            (&by_itself, "x", "/libpod_parent/conmon".to_owned()),
        ] {
            let mut homes = Homes::default();
            let first = v1_and_v2(&format!("{own}/{below}"));
            homes.add(0, &id('a'), &first, &HOST, &HOST).unwrap();
            assert_eq!(homes.bonds(&v1_and_v2(own), None), [bond(0, true, &[])], "{own}");
            assert_eq!(homes.bonds(&v1_and_v2(&conmon), None), [], "{conmon}");
            assert_eq!(container_ids(&v1_and_v2(own)), [id('a')].into());
            assert!(container_ids(&v1_and_v2(&conmon)).is_empty());
            // Nor is a container where what holds it is.
            let mut homes = Homes::default();
            let added = homes.add(0, &id('a'), &v1_and_v2(&conmon), &HOST, &HOST);
            assert!(added.is_err(), "{conmon}");
        }
    }

    #[test]
    fn a_first_process_outside_is_refused() {
        let mut homes = Homes::default();
        assert!(homes.add(0, &id('a'), &docker('b'), &HOST, &HOST).is_err());
        assert!(homes.add(0, &id('a'), "", &HOST, &HOST).is_err());
    }

    #[test]
    fn the_containers_of_a_process_are_told_by_its_cgroups() {
        assert_eq!(container_ids(&docker('a')), [id('a')].into());
        let scope = format!("0::/system.slice/docker-{}.scope/x\n", id('b'));
        assert_eq!(container_ids(&scope), [id('b')].into());
        assert!(container_ids(&v1_and_v2("/system.slice/docker.service")).is_empty());
    }

    #[test]
    fn only_64_digits_are_an_id() {
        let a = id('a');
        for part in [a.clone(), format!("docker-{a}.scope"), format!("libpod-{a}")] {
            assert_eq!(id_in(&part), Some(a.as_str()), "{part}");
        }
        for part in [
            "",
            "docker",
            &format!("{a}0"),
            &"Z".repeat(64),
            &"a".repeat(63),
            &"\u{e9}".repeat(64),
        ] {
            assert_eq!(id_in(part), None, "{part}");
        }
    }
}
