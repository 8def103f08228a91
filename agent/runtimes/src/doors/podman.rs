//! What Podman calls its runtimes, and the processes (conmon) that hold its containers. It has no daemon: whoever runs a container may name
//! any program as its runtime, and what that came to is seen at what holds the container.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use verger_agent_core::doors::{Leads, PODMANS, Shim};
use verger_gate_protocol::file;
use verger_policy::facts::Evidence;
use verger_policy::model::printable_within;

use super::lookup::Gate;
use super::{Places, is_before, process};

/// The program that holds a container of Podman's.
pub(super) const CONMON: &str = "conmon";
/// Programs that Podman takes for runtimes by itself (containers/common `pkg/config/default.go`), and where it looks for each.
const NAMES: [&str; 9] = [
    "crun",
    "kata-fc",
    "kata-qemu",
    "kata-runtime",
    "krun",
    "runc",
    "runj",
    "runsc",
    "youki",
];
const FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
/// The gate may keep a launch waiting for the agent to start and for its network to be closed.
const LAUNCHING: Duration = Duration::from_secs(30);
/// A conmon goes at once when what it holds has ended, on a machine that is not busy.
const ENDING: Duration = Duration::from_secs(2);
/// The most bytes of a file that says so, and the most runtimes that are told of.
const LIMIT: u64 = 1 << 20;
const MOST: usize = 256;

/// What the files say of runtimes.
#[derive(Debug, Default, Deserialize)]
struct ContainersConf {
    #[serde(default)]
    engine: Engine,
}

#[derive(Debug, Default, Deserialize)]
struct Engine {
    runtime: Option<String>,
    #[serde(default)]
    runtimes: BTreeMap<String, Vec<String>>,
}

/// The programs that a file names as runtimes: each path of each, and the one that is taken where none is asked for, if that is named by
/// its path.
///
/// # Errors
/// When it is no such file; what is wrong with it, safe to show.
pub(super) fn named(text: &str) -> Result<BTreeSet<String>, String> {
    let read: ContainersConf =
        toml::from_str(text).map_err(|error| printable_within(error.message(), 200))?;
    let paths = read.engine.runtimes.into_values().flatten();
    Ok(paths
        .chain(read.engine.runtime)
        .filter(|path| path.starts_with('/'))
        .take(MOST)
        .collect())
}

/// What each program leads to that is there and that Podman takes for a runtime.
pub(super) fn runtimes(gate: &Gate, places: &Places) -> Evidence<BTreeMap<String, Leads>> {
    if !places.podman.exists() {
        return Evidence::Seen(BTreeMap::new());
    }
    let usual = FOLDERS
        .iter()
        .flat_map(|folder| NAMES.map(|name| format!("{folder}/{name}")));
    let mut paths: BTreeSet<String> = usual.collect();
    for file in files(&places.containers_conf) {
        match file.and_then(|file| of_file(&file)) {
            Ok(named) => paths.extend(named),
            Err(why) => return Evidence::Missing(why),
        }
    }
    let there = paths.into_iter().filter(|path| Path::new(path).exists());
    Evidence::Seen(
        there
            .map(|path| (path.clone(), gate.called(&path, &[])))
            .collect(),
    )
}

fn of_file(path: &Path) -> Result<BTreeSet<String>, String> {
    let failed = |why: &str| format!("{}: {why}", path.display());
    let bytes = match file::read(path, LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(failed(&error.to_string())),
    };
    let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8"))?;
    named(&text).map_err(|why| failed(&why))
}

/// Each file, and each `.conf` in each folder.
fn files(places: &[PathBuf]) -> Vec<Result<PathBuf, String>> {
    let mut files = Vec::new();
    for place in places {
        if !place.is_dir() {
            files.push(Ok(place.clone()));
            continue;
        }
        match fs::read_dir(place) {
            Ok(entries) => files.extend(
                entries
                    .filter_map(Result::ok)
                    .map(|entry| entry.path())
                    .filter(|path| path.extension().is_some_and(|end| end == "conf"))
                    .map(Ok),
            ),
            Err(error) => files.push(Err(format!("{}: {error}", place.display()))),
        }
    }
    files
}

/// What the conmons hold, each container once: one that a process is run in by `exec` has another for that. Blocks for some seconds where one of the
/// storage that is watched holds nothing that runs.
pub(super) fn shims(gate: &Gate, places: &Places, pids: &[u32]) -> Vec<Shim> {
    let mut held: BTreeMap<String, Shim> = BTreeMap::new();
    let mut idle = Vec::new();
    for pid in pids {
        let Some(Held {
            id,
            runtime: called,
            bundle,
        }) = process::line(*pid).as_deref().and_then(container_of)
        else {
            continue;
        };
        let put = gate.since(&places.gate, &called, &[]);
        // One that has ended holds nothing any more.
        let Some(started) = process::started(*pid) else {
            continue;
        };
        let shim = Shim {
            namespace: PODMANS.to_owned(),
            id: id.clone(),
            runtime: if called.starts_with('/') {
                Evidence::Seen(gate.called(&called, &[]))
            } else {
                Evidence::missing("its runtime is not named by a path")
            },
            is_older: put.is_some_and(|put| is_before(started, put)),
            is_watched: true,
        };
        let held = match held.entry(id) {
            Entry::Vacant(place) => place.insert(shim),
            Entry::Occupied(place) => {
                let other = place.into_mut();
                // Of two, what came past the gate is told, and that one of them is not watched.
                if other.runtime == Evidence::Seen(Leads::Gate) && !other.is_older {
                    let is_watched = other.is_watched;
                    *other = Shim { is_watched, ..shim };
                }
                other
            }
        };
        let storage = &places.podman_storage;
        if !bundle.is_some_and(|bundle| storage.is_in_bundle(Path::new(&bundle), &held.id)) {
            held.is_watched = false;
        } else if !storage.is_watched(&held.id) && !is_young(started) {
            idle.push((*pid, held.id.clone()));
        }
    }
    if !idle.is_empty() {
        // It ends soon after what it holds.
        thread::sleep(ENDING);
    }
    for (pid, id) in idle {
        let is_same = || {
            process::line(pid)
                .as_deref()
                .and_then(container_of)
                .is_some_and(|held| held.id == id)
        };
        if let Some(shim) = held.get_mut(&id)
            && is_same()
            && !places.podman_storage.is_watched(&id)
        {
            shim.is_watched = false;
        }
    }
    held.into_values().collect()
}

