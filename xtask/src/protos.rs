//! Proto lint, and breaking changes against the committed baseline, with buf from npm.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::{Workspace, run};

const VERSION: &str = "1.75.0";
/// The last released interface, as a descriptor image. `gen` writes it; a breaking change must be made on purpose.
const BASELINE: &str = "proto/baseline/verger.binpb";

/// Lints, then compares with the baseline.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    run(buf(workspace)?.arg("lint"))?;
    let baseline = workspace.root().join(BASELINE);
    if !baseline.is_file() {
        bail!("{BASELINE} is missing; restore it from git, or write a first one: cargo xtask gen");
    }
    run(buf(workspace)?.args(["breaking", "--against", BASELINE]))
}

/// Writes the baseline from the protos of now.
pub(crate) fn write_baseline(workspace: &Workspace) -> Result<()> {
    let path = workspace.root().join(BASELINE);
    std::fs::create_dir_all(path.parent().context("the baseline lies in a folder")?)?;
    // Without source information: comments and line numbers are no part of the interface.
    run(buf(workspace)?.args(["build", "--exclude-source-info", "--output", BASELINE]))?;
    println!("wrote {BASELINE}");
    Ok(())
}

/// buf, installed into the tools folder when it is not there.
fn buf(workspace: &Workspace) -> Result<Command> {
    let folder = Workspace::tools_dir()?.join(format!("buf-{VERSION}"));
    let program: PathBuf = folder.join("node_modules/.bin/buf");
    if !program.exists() {
        println!("installing buf {VERSION} from npm into the tools folder");
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let install = Command::new("npm")
            .args([
                "install",
                "--no-save",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
                "--prefix",
            ])
            .arg(&folder)
            .arg(format!("@bufbuild/buf@{VERSION}"))
            .status()
            .context("running npm (package npm)")?;
        if !install.success() {
            bail!("npm could not install @bufbuild/buf {VERSION} ({install}); is the registry reachable?");
        }
    }
    let mut command = workspace.command(program);
    command.env("BUF_CACHE_DIR", folder.join("cache"));
    Ok(command)
}

#[cfg(test)]
mod tests;
