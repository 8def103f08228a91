//! `verger-gate`: stands in front of an OCI runtime under its name.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use verger_gate::agent::{self, NoAnswer};
use verger_gate::command::{self, Command, Judged};
use verger_gate::refusal;
use verger_gate_protocol::glass::{self, Glass, Launched};
use verger_gate_protocol::settings::{self, Runtime, Settings};
use verger_gate_protocol::tighten::Untightened;
use verger_gate_protocol::{
    Answer, DOCUMENT_BYTES, Document, Operation, Question, VERSION, WITHOUT_ANSWER, file, pin,
};

/// How long a refused start waits for what was made to be gone.
const ENDED_WITHIN: Duration = Duration::from_secs(2);
/// How often it looks: nothing tells when a process has been reaped but its absence.
const ENDED_LOOK: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    let mut words = env::args_os();
    let name = words.next().unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    let sentence = match serve(Path::new(&name), &words) {
        Ok(never) => match never {},
        Err(sentence) => sentence,
    };
    refusal::tell(&command::log(&words), &sentence, Timestamp::now());
    ExitCode::FAILURE
}

/// Becomes the runtime, or says why not.
fn serve(name: &Path, words: &[OsString]) -> Result<std::convert::Infallible, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let program = env::current_exe().map_err(|error| format!("the gate does not find itself: {error}"))?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    let settings = Settings::read(folder);
    let name = name.file_name().unwrap_or_default().to_string_lossy();
    let become_runtime = |path: &Path| {
        let error = Process::new(path).arg0(&*name).args(words).exec();
        format!("{} cannot be run: {error}", path.display())
    };
    let judged = match command::read(words).map_err(|error| format!("refused: {error}"))? {
        Command::Judged(judged) => judged,
        Command::Passed => {
            // What ends a container is not held up by what became of the gate's settings, or of the runtime's place.
            let runtime = settings
                .as_ref()
                .map_err(|error| told(error))
                .and_then(|settings| {
                    let runtime = settings.runtime(&name, folder);
                    runtime.map_err(|error| told(&error))
                });
            let why = runtime.map_or_else(|why| why, |runtime| become_runtime(&runtime.path));
            for path in settings::found(&name, &settings::USUAL, folder) {
                become_runtime(&path);
            }
            return Err(why);
        }
    };
    let settings = settings.map_err(|error| told(&error))?;
    let runtime = settings.runtime(&name, folder).map_err(|error| told(&error))?;
    let word = judged.operation.word();
    permit(&settings, folder, runtime, &judged).map_err(|why| {
        if let (Operation::Start, Some(globals)) = (judged.operation, command::globals(words)) {
            end(&runtime.path, &globals, &judged.id);
        }
        format!("{word} refused: {why}")
    })?;
    Err(become_runtime(&runtime.path))
}

/// Ends what was made and is not started: its first process waits to become the container's, and its shim with it, for ever otherwise.
/// Nothing is done to what runs. Whoever asked for the start is told why it is refused, and not how this went.
///
/// The daemon is told of the refusal when the shim has seen the end, and has taken the process's place away (it is the parent): a daemon
/// that finds it still there gives up, and leaves the shim.
fn end(runtime: &Path, globals: &[OsString], id: &str) {
    let ask = |words: &[&str]| {
        let mut asked = Process::new(runtime);
        asked
            .args(globals)
            .args(words)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        asked.output().map(|output| output.stdout).unwrap_or_default()
    };
    let state: serde_json::Value = serde_json::from_slice(&ask(&["state", id])).unwrap_or_default();
    if state["status"] != "created" {
        return;
    }
    ask(&["kill", id, "KILL"]);
    let place = state["pid"].as_u64().map(|pid| format!("/proc/{pid}"));
    let began = Instant::now();
    while began.elapsed() < ENDED_WITHIN && place.as_ref().is_some_and(|place| Path::new(place).exists()) {
        std::thread::sleep(ENDED_LOOK);
    }
}

/// Asks the agent, and sees to it that the runtime is the right one.
fn permit(settings: &Settings, folder: &Path, runtime: &Runtime, judged: &Judged) -> Result<(), String> {
    pin::verify(runtime, &settings.state).map_err(|error| error.to_string())?;
    let bundle = match &judged.bundle {
        Some(bundle) => bundle.clone(),
        None => env::current_dir().map_err(|error| format!("there is no bundle: {error}"))?,
    };
    let bundle = std::path::absolute(bundle).map_err(|error| format!("there is no bundle: {error}"))?;
    let path: Option<PathBuf> = match judged.operation.document() {
        Document::Config => Some(bundle.join("config.json")),
        Document::Process => judged.process.clone(),
        Document::None => None,
    };
    let bytes = match &path {
        Some(path) => file::read(path, DOCUMENT_BYTES.into())
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?,
        None => Vec::new(),
    };
    let question = Question {
        version: VERSION,
        operation: judged.operation,
        id: judged.id.clone(),
        bundle: match judged.operation.document() {
            Document::Config => bundle.display().to_string(),
            Document::Process | Document::None => String::new(),
        },
        pid_file: match (&judged.operation, &judged.pid_file) {
            (Operation::Exec, Some(path)) => std::path::absolute(path)
                .map_err(|error| format!("there is no file for its number: {error}"))?
                .display()
                .to_string(),
            _ => String::new(),
        },
    };
    match agent::question(&settings.socket, settings.agent_uid, &question, &bytes) {
        Ok(Answer::Allow) => Ok(()),
        Ok(Answer::Refuse(sentence)) => Err(sentence),
        Ok(Answer::Tighten(tightened)) => match &path {
            Some(path) => tightened
                .write(judged.operation.document(), path, &bytes)
                .map_err(|why| {
                    format!(
                        "what the policy takes away from it cannot be taken away: {}: {why}",
                        path.display()
                    )
                }),
            None => Err(Untightened::Nothing.to_string()),
        },
        // One that took the question is there, whatever became of its answer.
        Err(error @ (NoAnswer::Stranger { .. } | NoAnswer::Malformed(_) | NoAnswer::Ended(_))) => {
            Err(format!("{error}; {WITHOUT_ANSWER}"))
        }
        Err(error) => match broken(folder, judged) {
            Ok(true) => Ok(()),
            Ok(false) if is_without_root() => Err(format!(
                "{error}; what is launched without root is not let through where the gate stands before every caller: have root's runtime launch it; {WITHOUT_ANSWER}"
            )),
            Ok(false) => Err(format!("{error}; {WITHOUT_ANSWER}")),
            Err(why) => Err(format!(
                "{error}; the glass is broken, but {why}; {WITHOUT_ANSWER}"
            )),
        },
    }
}

/// Whether whoever called is not root, or is it in a user namespace of somebody's alone.
fn is_without_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let first: Vec<&str> = map.split_whitespace().take(3).collect();
    !rustix::process::geteuid().is_root() || first != ["0", "0", "4294967295"]
}

/// Whether root lets things be launched while the agent gives no answer, and this was noted.
fn broken(folder: &Path, judged: &Judged) -> Result<bool, String> {
    let Some(glass) = Glass::read(folder).map_err(|error| error.to_string())? else {
        return Ok(false);
    };
    let (boot, since) = glass::now().map_err(|error| format!("the time is not known: {error}"))?;
    if !glass.holds(&boot, since) {
        return Ok(false);
    }
    let launched = Launched {
        at: Timestamp::now().as_second(),
        operation: judged.operation,
        id: judged.id.clone(),
    };
    glass
        .note(&launched)
        .map_err(|error| format!("{} cannot be written: {error}", glass.record.display()))?;
    Ok(true)
}
