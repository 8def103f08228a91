//! Accepting connections: a stream of finished handshakes for tonic.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::admission::{Admission, Admitted};
use crate::certificate::PeerCertificate;
use crate::spiffe_id::Peer;
use crate::tls::Server;

/// A handshake that takes longer is dropped.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Handshakes at the same time. One more ends the oldest of them: whoever opens sockets and says nothing keeps nobody out
/// who does his part of a handshake while that many others arrive.
const HANDSHAKES: usize = 1_024;
/// Finished handshakes that wait for the server.
const READY: usize = 64;

/// Ends connections that are open, and lets new ones be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends(Arc<ArcSwap<CancellationToken>>);

impl Ends {
    fn next(&self) -> CancellationToken {
        CancellationToken::clone(&self.0.load())
    }

    pub(crate) fn end_all(&self) {
        self.0.swap(Arc::new(CancellationToken::new())).cancel();
    }
}

/// Who may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// Whoever has a certificate.
    Known,
    /// Members of the control plane.
    Members,
    /// Who has none yet.
    Strangers,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// Its certificate; `None` only on the enrolment listener.
    pub certificate: Option<PeerCertificate>,
    /// Its address.
    pub address: SocketAddr,
}

/// Who is at the other end of a request's connection.
pub fn peer_info<T>(request: &tonic::Request<T>) -> Option<&PeerInfo> {
    request.extensions().get::<PeerInfo>()
}

/// The caller's certificate. An agent's may have ended, see [`crate::RENEWAL_GRACE`]: whoever serves more than its renewal
/// looks at [`PeerCertificate::not_after`].
pub fn certificate_of<T>(request: &tonic::Request<T>) -> Option<&PeerCertificate> {
    peer_info(request)?.certificate.as_ref()
}

/// An accepted connection. A person's and a member's ends with its certificate.
pub struct Accepted {
    stream: TlsStream<TcpStream>,
    info: PeerInfo,
    end: Option<Pin<Box<Sleep>>>,
    /// Whoever serves has had enough of all of them.
    all_end: Pin<Box<WaitForCancellationFutureOwned>>,
    _admitted: Admitted,
}

impl Accepted {
    /// Why it is over, where it is.
    fn ended(&mut self, cx: &mut Context<'_>) -> Option<io::Error> {
        let is_over = self
            .end
            .as_mut()
            .is_some_and(|end| end.as_mut().poll(cx).is_ready());
        let why = match is_over {
            true => "the caller's certificate has ended",
            false if self.all_end.as_mut().poll(cx).is_ready() => "whoever serves ends all connections",
            false => return None,
        };
        Some(io::Error::new(io::ErrorKind::ConnectionAborted, why))
    }
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
        if let Some(error) = self.ended(cx) {
            return Poll::Ready(Err(error));
        }
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
    accept_known(listener, server, |_| true)
}

/// The same, for who can tell whether a peer is served: one that is not has connections as one of the strangers of its address.
/// It is let in all the same, for it is told why by what it calls. `serves` is asked once for each connection, and does not block.
pub fn accept_known(
    listener: TcpListener,
    server: &Server,
    serves: impl Fn(&PeerCertificate) -> bool + Send + Sync + 'static,
) -> mpsc::Receiver<io::Result<Accepted>> {
    serve(
        listener,
        Arc::clone(&server.mutual),
        Door::Known,
        Admission::new(serves),
        server.ends.clone(),
    )
}

/// Accepts members of the control plane, and nobody else.
pub fn accept_members(listener: TcpListener, server: &Server) -> mpsc::Receiver<io::Result<Accepted>> {
    serve(
        listener,
        Arc::clone(&server.mutual),
        Door::Members,
        Admission::new(|_| true),
        // Peers are what it takes to serve anybody again.
        Ends::default(),
    )
}

/// Accepts callers that have no certificate yet.
pub fn accept_enrolments(listener: TcpListener, server: &Server) -> mpsc::Receiver<io::Result<Accepted>> {
    serve(
        listener,
        Arc::clone(&server.enrolment),
        Door::Strangers,
        Admission::new(|_| false),
        server.ends.clone(),
    )
}

fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    door: Door,
    admission: Admission,
    ends: Ends,
) -> mpsc::Receiver<io::Result<Accepted>> {
    let (ready, accepted) = mpsc::channel(READY);
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(config);
        let mut handshakes = Handshakes::default();
        loop {
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
            let (acceptor, ready, admission) = (acceptor.clone(), ready.clone(), admission.clone());
            let all_end = ends.next();
            handshakes.begin(async move {
                let handshake = tokio::time::timeout(
                    HANDSHAKE_LIMIT,
                    shake(acceptor, &admission, (stream, address), door, all_end),
                )
                .await;
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

/// Handshakes that go on, the oldest first.
#[derive(Default)]
struct Handshakes {
    tasks: JoinSet<()>,
    order: VecDeque<AbortHandle>,
}

impl Handshakes {
    fn begin(&mut self, handshake: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        if self.order.len() >= HANDSHAKES {
            self.order.retain(|handshake| !handshake.is_finished());
        }
        if self.order.len() >= HANDSHAKES
            && let Some(oldest) = self.order.pop_front()
        {
            tracing::warn!("too many handshakes at once: the oldest was ended");
            oldest.abort();
        }
        self.order.push_back(self.tasks.spawn(handshake));
    }
}

async fn shake(
    acceptor: TlsAcceptor,
    admission: &Admission,
    (stream, address): (TcpStream, SocketAddr),
    door: Door,
    all_end: CancellationToken,
) -> io::Result<Accepted> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let certificate = certificate.and_then(|certificate| PeerCertificate::read(certificate));
    let refused = match (door, certificate.as_ref().map(|of| &of.peer)) {
        (Door::Known | Door::Members, None) => Some("the caller has no name"),
        (Door::Members, Some(Peer::Agent(_) | Peer::Person(_))) => Some("the caller is no member"),
        _ => None,
    };
    if let Some(why) = refused {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    let end = certificate.as_ref().and_then(connection_end).map(Box::pin);
    let info = PeerInfo { certificate, address };
    let admitted = admission
        .admit(&info)
        .ok_or_else(|| io::Error::other("the caller has too many connections open already"))?;
    Ok(Accepted {
        stream,
        info,
        end,
        all_end: Box::pin(all_end.cancelled_owned()),
        _admitted: admitted,
    })
}

/// When a connection ends by itself. Agents renew their certificate without a break of their streams, and each of their calls
/// is checked anew.
fn connection_end(certificate: &PeerCertificate) -> Option<Sleep> {
    if matches!(certificate.peer, Peer::Agent(_)) {
        return None;
    }
    let left = certificate.not_after - time::OffsetDateTime::now_utc().unix_timestamp();
    let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
    Some(tokio::time::sleep_until(Instant::now() + left))
}
