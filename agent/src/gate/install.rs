//! Putting the gate in front of the runtimes of this host, and seeing whether it still stands there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use verger_agent_runtimes::docker::{DockerConfig, DockerRuntime};
use verger_gate_protocol::pin;
use verger_gate_protocol::settings::{self, Runtime, Settings};
use verger_policy::drift::Outcome;
use verger_policy::facts::Evidence;

use super::standing::{Wanted, moved_from};
use super::{divert, said, watching};
use crate::config::Config;

/// The gate's program, in its folder.
pub(crate) const PROGRAM: &str = "verger-gate";
/// The runtimes that are looked for.
const NAMES: [&str; 2] = ["runc", "crun"];

/// `install-gate`.
#[derive(Debug, clap::Args)]
pub(crate) struct InstallArgs {
    /// The folder of root's that the gate goes to; it comes first in the PATH of the daemons that launch containers
    #[arg(long, default_value = "/usr/lib/verger/gate", value_name = "DIR")]
    at: PathBuf,
    /// The gate's program; the one beside this program otherwise
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// A runtime to stand in front of; may be given again. Those that are found otherwise
    #[arg(long, value_name = "NAME=PATH", value_parser = named)]
    runtime: Vec<(String, PathBuf)>,
    /// Where the gate notes which runtime it has seen to be the right one
    #[arg(long, default_value = "/run/verger-gate", value_name = "DIR")]
    state: PathBuf,
    /// Move each runtime aside and put the gate in its place, so that whoever calls it by its path meets the gate, too
    /// (dpkg-divert(1)); packages are upgraded behind it from then on
    #[arg(long)]
    divert: bool,
    #[command(flatten)]
    dpkg: DpkgArgs,
}

/// Whose packages.
#[derive(Debug, clap::Args)]
pub(crate) struct DpkgArgs {
    /// Another root than this host's, as of an image that is being made
    #[arg(long, value_name = "DIR")]
    pub(super) dpkg_root: Option<PathBuf>,
}

/// `remove-gate` and `check-gate`.
#[derive(Debug, clap::Args)]
pub(crate) struct PlaceArgs {
    /// The gate's folder; the configuration's otherwise
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    #[command(flatten)]
    dpkg: DpkgArgs,
}

impl PlaceArgs {
    fn at(&self, config: &Config) -> PathBuf {
        self.at.clone().unwrap_or_else(|| config.gate_folder.clone())
    }
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if is_plain(name) && Path::new(path).is_absolute() => {
            Ok((name.to_owned(), path.into()))
        }
        _ => Err("write NAME=PATH, as runc=/usr/sbin/runc".to_owned()),
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name != PROGRAM
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && name != settings::FILE
}

