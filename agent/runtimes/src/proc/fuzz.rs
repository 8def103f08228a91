//! Fuzz targets: files of `/proc` that say which processes count, and to whom they belong.

#![allow(clippy::unwrap_used)]

use bolero::check;
use verger_fuzz::Damaged;
use verger_policy::facts::NamespaceIds;

use super::freezer;
use super::membership::{Homes, KINDS};
use super::parse::{is_zombie_with_threads, parent, runs_code, session, threads};

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

fn cgroup(digit: &str) -> String {
    let id = digit.repeat(64);
    format!("8:pids:/docker/{id}\n2:cpu,cpuacct:/docker/{id}\n0::/system.slice/docker-{id}.scope\n")
}

#[test]
fn hostile_stat_never_panics_and_a_name_in_it_decides_nothing() {
    check!()
        .with_generator((
            Damaged::bytes([
                b"7 (sh) S 1 7 7 0 -1 4194560 9 9".as_slice(),
                b"7 (kworker/0:1) I 2 0 0 0 -1 69238880 0 0",
            ]),
            Damaged::bytes([b"a) Z 1 (b".as_slice(), b"x\n"]),
        ))
        .with_iterations(10_000)
        .for_each(|(stat, name)| {
            let _ = (
                runs_code(stat),
                threads(stat),
                parent(stat),
                session(stat),
                is_zombie_with_threads(stat),
            );
            let named = [b"7 (".as_slice(), name, b") S 1 7 7 0 -1 4194560 9 9"].concat();
            assert_eq!((runs_code(&named), parent(&named)), (Some(true), Some(1)));
            assert_eq!(session(&named), Some(7));
            let named = [
                b"7 (".as_slice(),
                name,
                b") Z 1 7 7 0 -1 4194560 9 9 0 0 1 2 3 4 20 0 3 0 99",
            ]
            .concat();
            assert_eq!(
                (threads(&named), is_zombie_with_threads(&named)),
                (Some(3), Some(true))
            );
        });
}

#[test]
fn hostile_cgroup_files_bind_to_instances_that_are_known_and_in_all_hierarchies_only_from_within() {
    let own = [ids([10, 20, 30, 40, 50, 6, 70]), ids([11, 21, 30, 41, 51, 6, 71])];
    check!()
        .with_generator((
            Damaged::lines([cgroup("a"), cgroup("b")]),
            Damaged::lines([cgroup("a"), cgroup("b"), "0::/user.slice\n".to_owned()]),
            bolero::produce::<[u8; 7]>(),
        ))
        .with_iterations(5_000)
        .for_each(|(home, seen, inodes)| {
            let mut homes = Homes::default();
            let home = home.text();
            let known = homes.add(0, &"a".repeat(64), &home, &own[0], &HOST);
            if let Err(reason) = &known {
                assert!(!reason.contains(char::is_control), "{reason}");
            }
            homes
                .add(1, &"b".repeat(64), &cgroup("b"), &own[1], &HOST)
                .unwrap();
            let namespaces = ids(inodes.map(|inode| u64::from(inode % 80)));
            let seen = seen.text();
            for bond in homes.bonds(&seen, Some(&namespaces)) {
                assert!(bond.place == 1 || known.is_ok());
                assert!(bond.shared.iter().all(|kind| KINDS.contains(kind)));
                // Without its id in a path no process is of an instance by its cgroup.
                let id = if bond.place == 0 { "a" } else { "b" }.repeat(64);
                assert!(!bond.in_cgroup || seen.contains(&id));
                assert!(bond.in_cgroup || seen.contains(&id) || !bond.shared.is_empty());
            }
            assert_eq!(homes.bonds(&seen, Some(&HOST)), homes.bonds(&seen, None));
        });
}

#[test]
fn a_hostile_cgroup_file_leads_to_no_other_files_than_those_that_say_whether_it_is_frozen() {
    check!()
        .with_generator(Damaged::lines([
            cgroup("a"),
            "6:freezer:/libpod_parent/libpod-a\n0::/../x\n".to_owned(),
        ]))
        .with_iterations(5_000)
        .for_each(|text| {
            for (file, _) in freezer::files(&text.text()) {
                let name = file.rsplit('/').next().unwrap();
                assert!(matches!(name, "cgroup.events" | "freezer.state"), "{file}");
                assert!(file.split('/').all(|part| part != ".."), "{file}");
            }
        });
}
