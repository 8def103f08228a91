//! The command line of an OCI runtime, read as strictly as the runtime reads it, or not at all.
//!
//! runc and crun share their words (runc(8), crun(1)); what either knows is listed here with whether it takes a value. A flag that is
//! not listed might take one, and what follows it would be read as something else than the runtime reads: it is refused. So is a flag
//! that is given twice, since the two runtimes do not agree on which one counts, and one that they do not spell alike: `-root` is
//! `--root` to runc and `-r` to crun. What ends or shows a container passes however it is written.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use verger_gate_protocol::Operation;

/// A flag: its names, and whether a value follows.
type Flag = (&'static [&'static str], bool);

/// Flags before the sub-command.
const GLOBAL: &[Flag] = &[
    (&["cgroup-manager"], true),
    (&["criu"], true),
    (&["debug"], false),
    (&["help", "h"], false),
    (&["log"], true),
    (&["log-format"], true),
    (&["log-level"], true),
    (&["root"], true),
    (&["rootless"], true),
    (&["systemd-cgroup"], false),
    (&["version", "v", "V"], false),
];
const CREATE: &[Flag] = &[
    (&["bundle", "b"], true),
    (&["config", "f"], true),
    (&["console-socket"], true),
    (&["no-new-keyring"], false),
    (&["no-pivot"], false),
    (&["no-subreaper"], false),
    (&["pid-file"], true),
    (&["preserve-fds"], true),
];
const RUN: &[Flag] = &[
    (&["bundle", "b"], true),
    (&["config", "f"], true),
    (&["console-socket"], true),
    (&["detach", "d"], false),
    (&["keep"], false),
    (&["no-new-keyring"], false),
    (&["no-pivot"], false),
    (&["no-subreaper"], false),
    (&["pid-file"], true),
    (&["preserve-fds"], true),
];
const RESTORE: &[Flag] = &[
    (&["auto-dedup"], false),
    (&["bundle", "b"], true),
    (&["console-socket"], true),
    (&["detach", "d"], false),
    (&["empty-ns"], true),
    (&["ext-unix-sk"], false),
    (&["file-locks"], false),
    (&["image-path"], true),
    (&["lazy-pages"], false),
    (&["lsm-mount-context"], true),
    (&["lsm-profile"], true),
    (&["manage-cgroups-mode"], true),
    (&["no-pivot"], false),
    (&["no-subreaper"], false),
    (&["pid-file"], true),
    (&["shell-job"], false),
    (&["status-fd"], true),
    (&["tcp-established"], false),
    (&["work-path"], true),
];
/// Those that say what runs are left out: it is said in the document of `--process`, and there alone.
const EXEC: &[Flag] = &[
    (&["console-socket"], true),
    (&["detach", "d"], false),
    (&["ignore-paused"], false),
    (&["pid-file"], true),
    (&["preserve-fds"], true),
    (&["process", "p"], true),
    (&["tty", "t"], false),
];

/// Sub-commands that run nothing new: they end a container, show it or change its limits, and work without anybody's leave, so that
/// cleaning up always does.
const PASSED: &[&str] = &[
    "checkpoint",
    "delete",
    "events",
    "features",
    "help",
    "kill",
    "list",
    "pause",
    "ps",
    "resume",
    "state",
    "update",
];

/// Sub-commands that do not pass; a line that holds such a word is never taken for one that does.
const JUDGED: &[&str] = &[
    "create", "exec", "init", "mount", "mounts", "restore", "run", "spec", "start",
];

/// What a runtime was called to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Something that is judged.
    Judged(Judged),
    /// Something that is not.
    Passed,
}

/// Something that is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What.
    pub operation: Operation,
    /// The container's id.
    pub id: String,
    /// The bundle that was named; none means the folder the runtime was called in.
    pub bundle: Option<PathBuf>,
    /// The document of `exec`.
    pub process: Option<PathBuf>,
    /// Where the runtime is to write the number of the process.
    pub pid_file: Option<PathBuf>,
}

