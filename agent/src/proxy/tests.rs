//! What becomes of a connection, before a runtime that is made up and says what it is asked.

#![allow(clippy::unwrap_used)]

use std::future::Future;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Response;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use super::execs::Made;
use super::*;
use crate::sealed;

const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// What is made, and comes out as more than was asked for.
const MADE: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const EXEC: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// Somebody who may make containers, and no more.
const MAKER: u32 = 1_000;
const POLICY: &str = "apiVersion: verger/v1
kind: Role
metadata: { name: maker }
spec: { rules: [ { effect: allow, verbs: [ create, get, start ], resources: [ containers ] } ] }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: makers }
spec: { role: maker, subjects: [ local/1000 ] }
";
/// What does not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// The proxy, the runtime behind it, and somebody's connection to the proxy.
struct Front {
    proxy: Arc<Proxy>,
    asked: Receiver<String>,
    /// As many containers are made as this lets.
    leave: Arc<Semaphore>,
    caller: UnixStream,
    attended: JoinHandle<()>,
    _folder: TempDir,
}

impl Front {
    fn of(engine: Engine, uid: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("real.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (said, asked) = channel(64);
        let leave = Arc::new(Semaphore::new(0));
        tokio::spawn(runtime(listener, said, Arc::clone(&leave)));
        let ledger = watch::channel(Arc::new(sealed::ledger(Some(POLICY)))).1;
        let proxy = Arc::new(Proxy {
            real: Real::new(engine, path, None),
            runtimes: BTreeSet::new(),
            in_force: Arc::new(InForce::new(ledger)),
            execs: Mutex::default(),
            launches: Arc::default(),
        });
        let (caller, ours) = UnixStream::pair().unwrap();
        let said = watch::channel(Caller::Local(uid)).1;
        let place = Arc::new(Crowd::new(1, 1)).place("somebody".to_owned()).unwrap();
        let attended = tokio::spawn(attend(ours, said, Arc::new(place), Arc::clone(&proxy)));
        Self {
            proxy,
            asked,
            leave,
            caller,
            attended,
            _folder: folder,
        }
    }

    async fn sends(&mut self, request: &str) {
        self.caller.write_all(request.as_bytes()).await.unwrap();
    }

    /// What the caller is answered, until this is in it.
    async fn reads(&mut self, end: &str) -> String {
        let mut text = String::new();
        let mut piece = [0; 4_096];
        while !text.contains(end) {
            let length = in_time("an answer", self.caller.read(&mut piece)).await.unwrap();
            assert_ne!(length, 0, "the connection ended: {text}");
            text.push_str(std::str::from_utf8(&piece[..length]).unwrap());
        }
        text
    }

    /// Waits until the runtime is asked this.
    async fn is_asked(&mut self, what: &str) {
        loop {
            let asked = in_time(what, self.asked.recv()).await.unwrap();
            if asked == what {
                return;
            }
        }
    }

    /// All that the caller is answered, once he has nothing more to say.
    async fn answered(mut self) -> (String, Receiver<String>) {
        self.caller.shutdown().await.unwrap();
        let mut text = String::new();
        in_time("the end", self.caller.read_to_string(&mut text))
            .await
            .unwrap();
        (text, self.asked)
    }
}

async fn in_time<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    let came = tokio::time::timeout(PATIENCE, wanted).await;
    came.unwrap_or_else(|_| panic!("{what} does not come"))
}

async fn runtime(listener: UnixListener, said: Sender<String>, leave: Arc<Semaphore>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (said, leave) = (said.clone(), Arc::clone(&leave));
        let service = service_fn(move |request| answer(request, said.clone(), Arc::clone(&leave)));
        let connection = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::spawn(connection);
    }
}

