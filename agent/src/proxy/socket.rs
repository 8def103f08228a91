//! The two sockets: the one that is listened at, and the runtime's own, which nobody else may open.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use hyper::header::HeaderValue;
use rustix::process::{getegid, geteuid};
use tokio::net::{UnixListener, UnixStream};

use verger_transport::listen_at;

use verger_agent_proxy::Engine;

use super::FrontConfig;

/// Listens where users of the host find a runtime.
///
/// # Errors
/// When the runtime's own socket is open to others: then whoever likes goes past.
pub(crate) fn listen(config: &FrontConfig) -> anyhow::Result<UnixListener> {
    let FrontConfig {
        engine,
        listen,
        real,
        mode,
        ..
    } = config;
    let (section, key) = config.named();
    ensure!(
        *mode <= 0o777,
        "`[{section}] mode` is the mode of a file, as 0o666, and not {mode:#o}"
    );
    let same = |a: &Path, b: &Path| {
        a == b
            || fs::canonicalize(a)
                .ok()
                .is_some_and(|a| fs::canonicalize(b).ok() == Some(a))
    };
    ensure!(
        listen != real,
        "`[{section}]`: `listen` and `{key}` are one path, {}: move {engine}'s own socket",
        real.display()
    );
    match closed(*engine, real) {
        Err(Closed::Open(why)) => anyhow::bail!("`[{section}] {key}`: {why}"),
        Ok(()) | Err(Closed::Unseen(_)) => {}
    }
    // A symbolic link from one to the other would have every request go round.
    ensure!(
        !same(listen, real),
        "`[{section}]`: {} and {} are one socket",
        listen.display(),
        real.display()
    );
    listen_at(listen, *mode)
        .with_context(|| format!("`[{section}] listen`: cannot listen at {}", listen.display()))
}

/// The runtime's own socket.
#[derive(Debug)]
pub(super) struct Real {
    engine: Engine,
    path: PathBuf,
    /// The file of the mark by which the tripwire knows the agent.
    mark: Option<PathBuf>,
}

/// Why a socket is not known to be closed to others.
#[derive(Debug)]
enum Closed {
    /// It is open to others.
    Open(String),
    /// It could not be looked at.
    Unseen(io::Error),
}

impl Real {
    pub(super) const fn new(engine: Engine, path: PathBuf, mark: Option<PathBuf>) -> Self {
        Self { engine, path, mark }
    }

    /// Whose it is.
    pub(super) const fn engine(&self) -> Engine {
        self.engine
    }

    /// The mark, as the tripwire left it last. None where there is no tripwire.
    ///
    /// # Errors
    /// When there is one, and its mark cannot be read: what bears none would be denied.
    pub(super) fn mark(&self) -> Result<Option<HeaderValue>, String> {
        let Some(path) = &self.mark else {
            return Ok(None);
        };
        let read = verger_tripwire_protocol::mark(path)
            .and_then(|mark| HeaderValue::try_from(mark).map_err(io::Error::other));
        read.map(Some).map_err(|error| {
            format!(
                "the tripwire's mark cannot be read ({}): {error}; is verger-tripwire running?",
                path.display()
            )
        })
    }

    /// Connects. What is open to others is not served at all: a refusal here would stop nobody.
    ///
    /// # Errors
    /// When the runtime is not there, or its socket is open to others.
    pub(super) async fn connect(&self) -> Result<UnixStream, String> {
        match closed(self.engine, &self.path) {
            Ok(()) => {}
            Err(Closed::Open(why)) => {
                tracing::error!(
                    why,
                    "the runtime can be reached past the proxy, which serves nobody until that ends"
                );
                return Err(why);
            }
            Err(Closed::Unseen(error)) => return Err(self.unreachable(&error)),
        }
        UnixStream::connect(&self.path)
            .await
            .map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &io::Error) -> String {
        format!(
            "{} cannot be reached at {}: {error}; is it running?",
            self.engine,
            self.path.display()
        )
    }
}