/// Where the runtime was told to write what goes wrong: who called it reads it there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The file; none where it goes to standard error alone.
    pub file: Option<PathBuf>,
    /// Whether lines are JSON.
    pub json: bool,
}

/// A command line that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCommand {
    /// A flag.
    #[error("{0:?} is not a flag that the gate knows: what comes after it would be a guess")]
    Flag(String),
    /// One given twice.
    #[error("--{0} is given twice: runtimes do not agree on which one counts")]
    Twice(&'static str),
    /// One without its value, or with one that it does not take.
    #[error("--{0} is given without a value, or with one it does not take")]
    Value(&'static str),
    /// A flag that would have the runtime read something else than what is judged.
    #[error("--{0} is refused: what it names would not be what is judged")]
    Unjudged(&'static str),
    /// A flag that gives a container more than what is judged.
    #[error("--{0} is refused: what it gives the container is in no document, and so is not judged")]
    Beyond(&'static str),
    /// A sub-command.
    #[error("{0:?} is not a command that the gate knows")]
    Command(String),
    /// No id, or more than one.
    #[error("{0} takes one container id")]
    Id(&'static str),
    /// An id that is none.
    #[error("the container id is not one: letters, digits and `_+-.` alone, 1,024 at most")]
    BadId,
    /// An exec that does not say what is run in a document.
    #[error(
        "exec is judged by the document of --process, and there is none: ask the runtime's daemon, or give one"
    )]
    NoProcess,
}

/// The flags before the sub-command, for another command to the same runtime about the same containers; none where they cannot be read.
/// The log is left out: it is the first command's.
pub fn globals(words: &[OsString]) -> Option<Vec<OsString>> {
    let mut globals = Vec::new();
    for (flag, value) in flags(words, GLOBAL).ok()?.flags {
        if !matches!(flag, "log" | "log-format") {
            globals.push(OsString::from(format!("--{flag}")));
            globals.extend(value.map(OsString::from));
        }
    }
    Some(globals)
}

struct Read<'a> {
    flags: BTreeMap<&'static str, Option<&'a OsStr>>,
    rest: &'a [OsString],
}

/// Reads flags up to the first word that is none.
fn flags<'a>(mut words: &'a [OsString], known: &[Flag]) -> Result<Read<'a>, InvalidCommand> {
    let mut flags = BTreeMap::new();
    while let [word, rest @ ..] = words {
        let bytes = word.as_bytes();
        if bytes == b"--" {
            words = rest;
            break;
        }
        let unknown = || InvalidCommand::Flag(word.to_string_lossy().into_owned());
        let (name, given) = match (bytes.strip_prefix(b"--"), bytes.strip_prefix(b"-")) {
            (Some(long), _) => match long.iter().position(|byte| *byte == b'=') {
                Some(at) => (&long[..at], Some(OsStr::from_bytes(&long[at + 1..]))),
                None => (long, None),
            },
            (None, Some(short)) => (short, None),
            (None, None) => break,
        };
        // One dash and one letter, or two and a word: what else there is means one thing to runc and another to crun.
        if (name.len() == 1) == bytes.starts_with(b"--") {
            return Err(unknown());
        }
        words = rest;
        let (names, takes) = known
            .iter()
            .find(|(names, _)| names.iter().any(|known| known.as_bytes() == name))
            .ok_or_else(unknown)?;
        let name = names[0];
        let value = match (takes, given) {
            (true, Some(value)) => Some(value),
            (true, None) => {
                let [value, rest @ ..] = words else {
                    return Err(InvalidCommand::Value(name));
                };
                words = rest;
                Some(value.as_os_str())
            }
            (false, None) => None,
            // `--detach=false` is a way of saying nothing, and of hiding it.
            (false, Some(_)) => return Err(InvalidCommand::Value(name)),
        };
        if flags.insert(name, value).is_some() {
            return Err(InvalidCommand::Twice(name));
        }
    }
    Ok(Read { flags, rest: words })
}

