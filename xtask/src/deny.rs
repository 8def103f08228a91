//! cargo-deny: licences, sources and bans of everything in the lock file, and known vulnerabilities.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::report::Outcome;
use crate::workspace::{Workspace, capture, run};

const VERSION: &str = "0.20.2";
/// How this version names its clone of the default database: its last path segment and a hash of its address.
const CLONE: &str = "advisory-db-3157b0e258782691";
/// The advisory database for machines that reach no network: a directory or a `.tar.gz`.
const DATABASE: &str = "VERGER_ADVISORY_DB";

/// Holds the lock file against the bans, licences and sources of `deny.toml`.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    run(deny(workspace)?.args([
        "--all-features",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))
}

/// Holds the lock file against the advisory database; skipped when there is none.
pub(crate) fn check_advisories(workspace: &Workspace) -> Result<Outcome> {
    let Some(given) = std::env::var_os(DATABASE).map(PathBuf::from) else {
        return Ok(Outcome::Skipped(format!(
            "set {DATABASE} to a copy of RustSec's advisory-db (directory or .tar.gz)"
        )));
    };
    let root = database_root(&given)?;
    let config = with_database(&fs::read_to_string(workspace.root().join("deny.toml"))?, &root)?;
    let config_file = root.join("deny.toml");
    fs::write(&config_file, config).context("writing deny.toml with the database's place")?;
    let mut command = deny(workspace)?;
    command
        .args(["--offline", "--all-features", "--config"])
        .arg(config_file);
    run(command.args(["check", "--hide-inclusion-graph", "advisories"]))?;
    Ok(Outcome::Passed)
}

/// The configuration with `db-path` set. cargo-deny takes that path from its configuration alone.
fn with_database(config: &str, root: &Path) -> Result<String> {
    let mut table: toml::Table = toml::from_str(config).context("deny.toml")?;
    let advisories = table.get_mut("advisories").and_then(toml::Value::as_table_mut);
    let advisories = advisories.context("deny.toml has no [advisories]")?;
    advisories.insert("db-path".into(), root.display().to_string().into());
    toml::to_string(&table).context("writing deny.toml")
}

/// cargo-deny, built into the tools folder when it is not there.
fn deny(workspace: &Workspace) -> Result<Command> {
    let tools = Workspace::tools_dir()?;
    let program = tools.join("cargo/bin/cargo-deny");
    if !program.exists() {
        println!("building cargo-deny {VERSION} into the tools folder (some minutes, once)");
        // Unoptimised: it builds in a third of the time and still ends within seconds.
        let mut install = workspace.cargo(["install", "--locked", "--debug", "--version", VERSION, "--root"]);
        install
            .arg(tools.join("cargo"))
            .arg("cargo-deny")
            .env("CARGO_TARGET_DIR", tools.join("deny-build"));
        run(&mut install)?;
    }
    Ok(workspace.command(program))
}

/// Lays the database out as cargo-deny finds it: one git repository per source, below a common root.
fn database_root(given: &Path) -> Result<PathBuf> {
    let stamp = fs::metadata(given)
        .with_context(|| format!("{DATABASE}: reading {}", given.display()))?
        .modified()?;
    let mut hasher = DefaultHasher::new();
    (given, stamp).hash(&mut hasher);
    let root = Workspace::tools_dir()?.join(format!("advisories-{:016x}", hasher.finish()));
    let repository = root.join(CLONE);
    if !root.join("complete").exists() {
        if root.exists() {
            fs::remove_dir_all(&root).context("removing a half-made database")?;
        }
        fs::create_dir_all(&repository).with_context(|| format!("making {}", repository.display()))?;
        if given.is_dir() {
            capture(Command::new("cp").arg("-r").arg(given.join(".")).arg(&repository))?;
        } else {
            capture(
                Command::new("tar")
                    .arg("-xzf")
                    .arg(given)
                    .arg("-C")
                    .arg(&repository),
            )?;
        }
        if !repository.join("crates").is_dir() {
            bail!(
                "{DATABASE}: {} holds no crates/ folder, so it is no advisory-db",
                given.display()
            );
        }
        commit(&repository)?;
        fs::write(root.join("complete"), "").context("marking the database complete")?;
    }
    Ok(root)
}

/// cargo-deny reads the database's age from its last commit.
fn commit(repository: &Path) -> Result<()> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(repository).args(arguments);
        command
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE");
        capture(&mut command)
    };
    git(&["init", "--quiet"])?;
    git(&["add", "--all"])?;
    git(&[
        "-c",
        "user.name=xtask",
        "-c",
        "user.email=xtask@localhost",
        "commit",
        "--quiet",
        "--message",
        "Copy",
    ])?;
    Ok(())
}
