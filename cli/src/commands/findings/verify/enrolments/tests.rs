//! What the audit says of hosts, and how far it is to be believed.
#![allow(clippy::unwrap_used)]

use super::*;

fn entry(action: &str, outcome: &str, detail: &str) -> AuditEntry {
    AuditEntry {
        at: jiff::Timestamp::UNIX_EPOCH,
        actor: "nobody".to_owned(),
        action: action.to_owned(),
        outcome: outcome.to_owned(),
        request_id: String::new(),
        detail: detail.to_owned(),
        from: String::new(),
        before: None,
        after: None,
        policies: Vec::new(),
        attempts: 0,
        previous: None,
    }
}

impl Enrolments {
    /// Of an audit that is whole, with these rows, of which members signed the first.
    pub(in crate::commands::findings::verify) fn of_rows(
        rows: &[(&str, &str)],
        key: &Digest,
        signed: Option<u64>,
    ) -> Self {
        let mut enrolments = Self {
            head: Some(ChainHead::START),
            signed,
            ..Self::default()
        };
        for (row, (action, agent)) in (1..).zip(rows) {
            let more = if *action == "remove-host" {
                String::new()
            } else {
                format!(", key {key}")
            };
            enrolments.take(row, &entry(action, "ok", &format!("agent {agent}{more}")));
        }
        enrolments
    }
}

#[test]
fn the_last_enrolment_that_was_carried_out_counts() {
    let mut enrolments = Enrolments {
        head: Some(ChainHead::START),
        signed: Some(20),
        ..Enrolments::default()
    };
    let agent: AgentId = "web-1".parse().unwrap();
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    let of = |enrolments: &Enrolments| enrolments.of(&agent);
    assert_eq!(of(&enrolments), Enrolled::Never);
    let under = |key| format!("agent web-1, key {key}");
    for (row, (action, outcome, detail, wanted)) in (1..).zip([
        ("create-token", "ok", "agent web-1".to_owned(), Enrolled::Never),
        ("enrol", "TOKEN_REFUSED", under(two), Enrolled::Never),
        // It waits, and is let in.
        ("enrol", "AWAITS_APPROVAL", under(one), Enrolled::Never),
        ("reject-host", "ok", under(one), Enrolled::Never),
        ("approve-host", "ok", under(one), Enrolled::Under(one)),
        (
            "enrol",
            "ok",
            format!("agent web-2, key {two}"),
            Enrolled::Under(one),
        ),
        // Another one who would be it waits.
        ("enrol", "AWAITS_APPROVAL", under(two), Enrolled::Under(one)),
        ("enrol", "ok", under(two), Enrolled::Under(two)),
        // Shut out, it is still a host.
        (
            "evict-host",
            "ok",
            "agent web-1: stolen".to_owned(),
            Enrolled::Under(two),
        ),
        (
            "enrol",
            "ok",
            format!("agent web-1, key {one}, and more"),
            Enrolled::Under(one),
        ),
        // As versions wrote it that kept no keys.
        ("enrol", "ok", "agent web-1".to_owned(), Enrolled::Unknown),
        ("remove-host", "ok", "agent web-1".to_owned(), Enrolled::Never),
    ]) {
        enrolments.take(row, &entry(action, outcome, &detail));
        assert_eq!(of(&enrolments), wanted, "{action} {detail}");
    }
    assert_eq!(enrolments.removed().collect::<Vec<_>>(), [(&agent, 12)]);
    assert_eq!(
        enrolments.enrolled().collect::<Vec<_>>(),
        [(&"web-2".parse().unwrap(), 6)]
    );
    // Of what was dropped nothing can be told.
    enrolments.dropped = 1;
    assert_eq!(of(&enrolments), Enrolled::Unknown);
}

