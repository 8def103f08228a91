//! Accepting connections: a stream of finished handshakes for tonic.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::spiffe_id::Peer;
use crate::tls::{Server, spiffe_id};

/// A handshake that takes longer is dropped.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Handshakes at the same time: their cost is bounded, and connections wait in the listener's queue.
const HANDSHAKES: usize = 64;
/// Finished handshakes that wait for the server.
const READY: usize = 64;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// By its certificate; `None` only on the enrolment listener.
    pub peer: Option<Peer>,
    /// Its address.
    pub address: SocketAddr,
}

/// Who is at the other end of a request's connection.
pub fn peer_info<T>(request: &tonic::Request<T>) -> Option<&PeerInfo> {
    request.extensions().get::<PeerInfo>()
}

/// Who calls, by the certificate.
pub fn peer_of<T>(request: &tonic::Request<T>) -> Option<&Peer> {
    peer_info(request)?.peer.as_ref()
}

/// An accepted connection.
pub struct Accepted {
    stream: TlsStream<TcpStream>,
    info: PeerInfo,
}

impl Connected for Accepted {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.info.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
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

/// Accepts peers that have a certificate. The stream ends when its receiver is dropped.
pub fn accept(listener: TcpListener, server: &Server) -> mpsc::Receiver<io::Result<Accepted>> {
    serve(listener, Arc::clone(&server.mutual), true)
}

/// Accepts callers that have no certificate yet.
pub fn accept_enrolments(listener: TcpListener, server: &Server) -> mpsc::Receiver<io::Result<Accepted>> {
    serve(listener, Arc::clone(&server.enrolment), false)
}

fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    mutual: bool,
) -> mpsc::Receiver<io::Result<Accepted>> {
    let (ready, accepted) = mpsc::channel(READY);
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(config);
        let places = Arc::new(Semaphore::new(HANDSHAKES));
        loop {
            let place = Arc::clone(&places).acquire_owned().await.expect("never closed");
            let next = tokio::select! {
                next = listener.accept() => next,
                () = ready.closed() => return,
            };
            let (stream, address) = match next {
                Ok(next) => next,
                Err(error) => {
                    // Out of descriptors, mostly: others must finish first.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (acceptor, ready) = (acceptor.clone(), ready.clone());
            tokio::spawn(async move {
                let handshake =
                    tokio::time::timeout(HANDSHAKE_LIMIT, shake(acceptor, stream, address, mutual)).await;
                drop(place);
                match handshake {
                    Ok(Ok(accepted)) => drop(ready.send(Ok(accepted)).await),
                    Ok(Err(error)) => tracing::info!(%address, %error, "a handshake was refused"),
                    Err(_) => tracing::info!(%address, "a handshake took too long"),
                }
            });
        }
    });
    accepted
}

async fn shake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    mutual: bool,
) -> io::Result<Accepted> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let peer = certificate
        .and_then(|certificate| spiffe_id(certificate))
        .map(|id| id.peer);
    if mutual && peer.is_none() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the caller has no name",
        ));
    }
    Ok(Accepted {
        stream,
        info: PeerInfo { peer, address },
    })
}
