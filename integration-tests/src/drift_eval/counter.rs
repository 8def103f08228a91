//! How many requests about single containers an agent makes when nothing has changed: counted on the wire.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{UnixListener, UnixStream};
use verger_agent_core::runtime::Runtime as _;
use verger_agent_runtimes::docker::{DockerConfig, DockerRuntime};

use crate::scene::Docker;

/// What a request about one container, or about its image, begins with.
const SINGLE: [&str; 2] = ["/containers/", "/images/"];
/// And what the listing of all begins with.
const LISTING: &str = "/containers/json";

/// Lists twice, and gives the requests about single containers of the second time.
pub(super) fn requests_of_unchanged(docker: &Docker) -> Result<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("counted.sock");
        let counted = count(&socket, docker.socket())?;
        let agent = DockerRuntime::new(DockerConfig {
            bundle_roots: vec![docker.bundles()],
            ..DockerConfig::new(&socket)
        });
        let first = agent.list().await?;
        let once = counted.swap(0, Ordering::SeqCst);
        ensure!(
            once >= first.len(),
            "the first look asks about each: {once} of {}",
            first.len()
        );
        let second = agent.list().await?;
        ensure!(first == second, "nothing has changed");
        Ok(counted.load(Ordering::SeqCst))
    })
}

/// Forwards connections, and counts the requests in them.
fn count(socket: &Path, upstream: &Path) -> Result<Arc<AtomicUsize>> {
    let listener = UnixListener::bind(socket).context("making the counting socket")?;
    let counted = Arc::new(AtomicUsize::new(0));
    let (told, upstream) = (Arc::clone(&counted), upstream.to_owned());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(forward(client, upstream.clone(), Arc::clone(&told)));
        }
    });
    Ok(counted)
}

async fn forward(client: UnixStream, upstream: PathBuf, counted: Arc<AtomicUsize>) {
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
        let single = text
            .lines()
            .filter(|line| line.starts_with("GET ") && !line.contains(LISTING))
            .filter(|line| SINGLE.iter().any(|about| line.contains(about)))
            .count();
        counted.fetch_add(single, Ordering::SeqCst);
        if to_server.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
