//! One request: read, resolved, judged, sent on.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use verger_agent_proxy::{
    Answer, Body as Wanted, Call, Caller, Document, JSON_BYTES, On, Policy, Refusal, Subjects, Wish,
    container, decide, image, made_id,
};
use verger_policy::model::Verb;

use super::answers::{capped, document, full, passed, refused, switched};
use super::daemon::{Body, Daemon, Told, nothing};
use super::execs::Made;
use super::{Place, Proxy};

/// How long a document may take to come.
const DOCUMENT_LIMIT: Duration = Duration::from_secs(30);
/// So many bytes of a body are read of which nothing is wanted.
const DRAINED: usize = 256 << 20;
/// Headers that are sent on; nothing that the daemon does depends on others.
const PASSED: [&str; 9] = [
    "accept",
    "content-encoding",
    "user-agent",
    "x-registry-auth",
    "x-registry-config",
    "x-docker-expose-session-uuid",
    "x-docker-expose-session-name",
    "x-docker-expose-session-sharedkey",
    "x-docker-expose-session-grpc-method",
];

/// What keeps a request from being answered by the daemon.
enum Stopped {
    Refused(Refusal),
    /// The daemon's own answer: there is no such container, say.
    Told(Told),
    /// The daemon cannot be reached.
    Away(String),
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Proxy {
    /// Answers a request.
    pub(super) async fn answer(
        &self,
        caller: &Caller,
        place: Arc<Place>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let mut request = request.map(Some);
        let answered = self.carry_out(caller, Arc::clone(&place), &mut request).await;
        if let (Err(_), Some(body)) = (&answered, request.into_body())
            && !body.is_end_stream()
        {
            tokio::spawn(drain(body, place));
        }
        match answered {
            Ok(response) => response,
            Err(Stopped::Refused(refusal)) => {
                tracing::warn!(%caller, why = refusal.message, "a call of the runtime is refused");
                refused(&refusal)
            }
            Err(Stopped::Told(told)) => document(told.status, told.body),
            Err(Stopped::Away(why)) => {
                tracing::warn!(%caller, why, "a call of the runtime could not be sent on");
                refused(&Refusal {
                    status: 503,
                    message: format!("verger: {why}"),
                })
            }
        }
    }

    async fn carry_out(
        &self,
        caller: &Caller,
        place: Arc<Place>,
        request: &mut Request<Option<Incoming>>,
    ) -> Result<Response<Body>, Stopped> {
        let mut call = read(request)?;
        let upgrade = upgrade(&call, request.headers())?;
        let content_type = call.content_type(one(request.headers(), &CONTENT_TYPE)?)?;
        if matches!(call.route.body, Wanted::Json(_)) {
            let bytes = match request.body_mut() {
                Some(body) => whole(body).await?,
                None => Bytes::new(),
            };
            call.take(&bytes, &self.runtimes)?;
        }
        let policy = self.in_force.now();
        let mut daemon = Daemon::connect(&self.real).await.map_err(Stopped::Away)?;
        let (wishes, subjects) = self.resolve(&call, &policy, caller, &mut daemon).await?;
        decide(&policy, caller, &wishes, &subjects)?;
        note(caller, &call, &wishes, &subjects);
        if let (Some(exec), Some(of)) = (call.exec(), &subjects.exec)
            && call.route.body == Wanted::Json(Document::ExecStart)
        {
            self.launches.started(exec, &of.id, caller.to_string());
        }

        let ids: BTreeMap<String, String> = subjects
            .containers
            .iter()
            .map(|(named, known)| (named.clone(), known.id.clone()))
            .collect();
        let sent = Request::builder().method(request.method()).uri(call.target(&ids));
        let mut sent = sent
            .body(nothing())
            .map_err(|error| Stopped::Away(error.to_string()))?;
        let headers = sent.headers_mut();
        headers.insert(HOST, HeaderValue::from_static("docker"));
        for name in PASSED {
            for value in request.headers().get_all(name) {
                headers.append(HeaderName::from_static(name), value.clone());
            }
        }
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if let Some(protocol) = upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static(protocol));
        }
        let caller_side = upgrade.map(|_| hyper::upgrade::on(&mut *request));
        let body = match call.document(&ids) {
            Some(document) => full(document.into()),
            None if call.route.body == Wanted::Stream => match request.body_mut().take() {
                Some(body) => body.map_err(Into::into).boxed_unsync(),
                None => nothing(),
            },
            None => nothing(),
        };
        *sent.body_mut() = body;
        let mut response = daemon.send(sent).await.map_err(Stopped::Away)?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let Some((caller_side, protocol)) = caller_side.zip(upgrade) else {
                return Err(Stopped::Away("Docker changed the protocol unasked".to_owned()));
            };
            let daemon_side = hyper::upgrade::on(&mut response);
            tokio::spawn(async move {
                tokio::select! {
                    () = join(caller_side, daemon_side) => {}
                    () = place.ended() => {}
                }
                drop(place);
            });
            return Ok(switched(&response, protocol));
        }
        match call.route.answer {
            Answer::ExecMade | Answer::Made if response.status() == StatusCode::CREATED => {
                self.made(caller, &call, &policy, &ids, &mut daemon, response)
                    .await
            }
            Answer::Ping => Ok(capped(passed(response))),
            _ => Ok(passed(response)),
        }
    }

    /// Asks the daemon what the call names, before anything is decided: names and beginnings of ids mean nothing by themselves.
    async fn resolve(
        &self,
        call: &Call,
        policy: &Policy,
        caller: &Caller,
        daemon: &mut Daemon,
    ) -> Result<(Vec<Wish>, Subjects), Stopped> {
        let mut wishes: Vec<Wish> = call.wishes().iter().cloned().collect();
        let mut subjects = Subjects::default();
        if wishes.is_empty() {
            return Ok((wishes, subjects));
        }
        // Who may do nothing here learns nothing, either.
        if !caller.is_root() && policy.withheld.is_some() {
            decide(policy, caller, &wishes, &subjects)?;
        }
        for reference in call.containers() {
            let known = known(daemon, reference).await?;
            subjects.containers.insert(reference.to_owned(), known);
        }
        if let Some(exec) = call.exec() {
            let made = self
                .execs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(exec)
                .cloned();
            let made = made.ok_or_else(|| {
                Refusal::denied(
                    "verger: this exec was not made through here since the agent started, so which container it is in is not known; make it again",
                )
            })?;
            subjects.exec = Some(known(daemon, &made.container).await?);
            if made.reaches_host && call.is_mutation() {
                wishes.push(Wish {
                    verb: Verb::ReachHost,
                    on: On::Exec(exec.to_owned()),
                });
            }
        }
        if let Some((named, labels)) = call.made() {
            let path = call.image_path().ok_or_else(|| {
                Refusal::denied(format!(
                    "verger: `{}` is no name of an image",
                    verger_policy::model::printable_within(named, 120)
                ))
            })?;
            let told = daemon.ask("GET", &path).await.map_err(Stopped::Away)?;
            if told.status != StatusCode::OK {
                return Err(Stopped::Told(told));
            }
            let made = image(&told.body, named, labels)
                .ok_or_else(|| Stopped::Away("Docker's answer about the image is malformed".to_owned()))?;
            subjects.made = Some(made);
        }
        Ok((wishes, subjects))
    }

    /// Something was made: what it is is looked at, before the caller is told of it.
    async fn made(
        &self,
        caller: &Caller,
        call: &Call,
        policy: &Policy,
        ids: &BTreeMap<String, String>,
        daemon: &mut Daemon,
        response: Response<Incoming>,
    ) -> Result<Response<Body>, Stopped> {
        let (head, body) = response.into_parts();
        let failed = |_| Stopped::Away("Docker's answer could not be read".to_owned());
        let body = Limited::new(body, JSON_BYTES)
            .collect()
            .await
            .map_err(failed)?
            .to_bytes();
        let id = made_id(&body).ok_or_else(|| Stopped::Away("Docker's answer is malformed".to_owned()))?;
        if call.route.answer == Answer::ExecMade {
            let container = ids.values().next().cloned().unwrap_or_default();
            let reaches_host = call.wishes().iter().any(|wish| wish.verb == Verb::ReachHost);
            self.execs.lock().unwrap_or_else(PoisonError::into_inner).made(
                id,
                Made {
                    container,
                    reaches_host,
                },
            );
        } else {
            // Its image may have been given another name since it was looked at.
            if let Err(why) = judge_made(caller, call, policy, &id, daemon).await {
                self.remove(&id).await;
                return Err(why);
            }
        }
        Ok(passed(Response::from_parts(head, full(body))))
    }

    /// Removes what may not be.
    async fn remove(&self, id: &str) {
        let path = format!("/containers/{id}?force=1&v=1");
        let gone = match Daemon::connect(&self.real).await {
            Ok(mut daemon) => daemon.ask("DELETE", &path).await,
            Err(why) => Err(why),
        };
        match gone {
            Ok(told) if told.status.is_success() => {}
            Ok(told) => {
                tracing::error!(container = id, status = %told.status, "it may not be, and could not be removed")
            }
            Err(why) => tracing::error!(container = id, why, "it may not be, and could not be removed"),
        }
    }
}

