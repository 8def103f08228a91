//! What a record of a finding may hold. Fields and values come from containers and may be of any length; whoever takes
//! records in refuses longer ones.

use std::borrow::Cow;

use crate::digest::Digest;
use crate::drift::Check;

/// The longest text of a check in a record, bytes of UTF-8.
pub const MAX_TEXT_BYTES: usize = 4 << 10;
/// The longest field path in a record, bytes. A longer one is cut, and told apart by its digest.
pub const MAX_FIELD_BYTES: usize = 512;
/// The longest name of a sample, bytes.
pub const MAX_SAMPLE_NAME_BYTES: usize = 256;

/// Cuts a text to `limit` bytes, the ellipsis included.
pub(super) fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(limit - '…'.len_utf8());
    Cow::Owned(format!("{}…", &text[..end]))
}

/// The field path as records have it: the discriminator of its finding.
pub(super) fn field(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_FIELD_BYTES {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(MAX_FIELD_BYTES - 80);
    Cow::Owned(format!("{}…{}", &text[..end], Digest::of(text.as_bytes())))
}

fn value(text: Option<&String>) -> Option<Cow<'_, str>> {
    text.map(|text| cut(text, MAX_TEXT_BYTES))
}

/// The check as records have it.
pub(super) fn record(check: &Check) -> Check {
    let Check {
        control,
        rule,
        field: path,
        result,
        expected,
        actual,
        reason,
        severity,
        decided_by,
    } = check;
    Check {
        control: *control,
        rule: rule.clone(),
        field: Cow::Owned(field(path).into_owned()),
        result: *result,
        expected: value(expected.as_ref()).map(Cow::into_owned),
        actual: value(actual.as_ref()).map(Cow::into_owned),
        reason: Cow::Owned(cut(reason, MAX_TEXT_BYTES).into_owned()),
        severity: *severity,
        decided_by: decided_by.clone(),
    }
}

/// Whether `recorded` is the record of `check`. Spares making one.
pub(super) fn is_record_of(recorded: &Check, check: &Check) -> bool {
    let Check {
        control,
        rule,
        field: path,
        result,
        expected,
        actual,
        reason,
        severity,
        decided_by,
    } = check;
    recorded.control == *control
        && recorded.rule == *rule
        && recorded.field == field(path)
        && recorded.result == *result
        && recorded.expected.as_deref() == value(expected.as_ref()).as_deref()
        && recorded.actual.as_deref() == value(actual.as_ref()).as_deref()
        && recorded.reason == cut(reason, MAX_TEXT_BYTES)
        && recorded.severity == *severity
        && recorded.decided_by == *decided_by
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::drift::Outcome;
    use crate::model::{Control, Severity};

    fn check(field: String, text: String) -> Check {
        Check {
            control: Control::Config,
            rule: "config/env".parse().unwrap(),
            field: Cow::Owned(field),
            result: Outcome::Fail,
            expected: None,
            actual: Some(text.clone()),
            reason: Cow::Owned(text),
            severity: Severity::Low,
            decided_by: None,
        }
    }

    #[test]
    fn long_fields_that_differ_stay_different() {
        let (one, other) = ("ü".repeat(5_000) + "1", "ü".repeat(5_000) + "2");
        assert_ne!(field(&one), field(&other));
        assert!(field(&one).len() <= MAX_FIELD_BYTES);
        assert_eq!(field("mounts[/data]"), "mounts[/data]");
    }

    proptest::proptest! {
        #[test]
        fn records_are_bounded_and_recognised(path: String, text: String, times in 0_usize..2_000) {
            let check = check(path.repeat(times.min(200)), text.repeat(times));
            let record = record(&check);
            proptest::prop_assert!(is_record_of(&record, &check));
            proptest::prop_assert!(record.field.len() <= MAX_FIELD_BYTES);
            proptest::prop_assert!(record.reason.len() <= MAX_TEXT_BYTES);
            proptest::prop_assert!(record.actual.unwrap().len() <= MAX_TEXT_BYTES);
        }
    }
}
