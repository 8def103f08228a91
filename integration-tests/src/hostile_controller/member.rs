//! A member that was taken over: it speaks the agents' protocol under a certificate of the cluster's own authority, and says
//! what it likes.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::connect_request::Message as Up;
use verger_proto::agent::v1::connect_response::Message as Down;
use verger_proto::agent::v1::session_service_server::{SessionService, SessionServiceServer};
use verger_proto::findings::v1::Transition;
use verger_transport::{Authority, Identity, KeyPair, Peer, Purpose, SpiffeId, accept};

/// What an agent is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long its certificate is good.
const LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// The member.
pub(super) struct Member {
    pub(super) address: SocketAddr,
    sessions: mpsc::Receiver<Session>,
    serving: JoinHandle<()>,
    stop: CancellationToken,
    told: watch::Receiver<Vec<Transition>>,
}

/// A policy session of the agent.
pub(super) struct Session {
    pub(super) hello: pb::Hello,
    say: mpsc::Sender<Result<pb::ConnectResponse, Status>>,
    heard: mpsc::Receiver<Up>,
}

/// What an agent answers to an offer.
#[derive(Debug)]
pub(super) enum Answer {
    Ack(pb::Ack),
    Nack(pb::Nack),
}

impl Member {
    /// Serves under the authority in `pki`, until the value is gone.
    pub(super) async fn serve(pki: &Path, cluster: &str) -> Result<Self> {
        let authorities = [Purpose::Members, Purpose::Agents, Purpose::People]
            .into_iter()
            .map(|purpose| Ok((purpose, Authority::load(pki, purpose)?.certificate().to_vec())))
            .collect::<Result<Vec<_>>>()?;
        let key = KeyPair::generate()?;
        let id = SpiffeId {
            cluster: cluster.to_owned(),
            peer: Peer::Controller("taken-over".parse()?),
        };
        let issued = Authority::load(pki, Purpose::Members)?.issue(&key.request()?, &id, LIFETIME, &[])?;
        let tls = verger_transport::Server::new(cluster, &Identity::new(issued.chain, &key), &authorities)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let connections = ReceiverStream::new(accept(listener, &tls));
        let stop = CancellationToken::new();
        let (opened, sessions) = mpsc::channel(4);
        let (told, told_seen) = watch::channel(Vec::new());
        let service = Service {
            opened,
            told,
            acknowledged: Arc::default(),
            stop: stop.clone(),
        };
        let serving = tokio::spawn(async move {
            let server = Server::builder()
                .add_service(SessionServiceServer::new(service).max_encoding_message_size(usize::MAX));
            let _ = server.serve_with_incoming(connections).await;
        });
        Ok(Self {
            address,
            sessions,
            serving,
            stop,
            told: told_seen,
        })
    }

    /// The agent's next session.
    pub(super) async fn session(&mut self, within: Duration) -> Result<Session> {
        let next = tokio::time::timeout(within, self.sessions.recv()).await;
        let next = next.with_context(|| format!("the agent does not come back within {within:?}"))?;
        next.context("the member serves")
    }

    /// The agent's next session, soon.
    pub(super) async fn next(&mut self) -> Result<Session> {
        self.session(PATIENCE).await
    }

    /// Ends a session, if the agent has not, and gives the next.
    pub(super) async fn next_after(&mut self, session: &mut Session) -> Result<Session> {
        let (say, _) = mpsc::channel(1);
        // The answer's stream ends with its sender.
        drop(std::mem::replace(&mut session.say, say));
        self.next().await
    }

    /// Sessions of a process that is no more.
    pub(super) fn forget_sessions(&mut self) {
        while self.sessions.try_recv().is_ok() {}
    }

    /// Serves no more.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.serving.abort();
        let _ = self.serving.await;
    }

    /// Whether the agent stays away for so long.
    pub(super) async fn is_left_alone(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.sessions.recv()).await.is_err()
    }

    /// How much was told of findings so far.
    pub(super) fn mark(&self) -> usize {
        self.told.borrow().len()
    }

    /// Waits for a finding that is told after `mark`.
    pub(super) async fn told(
        &mut self,
        mark: usize,
        what: &str,
        wanted: impl Fn(&Transition) -> bool,
    ) -> Result<Transition> {
        let find = |told: &Vec<Transition>| told.iter().skip(mark).find(|one| wanted(one)).cloned();
        let seen = tokio::time::timeout(PATIENCE, self.told.wait_for(|told| find(told).is_some())).await;
        match seen {
            Ok(Ok(told)) => find(&told).context("it was there"),
            _ => bail!("{what} was not told within {PATIENCE:?}"),
        }
    }
}

