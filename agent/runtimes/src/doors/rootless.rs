//! Containers that users make without root: processes in a user namespace that a user made (user_namespaces(7)).
//!
//! Told by `uid_map`, which everybody may read and which the kernel writes: a name that a process gives itself tells nothing. Runtimes
//! that run without root map the user himself (`0 1000 1`), and the ranges of subuid(5) beside that; a namespace that root made maps root, or
//! a whole range alone. Who maps a range of his alone (newuidmap(1)), and what is in a namespace within his, is not told from that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;

use verger_agent_core::doors::Rootless;
use verger_policy::facts::Evidence;

use super::host::comm;

/// Names of programs that are told of one user.
const NAMES: usize = 8;

/// What runs in the namespaces of users, by their uid on this host.
pub(super) fn rootless() -> Evidence<BTreeMap<u32, Rootless>> {
    let own = match fs::read_to_string("/proc/self/uid_map") {
        Ok(own) => own,
        Err(error) => return Evidence::Missing(format!("/proc/self/uid_map cannot be read: {error}")),
    };
    let entries = match fs::read_dir("/proc") {
        Ok(entries) => entries,
        Err(error) => return Evidence::Missing(format!("/proc cannot be read: {error}")),
    };
    let mut found: BTreeMap<u32, Rootless> = BTreeMap::new();
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let map = match fs::read_to_string(format!("/proc/{pid}/uid_map")) {
            Ok(map) => map,
            // It has ended.
            Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH) => {
                continue;
            }
            Err(error) => return Evidence::Missing(format!("/proc/{pid}/uid_map cannot be read: {error}")),
        };
        if map == own {
            continue;
        }
        if let Some(uid) = user_of(&map) {
            let of_user = found.entry(uid).or_default();
            of_user.processes += 1;
            let name = comm(pid).map(|name| String::from_utf8_lossy(&name).into_owned());
            let names: &mut BTreeSet<String> = &mut of_user.names;
            names.extend(name.filter(|_| names.len() < NAMES));
        }
    }
    Evidence::Seen(found)
}

/// No such process (errno(3)): what reading a file of one that ends meanwhile gives.
const ESRCH: i32 = 3;

/// The user whom this `uid_map` maps alone, beside ranges or not; none where root is mapped, or a range alone.
pub(super) fn user_of(map: &str) -> Option<u32> {
    let line = |line: &str| -> Option<(u32, u32)> {
        let mut numbers = line.split_ascii_whitespace().skip(1).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let lines: Vec<(u32, u32)> = map.lines().filter_map(line).collect();
    let maps_root = lines.iter().any(|(outside, length)| *outside == 0 && *length > 0);
    let himself = lines.iter().find(|(_, length)| *length == 1);
    himself.filter(|_| !maps_root).map(|(outside, _)| *outside)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::BufRead as _;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_namespace_of_a_users_is_told_from_those_that_root_makes() {
        assert_eq!(
            user_of("         0       1000          1\n         1     100000      65536\n"),
            Some(1000)
        );
        assert_eq!(user_of("1000 1000 1\n"), Some(1000));
        // The host's, Docker's userns-remap, systemd's PrivateUsers=.
        for root in [
            "0 0 4294967295\n",
            "0 100000 65536\n",
            "0 0 1\n998 998 1\n",
            "",
            "0\n",
            "a b c\n",
        ] {
            assert_eq!(user_of(root), None, "{root}");
        }
    }

    #[test]
    fn what_a_user_runs_in_a_namespace_of_his_own_is_seen_with_its_name() {
        const UID: u32 = 64_123;
        let user = |program: &[&str]| {
            let mut command = Command::new(program[0]);
            command.args(&program[1..]).uid(UID).gid(UID);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command.spawn().unwrap()
        };
        let says = "echo there; exec cat";
        let mut plain = user(&["sh", "-c", says]);
        let mut rootless = user(&["unshare", "--user", "--map-root-user", "sh", "-c", says]);
        for child in [&mut plain, &mut rootless] {
            let mut line = String::new();
            std::io::BufReader::new(child.stdout.as_mut().unwrap())
                .read_line(&mut line)
                .unwrap();
            assert_eq!(line, "there\n");
        }
        let found = super::rootless();
        for mut child in [plain, rootless] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let found = found.seen().unwrap().get(&UID).cloned().unwrap();
        assert_eq!(found.processes, 1, "{found:?}");
        assert!(
            found.names.contains("cat") || found.names.contains("sh"),
            "{found:?}"
        );
    }
}
