//! Checks.

use verger_policy::drift::{Check, Outcome};
use verger_policy::model::ObjectKey;
use verger_proto::findings::v1 as pb;

use crate::{FromWire, IntoWire, InvalidMessage, parse};

/// The longest text of a check that is taken in, bytes. Agents cut longer ones.
const TEXT_BYTES: usize = 4 << 10;

const OUTCOMES: [(Outcome, &str); 6] = [
    (Outcome::Pass, "pass"),
    (Outcome::Fail, "fail"),
    (Outcome::Excepted, "excepted"),
    (Outcome::NotApplicable, "notApplicable"),
    (Outcome::NotEvaluated, "notEvaluated"),
    (Outcome::Error, "error"),
];

impl FromWire<pb::Check> for Check {
    fn from_wire(message: pb::Check) -> Result<Self, InvalidMessage> {
        let pb::Check {
            control,
            rule,
            field,
            result,
            expected,
            actual,
            reason,
            severity,
            decided_by,
        } = message;
        for (name, text) in [
            ("field", Some(&field)),
            ("expected", expected.as_ref()),
            ("actual", actual.as_ref()),
            ("reason", Some(&reason)),
        ] {
            if text.is_some_and(|text| text.len() > TEXT_BYTES) {
                return Err(InvalidMessage::new(
                    name,
                    format!("is longer than {TEXT_BYTES} bytes"),
                ));
            }
        }
        let outcome = OUTCOMES
            .iter()
            .find(|(_, word)| *word == result)
            .map(|(outcome, _)| *outcome);
        Ok(Self {
            control: parse("control", &control)?,
            rule: parse("rule", &rule)?,
            field: field.into(),
            result: outcome.ok_or_else(|| InvalidMessage::new("result", "is no result of a check"))?,
            expected,
            actual,
            reason: reason.into(),
            severity: parse("severity", &severity)?,
            decided_by: decided_by
                .map(|key| ObjectKey::from_wire(key).map_err(|error| error.within("decided_by")))
                .transpose()?,
        })
    }
}

impl IntoWire<pb::Check> for &Check {
    fn into_wire(self) -> pb::Check {
        let Check {
            control,
            rule,
            field,
            result,
            expected,
            actual,
            reason,
            severity,
            decided_by,
        } = self;
        let word = OUTCOMES
            .iter()
            .find(|(outcome, _)| outcome == result)
            .map_or("error", |(_, word)| word);
        pb::Check {
            control: control.to_string(),
            rule: rule.to_string(),
            field: cut(field),
            result: word.to_owned(),
            expected: expected.as_deref().map(cut),
            actual: actual.as_deref().map(cut),
            reason: cut(reason),
            severity: severity.to_string(),
            decided_by: decided_by.as_ref().map(IntoWire::into_wire),
        }
    }
}

// A container can make texts of any length; what is cut says so.
fn cut(text: &str) -> String {
    const MARK: &str = "… (cut)";
    if text.len() <= TEXT_BYTES {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(TEXT_BYTES - MARK.len());
    format!("{}{MARK}", &text[..end])
}