/// Where the log is, as far as that can be read: a command line that is refused for its end still says it.
pub fn log(words: &[OsString]) -> Log {
    let mut read = Log::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        let Some(name) = bytes.strip_prefix(b"--").or_else(|| bytes.strip_prefix(b"-")) else {
            break;
        };
        let (name, value) = match name.iter().position(|byte| *byte == b'=') {
            Some(at) => (&name[..at], Some(OsStr::from_bytes(&name[at + 1..]))),
            None => (name, None),
        };
        let Some((names, takes)) = GLOBAL
            .iter()
            .find(|(names, _)| names.iter().any(|known| known.as_bytes() == name))
        else {
            break;
        };
        let value = if *takes {
            value.or_else(|| words.next().map(OsString::as_os_str))
        } else {
            None
        };
        match names[0] {
            "log" => read.file = value.filter(|path| !path.is_empty()).map(PathBuf::from),
            "log-format" => read.json = value == Some(OsStr::new("json")),
            _ => {}
        }
    }
    read
}

/// Reads a command line, without the program's name.
///
/// # Errors
/// When anything of it is not known.
pub fn read(words: &[OsString]) -> Result<Command, InvalidCommand> {
    let global = match flags(words, GLOBAL) {
        Ok(global) => global,
        // Whichever of its words the runtime takes for the command, it runs nothing new.
        Err(_) if can_only_pass(words) => return Ok(Command::Passed),
        Err(error) => return Err(error),
    };
    if ["help", "version"]
        .iter()
        .any(|name| global.flags.contains_key(name))
    {
        return Ok(Command::Passed);
    }
    let [name, rest @ ..] = global.rest else {
        // Without a command a runtime prints its help.
        return Ok(Command::Passed);
    };
    let unknown = || InvalidCommand::Command(name.to_string_lossy().into_owned());
    let name = name.to_str().ok_or_else(unknown)?;
    if PASSED.contains(&name) {
        return Ok(Command::Passed);
    }
    let (operation, known): (_, &[Flag]) = match name {
        "create" => (Operation::Create, CREATE),
        "run" => (Operation::Run, RUN),
        "restore" => (Operation::Restore, RESTORE),
        "start" => (Operation::Start, &[]),
        "exec" => (Operation::Exec, EXEC),
        _ => return Err(unknown()),
    };
    let Read { flags, rest } = flags(rest, known)?;
    if flags.contains_key("config") {
        return Err(InvalidCommand::Unjudged("config"));
    }
    // Descriptors of the caller's (a folder of the host, as good as a bind), and a root that can be left.
    let opens = |value: &Option<&OsStr>| value.is_none_or(|value| value != "0");
    if flags.get("preserve-fds").is_some_and(opens) {
        return Err(InvalidCommand::Beyond("preserve-fds"));
    }
    if flags.contains_key("no-pivot") {
        return Err(InvalidCommand::Beyond("no-pivot"));
    }
    let path = |name| {
        flags
            .get(name)
            .copied()
            .flatten()
            .map(|value| Path::new(value).to_owned())
    };
    let process = path("process");
    let [id] = rest else {
        return Err(InvalidCommand::Id(operation.word()));
    };
    if operation == Operation::Exec && process.is_none() {
        return Err(InvalidCommand::NoProcess);
    }
    Ok(Command::Judged(Judged {
        operation,
        id: id_of(id)?,
        bundle: path("bundle"),
        process,
        pid_file: path("pid-file"),
    }))
}

/// Whether one of the words is a command that passes, and none one that does not.
fn can_only_pass(words: &[OsString]) -> bool {
    let holds = |names: &[&str]| words.iter().any(|word| names.iter().any(|name| word == name));
    holds(PASSED) && !holds(JUDGED)
}

/// An id as runc takes it (libcontainer, `validateID`).
fn id_of(word: &OsStr) -> Result<String, InvalidCommand> {
    let id = word.to_str().ok_or(InvalidCommand::BadId)?;
    let is_plain = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte));
    let is_id = is_plain && (1..=1_024).contains(&id.len()) && id != "." && id != "..";
    is_id.then(|| id.to_owned()).ok_or(InvalidCommand::BadId)
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests;
