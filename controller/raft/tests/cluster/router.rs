//! Calls of members to each other, in one process. A way between two can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::RwLock;
use verger_controller_raft::{Member, Peer, PeerError, Peers};

use crate::shared::{By, Way};

/// Where a member is while it runs.
pub(crate) type Seat = Arc<RwLock<Option<Arc<Member>>>>;

/// All seats, and the ways that are cut.
#[derive(Default)]
pub(crate) struct Router {
    /// Where those are who moved.
    moved: Mutex<BTreeMap<String, String>>,
    seats: Mutex<BTreeMap<String, Seat>>,
    cut: Mutex<BTreeSet<(String, String)>>,
}

impl Router {
    pub(crate) fn seat(&self, name: &str) -> Seat {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(seats.entry(name.to_owned()).or_default())
    }

    /// It answers at this address alone from now on.
    pub(crate) fn move_to(&self, name: &str, address: &str) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.insert(name.to_owned(), address.to_owned());
    }

    fn is_at(&self, name: &str, address: &str) -> bool {
        let moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.get(name).is_none_or(|at| at == address)
    }

    /// Nothing that the one says reaches the other.
    pub(crate) fn cut(&self, from: &str, to: &str) {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        cut.insert((from.to_owned(), to.to_owned()));
    }

    /// Everybody hears everybody.
    pub(crate) fn heal(&self) {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn is_cut(&self, from: &str, to: &str) -> bool {
        let cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        cut.contains(&(from.to_owned(), to.to_owned()))
    }

    pub(crate) fn peers_of(self: &Arc<Self>, name: &str) -> Arc<dyn Peers> {
        Arc::new(Of {
            router: Arc::clone(self),
            name: name.to_owned(),
        })
    }
}

struct Of {
    router: Arc<Router>,
    name: String,
}

impl Peers for Of {
    fn peer(&self, name: &str, address: &str) -> Arc<dyn Peer> {
        Arc::new(By(Line {
            router: Arc::clone(&self.router),
            from: self.name.clone(),
            to: name.to_owned(),
            at: address.to_owned(),
        }))
    }
}

struct Line {
    router: Arc<Router>,
    from: String,
    to: String,
    at: String,
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
        if self.router.is_cut(&self.from, &self.to) {
            return Err(PeerError::Unreachable("the way is cut".to_owned()));
        }
        if !self.router.is_at(&self.to, &self.at) {
            return Err(PeerError::Unreachable(format!(
                "{} is not at {}",
                self.to, self.at
            )));
        }
        let member = self.router.seat(&self.to).read().await.clone();
        let Some(member) = member else {
            return Err(PeerError::Unreachable("nobody is there".to_owned()));
        };
        let lost = || PeerError::Lost("the answer is lost".to_owned());
        let answer = tokio::time::timeout(within, call(member))
            .await
            .map_err(|_| lost())?;
        if self.router.is_cut(&self.to, &self.from) {
            return Err(lost());
        }
        answer
    }
}
