//! Members that hang for a while: what they are to hear, to say and to write comes later. Their own timers go on, as those of a process do
//! that waits for its disk or for its turn.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Instant, sleep_until};

/// Until when who hangs. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pauses(Arc<Mutex<BTreeMap<u64, Instant>>>);

impl Pauses {
    fn held(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn pause(&self, id: u64, until: Instant) {
        self.held().insert(id, until);
    }

    /// Lets one go on, or all.
    pub(crate) fn end(&self, id: Option<u64>) {
        match id {
            Some(id) => drop(self.held().remove(&id)),
            None => self.held().clear(),
        }
    }

    /// Waits until a member does not hang.
    pub(crate) async fn awake(&self, id: u64) {
        loop {
            let until = self.held().get(&id).copied();
            match until {
                Some(until) if until > Instant::now() => sleep_until(until).await,
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_hangs_goes_on_when_its_time_is_over() {
        let (pauses, began) = (Pauses::default(), Instant::now());
        pauses.pause(1, began + Duration::from_secs(3));
        pauses.awake(2).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        pauses.awake(1).await;
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        pauses.pause(1, began + Duration::from_secs(9));
        pauses.end(Some(1));
        pauses.awake(1).await;
        assert_eq!(began.elapsed(), Duration::from_secs(3));
    }
}