impl Session {
    /// Says anything.
    pub(super) async fn say(&self, nonce: u64, message: Option<Down>) -> Result<()> {
        let message = pb::ConnectResponse { nonce, message };
        self.say.send(Ok(message)).await.context("the agent has hung up")
    }

    /// Offers a set and waits for the answer.
    pub(super) async fn offer(&mut self, nonce: u64, update: pb::SetUpdate) -> Result<Answer> {
        self.say(nonce, Some(Down::Set(update))).await?;
        self.answer()
            .await?
            .context("the agent hangs up instead of answering")
    }

    /// The next answer; none when the agent hangs up.
    pub(super) async fn answer(&mut self) -> Result<Option<Answer>> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
            match next.with_context(|| format!("no answer within {PATIENCE:?}"))? {
                None => return Ok(None),
                Some(Up::Ack(ack)) => return Ok(Some(Answer::Ack(ack))),
                Some(Up::Nack(nack)) => return Ok(Some(Answer::Nack(nack))),
                Some(Up::Hello(_)) => bail!("a second Hello"),
                Some(Up::Status(_) | Up::Alive(_)) => {}
            }
        }
    }

    /// Ends it with a status.
    pub(super) async fn end(&self, status: Status) {
        // Gone already is as good.
        let _ = self.say.send(Err(status)).await;
    }
}

/// The agents' service, without a right one to go with it.
struct Service {
    opened: mpsc::Sender<Session>,
    told: watch::Sender<Vec<Transition>>,
    acknowledged: Arc<Mutex<u64>>,
    stop: CancellationToken,
}

type Answers<M> = Pin<Box<dyn tokio_stream::Stream<Item = Result<M, Status>> + Send>>;

#[tonic::async_trait]
impl SessionService for Service {
    type ConnectStream = Answers<pb::ConnectResponse>;
    type ReportStream = Answers<pb::ReportResponse>;

    async fn connect(
        &self,
        request: Request<Streaming<pb::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut incoming = request.into_inner();
        let (say, said) = mpsc::channel(4);
        let (hear, heard) = mpsc::channel(256);
        let opened = self.opened.clone();
        tokio::spawn(async move {
            let Ok(Some(pb::ConnectRequest {
                message: Some(Up::Hello(hello)),
            })) = incoming.message().await
            else {
                return;
            };
            if opened.send(Session { hello, say, heard }).await.is_err() {
                return;
            }
            while let Ok(Some(pb::ConnectRequest { message })) = incoming.message().await {
                let Some(message) = message else { continue };
                if hear.send(message).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }

    /// Takes the findings in, so that they can be looked at, and keeps them from the others.
    async fn report(
        &self,
        request: Request<Streaming<pb::ReportRequest>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let mut incoming = request.into_inner();
        let (say, said) = mpsc::channel(4);
        let (told, acknowledged) = (self.told.clone(), Arc::clone(&self.acknowledged));
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let held = *acknowledged.lock().await;
            let answered = |acknowledged| {
                Ok(pb::ReportResponse {
                    acknowledged,
                    chain: Vec::new().into(),
                })
            };
            let mut answer = answered(held);
            while say.send(answer).await.is_ok() {
                let next = tokio::select! {
                    next = incoming.message() => next,
                    () = stop.cancelled() => return,
                };
                let Ok(Some(message)) = next else { return };
                let pb::ReportRequest {
                    first_sequence,
                    transitions,
                    anew: _,
                    machine: _,
                    head: _,
                    chain_before: _,
                } = message;
                let mut held = acknowledged.lock().await;
                let known = held.saturating_sub(first_sequence.saturating_sub(1));
                let known = usize::try_from(known).unwrap_or(usize::MAX);
                *held = (*held).max(first_sequence + transitions.len() as u64 - 1);
                answer = answered(*held);
                told.send_modify(|told| told.extend(transitions.into_iter().skip(known)));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(said))))
    }

    async fn look_up_person(
        &self,
        _: Request<pb::LookUpPersonRequest>,
    ) -> Result<Response<pb::LookUpPersonResponse>, Status> {
        Err(Status::unimplemented("nobody asks here"))
    }

    async fn renew(&self, _: Request<pb::RenewRequest>) -> Result<Response<pb::RenewResponse>, Status> {
        Err(Status::unavailable("not now"))
    }
}
