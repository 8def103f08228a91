//! Defects that are planted, to show that they would be found: each breaks an invariant, and that one has to say so.

use crate::invariants::Invariant;

/// One.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Disks say that they have synced, and have not.
    SkippedSync,
    /// A vote is answered and not kept.
    LostVote,
    /// Reads are answered by whoever is asked, as it stands there.
    StaleRead,
    /// What was applied last is applied again after a crash.
    DoubledApply,
    /// A row is not kept: who is started again is another than the others.
    LostRow,
    /// Who is started again takes what it had applied for something else, though its rows are those of the others.
    OtherChain,
    /// Of entries that come to a disk together, two are in each other's place.
    SwappedEntries,
    /// Rows are durable before the records are that they are made of.
    RowsOutlast,
    /// Who goes on with a watch at another member is not shown the first row that is new there.
    WatchGap,
}

impl Defect {
    pub(crate) const ALL: [Self; 9] = [
        Self::SkippedSync,
        Self::LostVote,
        Self::StaleRead,
        Self::DoubledApply,
        Self::LostRow,
        Self::OtherChain,
        Self::SwappedEntries,
        Self::RowsOutlast,
        Self::WatchGap,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SkippedSync => "skipped-sync",
            Self::LostVote => "lost-vote",
            Self::StaleRead => "stale-read",
            Self::DoubledApply => "doubled-apply",
            Self::LostRow => "lost-row",
            Self::OtherChain => "other-chain",
            Self::SwappedEntries => "swapped-entries",
            Self::RowsOutlast => "rows-outlast",
            Self::WatchGap => "watch-gap",
        }
    }

    /// What it breaks.
    pub(crate) const fn breaks(self) -> Invariant {
        match self {
            Self::SkippedSync => Invariant::LeaderCompleteness,
            Self::LostVote => Invariant::ElectionSafety,
            Self::StaleRead => Invariant::Linearizability,
            // Its rows do not fit together any more, and it does not open.
            Self::DoubledApply => Invariant::Recovery,
            // Nor does it open where its log ends before its rows: that may be a log that lost what it had.
            Self::RowsOutlast => Invariant::Recovery,
            Self::LostRow | Self::OtherChain => Invariant::StateMachineSafety,
            Self::SwappedEntries => Invariant::LogMatching,
            Self::WatchGap => Invariant::Watches,
        }
    }
}
