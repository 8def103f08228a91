//! What the runtime answers, where that has to be looked at before the caller sees it.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use verger_agent_proxy::{
    Answer, Call, Caller, Engine, JSON_BYTES, Known, On, Policy, Refusal, Subjects, Wish, container, decide,
    made_id, narrowed,
};
use verger_policy::model::Verb;

use super::Proxy;
use super::answers::{document, full, passed};
use super::daemon::{Body, Daemon};
use super::execs::Made;
use super::forward::Stopped;

/// The longest list of containers that is narrowed to what a caller may see, bytes.
const LIST: usize = 64 << 20;

impl Proxy {
    /// Something was made: what it is is looked at, before the caller is told of it.
    pub(super) async fn made(
        &self,
        caller: &Caller,
        call: &Call,
        policy: &Policy,
        ids: &BTreeMap<String, String>,
        daemon: &mut Daemon,
        response: Response<Incoming>,
    ) -> Result<Response<Body>, Stopped> {
        let engine = self.real.engine();
        let (head, body) = response.into_parts();
        let body = daemon.whole(body, JSON_BYTES).await.map_err(Stopped::Away)?;
        let id = made_id(&body).ok_or_else(|| malformed(engine, ""))?;
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
            if let Err(why) = judge_made(engine, caller, call, policy, ids, &id, daemon).await {
                self.remove(&id).await;
                return Err(why);
            }
        }
        Ok(passed(Response::from_parts(head, full(body))))
    }

    /// Removes what may not be.
    async fn remove(&self, id: &str) {
        let path = self.real.engine().removed(id);
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
    engine: Engine,
    caller: &Caller,
    call: &Call,
    policy: &Policy,
    ids: &BTreeMap<String, String>,
    id: &str,
    daemon: &mut Daemon,
) -> Result<(), Stopped> {
    let shown = inspected(engine, daemon, id).await?;
    let made = container(&shown).ok_or_else(|| malformed(engine, " about the container"))?;
    let more = (made.reaches() || call.came_out_as_more(ids, &shown)).then_some(Wish {
        verb: Verb::ReachHost,
        on: On::Made,
    });
    let subjects = Subjects {
        made: Some(made),
        ..Subjects::default()
    };
    let own = call.wishes().iter().filter(|wish| wish.on == On::Made);
    Ok(decide(policy, caller, own.chain(&more), &subjects)?)
}

/// A container, as the daemon knows it.
pub(super) async fn known(engine: Engine, daemon: &mut Daemon, reference: &str) -> Result<Known, Stopped> {
    let shown = inspected(engine, daemon, reference).await?;
    container(&shown).ok_or_else(|| malformed(engine, " about the container"))
}

/// All that the daemon says of a container.
async fn inspected(engine: Engine, daemon: &mut Daemon, reference: &str) -> Result<Bytes, Stopped> {
    let path = engine.asked(&format!("/containers/{reference}/json"));
    let told = daemon.ask("GET", &path).await.map_err(Stopped::Away)?;
    match told.status {
        StatusCode::OK => Ok(told.body),
        _ => Err(Stopped::Told(told)),
    }
}

/// Of a list what is the caller's to see; where that is nothing he is told why he is shown no list.
pub(super) async fn narrow(
    caller: &Caller,
    policy: &Policy,
    refusal: Refusal,
    daemon: &mut Daemon,
    response: Response<Incoming>,
) -> Result<Response<Body>, Stopped> {
    let status = response.status();
    let list = daemon
        .whole(response.into_body(), LIST)
        .await
        .map_err(Stopped::Away)?;
    match narrowed(policy, caller, &list) {
        Some(own) if status == StatusCode::OK => Ok(document(status, own.into())),
        _ => Err(refusal.into()),
    }
}

pub(super) fn malformed(engine: Engine, about: &str) -> Stopped {
    Stopped::Away(format!("{engine}'s answer{about} is malformed"))
}
