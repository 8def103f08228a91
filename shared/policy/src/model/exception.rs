//! `Exception`: a signed, expiring permission to violate rules.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{Labels, Name, RuleId};
use crate::digest::Digest;

/// The longest an exception may hold, in days.
pub const MAX_EXCEPTION_DAYS: i64 = 90;

/// The `spec` of an `Exception`. It grants only to instances that match the scope by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exception {
    /// The rules it lifts. At least one; no globs.
    pub rules: BTreeSet<RuleId>,
    /// Only violations whose actual value is one of these. Absent: any value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<BTreeSet<String>>,
    /// What it covers.
    pub scope: ExceptionScope,
    /// Who answers for it.
    pub owner: String,
    /// Why it is needed.
    pub reason: String,
    /// Where it was agreed.
    pub ticket: String,
    /// When it begins. Absent: at once.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds_option")]
    pub not_before: Option<Timestamp>,
    /// When it ends; at most [`MAX_EXCEPTION_DAYS`] after `not_before` (after signing where that is absent).
    #[serde(serialize_with = "seconds")]
    pub not_after: Timestamp,
}

/// How an exception stands at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// It has not begun.
    NotYet,
    /// It holds.
    InForce,
    /// It has ended.
    Over,
}

/// What an exception covers; all that is stated must fit. At least `workload` or `image` is stated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionScope {
    /// Instances of this workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Name>,
    /// Instances of this image config digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
    /// Only on hosts with these sealed labels.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub hosts: Labels,
}

/// Why the time an exception holds is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWindow {
    /// It ends before it begins.
    #[error("ends at or before its beginning")]
    Empty,
    /// It holds too long.
    #[error("lasts longer than {MAX_EXCEPTION_DAYS} days")]
    TooLong,
}

impl Exception {
    /// Checks that it ends after it begins, and at most [`MAX_EXCEPTION_DAYS`] later. Where no beginning is stated
    /// it begins at `now`, the moment of signing; without `now` only what is stated can be checked.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_window(&self, now: Option<Timestamp>) -> Result<(), InvalidWindow> {
        let Some(begin) = self.not_before.or(now) else {
            return Ok(());
        };
        let length = self.not_after.duration_since(begin);
        if self.not_before.is_some() && length <= SignedDuration::ZERO {
            return Err(InvalidWindow::Empty);
        }
        if length > SignedDuration::from_hours(24 * MAX_EXCEPTION_DAYS) {
            return Err(InvalidWindow::TooLong);
        }
        Ok(())
    }

    /// Whether it holds at `at`.
    pub fn holds_at(&self, at: Timestamp) -> bool {
        self.standing_at(at) == Standing::InForce
    }

    /// How it stands at `at`: in force from its first second on, over from the second in which it ends. What ends before it
    /// begins is over, and never in force.
    pub fn standing_at(&self, at: Timestamp) -> Standing {
        if self.not_after <= at {
            Standing::Over
        } else if self.not_before.is_some_and(|begin| at < begin) {
            Standing::NotYet
        } else {
            Standing::InForce
        }
    }

    /// Whether it lifts a violation with this actual value, as far as `values` says.
    pub fn covers_value(&self, actual: Option<&str>) -> bool {
        self.values
            .as_ref()
            .is_none_or(|values| actual.is_some_and(|actual| values.contains(actual)))
    }
}

// RFC 3339, UTC, whole seconds: the one spelling of an instant in canonical bytes.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn seconds<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&at.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

fn seconds_option<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => seconds(at, serializer),
        None => serializer.serialize_none(),
    }
}
