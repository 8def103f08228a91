//! Snapshots that come from whoever leads. What has come of one stays when the way breaks off, and goes on from there; one at a time.

use std::sync::Arc;

use openraft::rt::WatchReceiver as _;
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, watch};
use verger_controller_state::State;
use verger_controller_store::{DurableSnapshot, Incoming, SnapshotDir, SnapshotId, SnapshotMeta, StoreError};
use verger_proto::peer::v1 as pb;

use crate::codec;
use crate::member::Member;
use crate::room::Room;
use crate::runtime::off_thread;
use crate::serving::{PeerRefused, described, failed, malformed};
use crate::transfer::{Contents, Offer, read_head, unfit};
use crate::types::{LogId, Vote};

/// Where they come in.
pub(crate) struct Inbox {
    dir: Arc<SnapshotDir>,
    room: Arc<Room>,
    /// The one that was offered last, as far as it has come.
    coming: Arc<Mutex<Option<Coming>>>,
    /// Offers and streams so far. Who takes chunks of an earlier one stops: whoever sent them has given it up.
    calls: watch::Sender<u64>,
}

struct Coming {
    meta: SnapshotMeta,
    id: SnapshotId,
    here: Here,
}

enum Here {
    Part(Box<Incoming>, Contents),
    Whole(DurableSnapshot),
}

/// What has come, for one caller alone. What is dropped in the middle of a step is so when the step is over.
type Held = OwnedMutexGuard<Option<Coming>>;

impl Coming {
    fn open(dir: &SnapshotDir, meta: SnapshotMeta, id: SnapshotId) -> Result<Self, StoreError> {
        if let Some(whole) = dir.find(&meta, &id)? {
            let here = Here::Whole(whole);
            return Ok(Self { meta, id, here });
        }
        let begin = || {
            let mut contents = Contents::of(&meta.membership);
            let part = dir.incoming(meta.clone(), &id, &mut |chunk| contents.add(chunk))?;
            Ok::<_, StoreError>((part, contents))
        };
        let (mut part, mut contents) = begin()?;
        if part.chunks() > id.chunks {
            // No part of that file.
            part.discard()?;
            (part, contents) = begin()?;
        }
        let here = Here::Part(Box::new(part), contents);
        Ok(Self { meta, id, here })
    }

    fn is_of(&self, offer: &Offer) -> bool {
        (&self.meta, self.id) == (&offer.meta, offer.id)
    }

    fn have(&self) -> u64 {
        match &self.here {
            Here::Part(part, _) => part.chunks(),
            Here::Whole(_) => self.id.chunks,
        }
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        match &mut self.here {
            Here::Part(part, contents) => {
                part.chunk(bytes)?;
                contents.add(bytes);
                Ok(())
            }
            Here::Whole(_) => Err(StoreError::Refused {
                what: "a chunk of a snapshot that is whole".to_owned(),
            }),
        }
    }

    fn discard(self) -> Result<(), StoreError> {
        match self.here {
            Here::Part(part, _) => part.discard(),
            Here::Whole(_) => Ok(()),
        }
    }
}

impl Inbox {
    pub(crate) fn new(dir: Arc<SnapshotDir>, room: Arc<Room>) -> Self {
        Self {
            dir,
            room,
            coming: Arc::default(),
            calls: watch::Sender::new(0),
        }
    }

    /// Opens what has come of an offer, once whoever else is at it has stopped.
    async fn open(&self, offer: &Offer) -> Result<(Held, Turn), PeerRefused> {
        let turn = self.turn();
        let mut held = Arc::clone(&self.coming).lock_owned().await;
        if held.as_ref().is_some_and(|coming| coming.is_of(offer)) {
            return Ok((held, turn));
        }
        let (dir, meta, id) = (Arc::clone(&self.dir), offer.meta.clone(), offer.id);
        let opened = off_thread(move || {
            // Before the other's folder is looked into.
            *held = None;
            *held = Some(Coming::open(&dir, meta, id)?);
            Ok::<_, StoreError>(held)
        });
        Ok((opened.await.map_err(failed)?.map_err(failed)?, turn))
    }

