//! A check about broken glass: what the gate launched without the agent's word.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use verger_gate_protocol::glass::{self, Glass};
use verger_policy::drift::{Check, Outcome};
use verger_policy::model::{Control, RuleId, Severity, printable_within};

const GATE_BREAK_GLASS: RuleId = RuleId::builtin("host/gate-break-glass");
/// So long after the last launch it is over.
const OVER_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Fails while the glass is broken, and for a day after the last launch by it. `now` is by this host's clock, as the record is.
pub(super) fn check(folder: &Path, now: Timestamp) -> Option<Check> {
    let unseen = |why: String| Check {
        result: Outcome::NotEvaluated,
        reason: why.into(),
        ..failing(None)
    };
    let glass = match Glass::read(folder) {
        Ok(glass) => glass?,
        Err(error) => return Some(unseen(error.to_string())),
    };
    let launched = match glass.launched() {
        Ok(launched) => launched,
        Err(error) => return Some(unseen(format!("{}: {error}", glass.record.display()))),
    };
    let is_open = glass::now().is_ok_and(|(boot, since)| glass.holds(&boot, since));
    let last = launched.last();
    let is_recent = last.is_some_and(|last| {
        let at = Timestamp::from_second(last.at).unwrap_or(now);
        now.duration_since(at) < OVER_AFTER
    });
    if !is_open && !is_recent {
        return None;
    }
    let state = if is_open {
        "broken"
    } else {
        "broken, and whole again"
    };
    let last = last.map_or_else(String::new, |last| {
        let id: String = last.id.chars().take(12).collect();
        format!(
            "; {} calls went through, the last: {} of {}",
            launched.len(),
            last.operation.word(),
            printable_within(&id, 12)
        )
    });
    Some(failing(Some(format!(
        "{state} by {}: {}{last}",
        printable_within(&glass.who, 100),
        printable_within(&glass.reason, 300)
    ))))
}

fn failing(actual: Option<String>) -> Check {
    Check {
        control: Control::Host,
        rule: GATE_BREAK_GLASS,
        field: "gate".into(),
        result: Outcome::Fail,
        expected: Some("nothing is launched without the agent's word".to_owned()),
        actual,
        reason: "root of this host let the gate launch while the agent gave no answer".into(),
        severity: Severity::Critical,
        decided_by: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use verger_gate_protocol::Operation;
    use verger_gate_protocol::glass::Launched;

    use super::*;

    #[test]
    fn it_fails_while_the_glass_is_broken_and_for_a_day_after_the_last_launch() {
        let folder = tempfile::tempdir().unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let checked = |second| check(folder.path(), at(second));
        assert!(checked(0).is_none());
        let (boot, since) = glass::now().unwrap();
        let glass = Glass {
            version: 1,
            reason: "\u{1b}[2Jaway".to_owned(),
            who: "root".to_owned(),
            boot,
            from: since,
            until: since + 3_600,
            record: folder.path().join("launched.jsonl"),
        };
        glass.put(folder.path()).unwrap();
        let told = checked(0).unwrap().actual.unwrap();
        assert!(
            told.starts_with("broken by root: ") && !told.contains('\u{1b}'),
            "{told}"
        );
        let launched = Launched {
            at: 1_000,
            operation: Operation::Create,
            id: "a".repeat(64),
        };
        glass.note(&launched).unwrap();
        glass.end(folder.path()).unwrap();
        let told = checked(1_001).unwrap().actual.unwrap();
        assert!(
            told.ends_with("; 1 calls went through, the last: create of aaaaaaaaaaaa"),
            "{told}"
        );
        assert!(told.starts_with("broken, and whole again"), "{told}");
        assert!(checked(1_000 + 24 * 3_600).is_none());
        std::fs::write(folder.path().join(glass::FILE), b"{").unwrap();
        assert_eq!(checked(0).unwrap().result, Outcome::NotEvaluated);
    }
}
