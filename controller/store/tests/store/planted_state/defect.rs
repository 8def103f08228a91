//! The defects, and the case of the suite that each must fail.

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    BornWithARow,
    DropsTheMembership,
    MixesUpTrees,
    ForgetsADelete,
    FirstChangeWins,
    IgnoresAnEmptyBatch,
    MovesTheMarkBackwards,
    RefusesTheLimit,
    CutsToTheLimit,
    KeepsHalfOfARefusedBatch,
    ReadsOnePageAtStart,
    ScansIntoOtherTrees,
    IgnoresThePrefix,
    SortsKeysAsSignedBytes,
    NeverStops,
    VisitsTreesByNameAlone,
    SwallowsTheVisitorsError,
    VisitsWithoutWaiting,
    VisitsWhatIsWrittenMeanwhile,
    MergesAReplacement,
    KeepsTheHigherMark,
    LoadsOneMegabyte,
    SkipsAnEmptyReplacement,
    ReplacesWithoutABarrier,
    KeepsAPartOfAFailedReplacement,
    CutsAReplacementToTheLimit,
    BringsBackOldRowsAfterACrash,
    BringsBackOldRowsAfterAFailure,
    FlushesNothing,
    TearsABatch,
    LosesAFlushOnceMoreIsApplied,
}

impl Defect {
    /// Each, with the case that must fail.
    pub(crate) const ALL: &[(Self, &'static str)] = &[
        (Self::BornWithARow, "a_fresh_state_is_empty_and_without_a_mark"),
        (Self::DropsTheMembership, "the_mark_keeps_its_term_and_membership"),
        (Self::MixesUpTrees, "rows_read_back_under_their_tree_and_key"),
        (Self::ForgetsADelete, "a_deleted_row_is_gone"),
        (Self::FirstChangeWins, "the_last_change_of_a_batch_wins"),
        (Self::IgnoresAnEmptyBatch, "an_empty_batch_moves_the_mark"),
        (Self::MovesTheMarkBackwards, "the_mark_only_moves_forward"),
        (Self::RefusesTheLimit, "rows_at_the_limit_are_kept"),
        (Self::CutsToTheLimit, "what_is_over_a_limit_is_refused"),
        (Self::KeepsHalfOfARefusedBatch, "a_refused_batch_changes_nothing"),
        (Self::ReadsOnePageAtStart, "a_restart_changes_nothing"),
        (Self::ScansIntoOtherTrees, "a_scan_keeps_to_its_tree"),
        (Self::IgnoresThePrefix, "a_scan_keeps_to_its_prefix"),
        (Self::SortsKeysAsSignedBytes, "a_scan_goes_by_key"),
        (Self::NeverStops, "a_scan_stops_when_told"),
        (
            Self::VisitsTreesByNameAlone,
            "a_visit_goes_tree_by_tree_and_by_key",
        ),
        (Self::SwallowsTheVisitorsError, "a_visitors_error_is_handed_on"),
        (Self::VisitsWhatIsWrittenMeanwhile, "a_visit_holds_up_no_writer"),
        (
            Self::VisitsWithoutWaiting,
            "a_visit_beside_a_writer_sees_one_mark",
        ),
        (Self::MergesAReplacement, "a_replacement_leaves_only_its_rows"),
        (Self::KeepsTheHigherMark, "a_replacement_may_take_the_mark_back"),
        (Self::LoadsOneMegabyte, "a_large_replacement_is_whole"),
        (
            Self::SkipsAnEmptyReplacement,
            "a_replacement_by_nothing_leaves_a_mark",
        ),
        (
            Self::ReplacesWithoutABarrier,
            "a_replacement_is_durable_on_return",
        ),
        (
            Self::KeepsAPartOfAFailedReplacement,
            "a_failed_replacement_leaves_nothing",
        ),
        (
            Self::CutsAReplacementToTheLimit,
            "a_row_over_the_limit_fails_a_replacement",
        ),
        (
            Self::BringsBackOldRowsAfterACrash,
            "a_crash_during_a_replacement_leaves_nothing",
        ),
        (
            Self::BringsBackOldRowsAfterAFailure,
            "a_crash_after_a_failed_replacement_brings_nothing_back",
        ),
        (Self::FlushesNothing, "flushed_batches_survive_a_crash"),
        (Self::TearsABatch, "a_crash_never_stands_between_two_marks"),
        (
            Self::LosesAFlushOnceMoreIsApplied,
            "a_crash_never_goes_behind_the_last_flush",
        ),
    ];
}
