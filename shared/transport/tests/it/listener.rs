//! A listener with a real service behind it, that tells who called and why handshakes were refused.

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tracing::subscriber::DefaultGuard;
use verger_transport::{
    Accepted, Client, Peer, PeerCertificate, Server, accept, accept_enrolments, channel, peer_info,
};

/// No answer on the loopback takes this long.
const LIMIT: Duration = Duration::from_secs(20);

/// A running listener. Its tasks end with the test's runtime.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    calls: mpsc::Receiver<Option<PeerCertificate>>,
    log: watch::Receiver<String>,
    _log: DefaultGuard,
}

impl Listener {
    /// Serves peers that have a certificate.
    pub(crate) async fn mutual(server: &Server) -> Self {
        Self::serve(|listener| accept(listener, server)).await
    }

    /// Serves callers that have none.
    pub(crate) async fn enrolment(server: &Server) -> Self {
        Self::serve(|listener| accept_enrolments(listener, server)).await
    }

    async fn serve(accept: impl FnOnce(TcpListener) -> mpsc::Receiver<io::Result<Accepted>>) -> Self {
        let (written, log) = watch::channel(String::new());
        // The runtime of these tests has one thread, so the test's own log holds what the listener's tasks say.
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || Lines(written.clone()))
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = ReceiverStream::new(accept(listener));
        let (called, calls) = mpsc::channel(16);
        let (_, health) = tonic_health::server::health_reporter();
        let service = InterceptedService::new(health, move |request: tonic::Request<()>| {
            let info = peer_info(&request).expect("every connection carries its peer");
            called
                .try_send(info.certificate.clone())
                .expect("a test makes few calls");
            Ok(request)
        });
        tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        Self {
            address,
            calls,
            log,
            _log: guard,
        }
    }

    /// Connects anew and calls; who it was for the service.
    pub(crate) async fn accepts(&mut self, client: &Arc<Client>) -> Option<Peer> {
        let (_, peer) = self.connects(client).await;
        peer
    }

    /// As [`Self::accepts`], as soon as there is room.
    pub(crate) async fn admits(&mut self, client: &Arc<Client>) -> Option<Peer> {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            if let Ok(channel) = channel(Arc::clone(client), &[self.address.to_string()]).await
                && check(channel).await.is_ok()
            {
                let certificate = self.calls.try_recv().expect("the service was called");
                return certificate.map(|certificate| certificate.peer);
            }
            assert!(tokio::time::Instant::now() < deadline, "there is no room");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// As [`Self::accepts`], and leaves the connection open.
    pub(crate) async fn connects(&mut self, client: &Arc<Client>) -> (Channel, Option<Peer>) {
        let channel = match channel(Arc::clone(client), &[self.address.to_string()]).await {
            Ok(channel) => channel,
            Err(error) => panic!("{error}; the listener: {}", *self.log.borrow()),
        };
        let peer = self.answers(&channel).await;
        (channel, peer)
    }

    /// Calls over an open connection.
    pub(crate) async fn answers(&mut self, channel: &Channel) -> Option<Peer> {
        self.calls_with(channel).await.map(|certificate| certificate.peer)
    }

    /// As [`Self::answers`]; the whole certificate the service saw.
    pub(crate) async fn calls_with(&mut self, channel: &Channel) -> Option<PeerCertificate> {
        if let Err(error) = check(channel.clone()).await {
            panic!("{error}; the listener: {}", *self.log.borrow());
        }
        self.calls.try_recv().expect("the service was called")
    }

    /// Waits until an open connection is closed, and tells why its next call failed.
    pub(crate) async fn closes(&mut self, channel: &Channel) -> String {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            match check(channel.clone()).await {
                Err(error) => return error,
                Ok(()) => drop(self.calls.try_recv()),
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "the connection stays open"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Connects anew and asserts that nothing reached the service and that the listener refused for this reason.
    pub(crate) async fn refuses(&mut self, client: &Arc<Client>, reason: &str) {
        let error = self.fails(client).await;
        self.says(reason, &error).await;
    }

    /// Connects anew and asserts that nothing reached the service and that the caller refused for this reason.
    pub(crate) async fn is_refused_by(&mut self, client: &Arc<Client>, reason: &str) {
        let error = self.fails(client).await;
        assert!(error.contains(reason), "the caller's error: {error}");
        self.says("received fatal alert", &error).await;
    }

    /// Waits until a handshake was refused for this reason.
    pub(crate) async fn says(&mut self, reason: &str, context: &str) {
        let said = |log: &String| {
            log.lines()
                .any(|line| line.contains("was refused") && line.contains(reason))
        };
        let waited = tokio::time::timeout(LIMIT, self.log.wait_for(said))
            .await
            .map(|log| drop(log.unwrap()));
        assert!(
            waited.is_ok(),
            "no {reason:?} from the listener: {:?}; {context}",
            *self.log.borrow()
        );
    }

    async fn fails(&mut self, client: &Arc<Client>) -> String {
        // The caller of TLS 1.3 may be through its half before the listener has looked at its certificate.
        let error = match channel(Arc::clone(client), &[self.address.to_string()]).await {
            Ok(channel) => check(channel).await.expect_err("the call must fail"),
            Err(error) => error.to_string(),
        };
        assert!(
            self.calls.try_recv().is_err(),
            "a refused caller reached the service"
        );
        error
    }
}

async fn check(channel: Channel) -> Result<(), String> {
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let mut client = HealthClient::new(channel);
    match tokio::time::timeout(LIMIT, client.check(request)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => Err(chain(&status)),
        Err(_) => Err("no answer".to_owned()),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

struct Lines(watch::Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .send_modify(|log| log.push_str(&String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
