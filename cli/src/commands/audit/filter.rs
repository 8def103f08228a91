//! Filters, checked here so that a slip is named before the cluster is asked.

use jiff::{SignedDuration, Timestamp};
use verger_proto::cluster::v1 as pb;
use verger_wire::timestamp;

use crate::args::AuditFilterArgs;
use crate::exit::Failure;

pub(super) fn parse(args: AuditFilterArgs) -> Result<pb::AuditFilter, Failure> {
    parse_at(args, Timestamp::now())
}

fn parse_at(args: AuditFilterArgs, now: Timestamp) -> Result<pb::AuditFilter, Failure> {
    let AuditFilterArgs {
        actor,
        action,
        outcome,
        since,
        until,
    } = args;
    let at = |flag: &str, text: Option<String>| text.map(|text| instant(flag, &text, now)).transpose();
    let (since, until) = (at("since", since)?, at("until", until)?);
    Ok(pb::AuditFilter {
        actor: actor.unwrap_or_default(),
        action: action.unwrap_or_default(),
        outcome: outcome.unwrap_or_default(),
        since: since.map(timestamp),
        until: until.map(timestamp),
    })
}

/// An instant, or how long ago it was.
fn instant(flag: &str, text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let ago = |ago: SignedDuration| now.checked_sub(ago).ok();
    let at = match text.parse::<Timestamp>() {
        Ok(at) => Some(at),
        Err(_) => text.parse::<SignedDuration>().ok().and_then(ago),
    };
    at.ok_or_else(|| {
        Failure::input(format!(
            "--{flag} `{text}`: give an instant such as 2026-05-01T00:00:00Z, or how long ago it was, such as 24h"
        ))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn instants_are_given_as_such_or_as_how_long_ago() {
        let now: Timestamp = "2026-05-02T12:00:00Z".parse().unwrap();
        let since = |text: &str| {
            let args = AuditFilterArgs {
                since: Some(text.to_owned()),
                ..Default::default()
            };
            parse_at(args, now).map(|filter| filter.since.unwrap().seconds)
        };
        assert_eq!(since("2026-05-02T11:00:00Z").unwrap(), now.as_second() - 3_600);
        assert_eq!(since("36h").unwrap(), now.as_second() - 36 * 3_600);
        for slip in ["", "yesterday", "2026-05-02", "24", "99999999999h"] {
            assert!(since(slip).unwrap_err().message.contains("--since"), "{slip}");
        }
    }
}
