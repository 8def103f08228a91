//! The tripwire in front of a real daemon: what bears no mark is denied, whatever it asks for, and told of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use verger_integration_tests::programs::Programs;
use verger_integration_tests::scene::{Docker, PATIENCE, Program, Scene, checked};

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

    /// `docker` with such a configuration.
    fn docker(&self, config: &Path, mark: Option<&str>, arguments: &[&str]) -> Output {
        let config = configured(config, mark);
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

/// A configuration of `docker` with a header in each request, if any.
fn configured<'a>(config: &'a Path, mark: Option<&str>) -> &'a Path {
    let headers = mark.map_or_else(
        || json!({}),
        |mark| json!({"HttpHeaders": {"X-Verger-Mark": mark}}),
    );
    fs::create_dir_all(config).unwrap();
    fs::write(config.join("config.json"), headers.to_string()).unwrap();
    config
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

    // The agent is let through, and so is what its proxy sends on; what was denied is told of.
    let scene = watched(&programs, &daemon, &path("mark"), &path("strays.json"));
    let sleeps = [
        "run",
        "--detach",
        "--name",
        "sleeps",
        "--network",
        "none",
        "verger-test/busybox",
    ];
    let output = daemon.docker(&path("marked"), Some(&mark), &sleeps);
    assert!(output.status.success(), "{}", told(&output));
    scene
        .wait_for("the container to be seen", || {
            let rows = scene.rows(&["instances"])?;
            Ok(rows.iter().any(|row| row["name"] == "sleeps").then_some(()))
        })
        .unwrap();
    let front = format!("unix://{}", scene.path("docker.sock").display());
    let proxied = Command::new("docker")
        .args(["--host", &front, "ps", "--format", "{{.Names}}"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&proxied.stdout).trim(),
        "sleeps",
        "{}",
        told(&proxied)
    );
    // A mark of the caller's own is not sent on in the place of the right one.
    let lies = path("lies");
    let lies = configured(&lies, Some(&wrong));
    let proxied = Command::new("docker")
        .arg("--config")
        .arg(lies)
        .args(["--host", &front, "ps"])
        .output()
        .unwrap();
    assert!(proxied.status.success(), "{}", told(&proxied));
    scene
        .wait_for("what was denied to be told of", || {
            let is_told = |finding: &Value| {
                finding["rule"] == "host/past-the-proxy" && finding["field"] == "api[containers]"
            };
            Ok(scene.open_findings()?.iter().any(is_told).then_some(()))
        })
        .unwrap();

    daemon.ask(&[]);
    tripwire.stop().unwrap();
    assert!(!socket.exists(), "the socket goes with the tripwire");
}

/// A cluster whose agent serves the proxy and knows of the tripwire.
fn watched(programs: &Programs, daemon: &Daemon, mark: &Path, strays: &Path) -> Scene {
    let real = daemon.folder.join("docker.sock");
    let mut scene = Scene::found(programs, &Docker::at(&real)).unwrap();
    scene.agent.stop().unwrap();
    let config = scene.path("agent.toml");
    let text = fs::read_to_string(&config).unwrap();
    let listen = scene.path("docker.sock");
    let sections = format!(
        "[tripwire]\nmark = {mark:?}\nstrays = {strays:?}\n[proxy]\nlisten = {listen:?}\ndocker = {real:?}\n"
    );
    fs::write(&config, text + &sections).unwrap();
    scene.agent.start().unwrap();
    scene
}
