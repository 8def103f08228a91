//! The runtime's socket as the host's users see it: who calls is known, each request is read and judged, and only then sent on.

mod answers;
mod daemon;
mod execs;
mod forward;
mod peer;
mod people;
mod policy;
mod remote;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use verger_agent_core::ledger::LedgerState;
use verger_agent_proxy::{Caller, Refusal};

use crate::launches::Launches;
use execs::Execs;
use peer::Peers;
use policy::InForce;
use socket::Real;

pub(crate) use remote::Remote;
pub(crate) use socket::listen;

/// Connections of one user at a time. A shell of somebody's has a few; who has more waits for none.
const EACH: usize = 128;
/// How long the head of a request may take, or a connection be idle.
const IDLE: Duration = Duration::from_secs(120);

/// `[proxy]` of `agent.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyConfig {
    /// Where users of this host find the runtime.
    pub(crate) listen: PathBuf,
    /// Docker's own socket, which nobody else may open.
    pub(crate) docker: PathBuf,
    /// Where people from afar find it, by TLS. None: nowhere.
    #[serde(default)]
    pub(crate) remote: Option<SocketAddr>,
    /// The mode of the socket that is listened at. Whoever can open it is known by the kernel, and has what roles say.
    #[serde(default = "everybody")]
    pub(crate) mode: u32,
    /// The runtimes that a container may name: those the gate stands in front of.
    #[serde(default = "gated")]
    pub(crate) runtimes: BTreeSet<String>,
}

const fn everybody() -> u32 {
    0o666
}

fn gated() -> BTreeSet<String> {
    ["runc".to_owned()].into()
}

/// What all connections share.
struct Proxy {
    real: Real,
    runtimes: BTreeSet<String>,
    in_force: InForce,
    execs: Mutex<Execs>,
    launches: Arc<Launches>,
}

/// Connections of all at a time: gates need descriptors, too, and a user may have many numbers (user_namespaces(7)).
const ALL: usize = 2_048;

/// How many connections each caller has.
#[derive(Debug)]
struct Crowd {
    each: usize,
    all: usize,
    counts: Mutex<BTreeMap<String, usize>>,
}

/// A connection's place among those of its caller.
struct Place {
    crowd: Arc<Crowd>,
    who: String,
    ended: CancellationToken,
}

impl Crowd {
    fn new(each: usize, all: usize) -> Self {
        Self {
            each,
            all,
            counts: Mutex::default(),
        }
    }

    fn place(self: &Arc<Self>, who: String) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = counts.values().sum();
        let count = counts.get(&who).copied().unwrap_or_default();
        (count < self.each && all < self.all).then(|| {
            counts.insert(who.clone(), count + 1);
            Place {
                crowd: Arc::clone(self),
                who,
                ended: CancellationToken::new(),
            }
        })
    }
}

impl Place {
    /// Ends all that became of the connection.
    fn end(&self) {
        self.ended.cancel();
    }

    /// Waits until it is to end.
    async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.crowd.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.who);
            }
        }
    }
}

/// What is listened at.
pub(crate) struct Doors {
    /// Users of this host.
    pub(crate) local: UnixListener,
    /// People from afar.
    pub(crate) remote: Option<Remote>,
}

/// Serves until stopped.
pub(crate) async fn serve(
    doors: Doors,
    config: ProxyConfig,
    mark: Option<PathBuf>,
    ledger: watch::Receiver<Arc<LedgerState>>,
    launches: Arc<Launches>,
    stop: CancellationToken,
) {
    let proxy = Arc::new(Proxy {
        real: Real::new(config.docker, mark),
        runtimes: config.runtimes,
        in_force: InForce::new(ledger),
        execs: Mutex::default(),
        launches,
    });
    let peers = Arc::new(Peers::of_this_host());
    let crowd = Arc::new(Crowd::new(EACH, ALL));
    let Doors { local, remote } = doors;
    let mut open = JoinSet::new();
    if let Some(remote) = remote {
        open.spawn(remote.serve(Arc::clone(&proxy), Arc::clone(&crowd), stop.clone()));
    }
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = local.accept() => accepted,
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
async fn attend<S>(stream: S, caller: watch::Receiver<Caller>, place: Arc<Place>, proxy: Arc<Proxy>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (name, all) = (caller.borrow().to_string(), Arc::clone(&place));
    let service = service_fn(move |request: Request<Incoming>| {
        let (proxy, place) = (Arc::clone(&proxy), Arc::clone(&place));
        let caller = caller.borrow().clone();
        async move {
            // What makes a container looks at what was made: to the end, also where the caller hangs up meanwhile.
            let makes = request.uri().path().ends_with("/containers/create");
            let answered = async move { proxy.answer(&caller, place, request).await };
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
    let connection = builder()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let ended = tokio::select! {
        ended = connection => ended,
        () = all.ended() => return,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn each_caller_has_so_many_places_and_all_together_no_more_than_all() {
        let crowd = Arc::new(Crowd::new(2, 3));
        let place = |who: &str| crowd.place(who.to_owned());
        let one = place("local/1").unwrap();
        let two = place("local/1").unwrap();
        assert!(place("local/1").is_none());
        let _other = place("person/ada").unwrap();
        assert!(place("person/bob").is_none(), "there are as many as there may be");
        drop(one);
        let again = place("person/bob").unwrap();
        assert!(place("local/1").is_none());
        // Ending one is of that one alone.
        again.end();
        again.ended().await;
        assert!(!two.ended.is_cancelled());
    }
}
