//! What was read of each container, so that an unchanged one costs no request.
//!
//! An entry is used again when three things hold: the container's element in the daemon's listing (without its
//! relative times) is the same; its `config.json` is the same file in the same state; and no event named the
//! container since the entry was read. Limits changed by `update` are in neither file nor listing: the event is what
//! tells. Events can be lost, so every entry also expires, and all do when the watch was interrupted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use verger_agent_core::runtime::Listed;
use verger_policy::digest::Digest;
use verger_policy::facts::ImageDefaults;

use crate::bundle::Stamp;

/// A moment in the order of invalidations: what is read with an older ticket than the last event is stale.
pub(super) type Ticket = u64;

#[derive(Debug)]
struct Entry {
    ticket: Ticket,
    read_at: Instant,
    /// Digest of the element in the listing; `None` until a listing was seen after an inspection.
    element: Option<Digest>,
    stamp: Option<Stamp>,
    listed: Listed,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Cache {
    clock: Ticket,
    /// Everything read with a ticket below is stale.
    all_stale_below: Ticket,
    /// By container: everything read with a ticket below is stale.
    stale_below: BTreeMap<String, Ticket>,
    entries: BTreeMap<String, Entry>,
    /// By digest of the image config, which fixes its content.
    images: BTreeMap<Digest, ImageDefaults>,
}

impl Cache {
    /// Marks the beginning of a read.
    pub(super) fn ticket(&self) -> Ticket {
        self.clock
    }

    /// An event named the container.
    pub(super) fn changed(&mut self, id: &str) {
        self.clock += 1;
        self.stale_below.insert(id.to_owned(), self.clock);
    }

    /// Events may have been missed.
    pub(super) fn lost(&mut self) {
        self.clock += 1;
        self.all_stale_below = self.clock;
        self.stale_below.clear();
    }

    /// What is known of the container, if it is still true. A container without a `config.json` to watch is not
    /// trusted unless it never ran.
    pub(super) fn fresh(
        &mut self,
        id: &str,
        element: Digest,
        stamp: Option<Stamp>,
        longest: Duration,
    ) -> Option<Listed> {
        let below = self
            .stale_below
            .get(id)
            .copied()
            .unwrap_or(0)
            .max(self.all_stale_below);
        let entry = self.entries.get_mut(id)?;
        let watched = stamp.is_some() || entry.listed.init_pid.is_none();
        let same = entry.stamp == stamp && entry.element.is_none_or(|known| known == element);
        if !watched || !same || entry.ticket < below || entry.read_at.elapsed() > longest {
            return None;
        }
        entry.element = Some(element);
        Some(entry.listed.clone())
    }

    /// Remembers what was read, and gives it back: with the pointer of before where nothing changed.
    pub(super) fn store(
        &mut self,
        ticket: Ticket,
        element: Option<Digest>,
        stamp: Option<Stamp>,
        mut listed: Listed,
    ) -> Listed {
        let id = listed.instance.id.id.clone();
        if let Some(known) = self.entries.get(&id)
            && known.listed.instance == listed.instance
        {
            listed.instance = Arc::clone(&known.listed.instance);
        }
        let entry = Entry {
            ticket,
            read_at: Instant::now(),
            element,
            stamp,
            listed: listed.clone(),
        };
        self.entries.insert(id, entry);
        listed
    }

    /// Forgets the container.
    pub(super) fn forget(&mut self, id: &str) {
        self.entries.remove(id);
    }

    /// Forgets all but these, which a listing begun with `ticket` found.
    pub(super) fn retain(&mut self, ticket: Ticket, ids: &BTreeSet<&str>) {
        self.entries
            .retain(|id, entry| ids.contains(id.as_str()) || entry.ticket > ticket);
        self.stale_below
            .retain(|id, below| ids.contains(id.as_str()) || *below > ticket);
        let used: BTreeSet<Digest> = self
            .entries
            .values()
            .filter_map(|e| e.listed.instance.image.seen().copied())
            .collect();
        self.images.retain(|digest, _| used.contains(digest));
    }

