//! The rows of a cluster, walked once: held against each other, a head that was kept, and what its members signed.

use anyhow::Context as _;
use jiff::Timestamp;
use verger_seal::{ChainCheck, ChainHead, KeptHead, Verified};

use super::row::Row;
use super::signed::SignedHead;
use super::{said, walk};
use crate::connect::Session;
use crate::sealed::FRESH_FOR;

const NOT_WHOLE: &str = "the cluster's audit is not whole";
const NOT_SIGNED: &str = "the cluster's audit is not what a majority of its members signed";

/// What is sure of the audit.
#[derive(Debug)]
pub(in crate::commands) struct Checked {
    pub(in crate::commands) verified: Verified,
    /// Of when the last row is.
    pub(in crate::commands) last: Option<Timestamp>,
    /// What a majority of the members signed of it; none where none did.
    pub(in crate::commands) signed: Option<SignedHead>,
    /// Whether that is of these rows.
    pub(in crate::commands) by_members: KeptHead,
}

impl Checked {
    /// Why what members signed does not say that these rows are all there are.
    pub(in crate::commands) fn doubt(&self, now: Timestamp) -> Option<Doubt> {
        let signed = self.signed.as_ref().map(|signed| signed.at);
        Doubt::of(signed, self.by_members, now)
    }
}

/// Why it is not sure, by what members signed, that rows were neither made up nor cut off the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Doubt {
    /// Nothing that they signed is shown.
    Unsigned,
    /// All rows that it is over were dropped since.
    Dropped,
    /// They signed last at that time, and sign every minute.
    Old(Timestamp),
}

impl Doubt {
    /// Of what was signed at `signed`, if anything was, and is of these rows, or not.
    pub(in crate::commands) fn of(
        signed: Option<Timestamp>,
        by_members: KeptHead,
        now: Timestamp,
    ) -> Option<Self> {
        match signed {
            None => Some(Self::Unsigned),
            Some(_) if by_members != KeptHead::Met => Some(Self::Dropped),
            Some(at) => (now.duration_since(at) > FRESH_FOR).then_some(Self::Old(at)),
        }
    }

    /// For programs.
    pub(in crate::commands) const fn word(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Dropped => "dropped",
            Self::Old(_) => "old",
        }
    }
}

/// Visits every row, oldest first.
///
/// # Errors
/// When the rows do not follow from one another, are not those that `kept` or what members signed is over, or the controller does
/// not answer.
pub(in crate::commands) async fn check(
    session: &Session,
    kept: Option<ChainHead>,
    mut visit: impl FnMut(&Row),
) -> anyhow::Result<Checked> {
    let signed = said(session).await?.signed;
    let mut rows = ChainCheck::begin(kept);
    let mut by_members = signed.as_ref().map(|signed| ChainCheck::begin(Some(signed.head)));
    let mut last = None;
    let under = walk(session, |row| {
        if let Some(check) = &mut by_members {
            check.take(row.link()).context(NOT_SIGNED)?;
        }
        rows.take(row.link()).context(NOT_WHOLE)?;
        last = Some(row.entry.at);
        visit(&row);
        Ok(())
    })
    .await?;
    let by_members = match by_members {
        Some(check) => check.finish(under.head, under.dropped).context(NOT_SIGNED)?.kept,
        None => KeptHead::None,
    };
    Ok(Checked {
        verified: rows.finish(under.head, under.dropped).context(NOT_WHOLE)?,
        last,
        signed,
        by_members,
    })
}
