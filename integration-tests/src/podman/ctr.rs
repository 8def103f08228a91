//! `ctr`: of which image its containers are is in containerd's database alone, so they are of none that is known, whatever they say.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::host::{ACT, Containerd, Out, Podman};
use crate::point::tell;
use crate::scene::Scene;

/// What became of the launches.
pub(super) struct Refused {
    pub(super) of: usize,
    pub(super) refused: usize,
}

/// A name that no other run's containers have: the runtime keeps those of all containerds in one place.
pub(super) fn name(what: &str) -> String {
    format!("verger-{what}-{}", std::process::id())
}

fn arguments(out: &Out, root: &Path, name: &str, flags: &[&str]) -> Vec<String> {
    let mount = format!("type=bind,src={},dst=/out,options=rbind:rw", out.0.display());
    let root = root.display().to_string();
    let fixed = ["run", "--detach", "--null-io", "--rootfs", "--mount", &mount];
    let words = fixed.into_iter().chain(flags.iter().copied());
    let words = words.chain([root.as_str(), name, "/bin/sh", "-c", ACT]);
    words.map(str::to_owned).collect()
}

/// A container runs, and says so.
pub(super) fn runs(
    scene: &Scene,
    containerd: &Containerd,
    out: &Out,
    root: &Path,
    name: &str,
    flags: &[&str],
) -> Result<()> {
    let before = out.count()?;
    let told = containerd.told(&arguments(out, root, name, flags))?;
    scene
        .wait_for(&format!("{name} to run"), || {
            Ok((out.count()? == before + 1).then_some(()))
        })
        .map_err(|error| error.context(told))
}

/// Whatever it claims, it is refused, once anything is.
pub(super) fn run(
    scene: &Scene,
    containerd: &Containerd,
    podman: &Podman,
    front: &Path,
    out: &Out,
    root: &Path,
) -> Result<Refused> {
    let twin = podman.say(front, &["inspect", "--format", "{{.Id}}", "twin"])?;
    // Every word of the config of what is blessed.
    let config = podman
        .graph()
        .join(format!("overlay-containers/{twin}/userdata/config.json"));
    let copy = scene.path("copied.json");
    fs::copy(&config, &copy)?;
    let copied = copy.display().to_string();
    let claims = [
        (name("plain"), vec![]),
        (name("label"), vec!["--label", "image=localhost/verger-test/web"]),
        (
            name("annotated"),
            vec!["--annotation", "io.container.manager=libpod"],
        ),
        // The id of the blessed twin, which runs.
        (twin.clone(), vec![]),
    ];
    let mut refused = Refused { of: 0, refused: 0 };
    let mut count = |what: &str, told: &str| {
        refused.of += 1;
        if told.contains("verger-gate: create refused") && told.contains("neither Docker nor Podman") {
            refused.refused += 1;
        } else {
            tell(&format!("ctr, {what}: {told}"));
        }
    };
    for (id, flags) in &claims {
        let told = containerd.told(&arguments(out, root, id, flags))?;
        count(id, &told);
        containerd.remove(id)?;
    }
    let id = name("copied");
    let told = containerd.told(&["run", "--detach", "--null-io", "--config", &copied, &id])?;
    count("with the blessed config", &told);
    containerd.remove(&id)?;
    ensure!(!containerd.bundle(&id).exists(), "its bundle is left");
    Ok(refused)
}
