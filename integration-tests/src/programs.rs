//! The programs the rigs start: where they are, and how they are built.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Says where the programs under test are.
pub const PROGRAM_DIR: &str = "VERGER_BIN_DIR";

/// Builds the rigs' children; they are behind a feature, so that no release has them.
const BUILD: &[&str] = &[
    "build",
    "-p",
    "verger-controller-store",
    "-p",
    "verger-agent-store",
    "--features",
    "verger-controller-store/rig,verger-agent-store/rig",
    "--bins",
];

/// Says where the optimised programs are.
pub const OPTIMISED_DIR: &str = "VERGER_OPTIMISED_DIR";

/// A folder of programs.
#[derive(Clone, Debug)]
pub struct Programs {
    folder: PathBuf,
    /// Where some of them are that were built optimised, and which.
    optimised: Option<(PathBuf, &'static [&'static str])>,
}

impl Programs {
    /// The folder that `VERGER_BIN_DIR` names, else the one this program was built into.
    ///
    /// # Errors
    /// When neither is known.
    pub fn find() -> Result<Self> {
        match env::var_os(PROGRAM_DIR) {
            Some(dir) => Ok(Self::of(PathBuf::from(dir))),
            None => Self::beside_this(),
        }
    }

    fn of(folder: PathBuf) -> Self {
        Self {
            folder,
            optimised: None,
        }
    }

    /// As [`find`](Self::find), but those whose cost is measured as they are built for a host: from the folder that
    /// `VERGER_OPTIMISED_DIR` names.
    ///
    /// # Errors
    /// When it names none, or they are not there.
    pub fn find_optimised(measured: &'static [&'static str]) -> Result<Self> {
        let optimised = env::var_os(OPTIMISED_DIR).map(PathBuf::from);
        let optimised = optimised.with_context(|| {
            format!("{OPTIMISED_DIR} names no folder: run this through `cargo xtask bench`")
        })?;
        for name in measured {
            if !optimised.join(name).is_file() {
                bail!("{name} is not in {optimised:?}; run `cargo xtask dist`");
            }
        }
        Ok(Self {
            optimised: Some((optimised, measured)),
            ..Self::find()?
        })
    }

    /// Builds the rigs' children from the sources as they are now, next to this program.
    ///
    /// # Errors
    /// When they do not build.
    pub fn build() -> Result<Self> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the crate is in a workspace")?;
        let target = Self::beside_this()?
            .folder
            .parent()
            .context("a target folder has profiles")?
            .to_owned();
        let status = Command::new(&cargo)
            .args(BUILD)
            .current_dir(workspace)
            .env("CARGO_TARGET_DIR", target)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .with_context(|| format!("starting {cargo:?}"))?;
        if !status.success() {
            bail!(
                "the programs do not build; run `cargo {}` to see why",
                BUILD.join(" ")
            );
        }
        Self::beside_this()
    }

    fn beside_this() -> Result<Self> {
        let exe = env::current_exe().context("finding this program")?;
        let dir = exe.parent().context("a program is in a folder")?;
        // Tests are one deeper.
        let dir = if dir.ends_with("deps") {
            dir.parent().unwrap_or(dir)
        } else {
            dir
        };
        Ok(Self::of(dir.to_owned()))
    }

    /// The path of one of them.
    ///
    /// # Errors
    /// When it is not there; says how to build it.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        let measured = self
            .optimised
            .as_ref()
            .filter(|(_, measured)| measured.contains(&name));
        let path = measured.map_or(&self.folder, |(folder, _)| folder).join(name);
        if !path.is_file() {
            bail!(
                "{name} is not in {:?}; run `cargo {}`, or set {PROGRAM_DIR} to the folder that has it",
                self.folder,
                BUILD.join(" ")
            );
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_the_command_that_builds_it() {
        let dir = tempfile::tempdir().unwrap();
        let programs = Programs::of(dir.path().to_owned());
        let error = programs.path("verger-store-writer").unwrap_err().to_string();
        assert!(error.contains("verger-store-writer is not in"), "{error}");
        assert!(
            error.contains("cargo build -p verger-controller-store"),
            "{error}"
        );
        std::fs::write(dir.path().join("verger-store-writer"), "").unwrap();
        assert_eq!(
            programs.path("verger-store-writer").unwrap(),
            dir.path().join("verger-store-writer")
        );
    }
}