    /// What an image says of itself, if it was read.
    pub(super) fn image(&self, digest: &Digest) -> Option<ImageDefaults> {
        self.images.get(digest).cloned()
    }

    /// Remembers what an image says of itself.
    pub(super) fn store_image(&mut self, digest: Digest, defaults: ImageDefaults) {
        self.images.insert(digest, defaults);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fake::instance;
    use verger_agent_core::runtime::Phase;

    const HOUR: Duration = Duration::from_secs(3600);

    fn listed(name: &str, phase: Phase) -> Listed {
        let init_pid = (phase == Phase::Running).then_some(7);
        Listed {
            instance: Arc::new(instance("aa", name)),
            phase,
            init_pid,
        }
    }

    fn cache_of_created() -> Cache {
        let mut cache = Cache::default();
        let ticket = cache.ticket();
        cache.store(
            ticket,
            Some(Digest::of(b"1")),
            None,
            listed("web", Phase::Created),
        );
        cache
    }

    #[test]
    fn an_unchanged_entry_is_used_again() {
        let mut cache = cache_of_created();
        let first = cache.fresh("aa", Digest::of(b"1"), None, HOUR).unwrap();
        let second = cache.fresh("aa", Digest::of(b"1"), None, HOUR).unwrap();
        assert!(Arc::ptr_eq(&first.instance, &second.instance));
    }

    #[test]
    fn another_listing_an_event_a_loss_or_age_make_it_stale() {
        assert!(
            cache_of_created()
                .fresh("aa", Digest::of(b"2"), None, HOUR)
                .is_none()
        );
        assert!(
            cache_of_created()
                .fresh("aa", Digest::of(b"1"), None, Duration::ZERO)
                .is_none()
        );
        let mut cache = cache_of_created();
        cache.changed("bb");
        assert!(cache.fresh("aa", Digest::of(b"1"), None, HOUR).is_some());
        cache.changed("aa");
        assert!(cache.fresh("aa", Digest::of(b"1"), None, HOUR).is_none());
        let mut cache = cache_of_created();
        cache.lost();
        assert!(cache.fresh("aa", Digest::of(b"1"), None, HOUR).is_none());
    }

    #[test]
    fn what_was_read_before_an_event_is_stale_though_stored_after_it() {
        let mut cache = Cache::default();
        let ticket = cache.ticket();
        cache.changed("aa");
        cache.store(
            ticket,
            Some(Digest::of(b"1")),
            None,
            listed("web", Phase::Created),
        );
        assert!(cache.fresh("aa", Digest::of(b"1"), None, HOUR).is_none());
    }

    #[test]
    fn a_running_container_without_a_config_file_is_always_read() {
        let mut cache = Cache::default();
        cache.store(0, Some(Digest::of(b"1")), None, listed("web", Phase::Running));
        assert!(cache.fresh("aa", Digest::of(b"1"), None, HOUR).is_none());
    }

    #[test]
    fn the_same_content_keeps_its_pointer() {
        let mut cache = cache_of_created();
        let before = cache.fresh("aa", Digest::of(b"1"), None, HOUR).unwrap();
        let same = cache.store(0, None, None, listed("web", Phase::Created));
        assert!(Arc::ptr_eq(&before.instance, &same.instance));
        let other = cache.store(0, None, None, listed("renamed", Phase::Created));
        assert!(!Arc::ptr_eq(&before.instance, &other.instance));
    }

    #[test]
    fn what_a_listing_did_not_find_is_forgotten() {
        let mut cache = cache_of_created();
        cache.changed("aa");
        cache.retain(cache.ticket(), &BTreeSet::new());
        assert!(cache.entries.is_empty());
        assert!(cache.stale_below.is_empty());
    }
}