    fn turn(&self) -> Turn {
        let mut own = 0;
        self.calls.send_modify(|calls| {
            *calls += 1;
            own = *calls;
        });
        Turn {
            calls: self.calls.subscribe(),
            own,
        }
    }

    /// Takes what follows of a snapshot, until it is whole; nobody else takes any as long as what is given back is held.
    async fn receive(
        &self,
        offer: &Offer,
        parts: &mut mpsc::Receiver<pb::InstallSnapshotRequest>,
    ) -> Result<(Held, DurableSnapshot), PeerRefused> {
        use pb::install_snapshot_request::Part;
        let (mut held, mut turn) = self.open(offer).await?;
        let mut have = held.as_ref().map_or(0, Coming::have);
        if offer.from != have {
            let what = format!("it goes on from chunk {}, and {have} are here", offer.from);
            return Err(malformed(unfit(&what)));
        }
        loop {
            let part = tokio::select! {
                biased;
                () = turn.is_over() => return Err(failed("the snapshot is sent again by another call")),
                part = parts.recv() => part,
            };
            let refusal = match part.and_then(|part| part.part) {
                Some(Part::Chunk(_)) if have == offer.id.chunks => "it has more chunks than it should",
                Some(Part::Chunk(chunk)) if chunk.is_empty() => "a chunk holds no data",
                Some(Part::Chunk(chunk)) => {
                    // What has come stays, and goes on when there is space.
                    self.room.for_snapshots(&self.dir).map_err(failed)?;
                    held = written(held, move |coming| coming.chunk(&chunk)).await?;
                    have += 1;
                    continue;
                }
                Some(Part::End(end)) if end.chunks == have && have == offer.id.chunks => {
                    return ended(held, end).await;
                }
                Some(Part::End(_)) => "chunks are missing",
                Some(Part::Head(_)) => "it has two heads",
                None => "it does not come to its end",
            };
            return Err(malformed(unfit(refusal)));
        }
    }
}

/// One call, as long as no later one is there.
struct Turn {
    calls: watch::Receiver<u64>,
    own: u64,
}

impl Turn {
    async fn is_over(&mut self) {
        let own = self.own;
        if self.calls.wait_for(|calls| *calls != own).await.is_err() {
            // Nobody is there to make another.
            std::future::pending::<()>().await;
        }
    }
}

/// Does something to what has come. Where that fails nothing of it is kept: there may be no room for it.
async fn written(
    mut held: Held,
    step: impl FnOnce(&mut Coming) -> Result<(), StoreError> + Send + 'static,
) -> Result<Held, PeerRefused> {
    let done = off_thread(move || {
        let done = held.as_mut().map_or(Ok(()), step);
        if done.is_err() {
            give_up(&mut held);
        }
        done.map(|()| held)
    });
    done.await.map_err(failed)?.map_err(failed)
}

fn give_up(held: &mut Held) {
    if let Some(Err(error)) = held.take().map(Coming::discard) {
        tracing::warn!(%error, "what has come of a snapshot is not removed");
    }
}

/// Compares what has come with what was sent, and makes it durable.
async fn ended(mut held: Held, end: pb::SnapshotEnd) -> Result<(Held, DurableSnapshot), PeerRefused> {
    let is_it = match held.as_ref().map(|coming| &coming.here) {
        Some(Here::Part(_, contents)) => contents.digest() == end.digest,
        // It was verified when it was found.
        Some(Here::Whole(_)) => true,
        None => false,
    };
    if !is_it {
        give_up(&mut held);
        let what = "its digest is not that of what came; it has to be sent from the beginning";
        return Err(malformed(unfit(what)));
    }
    let finished = off_thread(move || {
        let whole = match held.take() {
            Some(coming) => match coming.here {
                Here::Part(part, _) => part.finish()?,
                Here::Whole(whole) => whole,
            },
            None => return Ok(None),
        };
        Ok::<_, StoreError>(Some((held, whole)))
    });
    let finished = finished.await.map_err(failed)?.map_err(failed)?;
    finished.ok_or_else(|| failed("the snapshot is gone"))
}

