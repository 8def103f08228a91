//! One request: read, resolved, judged, sent on.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use verger_agent_proxy::{
    Answer, Body as Wanted, Call, Caller, Document, On, Policy, Refusal, Subjects, Wish, decide, image,
};
use verger_policy::model::Verb;

use super::answers::{Telling, capped, document, full, passed, switched};
use super::daemon::{Body, Daemon, Told, nothing};
use super::made::{known, malformed, narrow};
use super::request::{drain, one, read, upgrade, whole};
use super::taken::TakenOver;
use super::{Place, Proxy};

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
pub(super) enum Stopped {
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
        taking: Option<mpsc::Sender<TakenOver>>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let telling = Telling::of(self.real.engine(), request.method(), request.uri().path());
        let mut request = request.map(Some);
        let answered = self
            .carry_out(caller, Arc::clone(&place), taking, &mut request)
            .await;
        if let (Err(_), Some(body)) = (&answered, request.into_body())
            && !body.is_end_stream()
        {
            tokio::spawn(drain(body, place));
        }
        match answered {
            Ok(response) => response,
            Err(Stopped::Refused(refusal)) => {
                tracing::warn!(%caller, why = refusal.message, "a call of the runtime is refused");
                telling.refused(&refusal)
            }
            Err(Stopped::Told(told)) => document(told.status, told.body),
            Err(Stopped::Away(why)) => {
                tracing::warn!(%caller, why, "a call of the runtime could not be sent on");
                telling.refused(&Refusal {
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
        taking: Option<mpsc::Sender<TakenOver>>,
        request: &mut Request<Option<Incoming>>,
    ) -> Result<Response<Body>, Stopped> {
        let engine = self.real.engine();
        let mut call = read(engine, request)?;
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
        if let Some(path) = call.fetched_if_missing() {
            let told = daemon.ask("GET", &engine.asked(&path)).await;
            if told.map_err(Stopped::Away)?.status.is_success() {
                call.is_there();
            }
        }
        let (wishes, subjects) = self.resolve(&call, &policy, caller, &mut daemon).await?;
        let narrowed_for = match decide(&policy, caller, &wishes, &subjects) {
            Err(refusal) if call.is_list() => {
                call.is_narrowed();
                Some(refusal)
            }
            decided => decided.map(|()| None)?,
        };
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
        let is_asked = upgrade.is_some();
        let upgrade = match call.route.answer {
            Answer::Hijack if taking.is_some() => Some("tcp"),
            _ => upgrade,
        };
        if let Some(protocol) = upgrade {
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static(protocol));
        }
        let caller_side = match &taking {
            None => upgrade.map(|_| hyper::upgrade::on(&mut *request)),
            Some(_) => None,
        };
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
            daemon.let_go();
            if let (Some(taking), Some(_)) = (&taking, upgrade) {
                let taken = TakenOver::of(response, is_asked);
                if taking.send(taken).await.is_ok() {
                    // The connection ends here as one of requests, and this with it.
                    std::future::pending::<()>().await;
                }
                return Err(Stopped::Away("the connection ended".to_owned()));
            }
            let Some((caller_side, protocol)) = caller_side.zip(upgrade) else {
                return Err(Stopped::Away(format!("{engine} changed the protocol unasked")));
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
        if let Some(refusal) = narrowed_for {
            return narrow(caller, &policy, refusal, &mut daemon, response).await;
        }
        match call.route.answer {
            Answer::ExecMade | Answer::Made if response.status() == StatusCode::CREATED => {
                self.made(caller, &call, &policy, &ids, &mut daemon, response)
                    .await
            }
            Answer::Ping => Ok(capped(passed(daemon.streamed(response)))),
            _ => Ok(passed(daemon.streamed(response))),
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
        let engine = self.real.engine();
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
            let known = known(engine, daemon, reference).await?;
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
            subjects.exec = Some(known(engine, daemon, &made.container).await?);
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
            let told = daemon
                .ask("GET", &engine.asked(&path))
                .await
                .map_err(Stopped::Away)?;
            if told.status != StatusCode::OK {
                return Err(Stopped::Told(told));
            }
            let made =
                image(&told.body, named, labels).ok_or_else(|| malformed(engine, " about the image"))?;
            subjects.made = Some(made);
        }
        Ok((wishes, subjects))
    }
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