#[test]
fn a_row_behind_what_members_signed_is_a_controllers_word() {
    let agent: AgentId = "web-1".parse().unwrap();
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    let mut enrolments = Enrolments {
        head: Some(ChainHead::START),
        signed: Some(3),
        ..Enrolments::default()
    };
    let under = |key| entry("enrol", "ok", &format!("agent web-1, key {key}"));
    enrolments.take(3, &under(one));
    // Let in again with the same key, it is signed that it has it.
    enrolments.take(4, &under(one));
    assert_eq!(enrolments.of(&agent), Enrolled::Under(one));
    enrolments.take(5, &under(two));
    assert_eq!(enrolments.of(&agent), Enrolled::Unsigned(two, 5));
    enrolments.signed = None;
    enrolments.take(6, &under(one));
    assert_eq!(enrolments.of(&agent), Enrolled::Unsigned(one, 6));
}

#[test]
fn an_audit_is_doubted_that_members_have_not_signed_of_late_or_that_is_gone() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let ago = |minutes| Some((5, now - jiff::SignedDuration::from_mins(minutes)));
    let ended = |dropped, kept, signed, by_members| {
        let head = ChainHead {
            count: 9,
            ..ChainHead::START
        };
        let verified = Verified {
            head,
            dropped,
            unchained: 0,
            kept,
        };
        let mut enrolments = Enrolments::default();
        enrolments.end(&verified, signed, by_members, now);
        let shows = enrolments.would_show_removal();
        (
            enrolments.doubts.join("; "),
            enrolments.incomplete.unwrap_or_default(),
            shows,
        )
    };
    let clean = (String::new(), String::new(), true);
    let met = KeptHead::Met;
    assert_eq!(ended(0, KeptHead::None, ago(1), met), clean);
    // Rows that went after they were seen, or that were gone when somebody looked last.
    assert_eq!(ended(4, met, ago(1), met), clean);
    let (doubt, _, _) = ended(0, met, None, KeptHead::None);
    assert!(doubt.contains("--add-member"), "{doubt}");
    let (doubt, _, _) = ended(0, met, ago(6), met);
    assert!(doubt.contains("members sign every minute"), "{doubt}");
    let (doubt, _, _) = ended(7, met, ago(1), KeptHead::Dropped);
    assert!(doubt.contains("was dropped since"), "{doubt}");
    let (_, incomplete, shows) = ended(4, KeptHead::None, ago(1), met);
    assert!(incomplete.contains("the first 4 rows") && !shows, "{incomplete}");
    let (_, incomplete, shows) = ended(4, KeptHead::Dropped, ago(1), met);
    assert!(
        incomplete.contains("you saw before was dropped") && !shows,
        "{incomplete}"
    );
}

/// Fuzz target: what a row is about, which a controller wrote.
mod fuzz {
    use bolero::check;
    use verger_fuzz::Damaged;

    use super::*;
    use crate::output::fuzz::assert_shown;

    #[test]
    fn hostile_rows_enrol_hosts_under_the_names_and_keys_that_they_say_or_nobody() {
        let key = Digest::of(b"one");
        let seeds = [
            format!("agent web-1, key {key}"),
            format!("agent web-1, key {key}, and more"),
            "agent web-1".to_owned(),
        ];
        check!()
            .with_generator(Damaged::bytes(seeds))
            .with_iterations(3_000)
            .for_each(|bytes| {
                let detail = String::from_utf8_lossy(bytes);
                let mut enrolments = Enrolments {
                    head: Some(ChainHead::START),
                    signed: Some(1),
                    ..Enrolments::default()
                };
                enrolments.take(1, &entry("enrol", "ok", &detail));
                let Some((agent, _)) = enrolments.enrolled().next() else {
                    return;
                };
                let agent = agent.clone();
                assert_shown(agent.as_str());
                assert!(detail.starts_with(&format!("agent {agent}")), "{detail}");
                match enrolments.of(&agent) {
                    Enrolled::Under(key) => assert!(detail.contains(&key.to_string()), "{detail}"),
                    other => assert_eq!(other, Enrolled::Unknown),
                }
                enrolments.take(2, &entry("remove-host", "ok", &detail));
                assert_eq!(enrolments.of(&agent), Enrolled::Never);
            });
    }
}
