//! The little that `bless` asks of Docker: one GET at a time over its socket, and the OCI config of a bundle.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use tokio::net::UnixStream;
use verger_policy::digest::Digest;
use verger_policy::model::printable_within;

use crate::exit::{Exit, Failure};

/// The biggest answer that is read, bytes.
const ANSWER_BYTES: usize = 32 << 20;
/// The biggest OCI config that is read, bytes.
const CONFIG_BYTES: u64 = 16 << 20;
/// An answer that takes longer is given up.
const LIMIT: Duration = Duration::from_secs(20);

/// Where bundles are: Docker with a containerd of its own, and with the system's.
const ROOTS: [&str; 2] = [
    "/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby",
    "/run/containerd/io.containerd.runtime.v2.task/moby",
];

/// The socket in a `unix://` address.
///
/// # Errors
/// When it is another kind of address.
pub(crate) fn socket(address: &str) -> Result<PathBuf, Failure> {
    let path = address
        .strip_prefix("unix://")
        .filter(|path| path.starts_with('/'));
    path.map(PathBuf::from).ok_or_else(|| {
        Failure::input(format!(
            "--docker-host `{address}`: only a socket of this machine can be asked; write unix:///PATH"
        ))
    })
}

/// Inspects a container by name or id.
///
/// # Errors
/// When Docker does not answer, or does not know it.
pub(crate) async fn container(socket: &Path, name: &str) -> anyhow::Result<Bytes> {
    get(
        socket,
        &format!("/containers/{}/json", segment(name)?),
        &format!("container `{name}`"),
    )
    .await
}

/// Inspects an image by digest.
///
/// # Errors
/// When Docker does not answer, or does not know it.
pub(crate) async fn image(socket: &Path, digest: &Digest) -> anyhow::Result<Bytes> {
    get(
        socket,
        &format!("/images/{digest}/json"),
        &format!("image {digest}"),
    )
    .await
}

/// Checks a container's name or id by Docker's own rule, so that it is one segment of a path and leads nowhere else.
fn segment(name: &str) -> Result<&str, Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let first = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && name.bytes().all(plain) {
        return Ok(name);
    }
    Err(Failure::input(format!(
        "`{name}` is no name or id of a container; see `docker ps`"
    )))
}

async fn get(socket: &Path, path: &str, what: &str) -> anyhow::Result<Bytes> {
    tokio::time::timeout(LIMIT, ask(socket, path, what))
        .await
        .map_err(|_| {
            Failure::new(
                Exit::Violation,
                format!("Docker at {} does not answer", socket.display()),
            )
        })?
}

async fn ask(socket: &Path, path: &str, what: &str) -> anyhow::Result<Bytes> {
    let unusable = || {
        format!(
            "cannot ask Docker at {}; is it running, and may you use its socket?",
            socket.display()
        )
    };
    let stream = UnixStream::connect(socket).await.with_context(unusable)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .with_context(unusable)?;
    let request = Request::get(path)
        .header(header::HOST, "docker")
        .body(Empty::<Bytes>::new())?;
    let exchange = async {
        let answer = sender.send_request(request).await.with_context(unusable)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        let body = body
            .map_err(|error| anyhow::anyhow!("Docker's answer cannot be read: {error}"))?
            .to_bytes();
        anyhow::Ok((status, body))
    };
    // The connection moves bytes only while it is polled; it ends with the exchange.
    let (status, body) = tokio::select! {
        done = exchange => done?,
        Err(error) = connection => return Err(error).with_context(unusable),
    };
    match status {
        StatusCode::OK => Ok(body),
        StatusCode::NOT_FOUND => {
            Err(Failure::input(format!("Docker knows no {what}; see `docker ps`")).into())
        }
        other => {
            let said = printable_within(&String::from_utf8_lossy(&body), 300);
            Err(Failure::new(
                Exit::Violation,
                format!("Docker refuses to show {what}: {other}: {said}"),
            )
            .into())
        }
    }
}

/// Reads the OCI config of a container; or why it cannot be read.
pub(crate) fn bundle(roots: &[PathBuf], id: &str) -> Result<Vec<u8>, String> {
    if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("its id is not one of Docker's".to_owned());
    }
    let known: Vec<PathBuf> = ROOTS.iter().map(PathBuf::from).collect();
    let roots = if roots.is_empty() { &known } else { roots };
    let mut reasons = Vec::new();
    for root in roots {
        match config(root, id) {
            Ok(bytes) => return Ok(bytes),
            Err(error) => reasons.push(format!("{}: {error}", root.display())),
        }
    }
    Err(reasons.join("; "))
}

fn config(root: &Path, id: &str) -> std::io::Result<Vec<u8>> {
    below(root, &format!("{id}/config.json"), CONFIG_BYTES)
}

/// A file below a folder of a runtime's. Nothing on the way is followed: what is there must be what the runtime wrote.
///
/// # Errors
/// When it cannot be read, is no regular file, or is longer than the limit.
pub(crate) fn below(root: &Path, path: &str, limit: u64) -> std::io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(root, flags | OFlags::DIRECTORY, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = File::from(rustix::fs::openat2(
        &folder,
        path,
        flags | OFlags::NOCTTY | OFlags::NONBLOCK,
        Mode::empty(),
        resolve,
    )?);
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other(format!("{path} is no regular file")));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(std::io::Error::other(format!(
            "{path} is larger than {limit} bytes"
        )));
    }
    Ok(bytes)
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_cannot_lead_elsewhere_on_the_socket() {
        assert_eq!(segment("web-1.a_b").unwrap(), "web-1.a_b");
        for name in [
            "",
            "..",
            ".",
            "../images",
            "a/b",
            "a?b",
            "a#b",
            "a b",
            "a\r\n",
            "%2e",
            "-a",
        ] {
            assert!(segment(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn only_a_local_socket_is_asked() {
        assert_eq!(socket("unix:///run/d.sock").unwrap(), Path::new("/run/d.sock"));
        for address in ["tcp://1.2.3.4:2375", "ssh://x", "unix://relative", ""] {
            assert!(socket(address).unwrap_err().message.contains("unix:///PATH"));
        }
    }

    #[test]
    fn symbolic_links_in_a_bundle_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let id = "ab".repeat(32);
        std::fs::create_dir(root.path().join(&id)).unwrap();
        let secret = root.path().join("secret");
        std::fs::write(&secret, "x").unwrap();
        let config = root.path().join(&id).join("config.json");
        std::os::unix::fs::symlink(&secret, &config).unwrap();
        let roots = [root.path().to_owned()];
        assert!(bundle(&roots, &id).is_err());
        std::fs::remove_file(&config).unwrap();
        std::fs::write(&config, "{}").unwrap();
        assert_eq!(bundle(&roots, &id).unwrap(), b"{}");
        assert!(bundle(&roots, "../etc").is_err());
    }
}
