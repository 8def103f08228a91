//! The tripwire in front of a real daemon: what bears no mark is denied, whatever it asks for, and told of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use verger_integration_tests::programs::Programs;
use verger_integration_tests::scene::{PATIENCE, Program, checked};

/// Its daemon, which asks nobody else's plugin.
const DAEMON: &str = "tripwire";
const PLUGIN: &str = "verger-tripwire-test";
const DENIED: &str = "verger: this did not come by the runtime proxy";

/// A daemon of this test's own, with the test images.
struct Daemon {
    xtask: PathBuf,
    folder: PathBuf,
}

impl Daemon {
    fn start(programs: &Programs) -> Self {
        let daemon = Self {
            xtask: programs.path("xtask").unwrap(),
            folder: Path::new("/run/verger-dockerd").join(DAEMON),
        };
        daemon.xtask("start");
        daemon
    }

    fn xtask(&self, action: &str) {
        let mut command = Command::new(&self.xtask);
        checked(command.args(["dockerd", action, "--name", DAEMON])).unwrap();
    }

    /// `docker` with a header in each request, if any.
    fn docker(&self, config: &Path, mark: Option<&str>, arguments: &[&str]) -> Output {
        let headers = mark.map_or_else(
            || json!({}),
            |mark| json!({"HttpHeaders": {"X-Verger-Mark": mark}}),
        );
        fs::create_dir_all(config).unwrap();
        fs::write(config.join("config.json"), headers.to_string()).unwrap();
        let host = format!("unix://{}", self.folder.join("docker.sock").display());
        let mut command = Command::new("docker");
        command
            .arg("--config")
            .arg(config)
            .args(["--host", &host])
            .args(arguments);
        command.output().unwrap()
    }

    /// Has the daemon ask these plugins from now on.
    fn ask(&self, plugins: &[&str]) {
        let config = json!({ "authorization-plugins": plugins });
        fs::write(self.folder.join("daemon.json"), config.to_string()).unwrap();
        let pid = fs::read_to_string(self.folder.join("docker.pid")).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.xtask("stop");
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_reaches_the_daemon_past_the_proxy_is_denied_and_told_of_and_what_bears_the_mark_is_not() {
    let programs = Programs::find().unwrap();
    let daemon = Daemon::start(&programs);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = [
        "run",
        "--rm",
        "--network",
        "none",
        "verger-test/busybox",
        "echo",
        "ran",
    ];

    // Unprotected, whoever reaches the socket runs what he likes.
    let output = daemon.docker(&path("plain"), None, &run);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "ran",
        "{}",
        told(&output)
    );

    let socket = Path::new("/run/docker/plugins").join(format!("{PLUGIN}.sock"));
    fs::create_dir_all("/run/docker/plugins").unwrap();
    let line = [
        programs.path("verger-tripwire").unwrap(),
        "--listen".into(),
        socket.clone(),
    ];
    let more = [
        "--mark".into(),
        path("mark"),
        "--strays".into(),
        path("strays.json"),
    ];
    let line = line
        .into_iter()
        .chain(more)
        .map(PathBuf::into_os_string)
        .collect();
    let mut tripwire = Program::new("tripwire", line, folder.path());
    tripwire.start().unwrap();
    daemon.ask(&[PLUGIN]);
    let began = Instant::now();
    let output = loop {
        let output = daemon.docker(&path("plain"), None, &["ps"]);
        if !output.status.success() || began.elapsed() > PATIENCE {
            break output;
        }
    };
    assert!(told(&output).contains(DENIED), "{}", told(&output));

    let mark = fs::read_to_string(path("mark")).unwrap();
    let wrong = "0".repeat(64);
    for mark in [None, Some(""), Some(wrong.as_str()), Some(&mark[..63])] {
        let output = daemon.docker(&path("attack"), mark, &run);
        assert!(told(&output).contains(DENIED), "{}", told(&output));
        assert!(output.stdout.is_empty());
    }
    // It is written once a second.
    let began = Instant::now();
    loop {
        let record: Value =
            serde_json::from_slice(&fs::read(path("strays.json")).unwrap_or_default()).unwrap_or_default();
        let mut rows = record["strays"].as_array().into_iter().flatten();
        let create = rows.find(|row| row["path"].as_str().unwrap().ends_with("/containers/create"));
        if create.is_some_and(|row| row["count"] == 4) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{record}");
    }

    // The twin with the mark.
    let output = daemon.docker(&path("marked"), Some(&mark), &run);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "ran",
        "{}",
        told(&output)
    );
    let output = daemon.docker(&path("marked"), Some(&mark), &["ps", "--all", "--quiet"]);
    assert!(output.stdout.is_empty(), "nothing that was denied is there");

    daemon.ask(&[]);
    tripwire.stop().unwrap();
    assert!(!socket.exists(), "the socket goes with the tripwire");
}
