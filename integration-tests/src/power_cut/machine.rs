//! What the rig needs of the machine, and its own mount namespace.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Programs the rig calls, with the package that has them on Debian and its kin.
const NEEDED: &[(&str, &str)] = &[
    ("mkfs.ext4", "e2fsprogs"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("losetup", "mount"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    // The system call that cuts the power has no safe interface in Rust.
    ("python3", "python3"),
];

/// Holds the mount namespace the rig was started in, once it has left it.
const OUTSIDE: &str = "VERGER_RIG_OUTSIDE";

/// Checks that the machine has what the rig needs.
///
/// # Errors
/// Names everything that is missing, and what to do about it.
pub fn check() -> Result<()> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("root's rights, to mount: run it with `sudo -E`".to_owned());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    for (program, package) in NEEDED {
        if !env::split_paths(&path).any(|dir| dir.join(program).is_file()) {
            missing.push(format!("{program} in PATH: `apt-get install {package}`"));
        }
    }
    if !Path::new("/dev/loop-control").exists() {
        missing.push("loop devices: `modprobe loop`; in a container, give it /dev/loop-control".to_owned());
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!("the power-cut rig lacks\n  {}", missing.join("\n  "))
}

/// Starts this program again in a mount namespace of its own, unless it is in one already. What it mounts is
/// seen by nobody else, and goes with it, however it ends.
///
/// # Errors
/// When the namespace cannot be made.
pub fn enter() -> Result<()> {
    let here = fs::read_link("/proc/self/ns/mnt").context("reading /proc/self/ns/mnt")?;
    match env::var_os(OUTSIDE) {
        Some(outside) if outside != here.as_os_str() => Ok(()),
        Some(_) => bail!("{OUTSIDE} is set and there is no new mount namespace; unset it"),
        None => {
            let error = Command::new("unshare")
                .args(["--mount", "--propagation", "private", "--"])
                .arg(env::current_exe().context("finding this program")?)
                .args(env::args_os().skip(1))
                .env(OUTSIDE, here)
                .exec();
            Err(error).context("starting unshare")
        }
    }
}
