//! How many watch the policy set: what waits for a slow reader is whole objects, of each stream some.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tonic::Status;

use crate::quotas::over;

/// Streams of one person at a time. Each holds two pages of objects for a reader that does not read, about 32 MiB at most.
pub(super) const OWN: u32 = 16;

/// Counts them by person. Nothing is kept of who watches no more.
#[derive(Clone, Debug, Default)]
pub(super) struct Watchers(Arc<Mutex<BTreeMap<String, u32>>>);

/// One that watches, until the end of this value.
#[derive(Debug)]
pub(super) struct Watcher {
    watchers: Watchers,
    person: String,
}

impl Watchers {
    fn open(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more of a person.
    ///
    /// # Errors
    /// When the person has as many as one may.
    pub(super) fn begin(&self, person: String) -> Result<Watcher, Status> {
        let mut open = self.open();
        let count = open.entry(person.clone()).or_default();
        if *count >= OWN {
            return Err(over(
                "TOO_MANY_CALLS",
                format!("{OWN} watches of policy by this person are open already, and no more may be"),
            ));
        }
        *count += 1;
        let watchers = self.clone();
        Ok(Watcher { watchers, person })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut open = self.watchers.open();
        match open.get_mut(&self.person) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.person)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_person_watches_so_often_and_another_has_its_own() {
        let watchers = Watchers::default();
        let begin = |person: &str| watchers.begin(person.to_owned());
        let open: Vec<_> = (0..OWN).map(|_| begin("eve").unwrap()).collect();
        assert_eq!(begin("eve").unwrap_err().code(), tonic::Code::ResourceExhausted);
        drop(begin("ada").unwrap());
        drop(open);
        assert!(watchers.open().is_empty(), "nothing is kept of who is gone");
        begin("eve").unwrap();
    }
}
