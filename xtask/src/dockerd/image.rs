//! The images tests run: Debian's static busybox and nothing else, so that no registry is ever asked.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Debian's `busybox-static` installs here.
const BUSYBOX: &str = "/bin/busybox";

/// What an image adds to the busybox root: its name and its Dockerfile lines.
const IMAGES: &[(&str, &[&str])] = &[
    (
        "verger-test/busybox:latest",
        &[
            "CMD [\"sleep\",\"3600\"]",
            "ENV PATH=/usr/local/bin:/usr/bin:/bin:/sbin",
        ],
    ),
    (
        "verger-test/app:latest",
        &[
            "ENTRYPOINT [\"/bin/sh\",\"-c\"]",
            "CMD [\"exec sleep 3600\"]",
            "ENV PATH=/usr/local/bin:/usr/bin:/bin:/sbin",
            "ENV APP_MODE=production",
            "USER 65534:65534",
            "WORKDIR /srv",
            "EXPOSE 8080/tcp",
            "LABEL org.verger.test=app",
        ],
    ),
];

/// Imports every test image that the daemon at `host` lacks.
pub(super) fn import_missing(host: &str) -> Result<()> {
    let missing: Vec<_> = IMAGES.iter().filter(|(name, _)| !exists(host, name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let root = tempfile::tempdir().context("making a directory for the image's root")?;
    let archive = archive_root(root.path())?;
    for (name, changes) in missing {
        let mut import = docker(host);
        import.arg("import");
        for change in *changes {
            import.args(["--change", change]);
        }
        let output = import
            .arg(&archive)
            .arg(name)
            .output()
            .context("running docker import")?;
        if !output.status.success() {
            bail!(
                "docker import {name} failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
    }
    Ok(())
}

fn exists(host: &str, image: &str) -> bool {
    docker(host)
        .args(["image", "inspect", image])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Debian's own client when it is there: it speaks exactly the daemon's API version.
fn docker(host: &str) -> Command {
    let packaged = Path::new("/usr/bin/docker");
    let mut command = Command::new(if packaged.exists() {
        packaged
    } else {
        Path::new("docker")
    });
    command
        .args(["--host", host])
        .env_remove("DOCKER_CONTEXT")
        .env_remove("DOCKER_TLS_VERIFY");
    command
}

/// Builds the root file system and packs it with fixed owners and times.
fn archive_root(scratch: &Path) -> Result<PathBuf> {
    let root = scratch.join("root");
    for dir in [
        "bin", "dev", "etc", "home/app", "proc", "run", "sbin", "srv", "sys", "tmp", "usr/bin", "var/tmp",
    ] {
        fs::create_dir_all(root.join(dir)).context("making the image's directories")?;
    }
    for dir in ["tmp", "var/tmp"] {
        fs::set_permissions(root.join(dir), fs::Permissions::from_mode(0o1777))?;
    }
    if !Path::new(BUSYBOX).exists() {
        bail!("{BUSYBOX} is missing; remedy: apt-get install busybox-static");
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).context("copying busybox")?;
    let applets = Command::new(BUSYBOX)
        .arg("--list")
        .output()
        .context("running busybox --list")?;
    for applet in String::from_utf8(applets.stdout)?
        .lines()
        .filter(|applet| *applet != "busybox")
    {
        symlink("busybox", root.join("bin").join(applet))
            .with_context(|| format!("linking applet {applet}"))?;
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    )?;
    fs::write(
        root.join("etc/group"),
        "root:x:0:\napp:x:1000:\nnogroup:x:65534:\n",
    )?;
    let archive = scratch.join("root.tar");
    let status = Command::new("tar")
        .args([
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "-C",
        ])
        .arg(&root)
        .arg("-cf")
        .arg(&archive)
        .arg(".")
        .status()
        .context("running tar")?;
    if !status.success() {
        bail!("tar failed with {status}");
    }
    Ok(archive)
}
