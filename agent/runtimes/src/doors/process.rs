//! What is read of the processes of daemons and shims.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::net::sockopt::socket_peercred;
use serde::Deserialize;
use verger_gate_protocol::file;
use verger_policy::facts::{Evidence, proc};

use super::host::{Host, comm};
use crate::proc::{age, parse};

/// The most bytes of an environment, a command line or a file of a bundle that are read.
const LIMIT: u64 = 4 << 20;

/// What starts the shims.
const CONTAINERD: &str = "containerd";

/// Who opened a socket, if it is a program of this name.
pub(super) fn behind(socket: &Path, name: &str) -> Result<u32, String> {
    let peer = UnixStream::connect(socket)
        .and_then(|stream| Ok(socket_peercred(&stream)?))
        .map_err(|error| format!("{}: {error}", socket.display()))?;
    let pid = u32::try_from(peer.pid.as_raw_nonzero().get()).unwrap_or_default();
    is_named(pid, name)
        .then_some(pid)
        .ok_or_else(|| format!("{} was opened by pid {pid}, which is no {name}", socket.display()))
}

/// Who wrote its pid into a file, if it is a program of this name.
pub(super) fn in_file(file: &Path, name: &str) -> Result<u32, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let pid = text.trim().parse().ok().filter(|pid| is_named(*pid, name));
    pid.ok_or_else(|| format!("{} names no running {name}", file.display()))
}

/// A child of a process, by its program's name.
pub(super) fn child(host: &Host, of: u32, name: &str) -> Option<u32> {
    let pids = host.named(name).ok()?;
    pids.into_iter()
        .find(|pid| parent(*pid) == Some(of) && is_named(*pid, name))
}

/// The containerds of this host that are of no other daemon than `dockerd`.
pub(super) fn containerds(host: &Host, dockerd: u32) -> Evidence<Vec<u32>> {
    let named = match host.named(CONTAINERD) {
        Ok(pids) => pids,
        Err(error) => return Evidence::Missing(format!("/proc cannot be read: {error}")),
    };
    let is_others = |pid: u32| {
        let parent = parent(pid).filter(|parent| *parent != dockerd);
        parent.is_some_and(|parent| comm(parent).is_some_and(|comm| comm == b"dockerd") && host.has(parent))
    };
    let mut found = Vec::new();
    for pid in named {
        // Its shims' names begin so, too.
        if comm(pid).is_none_or(|comm| comm != CONTAINERD.as_bytes()) || is_others(pid) {
            continue;
        }
        match is_program(pid, CONTAINERD) {
            Ok(true) => found.push(pid),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Evidence::Missing(format!(
                    "/proc/{pid}/exe cannot be read ({error}); the agent needs CAP_SYS_PTRACE"
                ));
            }
        }
    }
    if found.is_empty() {
        return Evidence::missing("the containerd of Docker's daemon was not found");
    }
    Evidence::Seen(found)
}

fn parent(pid: u32) -> Option<u32> {
    parse::parent(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn is_named(pid: u32, name: &str) -> bool {
    is_program(pid, name).unwrap_or(false)
}

fn is_program(pid: u32, name: &str) -> io::Result<bool> {
    let program = fs::read_link(format!("/proc/{pid}/exe"))?;
    let file = program.file_name().unwrap_or_default().to_string_lossy();
    Ok(file.strip_suffix(" (deleted)").unwrap_or(&file) == name)
}

/// The folders in which it looks for programs. Nothing else of its environment is kept.
pub(super) fn path(pid: u32) -> Evidence<Vec<PathBuf>> {
    let file = format!("/proc/{pid}/environ");
    match read(Path::new(&file)) {
        Ok(environ) => Evidence::Seen(folders(&environ)),
        Err(error) => Evidence::Missing(format!(
            "{file} cannot be read ({error}); the agent needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
        )),
    }
}

pub(super) fn folders(environ: &[u8]) -> Vec<PathBuf> {
    let mut entries = environ.split(|byte| *byte == 0);
    let path = entries.find_map(|entry| entry.strip_prefix(b"PATH="));
    let folders = path.into_iter().flat_map(|path| path.split(|byte| *byte == b':'));
    folders
        .map(|folder| PathBuf::from(std::ffi::OsStr::from_bytes(folder)))
        .collect()
}

/// The namespace and id that a shim was started with (containerd `runtime/v2/shim`: `-namespace NS -id ID`).
pub(super) fn container(pid: u32) -> Option<(String, String)> {
    container_of(&line(pid)?)
}

/// The command line of a process; none where it has ended.
pub(super) fn line(pid: u32) -> Option<Vec<u8>> {
    read(Path::new(&format!("/proc/{pid}/cmdline"))).ok()
}

pub(super) fn container_of(line: &[u8]) -> Option<(String, String)> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    let after = |flag: &[u8]| {
        let at = words.iter().position(|word| {
            word.strip_prefix(b"-")
                .map(|word| word.strip_prefix(b"-").unwrap_or(word))
                == Some(flag)
        })?;
        let word = String::from_utf8_lossy(words.get(at + 1)?).into_owned();
        (!word.is_empty()).then_some(word)
    };
    Some((after(b"namespace")?, after(b"id")?))
}

/// What a shim was told to call (`options.json` of newer ones, `runtime` of older ones, in the bundle that is its folder);
/// none where it was told nothing.
pub(super) fn runtime_of_bundle(pid: u32) -> Result<Option<String>, String> {
    runtime_in(&PathBuf::from(format!("/proc/{pid}/cwd")), pid)
}

fn runtime_in(bundle: &Path, pid: u32) -> Result<Option<String>, String> {
    #[derive(Deserialize)]
    struct Options {
        #[serde(default)]
        binary_name: String,
    }
    let file = |name: &str| match read(&bundle.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{name} in the bundle of shim {pid}: {error}")),
    };
    if let Some(bytes) = file("options.json")? {
        let options: Options = serde_json::from_slice(&bytes)
            .map_err(|error| format!("options.json in the bundle of shim {pid}: {error}"))?;
        return Ok(Some(options.binary_name).filter(|name| !name.is_empty()));
    }
    let named = file("runtime")?.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    Ok(named.filter(|name| !name.is_empty()))
}

/// When it was started; none where it has ended.
pub(super) fn started(pid: u32) -> Option<SystemTime> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let age: Duration = age::of(proc::start_ticks(&stat).ok()?, age::now());
    SystemTime::now().checked_sub(age)
}