/// Puts the gate in front of the runtimes. Done again, it takes them as they are then: after an upgrade of a runtime, say.
pub(crate) fn install(config: &Config, args: &InstallArgs) -> anyhow::Result<()> {
    let socket = config.gate_socket.clone().context(
        "the configuration has no `gate_socket`: nobody would answer the gate, and nothing could be launched",
    )?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name(PROGRAM),
    };
    let found = if args.runtime.is_empty() {
        found(&args.at)
    } else {
        args.runtime.clone()
    };
    ensure!(
        !found.is_empty(),
        "neither {} is in {}: name a runtime with --runtime NAME=PATH",
        NAMES.join(" nor "),
        settings::USUAL.join(", ")
    );
    let mut runtimes = BTreeMap::new();
    for (name, path) in found {
        let path = fs::canonicalize(&path).with_context(|| format!("the runtime {}", path.display()))?;
        ensure!(
            !path.starts_with(&args.at),
            "{} is the gate itself: name the runtime behind it with --runtime {name}=PATH",
            path.display()
        );
        let file = File::open(&path).with_context(|| format!("the runtime {}", path.display()))?;
        pin::owned_by_root(&file.metadata()?).with_context(|| format!("the runtime {}", path.display()))?;
        let sha256 = pin::digest(file)?;
        let path = if args.divert && moved_from(&path).is_none() {
            divert::aside(&path)
        } else {
            path
        };
        runtimes.insert(name, Runtime { path, sha256 });
    }
    // Who the agent runs as: its files belong to that user.
    let agent_uid = fs::metadata(&config.data_dir)
        .with_context(|| format!("{}: enrol this host first", config.data_dir.display()))?
        .uid();
    let settings = Settings {
        version: 1,
        socket,
        agent_uid,
        state: args.state.clone(),
        runtimes,
    };
    put(&args.at, &program, &settings)?;
    for (name, runtime) in &settings.runtimes {
        if let Some(before) = moved_from(&runtime.path) {
            divert::put(&before, &args.at.join(name), args.dpkg.dpkg_root.as_deref())?;
        }
    }
    for (name, runtime) in &settings.runtimes {
        said(&format!(
            "{} stands in front of {} (SHA-256 {})",
            args.at.join(name).display(),
            runtime.path.display(),
            runtime.sha256
        ))?;
    }
    if settings
        .runtimes
        .values()
        .all(|runtime| moved_from(&runtime.path).is_some())
    {
        return said("whoever calls them meets the gate; what runs already was not judged: start it anew");
    }
    said(&format!(
        "put {} first in the PATH of dockerd and containerd, and start them again",
        args.at.display()
    ))?;
    if config.podman_program.exists() {
        said(
            "Podman calls its runtimes by their paths, and meets the gate after `install-gate --divert` alone",
        )?;
    }
    Ok(())
}

/// The runtimes of this host, apart from what is in the gate's own folder.
fn found(at: &Path) -> Vec<(String, PathBuf)> {
    let of = |name: &&str| {
        let mut real = settings::found(name, &settings::USUAL, at);
        real.next().map(|path| ((*name).to_owned(), path))
    };
    NAMES.iter().filter_map(of).collect()
}

/// Each file comes whole or not at all; the names come last, when what they lead to is there.
fn put(at: &Path, program: &Path, settings: &Settings) -> anyhow::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(at)?;
    pin::owned_by_root(&fs::symlink_metadata(at)?).with_context(|| at.display().to_string())?;
    let place = |name: &str, draft: &dyn Fn(&Path) -> anyhow::Result<()>| -> anyhow::Result<()> {
        let fresh = at.join(format!(".{name}.new"));
        let _ = fs::remove_file(&fresh);
        let path = at.join(name);
        draft(&fresh)
            .and_then(|()| Ok(fs::rename(&fresh, &path)?))
            .with_context(|| format!("writing {}", path.display()))
    };
    // What is right stays: its age says since when the gate stands there.
    if !is_there(&at.join(PROGRAM), program) {
        place(PROGRAM, &|fresh| {
            fs::copy(program, fresh).with_context(|| format!("reading {}", program.display()))?;
            fs::set_permissions(fresh, fs::Permissions::from_mode(0o755))?;
            Ok(File::open(fresh)?.sync_all()?)
        })?;
    }
    place(settings::FILE, &|fresh| {
        let mut file = File::create(fresh)?;
        file.write_all(&serde_json::to_vec_pretty(settings)?)?;
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        Ok(file.sync_all()?)
    })?;
    for name in settings.runtimes.keys() {
        if fs::read_link(at.join(name)).is_ok_and(|to| to == Path::new(PROGRAM)) {
            continue;
        }
        place(name, &|fresh| Ok(symlink(PROGRAM, fresh)?))?;
    }
    Ok(())
}

/// Whether the gate's program is in its place, root's alone, and the same as the one that is to be put there.
fn is_there(path: &Path, program: &Path) -> bool {
    let is_sound = fs::symlink_metadata(path).is_ok_and(|metadata| {
        metadata.is_file() && metadata.mode() & 0o7777 == 0o755 && pin::owned_by_root(&metadata).is_ok()
    });
    let digest = |path: &Path| File::open(path).and_then(pin::digest).ok();
    is_sound && digest(path).is_some_and(|there| digest(program) == Some(there))
}

