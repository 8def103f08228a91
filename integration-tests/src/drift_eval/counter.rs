//! How many requests an agent makes about containers that have not changed: counted on the wire.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{UnixListener, UnixStream};
use verger_agent_core::runtime::{Listed, Runtime as _};
use verger_agent_runtimes::docker::{DockerConfig, DockerRuntime};

use crate::scene::Docker;

/// The first lines of requests.
type Requests = Arc<Mutex<Vec<String>>>;

/// Lists twice, and gives the requests of the second time that are about these containers or their images. The daemon
/// may have other containers, which come and go; that these stay as they are is checked.
pub(super) fn requests_of_unchanged(docker: &Docker, ours: &[String]) -> Result<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("counted.sock");
        let requests = count(&socket, docker.socket())?;
        let agent = DockerRuntime::new(DockerConfig {
            bundle_roots: vec![docker.bundles()],
            ..DockerConfig::new(&socket)
        });
        let of_ours = |listed: Vec<Listed>| -> Vec<Listed> {
            let is_ours = |listed: &Listed| ours.contains(&listed.instance.id.id);
            listed.into_iter().filter(is_ours).collect()
        };
        let first = of_ours(agent.list().await?);
        ensure!(
            first.len() == ours.len(),
            "{} are listed of {}",
            first.len(),
            ours.len()
        );
        let subjects: BTreeSet<String> = first.iter().flat_map(subjects).collect();
        let once = about(&take(&requests), &subjects);
        ensure!(
            once >= ours.len(),
            "the first look asks about each: {once} of {}",
            ours.len()
        );
        let second = of_ours(agent.list().await?);
        ensure!(first == second, "nothing has changed");
        let again = take(&requests);
        ensure!(!again.is_empty(), "the second look asks for the list at least");
        Ok(about(&again, &subjects))
    })
}

/// What requests about it name: its id, and its image's digest.
fn subjects(listed: &Listed) -> impl Iterator<Item = String> {
    let image = listed.instance.image.seen().map(|image| image.hex());
    std::iter::once(listed.instance.id.id.clone()).chain(image)
}

fn take(requests: &Requests) -> Vec<String> {
    std::mem::take(&mut *requests.lock().unwrap_or_else(PoisonError::into_inner))
}

/// How many name one of these containers or images.
fn about(requests: &[String], subjects: &BTreeSet<String>) -> usize {
    let names_one = |line: &&String| subjects.iter().any(|subject| line.contains(subject.as_str()));
    requests.iter().filter(names_one).count()
}

/// Forwards connections, and notes the requests in them.
fn count(socket: &Path, upstream: &Path) -> Result<Requests> {
    let listener = UnixListener::bind(socket).context("making the counting socket")?;
    let counted = Requests::default();
    let (told, upstream) = (Arc::clone(&counted), upstream.to_owned());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(forward(client, upstream.clone(), Arc::clone(&told)));
        }
    });
    Ok(counted)
}

async fn forward(client: UnixStream, upstream: PathBuf, counted: Requests) {
    let Ok(server) = UnixStream::connect(upstream).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let mut piece = vec![0; 64 << 10];
    // Requests have no body and come one at a time, so a piece holds whole ones.
    while let Ok(length @ 1..) = from_client.read(&mut piece).await {
        let text = String::from_utf8_lossy(&piece[..length]);
        let requests = text
            .lines()
            .filter(|line| line.starts_with("GET "))
            .map(str::to_owned);
        counted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(requests);
        if to_server.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
