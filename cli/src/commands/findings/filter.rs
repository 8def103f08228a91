//! Filters, checked here so that a slip is named before the cluster is asked.

use verger_policy::model::{AgentId, Control, Name, RuleId};
use verger_proto::findings::v1 as pb;

use crate::args::FilterArgs;
use crate::exit::Failure;

/// Everything that is not over.
pub(super) const UNRESOLVED: &[pb::Lifecycle] = &[
    pb::Lifecycle::Open,
    pb::Lifecycle::Acknowledged,
    pb::Lifecycle::Suppressed,
];

const STATES: [(&str, pb::Lifecycle); 4] = [
    ("open", pb::Lifecycle::Open),
    ("acknowledged", pb::Lifecycle::Acknowledged),
    ("suppressed", pb::Lifecycle::Suppressed),
    ("resolved", pb::Lifecycle::Resolved),
];

/// Reads a filter; `states` holds where none is named.
pub(super) fn parse(args: FilterArgs, states: &[pb::Lifecycle]) -> Result<pb::Filter, Failure> {
    let FilterArgs {
        states: named,
        controls,
        workload,
        host,
        rule,
    } = args;
    let named = named
        .iter()
        .map(|word| state(word))
        .collect::<Result<Vec<_>, _>>()?;
    let lifecycles = if named.is_empty() { states.to_vec() } else { named };
    for control in &controls {
        checked::<Control>("control", control)?;
    }
    for (flag, text, check) in [
        (
            "workload",
            &workload,
            checked::<Name> as fn(&str, &str) -> Result<(), Failure>,
        ),
        ("host", &host, checked::<AgentId>),
        ("rule", &rule, checked::<RuleId>),
    ] {
        text.as_ref().map_or(Ok(()), |text| check(flag, text))?;
    }
    Ok(pb::Filter {
        lifecycles: lifecycles.into_iter().map(i32::from).collect(),
        controls,
        workload: workload.unwrap_or_default(),
        agent_id: host.unwrap_or_default(),
        rule: rule.unwrap_or_default(),
    })
}

fn state(word: &str) -> Result<pb::Lifecycle, Failure> {
    STATES
        .iter()
        .find(|(known, _)| *known == word)
        .map(|(_, state)| *state)
        .ok_or_else(|| {
            let known: Vec<&str> = STATES.iter().map(|(known, _)| *known).collect();
            Failure::input(format!("--state `{word}` is none of: {}", known.join(", ")))
        })
}

fn checked<T: std::str::FromStr>(flag: &str, text: &str) -> Result<(), Failure>
where
    T::Err: std::fmt::Display,
{
    text.parse::<T>()
        .map(|_| ())
        .map_err(|error| Failure::input(format!("--{flag} `{text}`: {error}")))
}

/// Checks a uid or a prefix of one.
pub(super) fn uid(text: String) -> Result<String, Failure> {
    let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if hex && (8..=64).contains(&text.len()) {
        return Ok(text);
    }
    Err(Failure::input(format!(
        "`{text}` is no uid: give its 64 hex digits, or the first 8 or more, as `verger findings list` prints them"
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn args(state: &str, control: &str) -> FilterArgs {
        let words = |text: &str| {
            if text.is_empty() {
                Vec::new()
            } else {
                vec![text.to_owned()]
            }
        };
        FilterArgs {
            states: words(state),
            controls: words(control),
            workload: None,
            host: None,
            rule: None,
        }
    }

    #[test]
    fn nothing_named_means_the_default_states() {
        assert_eq!(parse(args("", ""), UNRESOLVED).unwrap().lifecycles, [1, 2, 3]);
        assert_eq!(parse(args("resolved", ""), UNRESOLVED).unwrap().lifecycles, [4]);
    }

    #[test]
    fn slips_are_named_with_what_is_known() {
        assert!(
            parse(args("closed", ""), &[])
                .unwrap_err()
                .message
                .contains("open, acknowledged")
        );
        assert!(
            parse(args("", "privileges"), &[])
                .unwrap_err()
                .message
                .contains("privilege")
        );
        for text in ["", "abc", "ABCDEF0123", "xyz12345"] {
            assert!(uid(text.to_owned()).is_err(), "{text}");
        }
    }
}
