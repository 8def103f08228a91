//! The proxy's reading and judging of what comes over a connection: HTTP as its server reads it, and its pure core, on a daemon that
//! knows two containers and an image. What it would send on is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context as Waker, Poll};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, UPGRADE};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use verger_agent_proxy::{
    Answer, Body, Call, Caller, Engine, JSON_BYTES, Known, Method, Policy, Refusal, Subjects, container,
    decide, image,
};
use verger_policy::compile::compile;
use verger_policy::draft;
use verger_policy::model::Labels;
use verger_policy::roles::CompiledRoles;

use super::seeds::WEB;

/// Who asks: may do everything, but reach the host and administer it.
pub(super) const MAKER: u32 = 10_007;

/// What he is bound to, with a name for each object.
pub(super) const MAKERS: &str = "
---
apiVersion: verger/v1
kind: Role
metadata: { name: proxy/within }
spec: { rules: [ { effect: deny, verbs: [ administer, reach-host ], resources: [ containers, runtime ] } ] }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: proxy/makers }
spec: { role: admin, subjects: [ local/10007 ] }
---
apiVersion: verger/v1
kind: RoleBinding
metadata: { name: proxy/makers-within }
spec: { role: proxy/within, subjects: [ local/10007 ] }
";

/// A request that got through the framing of HTTP, and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) body: Bytes,
    pub(super) fate: Fate,
}

/// What the proxy does with a request.
#[derive(Clone)]
pub(super) enum Fate {
    /// It is none that its table knows.
    Unknown,
    Refused,
    /// It is sent on: as this.
    Sent {
        call: String,
        bytes: Vec<u8>,
    },
}

impl fmt::Debug for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Refused => f.write_str("refused"),
            Self::Sent { bytes, .. } => write!(f, "sent on as {}", super::escaped(bytes)),
        }
    }
}

/// The longest body that is looked at, bytes: longer than any that the proxy reads.
const MOST: usize = 2 * JSON_BYTES;

/// What judges.
#[derive(Debug)]
pub(super) struct Judge {
    policy: Policy,
    runtimes: BTreeSet<String>,
    containers: BTreeMap<&'static str, Known>,
    image: Vec<u8>,
}

