//! Connections in memory. A caller's identity comes with the connection, as it does from a handshake.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::Uri;
use tonic::service::Routes;
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Server};
use tower::service_fn;
use verger_controller_api::denials::DenialsLayer;
use verger_controller_api::logins::LoginsLayer;
use verger_controller_api::ports::{Replicated, read};
use verger_controller_api::quotas::{QuotasLayer, serves};
use verger_transport::{PeerCertificate, PeerInfo};

/// Bytes on the way in one direction.
const ON_THE_WAY: usize = 16 << 10;
/// The least that HTTP/2 allows to be sent to a reader that does not read, bytes.
const WINDOW: u32 = 65_535;

/// Bytes that the member lets a peer send before anybody reads them.
const UNREAD: u32 = 256 << 10;

/// The accepted end of a connection.
pub(crate) struct Wire {
    stream: DuplexStream,
    info: PeerInfo,
}

impl Connected for Wire {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.info.clone()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Where callers connect.
#[derive(Clone)]
pub(crate) struct Door(mpsc::Sender<io::Result<Wire>>);

impl Door {
    /// Serves until the last caller is gone.
    pub(crate) fn open(routes: Routes, denials: DenialsLayer, replicated: Arc<dyn Replicated>) -> Self {
        let (door, incoming) = mpsc::channel(8);
        let served = Arc::clone(&replicated);
        let quotas = QuotasLayer::new(Arc::new(move |certificate| {
            read(&*served, |state| serves(state, certificate))
        }));
        tokio::spawn(
            Server::builder()
                .initial_stream_window_size(UNREAD)
                .initial_connection_window_size(UNREAD)
                .layer(denials)
                .layer(quotas)
                .layer(LoginsLayer::new(replicated))
                .add_routes(routes)
                .serve_with_incoming(ReceiverStream::new(incoming)),
        );
        Self(door)
    }

    /// A connection of its own for a caller with this certificate.
    pub(crate) fn enter(&self, certificate: Option<PeerCertificate>) -> Channel {
        let door = self.0.clone();
        let info = PeerInfo {
            certificate,
            address: ([192, 0, 2, 1], 40_000).into(),
        };
        Endpoint::from_static("http://member")
            .initial_stream_window_size(WINDOW)
            .connect_with_connector_lazy(service_fn(move |_: Uri| {
                let (door, info) = (door.clone(), info.clone());
                async move {
                    let (near, far) = duplex(ON_THE_WAY);
                    let stream = far;
                    door.send(Ok(Wire { stream, info }))
                        .await
                        .map_err(|_| io::ErrorKind::ConnectionRefused)?;
                    io::Result::Ok(TokioIo::new(near))
                }
            }))
    }
}
