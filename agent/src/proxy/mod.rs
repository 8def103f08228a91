//! The runtime's socket as the host's users see it: who calls is known, each request is read and judged, and only then sent on.

mod answers;
mod config;
mod crowd;
mod daemon;
mod execs;
mod forward;
mod made;
mod peer;
mod people;
mod policy;
mod remote;
mod request;
mod socket;
mod taken;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use verger_agent_core::ledger::LedgerState;
use verger_agent_proxy::{Caller, Engine, Refusal};

use crate::launches::Launches;
use crowd::{ALL, Crowd, EACH, Place};
use execs::Execs;
use peer::Peers;
use policy::InForce;
use socket::Real;
use taken::TakenOver;

pub(crate) use config::{FrontConfig, PodmanProxyConfig, ProxyConfig};
pub(crate) use remote::Remote;

/// How long the head of a request may take, or a connection be idle.
const IDLE: Duration = Duration::from_secs(120);

/// What all connections share.
struct Proxy {
    real: Real,
    runtimes: BTreeSet<String>,
    in_force: Arc<InForce>,
    execs: Mutex<Execs>,
    launches: Arc<Launches>,
}

/// One runtime's socket that is listened at.
pub(crate) struct Front {
    config: FrontConfig,
    listener: UnixListener,
    mark: Option<PathBuf>,
}

impl Front {
    /// Listens where users of the host find it. The file of the mark by which the tripwire knows the agent, where there is one.
    ///
    /// # Errors
    /// As [`socket::listen`].
    pub(crate) fn listen(config: FrontConfig, mark: Option<PathBuf>) -> anyhow::Result<Self> {
        let listener = socket::listen(&config)?;
        Ok(Self {
            config,
            listener,
            mark,
        })
    }
}

/// What is listened at.
#[derive(Default)]
pub(crate) struct Doors {
    /// Users of this host find these.
    pub(crate) fronts: Vec<Front>,
    /// People from afar find Docker here.
    pub(crate) remote: Option<Remote>,
}

/// Serves until stopped.
pub(crate) async fn serve(
    doors: Doors,
    ledger: watch::Receiver<Arc<LedgerState>>,
    launches: Arc<Launches>,
    stop: CancellationToken,
) {
    let in_force = Arc::new(InForce::new(ledger));
    let peers = Arc::new(Peers::of_this_host());
    let crowd = Arc::new(Crowd::new(EACH, ALL));
    let Doors { fronts, mut remote } = doors;
    let mut open = JoinSet::new();
    for Front {
        config,
        listener,
        mark,
    } in fronts
    {
        let proxy = Arc::new(Proxy {
            real: Real::new(config.engine, config.real, mark),
            runtimes: config.runtimes,
            in_force: Arc::clone(&in_force),
            execs: Mutex::default(),
            launches: Arc::clone(&launches),
        });
        if config.engine == Engine::Docker
            && let Some(remote) = remote.take()
        {
            open.spawn(remote.serve(Arc::clone(&proxy), Arc::clone(&crowd), stop.clone()));
        }
        let (peers, crowd) = (Arc::clone(&peers), Arc::clone(&crowd));
        open.spawn(serve_host(listener, proxy, peers, crowd, stop.clone()));
    }
    while open.join_next().await.is_some() {}
}

/// Serves users of this host until stopped.
async fn serve_host(
    listener: UnixListener,
    proxy: Arc<Proxy>,
    peers: Arc<Peers>,
    crowd: Arc<Crowd>,
    stop: CancellationToken,
) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        while open.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                // Looked at before anything else happens, while its process is likely to be there.
                let caller = peers.caller(&stream);
                // Who is refused takes a place, too, until he has been told why.
                let uid = stream.peer_cred().map(|peer| peer.uid());
                let place = uid
                    .ok()
                    .and_then(|uid| crowd.place(Caller::Local(uid).to_string()));
                let Some(place) = place else {
                    tracing::debug!("there are too many connections to the runtime; one more is refused");
                    continue;
                };
                match caller {
                    Ok(caller) => {
                        let proxy = Arc::clone(&proxy);
                        // Of a user of this host that is all there is to say.
                        let (_, said) = watch::channel(caller);
                        open.spawn(attend(stream, said, Arc::new(place), proxy));
                    }
                    Err(why) => {
                        tracing::warn!(why, "somebody at the runtime's socket is refused");
                        open.spawn(turn_away(stream, why, place));
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "nobody could be let in at the runtime's socket");
                // Out of descriptors, most likely: others give theirs back.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(IDLE);
    builder
}

/// Every request of a connection is read by itself, and what is sent on is written anew: nothing of one is left for another.
/// Its place is held until the last stream that it became has ended.
///
/// Podman's CLI takes a connection over for an exec without asking for another protocol, so there the whole connection becomes the stream.
async fn attend<S>(stream: S, caller: watch::Receiver<Caller>, place: Arc<Place>, proxy: Arc<Proxy>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (name, all) = (caller.borrow().to_string(), Arc::clone(&place));
    let engine = proxy.real.engine();
    let (taking, mut taken) = mpsc::channel(1);
    let service = service_fn(move |request: Request<Incoming>| {
        let (proxy, place) = (Arc::clone(&proxy), Arc::clone(&place));
        let caller = caller.borrow().clone();
        let taking = (engine == Engine::Podman).then(|| taking.clone());
        async move {
            // What makes a container looks at what was made: to the end, also where the caller hangs up meanwhile.
            let makes = request.uri().path().ends_with("/containers/create");
            let answered = async move { proxy.answer(&caller, place, taking, request).await };
            Ok::<_, Infallible>(match makes {
                true => tokio::spawn(answered).await.unwrap_or_else(|_| {
                    answers::refused(&Refusal {
                        status: 500,
                        message: "verger: the call was lost; look whether there is a container".to_owned(),
                    })
                }),
                false => answered.await,
            })
        }
    });
    let connection = builder().serve_connection(TokioIo::new(stream), service);
    let ended = match engine {
        Engine::Docker => {
            tokio::select! {
                ended = connection.with_upgrades() => ended,
                () = all.ended() => return,
            }
        }
        Engine::Podman => {
            let mut connection = connection;
            tokio::select! {
                ended = &mut connection => ended,
                () = all.ended() => return,
                Some(taken) = taken.recv() => {
                    let Parts { io, read_buf, .. } = connection.into_parts();
                    tokio::select! {
                        () = TakenOver::carry(taken, io.into_inner(), read_buf) => {}
                        () = all.ended() => {}
                    }
                    return;
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(caller = name, %error, "a connection to the runtime ended");
    }
}

/// Says why, to whatever is asked.
async fn turn_away<S>(stream: S, why: String, _place: Place)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |_: Request<Incoming>| {
        let refusal = Refusal::denied(format!("verger: {why}"));
        async move { Ok::<_, Infallible>(answers::refused(&refusal)) }
    });
    let connection = builder()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever does not ask is not waited for.
    let _ = tokio::time::timeout(Duration::from_secs(5), connection).await;
}