/// Whether what it holds may still be on its way: nothing of it runs before the runtime was let make it.
fn is_young(started: SystemTime) -> bool {
    started.elapsed().is_ok_and(|age| age < LAUNCHING)
}

/// What a conmon was started with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The full id of the container.
    pub(super) id: String,
    /// The program that it calls as its runtime.
    pub(super) runtime: String,
    /// The folder of the container, or of the process that is run in it.
    pub(super) bundle: Option<String>,
}

/// What a conmon was started with (conmon(8): `--cid`, `--runtime`, `--bundle`).
pub(super) fn container_of(line: &[u8]) -> Option<Held> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let after = |short: &[u8], long: &[u8]| {
        let given = words.iter().enumerate().find_map(|(at, word)| {
            if *word == short || *word == long {
                return words.get(at + 1).copied();
            }
            word.strip_prefix(long)?.strip_prefix(b"=")
        })?;
        let word = String::from_utf8_lossy(given).into_owned();
        (!word.is_empty()).then_some(word)
    };
    Some(Held {
        id: after(b"-c", b"--cid")?,
        runtime: after(b"-r", b"--runtime")?,
        bundle: after(b"-b", b"--bundle"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_conmon_says_what_it_holds_and_by_which_runtime() {
        let line = b"/usr/bin/conmon\0--api-version\x001\0-c\0ab12\0-u\0ab12\0-r\0/usr/bin/crun\0-b\0/b\0-n\0web\0--runtime-arg\0--log\0";
        let found = |bundle: Option<&str>| {
            Some(Held {
                id: "ab12".to_owned(),
                runtime: "/usr/bin/crun".to_owned(),
                bundle: bundle.map(str::to_owned),
            })
        };
        assert_eq!(container_of(line), found(Some("/b")));
        assert_eq!(
            container_of(b"conmon\0--cid=ab12\0--runtime=/usr/bin/crun\0"),
            found(None)
        );
        for line in [
            &b""[..],
            b"conmon\0-c\0ab12\0",
            b"conmon\0-r\0/x\0-c",
            b"conmon\0-c\0\0-r\0/x",
        ] {
            assert_eq!(container_of(line), None, "{line:?}");
        }
    }

    #[test]
    fn runtimes_are_told_by_every_path_that_a_file_names() {
        let text = "[containers]\nulimits = 1\n[engine]\nruntime = \"/opt/own\"\ncgroup_manager = \"x\"\n[engine.runtimes]\ncrun = [\"/usr/bin/crun\", \"relative\"]\n";
        let paths: Vec<String> = named(text).unwrap().into_iter().collect();
        assert_eq!(paths, ["/opt/own", "/usr/bin/crun"]);
        assert!(named("[engine]\nruntime = \"crun\"\n").unwrap().is_empty());
        assert!(named("").unwrap().is_empty());
        assert!(named("[engine").is_err() && named("engine = 1").is_err());
    }

    #[test]
    fn where_there_is_podman_each_program_that_it_takes_for_a_runtime_leads_to_the_gate_or_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("conf.d")).unwrap();
        for name in ["verger-gate", "podman", "own"] {
            fs::write(at(name), b"").unwrap();
        }
        symlink(at("verger-gate"), at("crun")).unwrap();
        let conf = |name: &str, path: &Path| {
            fs::write(
                at(name),
                format!("[engine.runtimes]\nx = [{:?}, \"/absent\"]\n", path),
            )
            .unwrap();
        };
        conf("containers.conf", &at("crun"));
        conf("conf.d/own.conf", &at("own"));
        fs::write(at("conf.d/not-read"), "[").unwrap();
        let places = Places {
            podman: at("podman"),
            containers_conf: vec![at("absent.conf"), at("containers.conf"), at("conf.d")],
            ..crate::doors::users::tests::places(dir.path())
        };
        let gate = Gate::of(&at("verger-gate"));
        let told = |places: &Places| runtimes(&gate, places);
        let found = told(&places).seen().unwrap().clone();
        let path = |name: &str| at(name).display().to_string();
        assert_eq!(found.get(&path("crun")), Some(&Leads::Gate));
        assert_eq!(found.get(&path("own")), Some(&Leads::Elsewhere(path("own"))));
        assert_eq!(found.get("/absent"), None);
        // What cannot be read may name anything.
        fs::write(at("conf.d/broken.conf"), "[").unwrap();
        let Evidence::Missing(why) = told(&places) else {
            panic!("it is not read")
        };
        assert!(why.contains("broken.conf"), "{why}");
        // Where there is no Podman, nothing calls them.
        fs::remove_file(at("podman")).unwrap();
        assert_eq!(told(&places), Evidence::Seen(BTreeMap::new()));
    }
}
