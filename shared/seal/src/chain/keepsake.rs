//! What a person keeps of an audit, where no controller can reach it.
//!
//! The chain vouches for rows that are here. Old rows are dropped: for their age and their number, as bounds demand, or by somebody
//! who hides them. The digest alone cannot tell the two apart, for the first row that is left vouches for all before it. So
//! beside the head stands how many rows were dropped when it was kept, and of when the oldest was that was left.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::{ChainHead, InvalidChainHead, Verified};

/// Rows of the audit that controllers keep.
pub const AUDIT_ROWS: usize = 1_000_000;
/// How long they keep them, seconds: 400 days.
pub const AUDIT_SECONDS: i64 = 400 * 86_400;
/// What is left out of account where two moments are compared of which each is cut to its unit, seconds.
const MARGIN: i64 = 60;

/// A head, and what was dropped when it was kept. Written `HEX:COUNT:DROPPED:OLDEST`, or without what is not known, from the end:
/// `HEX:COUNT` is what was kept before the rest was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepsake {
    head: ChainHead,
    dropped: Option<u64>,
    oldest: Option<i64>,
}

/// What became of the rows that a head is over, since it was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptRows {
    /// Those that were here then are here.
    AllHere,
    /// So many are gone: dropped as bounds allow, or to hide them.
    Gone(u64),
    /// So many are gone, and no bound allows it: fewer rows are here than are kept, and none of those that are gone was old enough.
    TakenOut(u64),
}

impl Keepsake {
    /// What is to be kept. `dropped` of the rows under the head, and not more, are gone already; `oldest` is of when the first row
    /// is that is left, which is cut to its second.
    pub fn new(head: ChainHead, dropped: u64, oldest: Option<Timestamp>) -> Self {
        Self {
            head,
            dropped: Some(dropped.min(head.count)),
            oldest: oldest.map(|at| at.as_second()).filter(|at| *at >= 0),
        }
    }

    /// A head alone, of which it is not known how many rows were dropped.
    pub const fn of_head(head: ChainHead) -> Self {
        Self {
            head,
            dropped: None,
            oldest: None,
        }
    }

    /// The head.
    pub const fn head(&self) -> ChainHead {
        self.head
    }

    /// How many of the rows it is over were dropped when it was kept; `None` where that was not said.
    pub const fn dropped(&self) -> Option<u64> {
        self.dropped
    }

    /// Of when the oldest row was that was left then; `None` where there was none, or that was not said.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.oldest.and_then(|at| Timestamp::from_second(at).ok())
    }

    /// What became of the rows under this head, by an audit that was verified and whose last row is of `last`. Where it is not
    /// said how many were dropped when the head was kept, none is taken to have been.
    pub fn rows(&self, verified: &Verified, last: Option<Timestamp>) -> KeptRows {
        let under = verified.dropped.min(self.head.count);
        match under.saturating_sub(self.dropped.unwrap_or(0)) {
            0 => KeptRows::AllHere,
            gone if self.may_be_gone(verified, last) => KeptRows::Gone(gone),
            gone => KeptRows::TakenOut(gone),
        }
    }

    /// Whether a bound may have had the rows dropped. Time never goes back from row to row, and rows are dropped when one is
    /// written: none that was here when the head was kept is older than the oldest of then, and none was dropped after the last row.
    fn may_be_gone(&self, verified: &Verified, last: Option<Timestamp>) -> bool {
        let (Some(oldest), Some(last)) = (self.oldest, last) else {
            return true;
        };
        let here = verified.head.count.saturating_sub(verified.dropped);
        let age = last.as_second().saturating_sub(oldest);
        here >= AUDIT_ROWS as u64 || age >= AUDIT_SECONDS - MARGIN
    }
}

impl fmt::Display for Keepsake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.head)?;
        let Some(dropped) = self.dropped else {
            return Ok(());
        };
        write!(f, ":{dropped}")?;
        self.oldest.map_or(Ok(()), |oldest| write!(f, ":{oldest}"))
    }
}

impl FromStr for Keepsake {
    type Err = InvalidChainHead;

    fn from_str(text: &str) -> Result<Self, InvalidChainHead> {
        let mut parts = text.splitn(4, ':');
        let (digest, count) = (parts.next(), parts.next());
        let (Some(digest), Some(count)) = (digest, count) else {
            return Err(InvalidChainHead);
        };
        let head: ChainHead = format!("{digest}:{count}").parse()?;
        let dropped: Option<u64> = parts.next().map(number).transpose()?;
        let oldest: Option<i64> = parts.next().map(number).transpose()?;
        if dropped.is_some_and(|dropped| dropped > head.count) {
            return Err(InvalidChainHead);
        }
        if oldest.is_some_and(|at| Timestamp::from_second(at).is_err()) {
            return Err(InvalidChainHead);
        }
        Ok(Self {
            head,
            dropped,
            oldest,
        })
    }
}

/// Digits alone.
fn number<N: FromStr>(text: &str) -> Result<N, InvalidChainHead> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(InvalidChainHead);
    }
    text.parse().map_err(|_| InvalidChainHead)
}
