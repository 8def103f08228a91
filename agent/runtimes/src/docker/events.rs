//! What the daemon's events mean, and the task that follows them.
//!
//! The order that loses nothing: the stream is asked for events *since* a moment before [`RuntimeEvent::Lost`] is
//! given out, so that whatever a listing made after it does not show arrives as an event (the daemon keeps the last
//! 256). Repeated events only cost a reread.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::EventsOptionsBuilder;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use verger_agent_core::runtime::{BoxFuture, RuntimeError, RuntimeEvent, Watch};
use verger_policy::facts::InstanceId;
use verger_policy::model::RuntimeKind;

use super::backoff::Backoff;
use super::{Shared, is_container_id};

/// Events that wait for the reader. When a burst fills it, the burst becomes one `Lost`.
const WAITING: usize = 1024;
/// How far before the subscription events are asked for; clocks of files and of the daemon differ by less.
const OVERLAP: SignedDuration = SignedDuration::from_secs(2);
/// A subscription that held so long was a success: the next failure is retried at once.
const SETTLED: Duration = Duration::from_secs(10);

/// Follows the daemon's events until dropped.
pub(super) struct DockerWatch {
    events: mpsc::Receiver<RuntimeEvent>,
    task: JoinHandle<()>,
}

impl DockerWatch {
    /// Starts the task that follows. Needs a tokio runtime.
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let (sender, events) = mpsc::channel(WAITING);
        Self {
            events,
            task: tokio::spawn(follow(shared, sender)),
        }
    }
}

impl Watch for DockerWatch {
    fn next(&mut self) -> BoxFuture<'_, Option<RuntimeEvent>> {
        Box::pin(self.events.recv())
    }
}

impl Drop for DockerWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(shared: Arc<Shared>, sender: mpsc::Sender<RuntimeEvent>) {
    let mut backoff = Backoff::default();
    let mut down = false;
    loop {
        match subscribe(&shared).await {
            Ok(stream) => {
                if std::mem::take(&mut down) {
                    tracing::info!(endpoint = %shared.endpoint(), "the docker daemon answers again");
                }
                let since = Instant::now();
                if relay(&shared, stream, &sender).await.is_err() {
                    return;
                }
                if since.elapsed() >= SETTLED {
                    backoff.reset();
                }
            }
            Err(error) if !down => {
                down = true;
                tracing::warn!(%error, "the docker daemon cannot be watched; trying again until it can");
            }
            Err(error) => tracing::debug!(%error, "the docker daemon cannot be watched yet"),
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

async fn subscribe(
    shared: &Shared,
) -> Result<BoxStream<'static, Result<EventMessage, bollard::errors::Error>>, RuntimeError> {
    let since = Timestamp::now() - OVERLAP;
    let version = shared.negotiate_anew().await?;
    let docker = shared.bollard(version)?;
    let filters = HashMap::from([("type", vec!["container", "network"])]);
    let since = format!("{}.{:09}", since.as_second(), since.subsec_nanosecond());
    let options = EventsOptionsBuilder::default()
        .since(&since)
        .filters(&filters)
        .build();
    Ok(Docker::events(&docker, Some(options)).boxed())
}

/// The reader is gone.
struct Abandoned;

async fn relay(
    shared: &Shared,
    mut stream: BoxStream<'static, Result<EventMessage, bollard::errors::Error>>,
    sender: &mpsc::Sender<RuntimeEvent>,
) -> Result<(), Abandoned> {
    lose(shared, sender).await?;
    while let Some(message) = stream.next().await {
        let message = match message {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(%error, "the event stream of the docker daemon broke off");
                break;
            }
        };
        let Some(event) = meaning(&message) else { continue };
        if let RuntimeEvent::Started(id) | RuntimeEvent::Changed(id) | RuntimeEvent::Gone(id) = &event {
            shared.cache().changed(&id.id);
        }
        match sender.try_send(event) {
            Ok(()) => {}
            // The daemon drops events of readers that wait; this Lost is read after whatever it drops meanwhile.
            Err(mpsc::error::TrySendError::Full(_)) => lose(shared, sender).await?,
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Abandoned),
        }
    }
    lose(shared, sender).await
}

