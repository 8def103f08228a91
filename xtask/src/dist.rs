//! The programs as they are installed: optimised, in one folder.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::{Workspace, run};

/// The profile that they are built by, and the folder that they are in.
pub(crate) const PROFILE: &str = "dist";
/// The packages of what is installed besides the gate.
const PACKAGES: [&str; 4] = [
    "verger-agent",
    "verger-cli",
    "verger-controller",
    "verger-tripwire",
];
const GATE: &str = "verger-gate";

/// Builds them all into `target/dist`.
pub(crate) fn dist(workspace: &Workspace) -> Result<()> {
    let packages = PACKAGES.iter().flat_map(|package| ["-p", *package]);
    run(&mut workspace.cargo(["build", "--profile", PROFILE].into_iter().chain(packages)))?;
    let gate = gate(workspace)?;
    println!(
        "{} has what hosts and members need",
        gate.with_file_name("").display()
    );
    Ok(())
}

/// Builds the gate beside the other optimised programs, as one file without a dynamic linker: it is started anew for each call of the
/// runtime, and half of what it costs would be finding its libraries. It lies at a fixed address for the same reason: what it reads, it reads in safe code. Gives where it is.
pub(crate) fn gate(workspace: &Workspace) -> Result<PathBuf> {
    let triple = host_triple()?;
    let variable = format!(
        "CARGO_TARGET_{}_RUSTFLAGS",
        triple.to_ascii_uppercase().replace('-', "_")
    );
    let mut build = workspace.cargo(["build", "--profile", PROFILE, "-p", GATE, "--target", &triple]);
    // Flags are for what runs there alone, and not for macros, which have to be loaded.
    build.env(
        variable,
        "-C target-feature=+crt-static -C relocation-model=static",
    );
    // These would be taken instead.
    build
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    run(&mut build)?;
    let target = workspace.target_dir()?;
    let (built, beside) = (
        target.join(&triple).join(PROFILE).join(GATE),
        target.join(PROFILE).join(GATE),
    );
    let draft = beside.with_extension("draft");
    fs::create_dir_all(target.join(PROFILE)).context("making the folder of what is installed")?;
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
