//! The chain over the rows of the audit: what controllers append to, and anybody can recompute.
//!
//! Each row moves the head: `SHA-256(verger/v1/audit, a zero byte, the head before, the row's key, its value)`. Who keeps a head
//! elsewhere, with the number of rows it is over, notices later that any of those rows was changed, taken out, put elsewhere or
//! cut off, whatever the controllers do. What the chain cannot tell is whether the oldest rows were dropped for their age, as
//! bounds demand, or to hide them: [`Verified::dropped`] says how many are gone, and nobody can make that number smaller. A
//! [`Keepsake`] holds it against how many were gone when the head was kept.

mod keepsake;

use std::fmt;
use std::str::FromStr;

use verger_policy::digest::Digest;

pub use keepsake::{AUDIT_ROWS, AUDIT_SECONDS, Keepsake, KeptRows};

/// Domain separation.
const PREFIX: &[u8] = b"verger/v1/audit\0";
/// The length of a row's key, bytes: its revision and its place there.
const KEY_BYTES: usize = 12;

/// The digest over the first so many rows that ever were. Written `64 hex digits:COUNT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// How many rows.
    pub count: u64,
    /// The digest over them.
    pub digest: Digest,
}

impl ChainHead {
    /// Before the first row.
    pub const START: Self = Self {
        count: 0,
        digest: Digest::from_bytes([0; 32]),
    };

    /// The head after one more row.
    #[must_use]
    pub fn then(&self, key: &[u8], value: &[u8]) -> Self {
        let bytes = [PREFIX, self.digest.as_bytes(), key, value].concat();
        Self {
            count: self.count.saturating_add(1),
            digest: Digest::of(&bytes),
        }
    }
}

impl fmt::Display for ChainHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.digest.hex(), self.count)
    }
}

/// A text that is no head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a head of the audit: write HEX:COUNT:DROPPED:OLDEST, as `verger audit head` prints it")]
pub struct InvalidChainHead;

impl FromStr for ChainHead {
    type Err = InvalidChainHead;

    fn from_str(text: &str) -> Result<Self, InvalidChainHead> {
        let (digest, count) = text.split_once(':').ok_or(InvalidChainHead)?;
        if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidChainHead);
        }
        Ok(Self {
            count: count.parse().map_err(|_| InvalidChainHead)?,
            digest: format!("sha256:{digest}").parse().map_err(|_| InvalidChainHead)?,
        })
    }
}

/// A row as it is checked.
#[derive(Clone, Copy, Debug)]
pub struct ChainRow<'a> {
    /// Its number: 1 for the first that ever was.
    pub number: u64,
    /// Its key, as stored.
    pub key: &'a [u8],
    /// Its value, as stored.
    pub value: &'a [u8],
    /// The head before it, which its value holds; `None` in rows of before there was a chain.
    pub previous: Option<Digest>,
}

/// What is wrong with the rows of an audit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenChain {
    /// Numbers that do not follow each other.
    #[error("row {found} comes where row {wanted} must: rows were taken out, put elsewhere or made up")]
    Gap {
        /// The number that must come.
        wanted: u64,
        /// The one that comes.
        found: u64,
    },
    /// A key that is none, or not behind the one before.
    #[error("the key of row {0} is not behind the one before it: rows were put elsewhere or made up")]
    Order(u64),
    /// The head before a row is not what the row says.
    #[error("row {0} does not follow from the rows before it: one was changed, taken out or put elsewhere")]
    Link(u64),
    /// What comes first is not the beginning.
    #[error("row 1 says that rows came before it: they were taken out")]
    Beginning,
    /// The head is not that of the rows.
    #[error(
        "the head, over {head} rows, is not that of the rows here, which end with row {rows}: one was changed or cut off"
    )]
    Head {
        /// Of the last row.
        rows: u64,
        /// Of the head.
        head: u64,
    },
    /// The numbers of rows do not agree.
    #[error("the audit says that its first {said} rows were dropped, and {missing} are not here")]
    Dropped {
        /// What it says.
        said: u64,
        /// What is not here.
        missing: u64,
    },
    /// It ends before the head that was kept.
    #[error(
        "the audit ends with row {written}, and the head that was kept is over {kept}: rows were cut off its end"
    )]
    CutOff {
        /// The last row.
        written: u64,
        /// The last row that the kept head is over.
        kept: u64,
    },
    /// It is not the audit whose head was kept.
    #[error(
        "the first {0} rows are not those whose head was kept: one was changed, taken out or put elsewhere"
    )]
    Kept(u64),
}

