//! The programs as they are installed: optimised, in one folder.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::{Workspace, run};

/// What is installed besides the gate: the package, and its program.
const PROGRAMS: &[(&str, &str)] = &[
    ("verger-agent", "verger-agent"),
    ("verger-cli", "verger"),
    ("verger-controller", "verger-controller"),
    ("verger-tripwire", "verger-tripwire"),
];
const GATE: &str = "verger-gate";

/// Builds them all into `target/dist`.
pub(crate) fn dist(workspace: &Workspace) -> Result<()> {
    let packages = PROGRAMS.iter().flat_map(|(package, _)| ["-p", *package]);
    run(&mut workspace.cargo(["build", "--release"].into_iter().chain(packages)))?;
    let gate = gate(workspace)?;
    let folder = workspace.target_dir()?.join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let built = workspace.target_dir()?.join("release");
    let all = PROGRAMS
        .iter()
        .map(|(_, program)| (built.join(program), *program))
        .chain([(gate, GATE)]);
    for (from, program) in all {
        let to = folder.join(program);
        fs::copy(&from, &to).with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    }
    println!("{} has what hosts and members need", folder.display());
    Ok(())
}

/// Builds the gate beside the other optimised programs, as one file without a dynamic linker: it is started anew for each call of the
/// runtime, and half of what it costs would be finding its libraries. Gives where it is.
pub(crate) fn gate(workspace: &Workspace) -> Result<PathBuf> {
    let triple = host_triple()?;
    let variable = format!(
        "CARGO_TARGET_{}_RUSTFLAGS",
        triple.to_ascii_uppercase().replace('-', "_")
    );
    let mut build = workspace.cargo(["build", "--release", "-p", GATE, "--target", &triple]);
    // Flags are for what runs there alone, and not for macros, which have to be loaded.
    build.env(
        variable,
        "-C target-feature=+crt-static -C relocation-model=static",
    );
    run(&mut build)?;
    let target = workspace.target_dir()?;
    let (built, beside) = (
        target.join(&triple).join("release").join(GATE),
        target.join("release").join(GATE),
    );
    let draft = beside.with_extension("draft");
    fs::copy(&built, &draft)
        .and_then(|_| fs::rename(&draft, &beside))
        .with_context(|| format!("copying {} to {}", built.display(), beside.display()))?;
    Ok(beside)
}

fn host_triple() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("running rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(triple) => Ok(triple.to_owned()),
        None => bail!("rustc does not say what it builds for: {text}"),
    }
}
