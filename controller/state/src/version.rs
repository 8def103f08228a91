//! The cluster's version: which forms of commands and rows its members may write.
//!
//! Members are upgraded one by one, so that for a while programs of two versions apply one log. Both have to make the same of it: what a
//! newer program writes otherwise than the one before it writes so only where the cluster's version says that everybody knows it. The
//! version is part of the state, goes up by a command of the log ([`Action::RaiseVersion`](crate::Action::RaiseVersion)), and never down.

use std::fmt;

use crate::rows::Tree;

/// A version of what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterVersion(u32);

impl ClusterVersion {
    /// Of clusters of before there were versions, and of every new one until its leader raises it.
    pub const FIRST: Self = Self(1);
    /// The newest that this program knows: it also knows all before it.
    pub const NEWEST: Self = Self(if cfg!(feature = "next") { 2 } else { 1 });

    /// The version of this number; none is before the first, so that 0, which is what says nothing, is the first.
    pub const fn of(number: u32) -> Self {
        match number {
            0 => Self::FIRST,
            number => Self(number),
        }
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Whether this program knows it.
    pub const fn is_known(self) -> bool {
        self.0 <= Self::NEWEST.0
    }

    /// Where its row is: whoever opens rows looks there before anything else, since others may be of a form that is not known. Without a
    /// row it is the first.
    pub const ROW: (Tree, &'static [u8]) = (Tree::Cluster, b"version");

    /// What that row says; `None` where it cannot be read.
    pub fn of_row(value: &[u8]) -> Option<Self> {
        value.try_into().ok().map(u32::from_be_bytes).map(Self::of)
    }

    /// Whether the seal has a row of its own. What the program for the rig of upgrades changes of a stored form; in others nothing has.
    pub(crate) const fn keeps_seal_apart(self) -> bool {
        cfg!(feature = "next") && self.0 >= 2
    }
}

impl Default for ClusterVersion {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for ClusterVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
