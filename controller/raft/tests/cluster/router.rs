//! Calls of members to each other, in one process. A way between two can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{RwLock, mpsc};
use verger_controller_raft::{Member, Peer, PeerError, PeerRefused, Peers};
use verger_proto::peer::v1 as pb;

/// Where a member is while it runs.
pub(crate) type Seat = Arc<RwLock<Option<Arc<Member>>>>;

/// All seats, and the ways that are cut.
#[derive(Default)]
pub(crate) struct Router {
    seats: Mutex<BTreeMap<String, Seat>>,
    cut: Mutex<BTreeSet<(String, String)>>,
}

impl Router {
    pub(crate) fn seat(&self, name: &str) -> Seat {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(seats.entry(name.to_owned()).or_default())
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
    fn peer(&self, name: &str, _address: &str) -> Arc<dyn Peer> {
        Arc::new(Way {
            router: Arc::clone(&self.router),
            from: self.name.clone(),
            to: name.to_owned(),
        })
    }
}

struct Way {
    router: Arc<Router>,
    from: String,
    to: String,
}

fn refused(error: &PeerRefused) -> PeerError {
    PeerError::Refused(error.to_string())
}

impl Way {
    /// Calls, and brings the answer back. Either may be lost.
    async fn call<T, F>(&self, within: Duration, call: impl FnOnce(Arc<Member>) -> F) -> Result<T, PeerError>
    where
        F: Future<Output = Result<T, PeerError>>,
    {
        if self.router.is_cut(&self.from, &self.to) {
            return Err(PeerError::Unreachable("the way is cut".to_owned()));
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

#[async_trait]
impl Peer for Way {
    async fn append(
        &self,
        request: pb::AppendRequest,
        within: Duration,
    ) -> Result<pb::AppendResponse, PeerError> {
        let call = async |member: Arc<Member>| member.append(request).await.map_err(|error| refused(&error));
        self.call(within, call).await
    }

    async fn vote(&self, request: pb::VoteRequest, within: Duration) -> Result<pb::VoteResponse, PeerError> {
        let call = async |member: Arc<Member>| member.vote(request).await.map_err(|error| refused(&error));
        self.call(within, call).await
    }

    async fn pre_vote(
        &self,
        request: pb::PreVoteRequest,
        within: Duration,
    ) -> Result<pb::PreVoteResponse, PeerError> {
        let call =
            async |member: Arc<Member>| member.pre_vote(request).await.map_err(|error| refused(&error));
        self.call(within, call).await
    }

    async fn transfer_leader(
        &self,
        request: pb::TransferLeaderRequest,
        within: Duration,
    ) -> Result<pb::TransferLeaderResponse, PeerError> {
        let call = async |member: Arc<Member>| member.stand(request).await.map_err(|error| refused(&error));
        self.call(within, call).await
    }

    async fn install(
        &self,
        parts: mpsc::Receiver<pb::InstallSnapshotRequest>,
    ) -> Result<pb::InstallSnapshotResponse, PeerError> {
        let call = async |member: Arc<Member>| member.install(parts).await.map_err(|error| refused(&error));
        self.call(Duration::from_secs(60), call).await
    }

    async fn read_index(&self, within: Duration) -> Result<pb::ReadIndexResponse, PeerError> {
        self.call(within, async |member: Arc<Member>| Ok(member.read_index().await))
            .await
    }

    async fn propose(
        &self,
        request: pb::ProposeRequest,
        within: Duration,
    ) -> Result<pb::ProposeResponse, PeerError> {
        let call =
            async |member: Arc<Member>| member.propose_for(request).await.map_err(|error| refused(&error));
        self.call(within, call).await
    }
}
