//! How many connections each caller has, and all together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Connections of all at a time: gates need descriptors, too, and a user may have many numbers (user_namespaces(7)).
pub(super) const ALL: usize = 2_048;

/// Connections of one user at a time. A shell of somebody's has a few; who has more waits for none.
pub(super) const EACH: usize = 128;

/// How many connections each caller has.
#[derive(Debug)]
pub(super) struct Crowd {
    each: usize,
    all: usize,
    counts: Mutex<BTreeMap<String, usize>>,
}

/// A connection's place among those of its caller.
pub(super) struct Place {
    crowd: Arc<Crowd>,
    who: String,
    ended: CancellationToken,
}

impl Crowd {
    pub(super) fn new(each: usize, all: usize) -> Self {
        Self {
            each,
            all,
            counts: Mutex::default(),
        }
    }

    pub(super) fn place(self: &Arc<Self>, who: String) -> Option<Place> {
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
    pub(super) fn end(&self) {
        self.ended.cancel();
    }

    /// Waits until it is to end.
    pub(super) async fn ended(&self) {
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