/// Whether a head that was kept elsewhere is of this audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptHead {
    /// None was given.
    None,
    /// It is: those of its rows that are here are those that it was made of. How many are not, [`Keepsake::rows`] says.
    Met,
    /// Every row it is over, and more, was dropped since: there is nothing to compare.
    Dropped,
}

/// What is sure of rows that were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The head over every row that ever was.
    pub head: ChainHead,
    /// The oldest of them that are not here.
    pub dropped: u64,
    /// Rows from before there was a chain: nothing vouches for them.
    pub unchained: u64,
    /// What the head that was kept elsewhere says.
    pub kept: KeptHead,
}

/// A check that is under way. Rows are given in order, one by one: none is held.
#[derive(Clone, Debug)]
pub struct ChainCheck {
    kept: Option<ChainHead>,
    met: bool,
    /// Before the first row that is here; `None` before that.
    first: Option<ChainHead>,
    head: ChainHead,
    last_key: [u8; KEY_BYTES],
    unchained: u64,
}

impl ChainCheck {
    /// Begins, with the head that was kept elsewhere, if one was.
    pub const fn begin(kept: Option<ChainHead>) -> Self {
        Self {
            kept,
            met: false,
            first: None,
            head: ChainHead::START,
            last_key: [0; KEY_BYTES],
            unchained: 0,
        }
    }

    /// Takes in the next row.
    ///
    /// # Errors
    /// When it does not follow from those before it.
    pub fn take(&mut self, row: ChainRow<'_>) -> Result<(), BrokenChain> {
        let ChainRow {
            number,
            key,
            value,
            previous,
        } = row;
        let key: [u8; KEY_BYTES] = key.try_into().map_err(|_| BrokenChain::Order(number))?;
        if self.first.is_none() {
            self.start(number, previous)?;
        } else if self.head.count.checked_add(1) != Some(number) {
            let wanted = self.head.count.saturating_add(1);
            return Err(BrokenChain::Gap {
                wanted,
                found: number,
            });
        } else if key <= self.last_key {
            return Err(BrokenChain::Order(number));
        }
        self.last_key = key;
        match previous {
            Some(previous) if previous == self.head.digest => self.head = self.head.then(&key, value),
            // Only in front of all that is chained.
            None if self.head.digest == ChainHead::START.digest => {
                self.unchained += 1;
                self.head.count = number;
            }
            _ => return Err(BrokenChain::Link(number)),
        }
        self.compare()
    }

    fn start(&mut self, number: u64, previous: Option<Digest>) -> Result<(), BrokenChain> {
        let count = number
            .checked_sub(1)
            .ok_or(BrokenChain::Gap { wanted: 1, found: 0 })?;
        let digest = previous.unwrap_or(ChainHead::START.digest);
        if count == 0 && digest != ChainHead::START.digest {
            return Err(BrokenChain::Beginning);
        }
        self.head = ChainHead { count, digest };
        self.first = Some(self.head);
        self.compare()
    }

    fn compare(&mut self) -> Result<(), BrokenChain> {
        match self.kept {
            Some(kept) if kept.count == self.head.count && kept == self.head => self.met = true,
            Some(kept) if kept.count == self.head.count => return Err(BrokenChain::Kept(kept.count)),
            _ => {}
        }
        Ok(())
    }

    /// Ends, with what the audit says of itself: its head, and how many of the oldest rows are dropped.
    ///
    /// # Errors
    /// When that is not so.
    pub fn finish(self, head: ChainHead, dropped: u64) -> Result<Verified, BrokenChain> {
        let first = match self.first {
            Some(first) => first,
            // The row that was written last is never dropped: without one there is nothing, or something is missing.
            None if head == ChainHead::START && dropped == 0 => head,
            None => {
                return Err(BrokenChain::Head {
                    rows: 0,
                    head: head.count,
                });
            }
        };
        if head != self.head {
            return Err(BrokenChain::Head {
                rows: self.head.count,
                head: head.count,
            });
        }
        if dropped != first.count {
            return Err(BrokenChain::Dropped {
                said: dropped,
                missing: first.count,
            });
        }
        let kept = match self.kept {
            None => KeptHead::None,
            Some(_) if self.met => KeptHead::Met,
            // Over no row, and none is gone.
            Some(ChainHead::START) if dropped == 0 => KeptHead::Met,
            Some(kept) if kept.count > head.count => {
                return Err(BrokenChain::CutOff {
                    written: head.count,
                    kept: kept.count,
                });
            }
            Some(kept) if kept.count == 0 && kept != ChainHead::START => return Err(BrokenChain::Kept(0)),
            Some(_) => KeptHead::Dropped,
        };
        Ok(Verified {
            head,
            dropped,
            unchained: self.unchained,
            kept,
        })
    }
}

#[cfg(test)]
mod tests;
