//! Root's Podman as a runtime, by its files and the kernel alone: nobody is asked, and no lock of Podman's is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use verger_agent_core::runtime::{BoxFuture, Listed, Phase, Runtime, RuntimeError, RuntimeProblem, Watch};
use verger_policy::facts::podman::Kept;
use verger_policy::facts::{Evidence, Instance, InstanceId, NamespaceOwner, oci};
use verger_policy::model::RuntimeKind;

use super::life::{Life, Process};
use super::netns::{self, Attached};
use super::sight::instance;
use super::{PodmanDisk, PodmanRoots, watch};
use crate::bundle::Stamp;
use crate::docker::is_container_id;
use crate::unknown::unknown_instance;

/// A listing of more containers than this is refused: no host has so many.
const MOST_CONTAINERS: usize = 100_000;
/// A container is read again after this time though its files did not change.
const REREAD_EVERY: Duration = Duration::from_secs(300);
/// What is not known of a container before its first start.
const NOT_STARTED: &str = "it was not started yet, and what it will be given is not written before";
/// What stands for a container that no list holds.
const UNLISTED: &str = "it is in no list of Podman's storage (containers.json)";

/// Root's Podman on this host, in these folders. That there is none is no error: nothing is listed then. Its methods need a tokio runtime.
#[derive(Debug)]
pub struct PodmanRuntime {
    shared: Arc<Shared>,
}

impl PodmanRuntime {
    /// With its storage in these folders. Nothing is opened until something is asked.
    pub fn new(roots: PodmanRoots) -> Self {
        Self {
            shared: Arc::new(Shared {
                disk: PodmanDisk::new(roots),
                known: Mutex::default(),
            }),
        }
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Shared) -> T + Send + 'static) -> T {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || work(&shared))
            .await
            .expect("looking at files does not panic, and the runtime outlives it")
    }
}

impl Runtime for PodmanRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Podman
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, RuntimeError>> {
        Box::pin(self.blocking(|shared| shared.list(None)))
    }

    fn inspect<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<Option<Listed>, RuntimeError>> {
        Box::pin(async move {
            if id.runtime != RuntimeKind::Podman || !is_container_id(&id.id) {
                return Ok(None);
            }
            // Whose its network is, the others say, too.
            let anew = id.id.clone();
            let listed = self.blocking(move |shared| shared.list(Some(&anew))).await?;
            Ok(listed.into_iter().find(|one| one.instance.id == *id))
        })
    }

    fn watch(&self) -> Box<dyn Watch> {
        Box::new(watch::PodmanWatch::start(self.shared.disk.clone()))
    }
}

/// A container that has not ended.
#[derive(Debug)]
struct There {
    id: String,
    life: Life,
    phase: Phase,
    kept: Result<Kept, String>,
}

/// What of a container decides what its instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    config: Option<Stamp>,
    kept: Result<Kept, String>,
    network: Evidence<NamespaceOwner>,
}

/// What was read of one container.
#[derive(Debug)]
struct Known {
    state: State,
    /// What its config says of its network.
    named: Evidence<NamespaceOwner>,
    /// Its first process when it was last seen.
    process: Option<Process>,
    /// None: it is read again, whatever its files are.
    read_at: Option<Instant>,
    instance: Arc<Instance>,
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.read_at.is_some_and(|at| at.elapsed() < REREAD_EVERY)
    }
}

#[derive(Debug)]
struct Shared {
    disk: PodmanDisk,
    known: Mutex<BTreeMap<String, Known>>,
}

impl Shared {
    fn error(&self, problem: RuntimeProblem) -> RuntimeError {
        RuntimeError {
            runtime: RuntimeKind::Podman,
            endpoint: self.disk.roots().run.display().to_string(),
            problem,
        }
    }