/// Takes the gate away: names first, so that nothing leads to what is gone.
pub(crate) fn remove(config: &Config, args: &PlaceArgs) -> anyhow::Result<()> {
    let at = args.at(config);
    if !at.join(settings::FILE).exists() {
        return said(&format!("there is no gate in {}", at.display()));
    }
    let settings = Settings::read(&at)?;
    for (name, runtime) in &settings.runtimes {
        if let Some(before) = moved_from(&runtime.path) {
            divert::take_back(&before, &at.join(name), args.dpkg.dpkg_root.as_deref())?;
        }
    }
    let names = settings.runtimes.keys().map(String::as_str);
    for name in names.chain([settings::FILE, PROGRAM]) {
        let path = at.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", path.display()));
            }
            _ => {}
        }
    }
    said(&format!(
        "nothing stands in front of the runtimes any more ({})",
        at.display()
    ))
}

/// Says whether the gate stands as it was put, in every way to the runtimes: what the agent watches, looked at once.
///
/// # Errors
/// When it does not. What could not be looked at is said, and is no error.
pub(crate) async fn check(config: &Config, args: &PlaceArgs) -> anyhow::Result<()> {
    let at = args.at(config);
    let docker = DockerRuntime::new(DockerConfig {
        mark: config.tripwire.as_ref().map(|tripwire| tripwire.mark.clone()),
        ..DockerConfig::new(&config.docker_socket)
    });
    let registered = watching::registered(&docker).await;
    // Whoever asks may be another user than the agent: its files belong to that one.
    let agent_uid = match fs::metadata(&config.data_dir) {
        Ok(metadata) => Evidence::Seen(metadata.uid()),
        Err(error) => Evidence::Missing(format!("{}: {error}", config.data_dir.display())),
    };
    let wanted = Wanted::of(config.gate_socket.as_deref(), agent_uid);
    let doors = watching::once(config.places(&at), wanted, registered).await?;
    let checks = doors.checks(&BTreeSet::new());
    let mut wrong = 0;
    for check in &checks {
        let (expected, actual) = (check.expected.as_deref(), check.actual.as_deref());
        let line = match check.result {
            Outcome::Fail => {
                wrong += 1;
                format!(
                    "{} {}: expected {}, found {}; {}",
                    check.rule,
                    check.field,
                    expected.unwrap_or("otherwise"),
                    actual.unwrap_or("this"),
                    check.reason
                )
            }
            _ => format!("{} {}: not evaluated: {}", check.rule, check.field, check.reason),
        };
        said(&line)?;
    }
    ensure!(
        wrong == 0,
        "the gate does not stand in every way to the runtimes ({wrong} above)"
    );
    let names = Settings::read(&at)?.runtimes.into_keys().collect::<Vec<_>>();
    said(&format!("the gate stands in front of {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_program_that_is_right_stays_and_another_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (at, program) = (dir.path().join("gate"), dir.path().join("program"));
        fs::write(&program, b"the gate").unwrap();
        let settings = Settings {
            version: 1,
            socket: "/run/x".into(),
            agent_uid: 0,
            state: "/run/y".into(),
            runtimes: BTreeMap::new(),
        };
        let there = at.join(PROGRAM);
        let installed = || {
            put(&at, &program, &settings).unwrap();
            assert_eq!(fs::read(&there).unwrap(), fs::read(&program).unwrap());
            let metadata = fs::metadata(&there).unwrap();
            assert_eq!(metadata.mode() & 0o7777, 0o755);
            (metadata.ctime(), metadata.ctime_nsec())
        };
        let first = installed();
        assert_eq!(installed(), first);
        fs::set_permissions(&there, fs::Permissions::from_mode(0o777)).unwrap();
        installed();
        fs::write(&program, b"another").unwrap();
        installed();
    }
}
