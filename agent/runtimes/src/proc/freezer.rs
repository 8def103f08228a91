//! Whether processes are frozen (cgroups(7); the kernel's `cgroup-v1/freezer-subsystem.rst` and `cgroup-v2.rst`).

use std::fs;

/// Where the hierarchies are mounted.
const ROOT: &str = "/sys/fs/cgroup";

/// Whether the processes of the cgroups in the text of a `/proc/PID/cgroup` are frozen, also because those above are. What cannot be read
/// freezes nothing.
pub(super) fn is_frozen(cgroup: &str) -> bool {
    files(cgroup).any(|(file, says)| {
        let text = fs::read_to_string(format!("{ROOT}/{file}"));
        text.is_ok_and(|text| says(&text))
    })
}

/// Whether a text says so.
pub(super) type Says = fn(&str) -> bool;

/// The files below the mount that say so, and what each says then. Pure.
pub(super) fn files(cgroup: &str) -> impl Iterator<Item = (String, Says)> {
    let by_state: Says = |text| matches!(text.trim(), "FROZEN" | "FREEZING");
    let by_events: Says = |text| text.lines().any(|line| line == "frozen 1");
    cgroup.lines().flat_map(move |line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let path = path.trim_matches('/');
        match controllers {
            // What is above the agent's own namespace of cgroups is not to be seen from here.
            _ if path.split('/').any(|part| part == "..") => Vec::new(),
            // Version 2, alone or beside version 1.
            "" => vec![
                (format!("{path}/cgroup.events"), by_events),
                (format!("unified/{path}/cgroup.events"), by_events),
            ],
            "freezer" => vec![(format!("freezer/{path}/freezer.state"), by_state)],
            _ => Vec::new(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_says_it_in_a_file_of_its_own() {
        let found: Vec<(String, bool)> =
            files("9:name=systemd:/a\n6:freezer:/p/libpod-x\n5:devices:/a\n0::/p/libpod-x\n")
                .map(|(file, says)| (file, says("FROZEN\n") || says("populated 1\nfrozen 1\n")))
                .collect();
        let expected = [
            "freezer/p/libpod-x/freezer.state",
            "p/libpod-x/cgroup.events",
            "unified/p/libpod-x/cgroup.events",
        ];
        assert_eq!(found, expected.map(|file| (file.to_owned(), true)));
        assert!(files("").next().is_none());
        for (_, says) in files("6:freezer:/a\n0::/a\n") {
            assert!(!says("THAWED\n") && !says("populated 1\nfrozen 0\n") && !says(""));
        }
    }

    #[test]
    fn this_process_is_not_frozen() {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        assert!(!is_frozen(&own));
    }
}
