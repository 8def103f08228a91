//! `bless` against a socket that answers as Docker did when the recordings were made.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::program::{Program, Ran, recorded};

/// Docker's API, as far as `bless` uses it.
pub(crate) struct Docker {
    socket: PathBuf,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Docker {
    pub(crate) fn serve(program: &Program, answers: BTreeMap<String, Vec<u8>>) -> Self {
        let socket = program.path("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ending.load(Ordering::SeqCst) {
                    return;
                }
                answer(stream.unwrap(), &answers);
            }
        });
        Self {
            socket,
            ends,
            thread: Some(thread),
        }
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        drop(UnixStream::connect(&self.socket));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn answer(mut stream: UnixStream, answers: &BTreeMap<String, Vec<u8>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
    let path = first.split(' ').nth(1).unwrap();
    let (status, body) = match answers.get(path) {
        Some(body) => ("200 OK", body.as_slice()),
        None => (
            "404 Not Found",
            br#"{"message":"No such container: \u001b[31mx"}"#.as_slice(),
        ),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .unwrap();
    stream.write_all(body).unwrap();
}

fn only(name: &str) -> serde_json::Value {
    let document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(recorded(name)).unwrap()).unwrap();
    match document {
        serde_json::Value::Array(list) => list.into_iter().next().unwrap(),
        other => other,
    }
}

/// Serves one recorded container and its image, its bundle in the folder `roots`.
pub(crate) fn docker(program: &Program, name: &str) -> Docker {
    let container = only(&format!("{name}.inspect.json"));
    let image = only("image.inspect.json");
    let id = container["Id"].as_str().unwrap();
    let config = std::fs::read(recorded(&format!("{name}.config.json"))).unwrap();
    program.write(&format!("roots/{id}/config.json"), config);
    Docker::serve(
        program,
        BTreeMap::from([
            (
                "/containers/it/json".to_owned(),
                container.to_string().into_bytes(),
            ),
            (
                format!("/images/{}/json", image["Id"].as_str().unwrap()),
                image.to_string().into_bytes(),
            ),
        ]),
    )
}

pub(crate) fn bless(program: &Program, docker: &Docker, container: &str) -> Ran {
    let roots = program.path("roots");
    let args = [
        "bless",
        "--from-running",
        container,
        "--docker-host",
        &docker.host(),
        "--name",
        "shop/web",
        "--oci-root",
    ];
    program.run(&[&args[..], &[roots.to_str().unwrap()]].concat())
}

#[test]
fn what_is_blessed_is_clean_under_its_own_draft() {
    for name in ["hardened", "plain"] {
        let program = Program::new();
        let docker = docker(&program, name);
        let ran = bless(&program, &docker, "it").ends(0);
        assert!(
            ran.out.contains("name: shop/web") && ran.err.contains("verger apply"),
            "{}",
            ran.err
        );
        let draft = program.write("draft.yaml", &ran.out);
        let (oci, inspect) = (
            recorded(&format!("{name}.config.json")),
            recorded(&format!("{name}.inspect.json")),
        );
        let image = recorded("image.inspect.json");
        let args = [
            "judge",
            "--policy",
            &draft,
            "--oci",
            &oci,
            "--inspect",
            &inspect,
            "--image",
            &image,
            "-o",
            "json",
        ];
        let judged = program.run(&args).json();
        assert_eq!(judged["workload"], "shop/web");
        let checks = judged["checks"].as_array().unwrap();
        let drifted: Vec<_> = checks
            .iter()
            .filter(|check| check["control"] == "config")
            .filter(|check| check["result"] != "pass" && check["result"] != "notApplicable")
            .collect();
        assert!(checks.len() > 15 && drifted.is_empty(), "{name}: {drifted:#?}");
    }
}

#[test]
fn a_container_that_is_not_there_is_named() {
    let program = Program::new();
    let docker = docker(&program, "plain");
    let ran = bless(&program, &docker, "no/such\u{1b}[31m").ends(2);
    assert!(
        ran.out.is_empty() && ran.err.contains("docker ps") && !ran.err.contains('\u{1b}'),
        "{}",
        ran.err
    );
}

#[test]
fn a_container_that_does_not_run_is_not_blessed() {
    let program = Program::new();
    let mut container = only("plain.inspect.json");
    container["State"]["Pid"] = 0.into();
    let answers = BTreeMap::from([(
        "/containers/it/json".to_owned(),
        container.to_string().into_bytes(),
    )]);
    let docker = Docker::serve(&program, answers);
    let ran = bless(&program, &docker, "it").ends(2);
    assert!(
        ran.out.is_empty() && ran.err.contains("does not run"),
        "{}",
        ran.err
    );
}

#[test]
fn docker_away_says_so() {
    let program = Program::new();
    let ran = program
        .run(&[
            "bless",
            "--from-running",
            "x",
            "--docker-host",
            "unix:///nowhere/docker.sock",
        ])
        .ends(1);
    assert!(
        ran.out.is_empty() && ran.err.contains("/nowhere/docker.sock"),
        "{}",
        ran.err
    );
    let ran = program
        .run(&[
            "bless",
            "--from-running",
            "x",
            "--docker-host",
            "tcp://127.0.0.1:1",
        ])
        .ends(2);
    assert!(ran.err.contains("unix:///PATH"), "{}", ran.err);
}
