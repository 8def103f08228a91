//! A runtime that is moved aside: whoever calls it by its path meets the gate, and an upgrade of its package goes behind it.
//!
//! In a root of its own, with a database of packages of its own: the runtime of this machine stays where it is.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::programs::Programs;
use crate::scene::{Scene, checked};

/// What the gate says of a runtime that is not the one it knows.
const UPGRADED: &str = "run `verger-agent install-gate` again";

pub(super) fn run(scene: &Scene, programs: &Programs, real: &Path) -> Result<()> {
    let root = scene.path("root");
    for folder in ["usr/sbin", "usr/bin", "var/lib/dpkg"] {
        fs::create_dir_all(root.join(folder))?;
    }
    let (path, gate) = (root.join("usr/sbin/runc"), root.join("gate"));
    let moved = root.join("usr/sbin/runc.verger-real");
    fs::copy(real, &path)?;
    // What Podman calls by its path.
    let crun = root.join("usr/bin/crun");
    fs::copy("/usr/bin/crun", &crun).context("copying crun (package crun)")?;
    let moved_crun = root.join("usr/bin/crun.verger-real");
    let agent = |what: &str| -> Result<Command> {
        let mut command = Command::new(programs.path("verger-agent")?);
        command.arg("--config").arg(scene.path("agent.toml")).arg(what);
        command.arg("--at").arg(&gate).arg("--dpkg-root").arg(&root);
        Ok(command)
    };
    let install = |runtime: &Path, crun: &Path| -> Result<()> {
        let mut command = agent("install-gate")?;
        command.arg("--program").arg(programs.path("verger-gate")?);
        command.arg("--state").arg(scene.path("diverted-state"));
        command
            .arg("--divert")
            .arg("--runtime")
            .arg(format!("runc={}", runtime.display()))
            .arg("--runtime")
            .arg(format!("crun={}", crun.display()));
        checked(&mut command).map(drop)
    };
    install(&path, &crun)?;
    ensure!(
        fs::read_link(&path)? == gate.join("runc"),
        "its path does not lead to the gate"
    );
    ensure!(
        fs::read_link(&crun)? == gate.join("crun") && call(&crun, &["--version"])?.contains("crun version"),
        "crun's path does not lead to crun by the gate"
    );
    let told = call(
        &crun,
        &["create", "--bundle", "/nonexistent", "--no-subreaper", "ab12"],
    )?;
    ensure!(
        told.contains("verger-gate: create refused"),
        "by crun's name: {told}"
    );
    let create = || call(&path, &["create", "--bundle", "/nonexistent", "ab12"]);
    ensure!(
        call(&path, &["--version"])?.contains("runc version"),
        "what passes does not reach it"
    );
    let told = create()?;
    ensure!(
        told.contains("verger-gate: create refused") && !told.contains(UPGRADED),
        "{told}"
    );

    // As dpkg writes a file: whole, and then under the name that it was diverted to.
    let fresh = moved.with_extension("dpkg-new");
    let mut bytes = fs::read(&moved)?;
    bytes.extend(b"another version");
    fs::write(&fresh, bytes)?;
    fs::set_permissions(&fresh, fs::metadata(&moved)?.permissions())?;
    fs::rename(&fresh, &moved)?;
    let told = create()?;
    ensure!(told.contains(UPGRADED), "after an upgrade: {told}");
    install(&moved, &moved_crun)?;
    let told = create()?;
    ensure!(
        told.contains("verger-gate: create refused") && !told.contains(UPGRADED),
        "taken as it is: {told}"
    );
    checked(&mut agent("remove-gate")?)?;
    ensure!(
        [(&path, &moved), (&crun, &moved_crun)]
            .iter()
            .all(|(path, moved)| !path.is_symlink() && path.is_file() && !moved.exists()),
        "it is not back in its place"
    );
    Ok(())
}

fn call(path: &Path, words: &[&str]) -> Result<String> {
    let output = Command::new(path).args(words).output()?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}
