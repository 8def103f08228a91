//! A unix socket in front of the daemon's, which tests can close and open: for Docker, that is a restart.

use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// Forwards connections while it is open.
pub struct Relay {
    pub socket: PathBuf,
    upstream: PathBuf,
    running: Option<JoinHandle<()>>,
}

impl Relay {
    /// A relay that is closed: its socket does not exist.
    pub fn closed(folder: &Path, upstream: &Path) -> Self {
        Self {
            socket: folder.join("relay.sock"),
            upstream: upstream.to_owned(),
            running: None,
        }
    }

    /// Accepts connections.
    pub fn open(&mut self) {
        let listener = UnixListener::bind(&self.socket).unwrap();
        let upstream = self.upstream.clone();
        self.running = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let upstream = upstream.clone();
                connections.spawn(async move {
                    let mut server = UnixStream::connect(upstream).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        }));
    }

    /// Cuts all connections, and removes the socket.
    pub async fn close(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
        std::fs::remove_file(&self.socket).unwrap();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}
