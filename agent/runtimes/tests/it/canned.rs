//! Daemons that misbehave: answers from a table, over a unix socket.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use verger_agent_core::runtime::{Runtime, RuntimeProblem};
use verger_agent_runtimes::docker::{DockerConfig, DockerRuntime};
use verger_policy::facts::Evidence;

/// What is answered to a path that contains the key.
#[derive(Clone)]
enum Answer {
    Ok(String),
    Status(u16, String),
    Silence,
}

struct Canned {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Canned {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn canned(version: &'static str, answers: BTreeMap<String, Answer>) -> Canned {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let task = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let line = String::from_utf8(head)
                .unwrap()
                .lines()
                .next()
                .unwrap()
                .to_owned();
            let ping = Answer::Ok("OK".to_owned());
            let answer = if line.contains("/_ping") {
                Some(&ping)
            } else {
                answers
                    .iter()
                    .find(|(path, _)| line.contains(path.as_str()))
                    .map(|(_, answer)| answer)
            };
            let (status, body) = match answer {
                Some(Answer::Ok(body)) => (200, body.clone()),
                Some(Answer::Status(status, body)) => (*status, body.clone()),
                Some(Answer::Silence) => {
                    open.push(stream);
                    continue;
                }
                None => (404, r#"{"message":"no such thing"}"#.to_owned()),
            };
            let length = body.len();
            let text = format!(
                "HTTP/1.1 {status} X\r\nApi-Version: {version}\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            stream.write_all(text.as_bytes()).await.unwrap();
        }
    });
    Canned {
        _folder: folder,
        socket,
        task,
    }
}

fn runtime(daemon: &Canned) -> DockerRuntime {
    DockerRuntime::new(DockerConfig {
        request_timeout: Duration::from_secs(1),
        ..DockerConfig::new(daemon.socket.clone())
    })
}

async fn problem(version: &'static str, listing: Answer) -> RuntimeProblem {
    let daemon = canned(
        version,
        BTreeMap::from([("/containers/json".to_owned(), listing)]),
    );
    runtime(&daemon).list().await.unwrap_err().problem
}

#[tokio::test]
async fn an_old_daemon_is_refused_with_the_remedy() {
    let problem = problem("1.23", Answer::Ok("[]".to_owned())).await;
    assert!(
        problem.to_string().contains("1.24 or later: upgrade"),
        "{problem}"
    );
}

#[tokio::test]
async fn a_silent_daemon_is_given_up_in_time() {
    assert_eq!(
        problem("1.41", Answer::Silence).await,
        RuntimeProblem::TimedOut(1)
    );
}

#[tokio::test]
async fn a_broken_listing_is_an_error_and_never_an_empty_host() {
    for text in [
        "",
        "[",
        "{\"message\":1",
        "[{}]",
        "[{\"Id\":\"../../etc/passwd\"}]",
    ] {
        let problem = problem("1.41", Answer::Ok(text.to_owned())).await;
        assert!(
            matches!(problem, RuntimeProblem::Malformed { .. }),
            "{text:?}: {problem}"
        );
    }
}

#[tokio::test]
async fn what_the_daemon_says_cannot_reach_a_terminal_raw() {
    let said = "{\"message\":\"\\u001b]0;owned\\u0007\\u202e\"}".to_owned();
    let problem = problem("1.41", Answer::Status(500, said)).await;
    assert!(matches!(problem, RuntimeProblem::Refused { status: 500, .. }));
    assert!(problem.to_string().contains("\\u{1b}]0;owned"), "{problem}");
    assert!(!problem.to_string().contains(['\u{1b}', '\u{7}', '\u{202e}']));
}

#[tokio::test]
async fn containers_that_cannot_be_read_are_listed_with_the_reason() {
    let id = |digit: &str| digit.repeat(64);
    let listing: Vec<String> = ["a", "b", "c", "d"]
        .map(|digit| format!(r#"{{"Id":"{}"}}"#, id(digit)))
        .to_vec();
    let good = format!(
        r#"{{"Id":"{}","Name":"/good","State":{{"Status":"running","Pid":7}},"Config":{{}},"HostConfig":{{}}}}"#,
        id("d")
    );
    let daemon = canned(
        "1.41",
        BTreeMap::from([
            (
                "/containers/json".to_owned(),
                Answer::Ok(format!("[{}]", listing.join(","))),
            ),
            (id("a"), Answer::Silence),
            (id("b"), Answer::Ok("{\"State\":".to_owned())),
            // c has gone between the two requests.
            (id("d"), Answer::Ok(good)),
        ]),
    );
    let listed = runtime(&daemon).list().await.unwrap();
    let names: Vec<&str> = listed
        .iter()
        .map(|listed| listed.instance.name.as_str())
        .collect();
    assert_eq!(names, [id("a").as_str(), id("b").as_str(), "good"]);
    let reason = |at: usize| match &listed[at].instance.config.command {
        Evidence::Missing(reason) => reason.clone(),
        Evidence::Seen(_) => panic!("it was not readable"),
    };
    assert_eq!(reason(0), "no answer within 1 s");
    assert!(
        reason(1).starts_with("its inspection is malformed"),
        "{}",
        reason(1)
    );
    assert_eq!(listed[2].init_pid, Some(7));
}