    /// Blocks on the file system. The container `anew` is read again whatever is known of it.
    fn list(&self, anew: Option<&str>) -> Result<Vec<Listed>, RuntimeError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = anew.and_then(|id| known.get_mut(id)) {
            known.read_at = None;
        }
        let in_use = self.disk.in_use();
        let mut ids = in_use.map_err(|error| self.error(RuntimeProblem::Unreadable(error.to_string())))?;
        let listed = self.disk.listed();
        ids.extend(listed.iter().flat_map(BTreeMap::keys).cloned());
        // What of these runs still does not go with its files.
        ids.extend(known.keys().cloned());
        if ids.len() > MOST_CONTAINERS {
            return Err(self.error(RuntimeProblem::TooBig {
                request: "the question which containers there are".to_owned(),
                limit: MOST_CONTAINERS,
            }));
        }
        let kept = |id: &str| match &listed {
            Ok(listed) => listed
                .get(id)
                .cloned()
                .unwrap_or_else(|| Err(UNLISTED.to_owned())),
            Err(why) => Err(why.clone()),
        };
        let there = ids.into_iter().filter_map(|id| {
            let before = known.get(&id).and_then(|known| known.process);
            let life = Life::of_known(&self.disk, &id, before);
            let (phase, kept) = (life.phase()?, kept(&id));
            // Otherwise it is a folder that is left of one that was removed.
            (life.may_run() || kept.is_ok()).then_some(There {
                id,
                life,
                phase,
                kept,
            })
        });
        let there: Vec<There> = there.collect();
        let held: BTreeSet<&str> = there.iter().map(|one| one.id.as_str()).collect();
        known.retain(|id, _| held.contains(id.as_str()));
        let mut networks = self.networks(&there, &known);
        let listed = there.iter().map(|one| {
            let network = networks.remove(&one.id);
            self.one(one, network, &mut known)
        });
        Ok(listed.collect())
    }

    /// Whose network each container has that runs.
    fn networks(
        &self,
        there: &[There],
        known: &BTreeMap<String, Known>,
    ) -> BTreeMap<String, Evidence<NamespaceOwner>> {
        let running = there.iter().filter_map(|one| match &one.life {
            Life::Runs { first, .. } => Some((&one.id, first)),
            Life::Made | Life::Unknown(_) | Life::Ended => None,
        });
        let named: Vec<_> = running
            .map(|(id, first)| {
                let stamp = self.disk.config_stamp(id);
                let same = known
                    .get(id)
                    .filter(|known| stamp.is_some() && known.state.config == stamp);
                let named = match same {
                    Some(known) => known.named.clone(),
                    None => self.named(id),
                };
                (id, first, named)
            })
            .collect();
        let attached: Vec<Attached<'_>> = named
            .iter()
            .map(|(id, first, named)| Attached {
                id,
                named,
                namespace: &first.network,
                start_ticks: first.start_ticks,
            })
            .collect();
        let owners = netns::owners(&attached, netns::inode);
        named.iter().map(|(id, ..)| (*id).clone()).zip(owners).collect()
    }

    fn named(&self, id: &str) -> Evidence<NamespaceOwner> {
        let read = self.disk.config_read(id);
        match read.and_then(|(bytes, _)| oci::parse(&bytes).map_err(|error| error.to_string())) {
            Ok(oci) => oci.config.namespaces.network,
            Err(why) => Evidence::Missing(why),
        }
    }

    fn one(
        &self,
        there: &There,
        network: Option<Evidence<NamespaceOwner>>,
        known: &mut BTreeMap<String, Known>,
    ) -> Listed {
        let There {
            id,
            life,
            phase,
            kept,
        } = there;
        let listed = |instance: Arc<Instance>| Listed {
            instance,
            phase: *phase,
            init_pid: life.pid(),
        };
        let state = State {
            config: life.may_run().then(|| self.disk.config_stamp(id)).flatten(),
            kept: kept.clone(),
            network: network.unwrap_or_else(|| Evidence::missing(NOT_STARTED)),
        };
        let mut before = known.get_mut(id);
        let process = life
            .process()
            .or(before.as_ref().and_then(|before| before.process));
        if let Some(before) = before
            .as_mut()
            .filter(|before| before.state == state && before.is_fresh())
        {
            before.process = process;
            return listed(Arc::clone(&before.instance));
        }
        let (instance, named, stamp) = self.read(id, life, &state);
        // The same pointer where nothing changed.
        let same = before.filter(|before| *before.instance == instance);
        let instance = same.map_or_else(|| Arc::new(instance), |before| Arc::clone(&before.instance));
        let is_whole = matches!(instance.image, Evidence::Seen(_)) && stamp == state.config;
        let read = Known {
            state: State {
                config: stamp,
                ..state
            },
            named,
            process,
            // What could not be read is tried again.
            read_at: is_whole.then(Instant::now),
            instance: Arc::clone(&instance),
        };
        known.insert(id.clone(), read);
        listed(instance)
    }

    /// The instance, what its config says of its network, and of which state of its config that is.
    fn read(
        &self,
        id: &str,
        life: &Life,
        state: &State,
    ) -> (Instance, Evidence<NamespaceOwner>, Option<Stamp>) {
        let unread = |why: &str| {
            let unknown = unknown_instance(instance(id), why);
            let instance = match &state.kept {
                Ok(kept) => Instance {
                    name: kept.name.clone(),
                    image_name: kept.image_name.clone(),
                    ..unknown
                },
                Err(_) => unknown,
            };
            (instance, Evidence::missing(why), None)
        };
        match life {
            Life::Made | Life::Ended => return unread(NOT_STARTED),
            Life::Unknown(why) => return unread(why),
            Life::Runs { .. } => {}
        }
        let kept = match &state.kept {
            Ok(kept) => kept.clone(),
            Err(why) => return unread(why),
        };
        let (bytes, stamp) = match self.disk.config_read(id) {
            Ok(read) => read,
            Err(why) => return unread(&why),
        };
        match oci::parse(&bytes) {
            Ok(oci) => {
                let named = oci.config.namespaces.network.clone();
                (
                    self.disk.instance(kept, oci, state.network.clone()),
                    named,
                    Some(stamp),
                )
            }
            Err(error) => unread(&error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