/// Whether nobody but root and the agent may open a socket: by its own mode, or by that of its folder.
fn closed(engine: Engine, path: &Path) -> Result<(), Closed> {
    let socket = fs::metadata(path).map_err(Closed::Unseen)?;
    if !socket.file_type().is_socket() {
        return Err(Closed::Open(format!("{} is no socket", path.display())));
    }
    let folder = path.parent().and_then(|folder| fs::metadata(folder).ok());
    let us = Us {
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
    };
    let is_shut = folder.is_some_and(|folder| us.alone_may(&folder, 0o010, 0o001));
    if is_shut || us.alone_may(&socket, 0o020, 0o002) {
        return Ok(());
    }
    Err(Closed::Open(format!(
        "{} can be opened by others (mode {:03o}, uid {}, gid {}), who would go past the proxy: {} with mode 0700",
        path.display(),
        socket.mode() & 0o777,
        socket.uid(),
        socket.gid(),
        match engine {
            Engine::Docker =>
                "run dockerd with --group verger-agent, or put the socket into a folder of root's or the agent's",
            Engine::Podman => "put the socket into a folder of root's or the agent's",
        }
    )))
}

struct Us {
    uid: u32,
    gid: u32,
}

impl Us {
    /// Whether nobody else has these rights of the group's and of all others' to it.
    fn alone_may(&self, of: &Metadata, group: u32, others: u32) -> bool {
        let (mode, gid) = (of.mode(), of.gid());
        (of.uid() == 0 || of.uid() == self.uid)
            && mode & others == 0
            && (mode & group == 0 || gid == 0 || gid == self.gid)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn config(folder: &Path) -> FrontConfig {
        let text = format!(
            "listen = {:?}\ndocker = {:?}\n",
            folder.join("docker.sock"),
            folder.join("real/docker.sock")
        );
        toml_of(&text)
    }

    fn toml_of(text: &str) -> FrontConfig {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let config: super::super::ProxyConfig = verger_transport::config_file::load(file.path()).unwrap();
        config.front()
    }

    #[tokio::test]
    async fn a_socket_that_others_can_open_is_refused_however_it_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        fs::create_dir(&real).unwrap();
        let config = config(folder.path());
        assert!(listen(&config).is_ok(), "Docker may come later");
        let _docker = UnixListener::bind(&config.real).unwrap();
        let modes = |of_folder: u32, of_socket: u32| {
            fs::set_permissions(&config.real, Permissions::from_mode(of_socket)).unwrap();
            fs::set_permissions(&real, Permissions::from_mode(of_folder)).unwrap();
        };
        for (of_folder, of_socket) in [(0o755, 0o666), (0o755, 0o602), (0o701, 0o606), (0o711, 0o662)] {
            modes(of_folder, of_socket);
            let error = listen(&config).unwrap_err().to_string();
            assert!(
                error.contains("can be opened by others"),
                "{of_folder:o} {of_socket:o}: {error}"
            );
            assert!(
                Real::new(Engine::Docker, config.real.clone(), None)
                    .connect()
                    .await
                    .is_err()
            );
        }
        for (of_folder, of_socket) in [(0o755, 0o600), (0o700, 0o666), (0o755, 0o604)] {
            modes(of_folder, of_socket);
            assert!(listen(&config).is_ok(), "{of_folder:o} {of_socket:o}");
            assert!(
                Real::new(Engine::Docker, config.real.clone(), None)
                    .connect()
                    .await
                    .is_ok()
            );
        }
    }

    #[tokio::test]
    async fn a_socket_is_not_put_in_front_of_itself() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        let path = folder.path().join("docker.sock");
        let _docker = UnixListener::bind(&path).unwrap();
        let one = toml_of(&format!("listen = {path:?}\ndocker = {path:?}\n"));
        assert!(listen(&one).unwrap_err().to_string().contains("are one path"));
        let link = folder.path().join("link.sock");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let other = toml_of(&format!("listen = {link:?}\ndocker = {path:?}\n"));
        assert!(listen(&other).unwrap_err().to_string().contains("are one socket"));
        assert!(path.exists());
    }
}
