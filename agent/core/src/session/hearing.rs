//! What controllers pass on of what members sign.

use super::offers::Kind;
use super::{Now, Session};
use crate::freshness::{BEHIND_FOR, RefusedStamp};

impl Session {
    /// Takes in a stamp from a controller that says it is at `epoch`. One that no honest controller passes on is known at once.
    pub(super) fn hear(&mut self, now: Now, epoch: u64, stamp: &[u8]) {
        match self.freshness.hear(&self.ledger, stamp, now) {
            Ok(true) => {
                self.offers.end(Kind::Stamp);
                if self.freshness.confirms(&self.ledger, now) {
                    self.trust();
                }
            }
            Ok(false) => {}
            Err(refused) if self.is_honest(now, epoch, &refused) => {}
            Err(refused) => self
                .offers
                .raise(Kind::Stamp, refused.word(), &refused.to_string()),
        }
    }

    /// Whether an honest controller may say what was refused: it lags behind by a moment; or members stamp under another version of
    /// the trust root than the one here, for as long as a set takes to come. That is once for each version held here: stamps under
    /// that version, which come meanwhile, do not begin it anew, or forged ones between them would never be told.
    fn is_honest(&mut self, now: Now, epoch: u64, refused: &RefusedStamp) -> bool {
        let held = self.position().map_or(0, |(held, _)| held);
        if epoch == held || !refused.may_be_of_another_trust_root() {
            return refused.is_of_a_moment_ago();
        }
        let version = self.ledger.trust_root().version();
        let known = self.puzzled.filter(|(under, _)| *under == version);
        let (_, since) = *self.puzzled.insert(known.unwrap_or((version, now.millis)));
        now.millis.saturating_sub(since) < BEHIND_FOR
    }

    /// Nothing newer than the set in the ledger was there before.
    pub(super) fn trust(&mut self) {
        self.keeping.trust();
        self.offers.end(Kind::Doubt);
    }
}
