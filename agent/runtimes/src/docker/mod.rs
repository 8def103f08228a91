//! Docker Engine, over its unix socket.
//!
//! Two ways to the daemon: `http` reads documents as bytes, for the pure parsers; bollard carries the event stream,
//! whose messages are only hints of what to read. No type of either leaves this module.

mod backoff;
mod cache;
mod daemon;
mod disk;
mod elements;
mod ended;
mod events;
#[cfg(test)]
mod fuzz;
mod http;
mod observe;
mod recent;
mod registered;
mod version;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use verger_agent_core::runtime::{BoxFuture, Listed, Runtime, RuntimeError, RuntimeProblem, Watch};
use verger_policy::digest::Digest;
use verger_policy::facts::{Evidence, ImageDefaults, InstanceId};
use verger_policy::model::RuntimeKind;

use cache::Cache;
pub(crate) use daemon::confine;
pub use disk::DockerDisk;
use elements::{Element, Splitter};
pub use ended::Ended;
pub use registered::{RegisteredRuntime, RegisteredRuntimes};
use version::ApiVersion;

use crate::bundle::{self, Stamp};

/// The biggest inspection, image inspection and element of a listing that is read.
const DOCUMENT_LIMIT: usize = 64 << 20;
/// The biggest description of the daemon that is read.
const INFO_LIMIT: usize = 4 << 20;
/// A listing of more containers than this is refused: no host runs so many.
const MOST_CONTAINERS: usize = 100_000;
/// Requests at the same time. The daemon serves more, but the agent is a guest on its host.
const CONCURRENT: usize = 4;
/// Ended containers are no instances: nothing of them runs, and `start` raises an event.
const LISTING: &str = "/containers/json?all=1&filters=%7B%22status%22%3A%5B%22created%22%2C%22running%22%2C%22paused%22%2C%22restarting%22%5D%7D";

/// Where Docker is, and how patient to be with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerConfig {
    /// The daemon's unix socket.
    pub socket: PathBuf,
    /// Folders that hold `ID/config.json`, searched in order, before the default ones.
    pub bundle_roots: Vec<PathBuf>,
    /// The file of the mark by which the tripwire knows the agent. None: nobody asks for one.
    pub mark: Option<PathBuf>,
    /// For one request, from connecting to the last byte.
    pub request_timeout: Duration,
    /// An instance is read again after this time though nothing told of a change.
    pub reread_every: Duration,
}

impl DockerConfig {
    /// The defaults, for the daemon at `socket`: 10 s for a request, everything read again every 5 minutes.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            bundle_roots: Vec::new(),
            mark: None,
            request_timeout: Duration::from_secs(10),
            reread_every: Duration::from_secs(300),
        }
    }
}

/// The Docker Engine of this host. Needs no running daemon to be made. Its methods need a tokio runtime.
#[derive(Debug)]
pub struct DockerRuntime {
    shared: Arc<Shared>,
}

impl DockerRuntime {
    /// Connects lazily: nothing is opened until something is asked.
    pub fn new(config: DockerConfig) -> Self {
        let DockerConfig {
            socket,
            bundle_roots: mut roots,
            mark,
            request_timeout,
            reread_every,
        } = config;
        roots.extend(bundle::DEFAULT_ROOTS.map(PathBuf::from));
        Self {
            shared: Arc::new(Shared {
                client: http::Client {
                    socket,
                    mark,
                    timeout: request_timeout,
                },
                roots: roots.into(),
                reread_every,
                version: Mutex::new(None),
                cache: Mutex::new(Cache::default()),
            }),
        }
    }
}

impl DockerRuntime {
    /// The runtimes that the daemon knows.
    ///
    /// # Errors
    /// When it cannot be asked, or its answer is not understood.
    pub async fn registered(&self) -> Result<RegisteredRuntimes, RuntimeError> {
        let version = self.shared.version().await?;
        let path = format!("/v{version}/info");
        let answer = self.shared.client.get(&path, INFO_LIMIT).await;
        answer
            .and_then(|bytes| registered::parse(&path, &bytes))
            .map_err(|problem| self.shared.error(problem))
    }
}

