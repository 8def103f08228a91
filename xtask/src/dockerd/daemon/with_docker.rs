#![allow(clippy::unwrap_used)]
use super::*;

fn docker(dockerd: &Dockerd, arguments: &[&str]) -> String {
    let output = Command::new("docker")
        .arg("--host")
        .arg(dockerd.host())
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A name of this test process alone; the process owns the daemon, so a crash of the test leaves nothing for long.
fn fresh(purpose: &str) -> (Layout, Option<ProcessRef>) {
    let layout = Layout::of(&format!("{purpose}-{}", std::process::id())).unwrap();
    (layout, Some(ProcessRef::current().unwrap()))
}

#[test]
fn a_container_runs_and_its_oci_configuration_lies_under_the_exec_root() {
    let (layout, owner) = fresh("runs");
    let dockerd = Dockerd::start(layout.clone(), owner).unwrap();
    let id = docker(&dockerd, &["run", "-d", "--name", "web", "verger-test/app"]);
    let config = layout
        .exec_root()
        .join("containerd/daemon/io.containerd.runtime.v2.task/moby")
        .join(&id)
        .join("config.json");
    let config: serde_json::Value = serde_json::from_slice(&fs::read(config).unwrap()).unwrap();
    assert_eq!(config["process"]["user"]["uid"], 65534);
    assert_eq!(config["process"]["cwd"], "/srv");

    let again = Dockerd::start(layout.clone(), owner).unwrap();
    assert_eq!(
        docker(&again, &["ps", "-q", "--no-trunc"]),
        id,
        "a running daemon is adopted, not restarted"
    );

    Dockerd::remove(&layout).unwrap();
    Dockerd::remove(&layout).unwrap();
    assert!(!layout.run_dir().exists() && !layout.data_root().exists() && !layout.namespace_path().exists());
}

#[test]
fn what_a_killed_daemon_left_is_removed_with_its_containers() {
    let (layout, owner) = fresh("killed");
    let dockerd = Dockerd::start(layout.clone(), owner).unwrap();
    let id = docker(&dockerd, &["run", "-d", "verger-test/busybox"]);
    let pid: u32 = docker(&dockerd, &["inspect", "-f", "{{.State.Pid}}", &id])
        .parse()
        .unwrap();
    let container = ProcessRef::of(pid).unwrap().unwrap();
    layout
        .read_record()
        .unwrap()
        .unwrap()
        .dockerd
        .unwrap()
        .kill()
        .unwrap();
    assert!(
        container.alive(),
        "the container outlives its daemon; otherwise this test shows nothing"
    );

    // The record of a run that is over: a process that has ended owns the daemon.
    let mut ended = Command::new("true").spawn().unwrap();
    let gone = ProcessRef::of(ended.id()).unwrap().unwrap();
    ended.wait().unwrap();
    let dockerd = layout.read_record().unwrap().unwrap().dockerd;
    layout
        .write_record(&Record {
            owner: Some(gone),
            dockerd,
        })
        .unwrap();

    clean_abandoned().unwrap();
    assert!(!container.alive());
    assert!(!layout.run_dir().exists() && !layout.data_root().exists() && !layout.namespace_path().exists());
}
