//! Who watches the audit: at whatever member, and at another one from where the last left off.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep};
use verger_controller_raft::Member;
use verger_controller_state::{AuditPlace, State, Tree};

use crate::defects::Defect;
use crate::invariants::watches::Shown;
use crate::pauses::Pauses;
use crate::world::Running;

/// How often a member looks for what is new.
const LOOK: Duration = Duration::from_millis(20);
/// How long somebody stays at a member, milliseconds.
const STAYS: std::ops::Range<u64> = 100..2_500;

pub(crate) type Shared = Rc<RefCell<Shown>>;

/// Somebody who watches.
pub(crate) struct Watcher {
    pub(crate) number: usize,
    pub(crate) shown: Shared,
    pub(crate) running: Running,
    pub(crate) pauses: Pauses,
    pub(crate) defect: Option<Defect>,
    /// The last row that it was shown.
    pub(crate) last: u64,
}

impl Watcher {
    /// Watches until then, and says who it was.
    pub(crate) async fn watch(mut self, mut lots: StdRng, until: Instant) -> Self {
        while Instant::now() < until {
            let leaves = Instant::now() + Duration::from_millis(lots.random_range(STAYS));
            match self.running.some(&mut lots) {
                Some((id, member)) => {
                    drop(member);
                    self.at(id, leaves.min(until)).await;
                }
                None => sleep(LOOK).await,
            }
        }
        self
    }

    /// Watches at one member, until then or until it is gone.
    async fn at(&mut self, id: u64, leaves: Instant) {
        let Some(member) = self.running.get(id) else {
            return;
        };
        self.shown.borrow_mut().streams += 1;
        let mut next = self.resumes();
        while Instant::now() < leaves {
            self.pauses.awake(id).await;
            let is_there = self
                .running
                .get(id)
                .is_some_and(|now| std::sync::Arc::ptr_eq(&now, &member));
            if !is_there {
                return;
            }
            next = self.shows(&member, next).await;
            sleep(LOOK).await;
        }
    }

    /// The number of the row that a member is asked for next.
    fn resumes(&self) -> u64 {
        match (self.defect, self.last) {
            (Some(Defect::WatchGap), 1..) => self.last + 2,
            _ => self.last + 1,
        }
    }

    /// Takes what a member has from a row on; gives the number of the one after.
    async fn shows(&mut self, member: &Member, mut next: u64) -> u64 {
        // What is not published yet may not be in the store.
        let published = *member.revisions().borrow();
        let places: Vec<AuditPlace> = member.read(|state: &State| {
            let places = state.audit_places(next..u64::MAX);
            places.take_while(|place| place.revision <= published).collect()
        });
        let keys = places.iter().map(|place| place.key.clone()).collect();
        let values = member.rows(Tree::Audit, keys).await.unwrap_or_default();
        for (place, value) in places.iter().zip(values) {
            let Some(value) = value else { break };
            let mut shown = self.shown.borrow_mut();
            shown.show(self.number, self.last, place.number, &value);
            self.last = place.number;
            next = place.number + 1;
        }
        next
    }

    /// When all is over: is shown what is left, at one member.
    pub(crate) async fn ends(mut self, member: &Member) {
        let next = self.resumes();
        self.shows(member, next).await;
        let written = member.read(|state| state.audit_head().written);
        self.shown.borrow_mut().ends(self.number, self.last, written);
    }
}