async fn answer(
    mut request: Request<Incoming>,
    said: Sender<String>,
    leave: Arc<Semaphore>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    // Nobody may listen any more.
    let _ = said.try_send(format!("{} {}", request.method(), request.uri()));
    let upgrade = hyper::upgrade::on(&mut request);
    request.into_body().collect().await.unwrap();
    let mut answer = Response::builder();
    let body = match path.rsplit('/').next() {
        Some("start") => {
            tokio::spawn(async move {
                let stream = TokioIo::new(upgrade.await.unwrap());
                let (mut from, mut to) = tokio::io::split(stream);
                tokio::io::copy(&mut from, &mut to).await.unwrap();
                to.shutdown().await.unwrap();
            });
            answer = answer
                .status(101)
                .header("Connection", "Upgrade")
                .header("Upgrade", "tcp");
            String::new()
        }
        Some("create") => {
            leave.acquire().await.unwrap().forget();
            answer = answer.status(201);
            format!(r#"{{"Id":"{MADE}"}}"#)
        }
        Some("json") if path.contains(MADE) => format!(
            r#"{{"Id":"{MADE}","Image":"sha256:{CONTAINER}","Config":{{}},"HostConfig":{{"Binds":["/etc:/host"]}}}}"#
        ),
        Some("json") => format!(r#"{{"Id":"{CONTAINER}","Image":"sha256:{CONTAINER}","Config":{{}}}}"#),
        _ => "OK".to_owned(),
    };
    Ok(answer.body(Full::from(body)).unwrap())
}

#[tokio::test]
async fn what_is_sent_before_a_connection_is_taken_over_is_not_lost() {
    let mut front = Front::of(Engine::Podman, 0);
    front.proxy.execs.lock().unwrap().made(
        EXEC.to_owned(),
        Made {
            container: CONTAINER.to_owned(),
            reaches_host: false,
        },
    );
    let head = "Host: d\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n";
    front
        .sends(&format!(
            "POST /v4.0.0/libpod/exec/{EXEC}/start HTTP/1.1\r\n{head}{{}}early and "
        ))
        .await;
    front
        .is_asked(&format!("POST /v4.0.0/libpod/exec/{EXEC}/start"))
        .await;
    front.sends("late").await;
    let (text, _) = front.answered().await;
    assert!(
        text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nearly and late"),
        "{text:?}"
    );
}

#[tokio::test]
async fn what_was_made_is_looked_at_and_removed_when_its_caller_has_hung_up() {
    for (engine, head) in [(Engine::Docker, "/v1.40"), (Engine::Podman, "/v4.0.0/libpod")] {
        let mut front = Front::of(engine, MAKER);
        let (body, of) = match engine {
            Engine::Docker => (r#"{"Image":"a"}"#, ""),
            Engine::Podman => (r#"{"image":"a"}"#, head),
        };
        let length = body.len();
        front
            .sends(&format!("POST {head}/containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"))
            .await;
        front.is_asked(&format!("POST {head}/containers/create")).await;
        let Front {
            caller,
            attended,
            leave,
            mut asked,
            ..
        } = front;
        drop(caller);
        in_time("the end of the connection", attended).await.unwrap();
        leave.add_permits(1);
        let mut after = Vec::new();
        for _ in 0..2 {
            after.push(in_time("a question", asked.recv()).await.unwrap());
        }
        assert_eq!(
            after,
            [
                format!("GET {of}/containers/{MADE}/json"),
                format!("DELETE {}", engine.removed(MADE))
            ]
        );
        assert!(after[1].contains("force="), "it may run by then: {}", after[1]);
    }
}

#[tokio::test]
async fn what_came_out_as_more_than_was_asked_for_is_refused_and_removed() {
    for (uid, status) in [(MAKER, "403"), (0, "201")] {
        let mut front = Front::of(Engine::Docker, uid);
        front.leave.add_permits(1);
        let body = r#"{"Image":"a"}"#;
        let length = body.len();
        front
            .sends(&format!("POST /v1.40/containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"))
            .await;
        let text = front.reads("\r\n\r\n").await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        let removed = format!("DELETE {}", Engine::Docker.removed(MADE));
        let mut asked = Vec::new();
        while let Ok(one) = front.asked.try_recv() {
            asked.push(one);
        }
        // Root may have it: it is his host.
        assert_eq!(asked.contains(&removed), uid != 0, "{asked:?}");
    }
}

#[tokio::test]
async fn each_request_of_a_connection_is_read_for_itself() {
    let mut front = Front::of(Engine::Docker, 0);
    let ping = "GET /v1.40/_ping HTTP/1.1\r\nHost: d\r\n\r\n";
    // The second is refused, and what it bears is no third.
    let inner = "GET /v1.40/info HTTP/1.1\r\nHost: d\r\n\r\n";
    let length = inner.len();
    front
        .sends(&format!(
            "{ping}POST /v1.40/nothing HTTP/1.1\r\nHost: d\r\nContent-Length: {length}\r\n\r\n{inner}{ping}"
        ))
        .await;
    let mut text = String::new();
    let mut piece = [0; 4_096];
    // The connection stays: it is read until as much has come as was asked.
    while text.matches("HTTP/1.1 ").count() < 3 || !text.ends_with("OK") {
        let length = in_time("an answer", front.caller.read(&mut piece)).await.unwrap();
        assert_ne!(length, 0, "the connection ended: {text}");
        text.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
    let statuses: Vec<&str> = text
        .match_indices("HTTP/1.1 ")
        .map(|(at, head)| &text[at + head.len()..][..3])
        .collect();
    assert_eq!(statuses, ["200", "403", "200"], "{text}");
    let mut asked = front.asked;
    let mut heard = Vec::new();
    while let Some(one) = asked.recv().await {
        heard.push(one);
        if heard.len() == 2 {
            break;
        }
    }
    assert_eq!(heard, ["GET /v1.40/_ping"; 2]);
    assert!(asked.try_recv().is_err());
}
