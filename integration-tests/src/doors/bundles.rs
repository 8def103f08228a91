//! Configs that somebody changes after Docker wrote them and before the runtime reads them, as whoever may write to the folder of
//! bundles could.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Result, ensure};

use super::script;
use crate::launch::Gate;
use crate::point::tell;
use crate::scene::{Docker, Scene};

/// What became of the changed configs.
pub(super) struct Refused {
    pub(super) of: usize,
    pub(super) told: usize,
    pub(super) done: usize,
}

/// A change, as an expression of sed(1); `TRACE` is a file of the host, `FOLDER` another root file system.
struct Change {
    name: &'static str,
    sed: &'static str,
    says: &'static str,
    /// Whether it leaves the trace by itself; otherwise what it changed is seen in what the container may do.
    leaves_trace: bool,
}

const CHANGES: &[Change] = &[
    Change {
        name: "hook",
        sed: r#"s|"hooks":{"prestart":\[|&{"path":"/bin/touch","args":["touch","TRACE"]},|"#,
        says: "config/hooks",
        leaves_trace: true,
    },
    Change {
        name: "hook-like-dockers",
        sed: r#"s|"/proc/[0-9]*/exe","args":\["libnetwork-setkey"|"/bin/touch","args":["touch","TRACE"|; s|"TRACE",[^]]*\]|"TRACE"]|"#,
        says: "config/hooks",
        leaves_trace: true,
    },
    Change {
        name: "hook-of-another-process",
        sed: r#"s|"/proc/[0-9]*/exe"|"/proc/PID/exe"|"#,
        says: "config/hooks",
        leaves_trace: false,
    },
    Change {
        name: "root",
        sed: r#"s|"root":{"path":"[^"]*"|"root":{"path":"FOLDER"|"#,
        says: "config/root-path",
        leaves_trace: false,
    },
    Change {
        name: "annotation",
        sed: r#"s|^{"ociVersion"|{"annotations":{"run.oci.keep_original_groups":"1"},"ociVersion"|"#,
        says: "config/annotations",
        leaves_trace: false,
    },
    Change {
        name: "oom-score",
        sed: r#"s|"oomScoreAdj":0|"oomScoreAdj":-999|"#,
        says: "unread[process.oomScoreAdj]",
        leaves_trace: false,
    },
];

/// Runs each behind the gate and, before that, without it.
pub(super) fn run(scene: &Scene, docker: &Docker, gate: &Gate, real: &Path) -> Result<Refused> {
    let mut refused = Refused {
        of: CHANGES.len(),
        told: 0,
        done: 0,
    };
    let name = gate.folder().join("runc");
    let trace = scene.path("trace");
    let other = root(scene)?;
    let bystander = Bystander(Command::new("sleep").arg("3600").spawn()?);
    for change in CHANGES {
        let sed = change
            .sed
            .replace("TRACE", &trace.display().to_string())
            .replace("FOLDER", &other.display().to_string())
            .replace("PID", &bystander.0.id().to_string());
        // Without the gate it is run as it was changed.
        put(&name, Some((&sed, &scene.path("changed.json"))), real)?;
        let container = docker.name(change.name);
        let _ = fs::remove_file(&trace);
        let output = launch(docker, &container)?;
        let (before, after) = changed(scene)?;
        ensure!(
            before != after,
            "{}: the change changes nothing: {before}",
            change.name
        );
        if change.leaves_trace {
            ensure!(
                trace.exists(),
                "{}: without the gate nothing came of it: {output}",
                change.name
            );
        }
        docker.remove(&container)?;
        // Behind it.
        let _ = fs::remove_file(&trace);
        put(&name, Some((&sed, &scene.path("changed.json"))), &gate.program())?;
        let container = docker.name(change.name);
        let output = launch(docker, &container)?;
        if output.contains("verger-gate: create refused") && output.contains(change.says) {
            refused.told += 1;
        } else {
            tell(&format!("{}: {output}", change.name));
        }
        let runs = docker.say(&["inspect", "--format", "{{.State.Running}}", &container])? == "true";
        refused.done += usize::from(trace.exists() || runs);
        docker.remove(&container)?;
    }
    // By the same way, unchanged, it is let in.
    put(&name, None, &gate.program())?;
    let container = docker.name("unchanged");
    docker.run(
        &container,
        &["--security-opt", "no-new-privileges", "verger-test/app"],
    )?;
    docker.remove(&container)?;
    gate.install_again()?;
    Ok(refused)
}

/// A process of the host; it ends with this value.
struct Bystander(Child);

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn launch(docker: &Docker, container: &str) -> Result<String> {
    let mut command = docker.command();
    command.args([
        "run",
        "--detach",
        "--name",
        container,
        "--security-opt",
        "no-new-privileges",
        "verger-test/app",
    ]);
    let output = command.output()?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// In the place of `runc`: changes the config of what is created, keeps it before and after, and becomes `program`.
fn put(name: &Path, change: Option<(&str, &PathBuf)>, program: &Path) -> Result<()> {
    let edit = match change {
        None => String::new(),
        Some((sed, kept)) => format!(
            r#"bundle=; created=; words=("$@"); for i in "${{!words[@]}}"; do case "${{words[$i]}}" in --bundle) bundle="${{words[$((i + 1))]}}";; create) created=1;; esac; done
if [ -n "$created" ] && [ -n "$bundle" ]; then cp "$bundle/config.json" {kept:?}.before; sed -i '{sed}' "$bundle/config.json"; cp "$bundle/config.json" {kept:?}.after; fi"#
        ),
    };
    script(name, &format!("{edit}\nexec -a runc {program:?} \"$@\""))
}

fn changed(scene: &Scene) -> Result<(String, String)> {
    let read = |what: &str| fs::read_to_string(scene.path(&format!("changed.json.{what}")));
    Ok((read("before")?, read("after")?))
}

/// A root file system of somebody's own: a copy would do; an empty one is enough to tell.
fn root(scene: &Scene) -> Result<PathBuf> {
    let folder = scene.path("other-root");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