/// Whether what was made may be. What cannot be looked at may not.
async fn judge_made(
    caller: &Caller,
    call: &Call,
    policy: &Policy,
    id: &str,
    daemon: &mut Daemon,
) -> Result<(), Stopped> {
    let subjects = Subjects {
        made: Some(known(daemon, id).await?),
        ..Subjects::default()
    };
    let own = call.wishes().iter().filter(|wish| wish.on == On::Made);
    Ok(decide(policy, caller, own, &subjects)?)
}

/// A container, as the daemon knows it.
async fn known(daemon: &mut Daemon, reference: &str) -> Result<verger_agent_proxy::Known, Stopped> {
    let told = daemon
        .ask("GET", &format!("/containers/{reference}/json"))
        .await
        .map_err(Stopped::Away)?;
    if told.status != StatusCode::OK {
        return Err(Stopped::Told(told));
    }
    container(&told.body)
        .ok_or_else(|| Stopped::Away("Docker's answer about the container is malformed".to_owned()))
}

/// Reads the head of a request.
fn read(request: &Request<Option<Incoming>>) -> Result<Call, Refusal> {
    let uri = request.uri();
    let target = match (uri.authority(), uri.path_and_query()) {
        (None, Some(target)) => target.as_str(),
        _ => "*",
    };
    let call = Call::read(request.method().as_str(), target)?;
    let has_body = request.body().as_ref().is_some_and(|body| !body.is_end_stream());
    if call.route.body == Wanted::None && has_body {
        return Err(Refusal {
            status: 400,
            message: "verger: this call takes no body".to_owned(),
        });
    }
    Ok(call)
}