async fn lose(shared: &Shared, sender: &mpsc::Sender<RuntimeEvent>) -> Result<(), Abandoned> {
    let room = sender.reserve().await.map_err(|_| Abandoned)?;
    shared.cache().lost();
    room.send(RuntimeEvent::Lost);
    Ok(())
}

/// What to read again because of a message; `None` if nothing of a container changed.
fn meaning(message: &EventMessage) -> Option<RuntimeEvent> {
    let actor = message.actor.as_ref()?;
    let attribute = |name: &str| actor.attributes.as_ref().and_then(|all| all.get(name));
    let id = match message.typ? {
        EventMessageTypeEnum::CONTAINER => actor.id.as_ref()?,
        EventMessageTypeEnum::NETWORK => attribute("container")?,
        _ => return None,
    };
    if !is_container_id(id) {
        return None;
    }
    let id = InstanceId {
        runtime: RuntimeKind::Docker,
        id: id.clone(),
    };
    // `exec_start: COMMAND`, `health_status: healthy`: the word before the colon counts.
    let action = message.action.as_deref()?.split(':').next()?;
    Some(match action {
        "start" => RuntimeEvent::Started(id),
        "die" | "destroy" => RuntimeEvent::Gone(id),
        "exec_start" => RuntimeEvent::Exec(id),
        // None of these changes what a container is allowed or made of.
        "attach" | "detach" | "resize" | "top" | "export" | "commit" | "copy" | "archive-path"
        | "exec_create" | "exec_detach" | "exec_die" | "health_status" | "kill" | "stop" | "oom" => {
            return None;
        }
        // Known (create, rename, update, pause, unpause, restart, connect, …) and of later daemons: look.
        _ => RuntimeEvent::Changed(id),
    })
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::EventActor;

    fn message(typ: EventMessageTypeEnum, action: &str, id: &str) -> EventMessage {
        let attributes = HashMap::from([("container".to_owned(), "b".repeat(64))]);
        EventMessage {
            typ: Some(typ),
            action: Some(action.to_owned()),
            actor: Some(EventActor {
                id: Some(id.to_owned()),
                attributes: Some(attributes),
            }),
            ..Default::default()
        }
    }

    fn id(digit: &str) -> InstanceId {
        InstanceId {
            runtime: RuntimeKind::Docker,
            id: digit.repeat(64),
        }
    }

    #[test]
    fn every_action_says_what_to_read_again() {
        use EventMessageTypeEnum::CONTAINER;
        for (action, expected) in [
            ("create", Some(RuntimeEvent::Changed(id("a")))),
            ("start", Some(RuntimeEvent::Started(id("a")))),
            ("update", Some(RuntimeEvent::Changed(id("a")))),
            ("rename", Some(RuntimeEvent::Changed(id("a")))),
            ("pause", Some(RuntimeEvent::Changed(id("a")))),
            ("exec_start: sh -c start", Some(RuntimeEvent::Exec(id("a")))),
            ("exec_create: start", None),
            ("health_status: healthy", None),
            ("die", Some(RuntimeEvent::Gone(id("a")))),
            ("destroy", Some(RuntimeEvent::Gone(id("a")))),
            ("something-new", Some(RuntimeEvent::Changed(id("a")))),
        ] {
            assert_eq!(
                meaning(&message(CONTAINER, action, &"a".repeat(64))),
                expected,
                "{action}"
            );
        }
    }

    #[test]
    fn a_network_event_means_its_container() {
        let connect = message(EventMessageTypeEnum::NETWORK, "connect", "net");
        assert_eq!(meaning(&connect), Some(RuntimeEvent::Changed(id("b"))));
    }

    #[test]
    fn what_is_no_container_id_is_ignored() {
        for bad in ["", "../../etc", "A", &"g".repeat(64), &"a".repeat(63)] {
            assert_eq!(
                meaning(&message(EventMessageTypeEnum::CONTAINER, "start", bad)),
                None
            );
        }
        assert_eq!(meaning(&EventMessage::default()), None);
    }
}
