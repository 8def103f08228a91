//! Debian packages that tasks need: installs what is missing, and says what.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::workspace::run;

/// A package and a program it brings. Found by the program: it may have come another way than by this package.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) program: &'static str,
}

const fn package(name: &'static str, program: &'static str) -> Package {
    Package { name, program }
}

/// What containers need.
pub(crate) const FOR_DOCKER: &[Package] = &[
    package("docker.io", "dockerd"),
    package("containerd", "containerd"),
    package("runc", "runc"),
    package("iptables", "iptables"),
    package("busybox-static", "/bin/busybox"),
    package("iproute2", "ip"),
    package("util-linux", "nsenter"),
    package("tar", "tar"),
];

/// What the tests need besides.
pub(crate) const FOR_TESTS: &[Package] = &[
    package("git", "git"),
    package("nftables", "nft"),
    package("e2fsprogs", "mke2fs"),
    package("openssh-client", "ssh-agent"),
    package("bsdutils", "script"),
    package("systemd", "systemd-analyze"),
    package("faketime", "faketime"),
    package("podman", "podman"),
    package("crun", "crun"),
    package("netavark", "/usr/lib/podman/netavark"),
    package("docker-compose", "docker-compose"),
];

/// What `check` needs.
pub(crate) const FOR_CHECKS: &[Package] = &[
    package("git", "git"),
    package("nodejs", "node"),
    package("npm", "npm"),
    package("systemd", "systemd-analyze"),
];

/// What replicated writes are measured beside, and by.
pub(crate) const FOR_REPLICATION: &[Package] = &[
    package("etcd-server", "etcd"),
    package("linux-perf", "perf"),
    package("util-linux", "setpriv"),
];

/// Where programs of packages lie; a plain user's PATH lacks the last two.
const FOLDERS: &[&str] = &["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// Installs those of `wanted` whose program is missing.
pub(crate) fn install(wanted: &[&[Package]]) -> Result<()> {
    let missing = missing(wanted, |program| {
        let path = Path::new(program);
        if path.is_absolute() {
            path.exists()
        } else {
            FOLDERS.iter().any(|dir| Path::new(dir).join(path).exists())
        }
    });
    if missing.is_empty() {
        return Ok(());
    }
    let command = format!(
        "apt-get install --yes --no-install-recommends {}",
        missing.join(" ")
    );
    if !rustix::process::geteuid().is_root() {
        bail!("missing: {}; run as root: {command}", missing.join(", "));
    }
    println!("installing {}", missing.join(", "));
    run(apt().args(["update", "--quiet"]))?;
    run(apt()
        .args(["install", "--yes", "--no-install-recommends", "--quiet"])
        .args(missing))
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn missing(wanted: &[&[Package]], present: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut names: Vec<_> = wanted
        .iter()
        .flat_map(|list| list.iter())
        .filter(|p| !present(p.program))
        .map(|p| p.name)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed_and_once() {
        let absent = ["git", "/bin/busybox"];
        let found = missing(&[FOR_DOCKER, FOR_TESTS, FOR_CHECKS], |program| {
            !absent.contains(&program)
        });
        assert_eq!(found, ["busybox-static", "git"]);
    }
}