impl Judge {
    pub(super) fn new() -> Result<Self> {
        let objects = draft::read("makers.yaml", MAKERS.as_bytes())
            .map_err(|problems| anyhow::anyhow!("the roles: {problems:?}"))?;
        let host = Labels::default();
        let known = |name: &str, digit: &str| {
            let (id, image) = (digit.repeat(64), "c".repeat(64));
            let answer = format!(
                r#"{{"Id":"{id}","Name":"/{name}","Image":"sha256:{image}","Config":{{"Image":"a:1","Labels":{{}}}}}}"#
            );
            container(answer.as_bytes()).context("this is how a container is told of")
        };
        let judge = Self {
            policy: Policy {
                roles: CompiledRoles::compile(&objects),
                compiled: compile(&objects, &host, 1),
                host,
                withheld: None,
            },
            runtimes: ["runc".to_owned()].into(),
            containers: [(WEB, known(WEB, "a")?), ("other", known("other", "b")?)].into(),
            image: format!(r#"{{"Id":"sha256:{}","Config":{{}}}}"#, "c".repeat(64)).into_bytes(),
        };
        ensure!(
            judge
                .policy
                .roles
                .decide(
                    &verger_policy::roles::Subject::local(
                        verger_policy::model::LocalUid::new(MAKER).context("a number of a user")?,
                        Labels::default()
                    ),
                    verger_policy::model::Verb::Create,
                    verger_policy::model::Resource::Containers,
                    None
                )
                .allowed,
            "the maker may make nothing"
        );
        Ok(judge)
    }

    /// What becomes of all that comes over one connection.
    pub(super) fn connection(&self, bytes: &[u8]) -> Vec<Seen> {
        let seen = Mutex::new(Vec::new());
        let service = service_fn(async |request: Request<Incoming>| {
            if let Some(request) = self.request(request).await {
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            }
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
        });
        let wire = Wire {
            bytes: Bytes::copy_from_slice(bytes),
        };
        // What is no HTTP ends a connection: that is for the proxy's server to say, and nothing was seen.
        let mut server = http1::Builder::new();
        // All has been said when it is read: that is no hanging up.
        server.half_close(true);
        let _ = now(server.serve_connection(wire, service));
        seen.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the agent does it, step by step (`agent/src/proxy/forward.rs`); the sample that is sent to a real one shows that it does.
    async fn request(&self, request: Request<Incoming>) -> Option<Seen> {
        let (head, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        let body = Limited::new(body, MOST).collect().await.ok()?.to_bytes();
        let target = match (head.uri.authority(), head.uri.path_and_query()) {
            (None, Some(target)) => target.as_str(),
            _ => "*",
        };
        let fate = match Call::read(Engine::Docker, head.method.as_str(), target) {
            Err(_) => Fate::Unknown,
            Ok(call) => self
                .carried(call, &head.headers, has_body, &body)
                .unwrap_or(Fate::Refused),
        };
        Some(Seen {
            method: head.method.as_str().to_owned(),
            target: target.to_owned(),
            body,
            fate,
        })
    }

    fn carried(&self, mut call: Call, headers: &HeaderMap, has_body: bool, body: &Bytes) -> Option<Fate> {
        if call.route.body == Body::None && has_body {
            return None;
        }
        let protocol = one(headers, &UPGRADE)?.map(str::to_ascii_lowercase);
        match (call.route.answer, protocol.as_deref()) {
            (_, None) | (Answer::Hijack, Some("tcp")) | (Answer::Session, Some("h2c")) => {}
            _ => return None,
        }
        let content_type = call.content_type(one(headers, &CONTENT_TYPE)?).ok()?;
        if matches!(call.route.body, Body::Json(_)) {
            call.take(body, &self.runtimes).ok()?;
        }
        let ids = self.judge(&call)?.ok()?;
        let sent = match call.document(&ids) {
            Some(document) => document,
            None if call.route.body == Body::Stream => body.to_vec(),
            None => Vec::new(),
        };
        let target = call.target(&ids);
        let mut bytes = format!(
            "{} {target} HTTP/1.1\r\nHost: docker\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
            word(call.method()),
            content_type.unwrap_or_default(),
            sent.len()
        )
        .into_bytes();
        bytes.extend(sent);
        let path = target
            .split('?')
            .next()
            .unwrap_or_default()
            .trim_start_matches('/');
        let words: Vec<&str> = path
            .split('/')
            .skip_while(|word| word.starts_with("v1."))
            .collect();
        Some(Fate::Sent {
            call: super::lenient::call(&words),
            bytes,
        })
    }

    /// The decision, and full ids by how the call names containers. None where the daemon would know nothing of what it names.
    fn judge(&self, call: &Call) -> Option<Result<BTreeMap<String, String>, Refusal>> {
        let mut subjects = Subjects::default();
        for reference in call.containers() {
            let known = self.containers.get(reference).or_else(|| {
                let mut all = self.containers.values();
                all.find(|known| reference.len() > 3 && known.id.starts_with(reference))
            })?;
            subjects.containers.insert(reference.to_owned(), known.clone());
        }
        if call.exec().is_some() {
            return None;
        }
        if let Some((named, labels)) = call.made() {
            call.image_path()?;
            subjects.made = image(&self.image, named, labels);
        }
        let caller = Caller::Local(MAKER);
        Some(decide(&self.policy, &caller, call.wishes(), &subjects).map(|()| {
            let ids = subjects.containers.iter();
            ids.map(|(named, known)| (named.clone(), known.id.clone()))
                .collect()
        }))
    }
}

const fn word(method: Method) -> &'static str {
    match method {
        Method::Delete => "DELETE",
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
    }
}

/// The value of a header that is given once at most; none where it is given more often.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Some(None),
        (Some(value), None) => value.to_str().ok().map(Some),
        (Some(_), Some(_)) => None,
    }
}

/// A connection that has said all that it will.
struct Wire {
    bytes: Bytes,
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Waker<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let length = self.bytes.len().min(into.remaining());
        let part = self.bytes.split_to(length);
        into.put_slice(&part);
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Waker<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Waker<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Waker<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Drives what waits for nothing but itself.
fn now<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = Waker::from_waker(std::task::Waker::noop());
    loop {
        // It reads from memory: whoever is not ready has just woken itself.
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
