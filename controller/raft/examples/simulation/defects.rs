//! Defects that are planted, to show that they would be found.

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
}

impl Defect {
    pub(crate) const ALL: [Self; 6] = [
        Self::SkippedSync,
        Self::LostVote,
        Self::StaleRead,
        Self::DoubledApply,
        Self::LostRow,
        Self::OtherChain,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SkippedSync => "skipped-sync",
            Self::LostVote => "lost-vote",
            Self::StaleRead => "stale-read",
            Self::DoubledApply => "doubled-apply",
            Self::LostRow => "lost-row",
            Self::OtherChain => "other-chain",
        }
    }
}