impl Runtime for DockerRuntime {
    fn kind(&self) -> RuntimeKind {
        RuntimeKind::Docker
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, RuntimeError>> {
        Box::pin(self.shared.list())
    }

    fn inspect<'a>(&'a self, id: &'a InstanceId) -> BoxFuture<'a, Result<Option<Listed>, RuntimeError>> {
        Box::pin(async move {
            if id.runtime != RuntimeKind::Docker || !is_container_id(&id.id) {
                return Ok(None);
            }
            let version = self.shared.version().await?;
            let listed = self.shared.read(version, &id.id, None).await?;
            if listed.is_none() {
                self.shared.cache().forget(&id.id);
            }
            Ok(listed)
        })
    }

    fn watch(&self) -> Box<dyn Watch> {
        Box::new(events::DockerWatch::start(Arc::clone(&self.shared)))
    }
}

/// Whether a text is a full container id: 64 lower-case hex digits. Checked before an id goes into a path.
pub(crate) fn is_container_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// One element of the daemon's listing.
#[derive(Debug)]
struct Summary {
    id: String,
    element: Digest,
}

impl Summary {
    /// Reads an element. Of one that was cut, or is not as expected, the id is enough: it is inspected.
    fn of(element: &Element<'_>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(rename = "Id")]
            id: String,
        }

        let (Element::Whole(bytes) | Element::Cut(bytes)) = *element;
        let stable = match element {
            Element::Whole(_) => observe::stable_digest(bytes),
            Element::Cut(_) => None,
        };
        let id = match element {
            Element::Whole(_) => serde_json::from_slice::<Head>(bytes).ok()?.id,
            Element::Cut(_) => {
                let text = bytes.strip_prefix(br#"{"Id":""#)?.get(..64)?;
                String::from_utf8(text.to_vec()).ok()?
            }
        };
        is_container_id(&id).then(|| Self {
            id,
            element: stable.unwrap_or_else(|| Digest::of(bytes)),
        })
    }
}

/// What the runtime and its watches share.
#[derive(Debug)]
struct Shared {
    client: http::Client,
    roots: Arc<[PathBuf]>,
    reread_every: Duration,
    version: Mutex<Option<ApiVersion>>,
    cache: Mutex<Cache>,
}

impl Shared {
    fn endpoint(&self) -> String {
        self.client.socket.display().to_string()
    }