/// Never waits: who made the file may be anybody.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    file::read(path, LIMIT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LINE: &[u8] =
        b"/usr/bin/containerd-shim-runc-v2\0-namespace\0moby\0-id\0ab12\0-address\0/run/x.sock\0";

    #[test]
    fn a_shim_says_whose_it_is() {
        let found = Some(("moby".to_owned(), "ab12".to_owned()));
        assert_eq!(container_of(LINE), found);
        assert_eq!(container_of(b"shim\0--id\0ab12\0--namespace\0moby"), found);
        for line in [
            &b""[..],
            b"shim\0-id\0",
            b"shim\0-id\0\0-namespace\0x",
            b"shim\0id\0a\0namespace\0b",
        ] {
            assert_eq!(container_of(line), None, "{line:?}");
        }
    }

    #[test]
    fn of_an_environment_the_path_is_read() {
        let of = |text: &[u8]| folders(text);
        assert_eq!(
            of(b"A=1\0PATH=/a:/b:\0PATH=/c"),
            ["/a", "/b", ""].map(PathBuf::from)
        );
        assert_eq!(of(b"XPATH=/a\0"), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_bundle_says_what_is_called_and_one_with_pipes_or_links_in_it_is_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let options = dir.path().join("options.json");
        let of = || runtime_in(dir.path(), 7);
        assert_eq!(of(), Ok(None));
        fs::write(&options, br#"{"binary_name":"crun"}"#).unwrap();
        assert_eq!(of(), Ok(Some("crun".to_owned())));
        for name in ["options.json", "runtime"] {
            let _ = fs::remove_file(&options);
            let path = dir.path().join(name);
            // Nobody writes to it: who waits for that, waits for ever.
            let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
            assert!(made.success());
            assert!(of().unwrap_err().contains("not a regular file"));
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
            assert!(of().is_err());
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_containerd_is_found_by_its_program_and_not_by_a_name() {
        use std::os::unix::fs::PermissionsExt as _;
        use std::os::unix::process::CommandExt as _;
        let host = Host::of_this_process();
        if !host.has(std::process::id()) {
            // Only root's are looked at.
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = dir.path().join("containerd");
        fs::copy("/bin/sleep", &program).unwrap();
        let begin = |uid: u32| {
            let mut command = std::process::Command::new(&program);
            command.arg("60").uid(uid).spawn().unwrap()
        };
        let (mut real, mut other) = (begin(0), begin(65_534));
        let found = containerds(&host, u32::MAX);
        let as_child = child(&host, std::process::id(), "containerd");
        for process in [&mut real, &mut other] {
            process.kill().unwrap();
            process.wait().unwrap();
        }
        let found = found.seen().unwrap();
        assert!(
            found.contains(&real.id()) && !found.contains(&other.id()),
            "{found:?}"
        );
        assert_eq!(as_child, Some(real.id()));
    }

    #[test]
    fn this_process_is_read_as_it_is() {
        let pid = std::process::id();
        let own: Vec<PathBuf> =
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
        assert_eq!(path(pid), Evidence::Seen(own));
        // The kernel counts in hundredths of a second: what began just now may seem to begin in a moment.
        let apart = SystemTime::now().duration_since(started(pid).unwrap());
        let apart = apart.unwrap_or_else(|error| error.duration());
        assert!(apart < Duration::from_secs(3_600), "{apart:?}");
        assert_eq!(started(u32::MAX), None);
    }
}
