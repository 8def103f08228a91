//! Debian's docker-compose and the client that Rust programs have (bollard), through the proxy as at Docker itself.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::{ContainerCreateBody, ExecConfig, HostConfig};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, StatsOptionsBuilder,
};
use tokio_stream::StreamExt as _;
use verger_integration_tests::programs::Programs;
use verger_integration_tests::runtime_proxy::Front;
use verger_integration_tests::scene::Docker;

const SERVICES: &str = "
version: '3'
services:
  web:
    image: verger-test/app
    command: [ 'echo said; exec sleep 600' ]
    stop_grace_period: 0s
    volumes: [ 'kept:/kept' ]
volumes:
  kept: {}
";

fn front() -> Front {
    Front::found(&Programs::find().unwrap(), Docker::find().unwrap()).unwrap()
}

/// What `docker-compose` prints and how it ends, as somebody at a socket.
fn compose(uid: u32, socket: &Path, folder: &Path, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new("/usr/bin/docker-compose");
    command
        .uid(uid)
        .gid(uid)
        .current_dir(folder)
        .args(["--ansi", "never", "--project-name", "vergertest"])
        .args(words)
        .env("DOCKER_HOST", format!("unix://{}", socket.display()))
        .env("HOME", "/nonexistent")
        // Otherwise it has Docker's CLI do what `exec` does.
        .env("COMPOSE_INTERACTIVE_NO_CLI", "1")
        .stdin(Stdio::null());
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    (
        status.code().unwrap_or(-1),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

#[test]
fn docker_compose_prints_and_ends_as_at_docker_itself() {
    let front = front();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("docker-compose.yml"), SERVICES).unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let steps: &[(&[&str], i32)] = &[
        (&["config"], 0),
        (&["up", "-d"], 0),
        (&["ps"], 0),
        (&["logs", "--no-color"], 0),
        (&["exec", "-T", "web", "sh", "-c", "echo in; exit 5"], 5),
        (&["exec", "-T", "web", "sh", "-c", "echo err >&2; exit 6"], 6),
        (&["top"], 0),
        (&["restart", "-t", "0"], 0),
        (&["stop"], 0),
        (&["ps"], 0),
        (&["start"], 0),
        (&["down", "--volumes"], 0),
        (&["ps"], 0),
    ];
    let at = |socket: &Path| -> Vec<(i32, String, String)> {
        let run = |(words, code): &(&[&str], i32)| {
            let told = compose(0, socket, folder.path(), words);
            assert_eq!(told.0, *code, "{words:?}: {told:?}");
            told
        };
        steps.iter().map(run).collect()
    };
    let (real, through) = (at(front.docker.socket()), at(&front.socket()));
    for ((words, _), (real, through)) in steps.iter().zip(real.iter().zip(&through)) {
        if *words == ["top"] {
            // It shows pids and times.
            let shape = |text: &str| {
                text.lines()
                    .map(|line| line.split_whitespace().count())
                    .collect::<Vec<_>>()
            };
            assert_eq!(shape(&through.1), shape(&real.1), "{words:?}");
            continue;
        }
        assert_eq!(through, real, "{words:?}");
    }
    let logs = &through[3].1;
    assert!(logs.contains("said"), "{logs}");
    // Who may not is told by whom.
    let told = compose(10_004, &front.socket(), folder.path(), &["up", "-d"]);
    assert!(
        told.0 != 0 && told.2.contains("verger: local/10004 may not"),
        "{told:?}"
    );
}

#[tokio::test]
async fn bollard_makes_runs_and_removes_a_container() {
    let front = front();
    let version = bollard::ClientVersion {
        major_version: 1,
        minor_version: 41,
    };
    let socket = front.socket();
    let client = bollard::Docker::connect_with_unix(socket.to_str().unwrap(), 60, &version).unwrap();
    // As programs do that know no version beforehand.
    let client = client.negotiate_version().await.unwrap();
    let name = front.docker.name("bollard");
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let body = ContainerCreateBody {
        image: Some("verger-test/app".to_owned()),
        cmd: Some(vec!["echo begun; read line; echo got-$line; exit 3".to_owned()]),
        open_stdin: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let made = client.create_container(Some(options), body).await.unwrap();
    let attach = AttachContainerOptionsBuilder::default()
        .stream(true)
        .stdin(true)
        .stdout(true)
        .build();
    let mut attached = client.attach_container(&made.id, Some(attach)).await.unwrap();
    client.start_container(&made.id, None).await.unwrap();
    let shown = client.inspect_container(&name, None).await.unwrap();
    assert_eq!(shown.id.as_deref(), Some(made.id.as_str()));

    let exec = ExecConfig {
        cmd: Some(["sh", "-c", "echo ran"].map(str::to_owned).to_vec()),
        attach_stdout: Some(true),
        ..Default::default()
    };
    let exec = client.create_exec(&made.id, exec).await.unwrap();
    let StartExecResults::Attached { mut output, .. } = client.start_exec(&exec.id, None).await.unwrap()
    else {
        panic!("it is attached")
    };
    let mut ran = Vec::new();
    while let Some(said) = output.next().await {
        ran.extend_from_slice(&said.unwrap().into_bytes());
    }
    assert_eq!(ran, b"ran\n");
    assert_eq!(client.inspect_exec(&exec.id).await.unwrap().exit_code, Some(0));
    let stats = StatsOptionsBuilder::default().stream(false).build();
    let stats = client.stats(&made.id, Some(stats)).next().await.unwrap().unwrap();
    assert_eq!(stats.id.as_deref(), Some(made.id.as_str()));

    tokio::io::AsyncWriteExt::write_all(&mut attached.input, b"typed\n")
        .await
        .unwrap();
    let mut said = String::new();
    while let Some(Ok(LogOutput::StdOut { message })) = attached.output.next().await {
        said.push_str(std::str::from_utf8(&message).unwrap());
    }
    assert_eq!(said, "begun\ngot-typed\n");
    // bollard tells of a container that ended with another code than 0 as of an error.
    let ended = client.wait_container(&made.id, None).next().await.unwrap();
    let bollard::errors::Error::DockerContainerWaitError { code, .. } = ended.unwrap_err() else {
        panic!("it ended with 3")
    };
    assert_eq!(code, 3);
    let options = LogsOptionsBuilder::default().stdout(true).build();
    let logs: Vec<_> = client.logs(&made.id, Some(options)).collect().await;
    let logs: Vec<String> = logs.into_iter().map(|line| line.unwrap().to_string()).collect();
    assert_eq!(logs.concat(), "begun\ngot-typed\n");
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    client.remove_container(&made.id, Some(options)).await.unwrap();
    let gone = client.inspect_container(&made.id, None).await.unwrap_err();
    assert!(
        matches!(
            gone,
            bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }
        ),
        "{gone}"
    );
}