/// The protocol to change to, if one is asked for.
fn upgrade(call: &Call, headers: &HeaderMap) -> Result<Option<&'static str>, Refusal> {
    let wanted = match one(headers, &UPGRADE)? {
        None => return Ok(None),
        Some(wanted) => wanted.to_ascii_lowercase(),
    };
    match (call.route.answer, wanted.as_str()) {
        (Answer::Hijack, "tcp") => Ok(Some("tcp")),
        (Answer::Session, "h2c") => Ok(Some("h2c")),
        _ => Err(Refusal::denied(format!(
            "verger: this call does not change the protocol to `{}`",
            verger_policy::model::printable_within(&wanted, 40)
        ))),
    }
}

/// The value of a header that is given once at most.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let unclear = || Refusal {
        status: 400,
        message: format!("verger: the header `{name}` is given twice, or is no text"),
    };
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| unclear()),
        (Some(_), Some(_)) => Err(unclear()),
    }
}

/// A document, whole.
async fn whole(body: &mut Incoming) -> Result<Bytes, Refusal> {
    let stopped = |status, message: &str| Refusal {
        status,
        message: format!("verger: {message}"),
    };
    let collected = Limited::new(body, JSON_BYTES).collect();
    match tokio::time::timeout(DOCUMENT_LIMIT, collected).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(stopped(
            413,
            &format!("a document of more than {JSON_BYTES} bytes is refused"),
        )),
        Ok(Err(_)) => Err(stopped(400, "the document did not come whole")),
        Err(_) => Err(stopped(408, "the document did not come in time")),
    }
}

/// Reads what still comes of a request that was refused, within bounds: who is in the middle of sending it would not hear why otherwise.
async fn drain(mut body: Incoming, place: Arc<Place>) {
    let all = async {
        let mut left = DRAINED;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Whoever takes longer hears nothing.
    let _ = tokio::time::timeout(DOCUMENT_LIMIT, all).await;
    drop(place);
}

/// Logs what is done that changes anything.
fn note(caller: &Caller, call: &Call, wishes: &[Wish], subjects: &Subjects) {
    if !call.is_mutation() {
        return;
    }
    let verbs: Vec<&str> = wishes.iter().map(|wish| wish.verb.word()).collect();
    let known = subjects
        .containers
        .values()
        .chain(&subjects.exec)
        .chain(&subjects.made);
    let containers: Vec<String> = known
        .map(|known| {
            format!(
                "{} {}",
                verger_policy::model::printable_within(&known.name, 120),
                known.id
            )
        })
        .collect();
    tracing::info!(
        %caller,
        verbs = verbs.join(","),
        containers = containers.join(", "),
        target = call.target(&BTreeMap::new()),
        "a call of the runtime is sent on"
    );
}

/// Carries bytes both ways until both sides have ended; that one has nothing more to say is passed on.
async fn join(caller: hyper::upgrade::OnUpgrade, daemon: hyper::upgrade::OnUpgrade) {
    let sides = tokio::try_join!(caller, daemon);
    match sides {
        Ok((caller, daemon)) => {
            let (mut caller, mut daemon) = (TokioIo::new(caller), TokioIo::new(daemon));
            if let Err(error) = tokio::io::copy_bidirectional(&mut caller, &mut daemon).await {
                tracing::debug!(%error, "a stream of the runtime ended");
            }
        }
        Err(error) => tracing::debug!(%error, "a stream of the runtime did not begin"),
    }
}