impl Member {
    /// Says what is here of a snapshot that is to come.
    ///
    /// # Errors
    /// When what is offered cannot be, or the member has failed.
    pub async fn offered(
        &self,
        request: pb::OfferSnapshotRequest,
    ) -> Result<pb::OfferSnapshotResponse, PeerRefused> {
        let offer = read_head(request.head).map_err(malformed)?;
        self.is_led_by(&offer.vote);
        let vote = self.latest_vote();
        let have = match self.judge(&offer, &vote)? {
            Judged::Wanted => {
                let (held, _) = self.inbox().open(&offer).await?;
                held.as_ref().map_or(0, Coming::have)
            }
            Judged::Later => 0,
            Judged::Needless => offer.id.chunks,
        };
        Ok(pb::OfferSnapshotResponse {
            vote: Some(codec::write_vote(&vote)),
            have,
        })
    }

    /// Takes a snapshot of whoever leads: its rows go to a file as they come, and then take the place of what is here.
    ///
    /// # Errors
    /// When its parts are not in order, it is not whole, or it cannot be written. What has come of it stays, but where it is not what was
    /// sent.
    pub async fn install(
        &self,
        mut parts: mpsc::Receiver<pb::InstallSnapshotRequest>,
    ) -> Result<pb::InstallSnapshotResponse, PeerRefused> {
        use pb::install_snapshot_request::Part;
        let Some(Part::Head(head)) = parts.recv().await.and_then(|part| part.part) else {
            return Err(malformed(unfit("it does not begin with its head")));
        };
        let offer = read_head(Some(head)).map_err(malformed)?;
        let vote = self.latest_vote();
        if !matches!(self.judge(&offer, &vote)?, Judged::Wanted) {
            return Ok(pb::InstallSnapshotResponse {
                vote: Some(codec::write_vote(&vote)),
            });
        }
        let (held, file) = self.inbox().receive(&offer, &mut parts).await?;
        let snapshot = described(file).map_err(malformed)?;
        let raft = self.raft().clone();
        // Whoever sent it may be gone before that is done: who sends it again waits for it all the same.
        let installed = tokio::spawn(async move {
            let answer = raft.install_full_snapshot(offer.vote, snapshot).await;
            drop(held);
            answer
        });
        let answer = installed.await.map_err(failed)?.map_err(failed)?;
        Ok(pb::InstallSnapshotResponse {
            vote: Some(codec::write_vote(&answer.vote)),
        })
    }

    /// Judges an offer by what is here. What contradicts that is refused before Raft is given it, which takes it for its own undoing.
    fn judge(&self, offer: &Offer, vote: &Vote) -> Result<Judged, PeerRefused> {
        if vote > &offer.vote {
            return Ok(Judged::Later);
        }
        let (id, committed) = {
            let metrics = self.raft().metrics();
            let metrics = metrics.borrow_watched();
            (metrics.id, metrics.local_committed)
        };
        if offer.vote.leader_id.voted_for == id {
            return Err(malformed(unfit(
                "it is of this member's own, of which nobody else has any",
            )));
        }
        if self.applied().read(State::revision) >= offer.last.index {
            return Ok(Judged::Needless);
        }
        match contradicts(committed, offer.last) {
            true => Err(malformed(unfit("it contradicts what is committed here"))),
            false => Ok(Judged::Wanted),
        }
    }
}

/// Whether another entry would be committed where one is.
fn contradicts(committed: Option<LogId>, last: LogId) -> bool {
    committed.is_some_and(|committed| last > committed && last.index <= committed.index)
}

enum Judged {
    Wanted,
    /// All of it is applied here.
    Needless,
    /// This member has voted since for somebody else.
    Later,
}

#[cfg(test)]
mod tests;
