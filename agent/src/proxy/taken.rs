//! A connection that became a stream of a container's.

use bytes::Bytes;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

/// What a caller's connection is to become: what it is told first, and the runtime's side.
pub(super) struct TakenOver {
    head: Vec<u8>,
    daemon: OnUpgrade,
}

impl TakenOver {
    /// Of the runtime's answer, which changed the protocol. Whether the caller had asked for that: who had not is told that all is well, and
    /// takes what follows for the stream.
    pub(super) fn of(mut response: Response<Incoming>, is_asked: bool) -> Self {
        let content_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("application/vnd.docker.raw-stream");
        let head = match is_asked {
            true => format!(
                "HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
            ),
            false => format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n"),
        };
        Self {
            head: head.into_bytes(),
            daemon: hyper::upgrade::on(&mut response),
        }
    }

    /// Carries bytes both ways until both sides have ended; that one has nothing more to say is passed on. `sent` is what the caller had sent
    /// before the connection was taken over.
    pub(super) async fn carry(self, mut caller: impl AsyncRead + AsyncWrite + Unpin, sent: Bytes) {
        let carried = async {
            let daemon = self.daemon.await.map_err(std::io::Error::other)?;
            let mut daemon = TokioIo::new(daemon);
            caller.write_all(&self.head).await?;
            daemon.write_all(&sent).await?;
            tokio::io::copy_bidirectional(&mut caller, &mut daemon).await
        };
        if let Err(error) = carried.await {
            tracing::debug!(%error, "a stream of the runtime ended");
        }
    }
}
