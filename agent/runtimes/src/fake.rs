//! A runtime that holds what a test says, and tells of it as a real one does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use verger_agent_core::runtime::{BoxFuture, Listed, Phase, Runtime, RuntimeError, RuntimeEvent, Watch};
use verger_policy::facts::{Instance, InstanceId};
use verger_policy::model::RuntimeKind;

use crate::unknown::unknown_instance;

/// Events that wait for a reader, then [`RuntimeEvent::Lost`] replaces the rest.
const WAITING: usize = 1024;

/// A scripted runtime. Clones hold the same instances.
#[derive(Clone, Debug)]
pub struct FakeRuntime {
    kind: RuntimeKind,
    held: Arc<Mutex<Held>>,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        Self::of(RuntimeKind::Docker)
    }
}

#[derive(Debug, Default)]
struct Held {
    instances: BTreeMap<InstanceId, Listed>,
    failure: Option<RuntimeError>,
    watchers: Vec<mpsc::Sender<RuntimeEvent>>,
    reads: u64,
}

impl FakeRuntime {
    /// Holds nothing yet, and takes itself for Docker.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, which takes itself for this one.
    pub fn of(kind: RuntimeKind) -> Self {
        Self {
            kind,
            held: Arc::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds `instance` from now on, silently. The same content keeps its pointer.
    pub fn put(&self, instance: Instance, phase: Phase, init_pid: Option<u32>) {
        let mut held = self.held();
        let instance = match held.instances.get(&instance.id) {
            Some(known) if *known.instance == instance => Arc::clone(&known.instance),
            _ => Arc::new(instance),
        };
        held.instances.insert(
            instance.id.clone(),
            Listed {
                instance,
                phase,
                init_pid,
            },
        );
    }

    /// Holds the instance no longer, silently.
    pub fn remove(&self, id: &InstanceId) {
        self.held().instances.remove(id);
    }

    /// Answers every request with `failure`, until told otherwise. Watches see [`RuntimeEvent::Lost`] at both changes.
    pub fn fail(&self, failure: Option<RuntimeError>) {
        self.held().failure = failure;
        self.emit(&RuntimeEvent::Lost);
    }

    /// Tells all watches.
    pub fn emit(&self, event: &RuntimeEvent) {
        self.held()
            .watchers
            .retain(|watcher| match watcher.try_send(event.clone()) {
                Ok(()) => true,
                // A reader this far behind is ended, and must watch anew: never silently short of an event.
                Err(mpsc::error::TrySendError::Full(_) | mpsc::error::TrySendError::Closed(_)) => false,
            });
    }

    /// How many times `list` or `inspect` was asked.
    pub fn reads(&self) -> u64 {
        self.held().reads
    }
}

impl Runtime for FakeRuntime {
    fn kind(&self) -> RuntimeKind {
        self.kind
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, RuntimeError>> {
        Box::pin(async {
            let mut held = self.held();
            held.reads += 1;
            match &held.failure {
                Some(error) => Err(error.clone()),
                None => Ok(held.instances.values().cloned().collect()),
            }
        })
    }

    fn inspect<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<Option<Listed>, RuntimeError>> {
        Box::pin(async {
            let mut held = self.held();
            held.reads += 1;
            match &held.failure {
                Some(error) => Err(error.clone()),
                None => Ok(held.instances.get(id).cloned()),
            }
        })
    }

    fn watch(&self) -> Box<dyn Watch> {
        let (sender, receiver) = mpsc::channel(WAITING);
        sender
            .try_send(RuntimeEvent::Lost)
            .expect("the channel is new, and its reader is held");
        self.held().watchers.push(sender);
        Box::new(FakeWatch(receiver))
    }
}

struct FakeWatch(mpsc::Receiver<RuntimeEvent>);

impl Watch for FakeWatch {
    fn next(&mut self) -> BoxFuture<'_, Option<RuntimeEvent>> {
        Box::pin(self.0.recv())
    }
}

/// An instance called `name`, of which nothing else is known.
pub fn instance(id: &str, name: &str) -> Instance {
    let id = InstanceId {
        runtime: RuntimeKind::Docker,
        id: id.to_owned(),
    };
    Instance {
        name: name.to_owned(),
        ..unknown_instance(id, "a fake holds no configuration")
    }
}
