//! Where this checkout and its caches lie, and how programs are run in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// This checkout.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the checkout that the current directory belongs to.
    pub(crate) fn find() -> Result<Self> {
        let here = std::env::current_dir().context("reading the current directory")?;
        let root = here
            .ancestors()
            .find(|dir| dir.join("xtask/Cargo.toml").is_file());
        match root {
            Some(root) => Ok(Self {
                root: root.to_path_buf(),
            }),
            None => bail!("{} is not inside a checkout of Verger", here.display()),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A program to be run at the checkout's root.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// The cargo that runs this task, at the checkout's root.
    pub(crate) fn cargo<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments);
        // Set by `cargo run` for xtask itself; some build scripts would take it for theirs.
        for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
            command.env_remove(name);
        }
        command
    }

    /// Where debug builds put programs.
    pub(crate) fn program_dir(&self) -> Result<PathBuf> {
        Ok(self.target_dir()?.join("debug"))
    }

    /// Where all builds are.
    pub(crate) fn target_dir(&self) -> Result<PathBuf> {
        let metadata = cargo_metadata::MetadataCommand::new()
            .manifest_path(self.root.join("Cargo.toml"))
            .no_deps()
            .exec()
            .context("running cargo metadata")?;
        Ok(metadata.target_directory.into_std_path_buf())
    }

    /// Where tools that CI needs are kept between runs, outside every checkout.
    pub(crate) fn tools_dir() -> Result<PathBuf> {
        Ok(xdg("XDG_CACHE_HOME", ".cache")?.join("verger/tools"))
    }

    /// Where `up` keeps the cluster it started.
    pub(crate) fn up_dir() -> Result<PathBuf> {
        Ok(xdg("XDG_STATE_HOME", ".local/state")?.join("verger-up"))
    }
}

/// A base directory (XDG Base Directory Specification); a relative value is ignored, as the specification asks.
fn xdg(variable: &str, below_home: &str) -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
    {
        return Ok(dir);
    }
    let home = std::env::var_os("HOME").with_context(|| format!("neither {variable} nor HOME is set"))?;
    Ok(Path::new(&home).join(below_home))
}

/// Runs a command, with its output going to the terminal; fails when it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("starting {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs a command and gives its standard output; its standard error is part of the failure.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("starting {}", shown(command)))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} ended with {}:\n{}",
            shown(command),
            output.status,
            error.trim()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed what is not UTF-8", shown(command)))
}

/// A command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
