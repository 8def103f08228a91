//! The socket at which gates ask: the agent's own, or one that systemd holds open for it (sd_listen_fds(3)), so that whoever asks while
//! the agent is starting waits for the answer.

use std::path::Path;

use anyhow::{Context as _, ensure};
use listenfd::ListenFd;
use tokio::net::UnixListener;
use verger_transport::listen_at;

/// Listens for gates at a path, which root alone may connect to.
pub(crate) fn at(path: &Path) -> anyhow::Result<UnixListener> {
    match handed_over(path)? {
        Some(listener) => Ok(listener),
        None => listen_at(path, 0o600)
            .with_context(|| format!("`gate_socket`: cannot listen at {}", path.display())),
    }
}

/// What systemd opened, if it did.
fn handed_over(path: &Path) -> anyhow::Result<Option<UnixListener>> {
    let mut handed = ListenFd::from_env();
    let Some(listener) = handed
        .take_unix_listener(0)
        .context("`gate_socket`: what systemd handed over is no listening unix socket")?
    else {
        return Ok(None);
    };
    let address = listener.local_addr()?;
    ensure!(
        address.as_pathname() == Some(path),
        "`gate_socket` is {}, and systemd listens at {address:?}: make `ListenStream=` of the socket unit and the configuration agree",
        path.display()
    );
    listener.set_nonblocking(true)?;
    Ok(Some(UnixListener::from_std(listener)?))
}
