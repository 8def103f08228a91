//! Where checks are written down.

use std::borrow::Cow;

use super::{Check, Outcome};
use crate::compile::CompiledCheck;
use crate::model::{ObjectKey, printable, printable_within};
use crate::rules::Rule;

/// The most failing members of one rule that get a check of their own; the rest is counted in one more. A hostile
/// instance can have ten thousand environment variables.
pub(super) const MAX_MEMBERS: usize = 64;

/// The longest text shown as expected or actual, in characters.
const MAX_SHOWN: usize = 2048;

/// Why a field is not evaluated of which the policy says `any`.
const OPTED_OUT: &str = "the policy says `any`: nobody looks at this field";

/// A field path.
pub(super) type Field = Cow<'static, str>;

impl Check {
    /// Whether it is not evaluated because the policy says `any`, and not because something could not be seen.
    pub fn is_opted_out(&self) -> bool {
        // What could not be seen has a reason of its own making, never this very text.
        self.result == Outcome::NotEvaluated && matches!(self.reason, Cow::Borrowed(OPTED_OUT))
    }
}

pub(super) struct Sheet {
    checks: Vec<Check>,
    decided_by: Option<ObjectKey>,
    failed: Vec<Failed>,
}

struct Failed {
    rule: &'static Rule,
    decided_by: Option<ObjectKey>,
    count: usize,
}

impl Sheet {
    pub(super) fn new() -> Self {
        // A clean instance of one workload has about forty checks.
        Self {
            checks: Vec::with_capacity(48),
            decided_by: None,
            failed: Vec::new(),
        }
    }

    /// Says whose word the following checks are.
    pub(super) fn decided_by(&mut self, key: Option<&ObjectKey>) {
        self.decided_by = key.cloned();
    }

    pub(super) fn pass(&mut self, rule: &'static Rule, field: impl Into<Field>) {
        self.put(
            rule,
            field.into(),
            Outcome::Pass,
            None,
            None,
            Cow::Borrowed("it holds"),
        );
    }

    pub(super) fn fail(
        &mut self,
        rule: &'static Rule,
        field: impl Into<Field>,
        expected: &str,
        actual: &str,
    ) {
        self.fail_because(rule, field, expected, actual, rule.reason);
    }

    pub(super) fn fail_because(
        &mut self,
        rule: &'static Rule,
        field: impl Into<Field>,
        expected: &str,
        actual: &str,
        reason: impl Into<Cow<'static, str>>,
    ) {
        let place = self
            .failed
            .iter()
            .position(|f| f.rule.id == rule.id && f.decided_by == self.decided_by);
        let place = place.unwrap_or_else(|| {
            self.failed.push(Failed {
                rule,
                decided_by: self.decided_by.clone(),
                count: 0,
            });
            self.failed.len() - 1
        });
        self.failed[place].count += 1;
        if self.failed[place].count <= MAX_MEMBERS {
            let show = |text: &str| Some(printable_within(text, MAX_SHOWN));
            self.put(
                rule,
                field.into(),
                Outcome::Fail,
                show(expected),
                show(actual),
                reason.into(),
            );
        }
    }

    /// Not evaluated, for this reason.
    pub(super) fn skip(&mut self, rule: &'static Rule, field: impl Into<Field>, reason: &str) {
        self.put(
            rule,
            field.into(),
            Outcome::NotEvaluated,
            None,
            None,
            Cow::Owned(printable(reason).into_owned()),
        );
    }

    /// Not evaluated because the policy opted out.
    pub(super) fn opted_out(&mut self, rule: &'static Rule, field: impl Into<Field>) {
        let reason = Cow::Borrowed(OPTED_OUT);
        self.put(rule, field.into(), Outcome::NotEvaluated, None, None, reason);
    }

    /// Proved not to apply.
    pub(super) fn not_applicable(
        &mut self,
        rule: &'static Rule,
        field: impl Into<Field>,
        reason: &'static str,
    ) {
        self.put(
            rule,
            field.into(),
            Outcome::NotApplicable,
            None,
            None,
            Cow::Borrowed(reason),
        );
    }

    fn put(
        &mut self,
        rule: &'static Rule,
        field: Field,
        result: Outcome,
        expected: Option<String>,
        actual: Option<String>,
        reason: Cow<'static, str>,
    ) {
        self.checks.push(Check {
            control: rule.control,
            rule: rule.rule_id(),
            field,
            result,
            expected,
            actual,
            reason,
            severity: rule.severity,
            decided_by: self.decided_by.clone(),
        });
    }

    /// What a check of a guardrail's own found. `expected` is its expression, where it does not hold.
    pub(super) fn own(
        &mut self,
        check: &CompiledCheck,
        result: Outcome,
        field: &str,
        expected: Option<&str>,
        reason: String,
    ) {
        self.checks.push(Check {
            control: check.control,
            rule: check.rule.clone(),
            field: Cow::Owned(field.to_owned()),
            result,
            expected: expected.map(|text| printable_within(text, MAX_SHOWN)),
            actual: expected.map(|_| "false".to_owned()),
            reason: Cow::Owned(printable_within(&reason, MAX_SHOWN)),
            severity: check.severity,
            decided_by: self.decided_by.clone(),
        });
    }

    /// How many checks there are: with [`Sheet::is_clean_since`], whether a group of checks found anything.
    pub(super) fn mark(&self) -> usize {
        self.checks.len()
    }

    /// Whether nothing was written since `mark`.
    pub(super) fn is_clean_since(&self, mark: usize) -> bool {
        self.checks.len() == mark
    }

    pub(super) fn finish(mut self) -> Vec<Check> {
        for Failed {
            rule,
            decided_by,
            count,
        } in std::mem::take(&mut self.failed)
        {
            if let Some(more) = count.checked_sub(MAX_MEMBERS).filter(|more| *more > 0) {
                self.decided_by = decided_by;
                let actual = Some(format!("{more} more"));
                self.put(
                    rule,
                    Cow::Borrowed("(more)"),
                    Outcome::Fail,
                    None,
                    actual,
                    Cow::Borrowed(rule.reason),
                );
            }
        }
        self.checks
    }
}

/// `set[member]`, the member made safe to show.
pub(super) fn member(set: &str, name: &str) -> Field {
    Cow::Owned(format!("{set}[{}]", printable_within(name, 256)))
}