    fn error(&self, problem: RuntimeProblem) -> RuntimeError {
        if matches!(problem, RuntimeProblem::Unreachable(_)) {
            // The daemon that comes back may be another one.
            *self.version.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        RuntimeError {
            runtime: RuntimeKind::Docker,
            endpoint: self.endpoint(),
            problem,
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn version(&self) -> Result<ApiVersion, RuntimeError> {
        let known = *self.version.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some(version) => Ok(version),
            None => self.negotiate_anew().await,
        }
    }

    async fn negotiate_anew(&self) -> Result<ApiVersion, RuntimeError> {
        let version = self.client.negotiate().await.map_err(|e| self.error(e))?;
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
        Ok(version)
    }

    fn bollard(&self, version: ApiVersion) -> Result<bollard::Docker, RuntimeError> {
        let seconds = self.client.timeout.as_secs().max(1);
        let docker = bollard::Docker::connect_with_unix(&self.endpoint(), seconds, &version.for_bollard())
            .map_err(|e| self.error(RuntimeProblem::Unreachable(e.to_string())))?;
        Ok(match self.client.mark() {
            None => docker,
            Some(mark) => docker.with_request_modifier(move |mut request| {
                request.headers_mut().insert(http::MARK, mark.clone());
                request
            }),
        })
    }

    async fn list(&self) -> Result<Vec<Listed>, RuntimeError> {
        let version = self.version().await?;
        let ticket = self.cache().ticket();
        let summaries = self
            .summaries(version, LISTING)
            .await
            .map_err(|e| self.error(e))?;
        let stamps = self.stamps(&summaries).await;

        let mut found = Vec::with_capacity(summaries.len());
        let mut unread = Vec::new();
        for (summary, stamp) in summaries.iter().zip(stamps) {
            match self
                .cache()
                .fresh(&summary.id, summary.element, stamp, self.reread_every)
            {
                Some(listed) => found.push(listed),
                None => unread.push((summary.id.clone(), summary.element)),
            }
        }
        let read: Vec<Option<Listed>> = stream::iter(unread)
            .map(|(id, element)| async move { self.read(version, &id, Some(element)).await })
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await?;
        found.extend(read.into_iter().flatten());
        self.cache().retain(
            ticket,
            &summaries.iter().map(|s| s.id.as_str()).collect::<BTreeSet<_>>(),
        );
        found.sort_by(|a, b| a.instance.id.cmp(&b.instance.id));
        Ok(found)
    }

    async fn summaries(&self, version: ApiVersion, listing: &str) -> Result<Vec<Summary>, RuntimeProblem> {
        let path = format!("/v{version}{listing}");
        let mut splitter = Splitter::new(DOCUMENT_LIMIT);
        let mut summaries = Vec::new();
        let mut nameless = 0_usize;
        self.client
            .get_pieces(&path, &mut |piece| {
                splitter.push(piece, |element| match Summary::of(&element) {
                    Some(summary) => summaries.push(summary),
                    None => nameless += 1,
                });
                match summaries.len() {
                    0..=MOST_CONTAINERS => Ok(()),
                    _ => Err(RuntimeProblem::TooBig {
                        request: path.clone(),
                        limit: MOST_CONTAINERS,
                    }),
                }
            })
            .await?;
        if !splitter.is_complete() || nameless > 0 {
            let reason = match nameless {
                0 => "the array of containers is not closed".to_owned(),
                n => format!("{n} of its elements have no container id"),
            };
            return Err(RuntimeProblem::Malformed {
                request: path,
                reason,
            });
        }
        Ok(summaries)
    }

    async fn stamps(&self, summaries: &[Summary]) -> Vec<Option<Stamp>> {
        let roots = Arc::clone(&self.roots);
        let ids: Vec<String> = summaries.iter().map(|s| s.id.clone()).collect();
        tokio::task::spawn_blocking(move || ids.iter().map(|id| bundle::stamp(&roots, id)).collect())
            .await
            .expect("looking at files does not panic, and the runtime outlives its requests")
    }

    /// Reads one container. What is wrong with this one alone becomes missing evidence; an error is the daemon's.
    async fn read(
        &self,
        version: ApiVersion,
        id: &str,
        element: Option<Digest>,
    ) -> Result<Option<Listed>, RuntimeError> {
        let ticket = self.cache().ticket();
        let path = format!("/v{version}/containers/{id}/json");
        let inspect = match self.client.get(&path, DOCUMENT_LIMIT).await {
            Ok(bytes) => Ok(bytes),
            Err(RuntimeProblem::Refused { status: 404, .. }) => return Ok(None),
            Err(gone @ RuntimeProblem::Unreachable(_)) => return Err(self.error(gone)),
            Err(problem) => Err(problem.to_string()),
        };
        let roots = Arc::clone(&self.roots);
        let owned = id.to_owned();
        let oci = tokio::task::spawn_blocking(move || bundle::read(&roots, &owned))
            .await
            .expect("reading a file does not panic, and the runtime outlives its requests");
        let (oci, stamp) = match oci {
            Ok((bytes, stamp)) => (Ok(bytes), Some(stamp)),
            Err(reason) => (Err(reason), None),
        };
        let (inspect, head) = match inspect.and_then(|bytes| observe::head(&bytes).map(|head| (bytes, head)))
        {
            Ok(read) => read,
            // Never remembered: the next listing tries again.
            Err(reason) => return Ok(Some(observe::unreadable(id, &oci, &reason))),
        };
        let Some(phase) = head.phase() else {
            return Ok(None);
        };
        let image = self.image(version, &head).await?;
        let instance = observe::instance(id, &inspect, &oci, image);
        let listed = Listed {
            instance: Arc::new(instance),
            phase,
            init_pid: head.init_pid(phase),
        };
        Ok(Some(self.cache().store(ticket, element, stamp, listed)))
    }

    async fn image(
        &self,
        version: ApiVersion,
        head: &observe::Head,
    ) -> Result<Evidence<ImageDefaults>, RuntimeError> {
        let Ok(digest) = head.image.parse::<Digest>() else {
            return Ok(Evidence::Missing(
                "the daemon names no image config digest for this container".to_owned(),
            ));
        };
        if let Some(known) = self.cache().image(&digest) {
            return Ok(Evidence::Seen(known));
        }
        match self
            .client
            .get(&format!("/v{version}/images/{digest}/json"), DOCUMENT_LIMIT)
            .await
        {
            Ok(bytes) => {
                let defaults = observe::image(&bytes);
                if let Evidence::Seen(defaults) = &defaults {
                    self.cache().store_image(digest, defaults.clone());
                }
                Ok(defaults)
            }
            Err(gone @ RuntimeProblem::Unreachable(_)) => Err(self.error(gone)),
            Err(problem) => Ok(Evidence::Missing(format!(
                "its image cannot be inspected: {problem}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cut_element_still_gives_its_id() {
        let id = "a".repeat(64);
        let text = format!(r#"{{"Id":"{id}","Names":["/x"#);
        assert_eq!(Summary::of(&Element::Cut(text.as_bytes())).unwrap().id, id);
    }

    #[test]
    fn an_element_without_an_id_is_none() {
        for text in ["{}", r#"{"Id":"../etc"}"#, "[", r#"{"Id":5}"#] {
            assert!(Summary::of(&Element::Whole(text.as_bytes())).is_none(), "{text}");
        }
    }
}
