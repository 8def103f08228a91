//! Places for calls with a large message: a peer has few, and all together not many, so that what is on its way fits into a
//! member's memory whoever calls. Whoever has none waits, and nothing more of his message is read meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Status};
use verger_transport::Peer;

use super::{Key, over};

/// A message that is longer takes a place, bytes.
pub(super) const LARGE: usize = crate::SMALL_MESSAGE_BYTES;
/// Places of one peer.
pub(super) const OWN: usize = 4;
/// Places of all people and members together. With messages of [`crate::MESSAGE_BYTES`] they take 384 MiB.
pub(super) const PEOPLE: usize = 16;
/// Places of everybody else together: no host is in the way of people.
const OTHERS: usize = 4;
/// Calls of one peer that have a place or wait for one.
pub(super) const CALLS: usize = 64;
/// How long one waits: less than callers wait for an answer, so that they learn why there is none.
pub(super) const WAIT: Duration = Duration::from_secs(20);

/// All of a member's places.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    people: Arc<Semaphore>,
    others: Arc<Semaphore>,
    own: Mutex<BTreeMap<Key, Own>>,
}

/// What one peer has.
#[derive(Debug)]
struct Own {
    places: Arc<Semaphore>,
    /// That have a place or wait for one.
    calls: usize,
}

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Inner {
            people: Arc::new(Semaphore::new(PEOPLE)),
            others: Arc::new(Semaphore::new(OTHERS)),
            own: Mutex::default(),
        }))
    }
}

impl Inner {
    fn own(&self) -> MutexGuard<'_, BTreeMap<Key, Own>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of a peer's calls that have a place or wait for one.
#[derive(Debug)]
struct Counted {
    places: Places,
    key: Key,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut all = self.places.0.own();
        match all.get_mut(&self.key) {
            Some(own) if own.calls > 1 => own.calls -= 1,
            _ => drop(all.remove(&self.key)),
        }
    }
}

/// A place. It is free again with the end of this value.
#[derive(Debug)]
struct Place {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    _counted: Counted,
}

impl Places {
    fn count(&self, key: &Key) -> Result<(Counted, Arc<Semaphore>), Status> {
        let mut all = self.0.own();
        let own = all.entry(key.clone()).or_insert_with(|| Own {
            places: Arc::new(Semaphore::new(OWN)),
            calls: 0,
        });
        if own.calls >= CALLS {
            return Err(too_many());
        }
        own.calls += 1;
        let counted = Counted {
            places: self.clone(),
            key: key.clone(),
        };
        Ok((counted, Arc::clone(&own.places)))
    }

    async fn enter(&self, key: &Key) -> Result<Place, Status> {
        let (counted, own) = self.count(key)?;
        let all = match key {
            Key::Named(Peer::Person(_) | Peer::Controller(_), _) => &self.0.people,
            Key::Named(Peer::Agent(_), _) | Key::Stranger(_) | Key::Others => &self.0.others,
        };
        let until = Instant::now() + WAIT;
        // His own first: of one peer no more than those stand in the line of all.
        let own = timeout_at(until, own.acquire_owned())
            .await
            .map_err(|_| too_many())?;
        let all = timeout_at(until, Arc::clone(all).acquire_owned())
            .await
            .map_err(|_| {
                over(
                    "MEMBER_BUSY",
                    "as many large messages are on their way as this member has room for".to_owned(),
                )
            })?;
        Ok(Place {
            _own: own.expect("places are never closed"),
            _all: all.expect("places are never closed"),
            _counted: counted,
        })
    }
}

fn too_many() -> Status {
    over(
        "TOO_MANY_LARGE_CALLS",
        format!("{OWN} calls of this peer with a large message are on their way, and others wait"),
    )
}

/// A call, which takes a place once one of its messages turns out to be large, and keeps it until it ends.
#[derive(Clone, Debug)]
pub(crate) struct Turn(Arc<Taking>);

#[derive(Debug)]
struct Taking {
    places: Places,
    key: Key,
    place: Mutex<Option<Place>>,
}

impl Turn {
    pub(super) fn new(places: &Places, key: Key) -> Self {
        Self(Arc::new(Taking {
            places: places.clone(),
            key,
            place: Mutex::default(),
        }))
    }

    fn place(&self) -> MutexGuard<'_, Option<Place>> {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_place(&self) -> bool {
        self.place().is_some()
    }

    /// Takes a place, if the call has none yet.
    ///
    /// # Errors
    /// When there is none in time.
    pub(super) async fn take_place(self) -> Result<(), Status> {
        if !self.has_place() {
            let place = self.0.places.enter(&self.0.key).await?;
            *self.place() = Some(place);
        }
        Ok(())
    }

    /// Gives the place back.
    pub(super) fn leave(&self) {
        self.place().take();
    }
}

/// For a handler, before it makes an answer that may be large: waits for a place, which the call has until all of the answer was
/// sent. An answer without one waits for it, too, but in memory.
///
/// # Errors
/// When there is none in time.
pub(crate) async fn take_place<T>(request: &Request<T>) -> Result<(), Status> {
    // Without quotas there are no places.
    match request.extensions().get::<Turn>().cloned() {
        Some(turn) => turn.take_place().await,
        None => Ok(()),
    }
}
