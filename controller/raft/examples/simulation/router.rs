//! The network: what is said comes late, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, timeout};
use verger_controller_raft::{Member, Peer, PeerError, Peers};

use crate::pauses::Pauses;
use crate::shared::{By, Way};
use crate::world::id_of;

/// How long a message takes, microseconds.
const TAKES: std::ops::Range<u64> = 200..4_000;
/// Of so many messages one takes much longer.
const SLOW: u32 = 200;
const SLOW_TAKES: std::ops::Range<u64> = 50_000..400_000;
/// How long each takes while everything is late.
const LATE_TAKES: std::ops::Range<u64> = 20_000..150_000;
/// Of so many messages one is lost.
const LOST: u32 = 300;

/// Everybody who is there, and the ways that are cut.
pub(crate) struct Router {
    held: Mutex<Held>,
    pauses: Pauses,
}

struct Held {
    lots: StdRng,
    /// With the number of the run.
    seats: BTreeMap<String, (u64, Arc<Member>)>,
    living: BTreeMap<String, u64>,
    runs: u64,
    cut: BTreeSet<(String, String)>,
    /// Until when everything comes late.
    late: Option<Instant>,
    /// What was sent, in short: whether two runs are the same.
    trace: u64,
}

impl Router {
    pub(crate) fn new(lots: StdRng, pauses: &Pauses) -> Arc<Self> {
        Arc::new(Self {
            pauses: pauses.clone(),
            held: Mutex::new(Held {
                lots,
                seats: BTreeMap::new(),
                living: BTreeMap::new(),
                runs: 0,
                cut: BTreeSet::new(),
                late: None,
                trace: 0,
            }),
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run that begins, by number: what those of before are on their way to say is not said.
    pub(crate) fn begin(&self, name: &str) -> u64 {
        let mut held = self.held();
        held.runs += 1;
        let run = held.runs;
        held.living.insert(name.to_owned(), run);
        run
    }

    pub(crate) fn seat(&self, name: &str, run: u64, member: Arc<Member>) {
        self.held().seats.insert(name.to_owned(), (run, member));
    }

    pub(crate) fn unseat(&self, name: &str) {
        let mut held = self.held();
        held.seats.remove(name);
        held.living.remove(name);
    }

    pub(crate) fn cut(&self, from: &str, to: &str) {
        self.held().cut.insert((from.to_owned(), to.to_owned()));
    }

    /// Everything comes late until then.
    pub(crate) fn slow_down(&self, until: Instant) {
        self.held().late = Some(until);
    }

    pub(crate) fn heal(&self) {
        let mut held = self.held();
        held.cut.clear();
        held.late = None;
    }

    pub(crate) fn trace(&self) -> u64 {
        self.held().trace
    }

    pub(crate) fn peers_of(self: &Arc<Self>, name: &str, run: u64) -> Arc<dyn Peers> {
        Arc::new(Of {
            router: Arc::clone(self),
            name: name.to_owned(),
            run,
        })
    }

    /// How long a message from one to the other takes; none where it does not come.
    fn takes(&self, from: &str, to: &str) -> Option<Duration> {
        let mut held = self.held();
        let is_late = held.late.is_some_and(|until| Instant::now() < until);
        let takes = match held.lots.random_range(0..SLOW) {
            0 => held.lots.random_range(SLOW_TAKES),
            _ if is_late => held.lots.random_range(LATE_TAKES),
            _ => held.lots.random_range(TAKES),
        };
        let is_lost = held.lots.random_range(0..LOST) == 0;
        let is_cut = held.cut.contains(&(from.to_owned(), to.to_owned()));
        // FNV-1a, as far as a difference has to show.
        for byte in from.bytes().chain(to.bytes()).chain(takes.to_le_bytes()) {
            held.trace = (held.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        (!is_lost && !is_cut).then(|| Duration::from_micros(takes))
    }

    fn lives(&self, name: &str, run: u64) -> bool {
        self.held().living.get(name) == Some(&run)
    }
}

struct Of {
    router: Arc<Router>,
    name: String,
    run: u64,
}

impl Peers for Of {
    fn peer(&self, name: &str, _address: &str) -> Arc<dyn Peer> {
        Arc::new(By(Line {
            router: Arc::clone(&self.router),
            from: self.name.clone(),
            run: self.run,
            to: name.to_owned(),
        }))
    }
}

struct Line {
    router: Arc<Router>,
    from: String,
    run: u64,
    to: String,
}

impl Way for Line {
    async fn call<T, F>(
        &self,
        within: Duration,
        call: impl FnOnce(Arc<Member>) -> F + Send,
    ) -> Result<T, PeerError>
    where
        T: Send,
        F: Future<Output = Result<T, PeerError>> + Send,
    {
        let lost = || PeerError::Lost("nothing comes".to_owned());
        let whole = async {
            // Who has crashed says nothing, and hears nothing.
            match self.router.takes(&self.from, &self.to) {
                Some(takes) if self.router.lives(&self.from, self.run) => sleep(takes).await,
                _ => return std::future::pending().await,
            }
            self.router.pauses.awake(id_of(&self.from)).await;
            self.router.pauses.awake(id_of(&self.to)).await;
            let seat = self.router.held().seats.get(&self.to).cloned();
            let Some((run, member)) = seat else {
                return Err(PeerError::Unreachable("nobody is there".to_owned()));
            };
            let answer = call(member).await;
            match self.router.takes(&self.to, &self.from) {
                Some(takes) if self.router.lives(&self.to, run) => sleep(takes).await,
                _ => return std::future::pending().await,
            }
            self.router.pauses.awake(id_of(&self.to)).await;
            self.router.pauses.awake(id_of(&self.from)).await;
            match self.router.lives(&self.from, self.run) {
                true => answer,
                false => std::future::pending().await,
            }
        };
        timeout(within, whole).await.map_err(|_| lost())?
    }
}
