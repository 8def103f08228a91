//! The client that Rust programs have (bollard), through the proxy as at Docker itself.

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

fn front() -> Front {
    Front::found(&Programs::find().unwrap(), Docker::find().unwrap()).unwrap()
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
