#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

fn denial(actor: &str, address: [u8; 4], reason: &str) -> Denial {
    Denial {
        actor: actor.to_owned(),
        address: (address, 1).into(),
        rpc: "S/M".to_owned(),
        reason: reason.to_owned(),
        policy: None,
        at: Timestamp::UNIX_EPOCH,
        about: About::default(),
    }
}

/// The most rows there may be at once.
const MOST: usize = NAMED.all + NAMED.rest + STRANGERS.all + STRANGERS.rest + 1;

fn taken(denials: &Denials, now: Instant) -> Vec<(String, String, u64)> {
    let due = denials.due(now).into_iter();
    due.map(|denied| (denied.first.actor, denied.first.reason, denied.attempts))
        .collect()
}

#[test]
fn the_first_is_written_at_once_and_those_that_follow_after_a_minute() {
    let (denials, start) = (Denials::default(), Instant::now());
    let agent = || denials.note(denial("agent/h1", [192, 0, 2, 1], "NOT_A_PERSON"));
    let row = |attempts| vec![("agent/h1".to_owned(), "NOT_A_PERSON".to_owned(), attempts)];
    agent();
    assert_eq!(taken(&denials, start), row(1));
    for _ in 0..5 {
        agent();
        assert_eq!(taken(&denials, start + WINDOW / 2), []);
    }
    assert_eq!(denials.next(), Some(start + WINDOW));
    assert_eq!(taken(&denials, start + WINDOW), row(5));
    agent();
    assert_eq!(
        taken(&denials, start + 2 * WINDOW),
        [],
        "and less often from then on"
    );
    assert_eq!(taken(&denials, start + 3 * WINDOW), row(1));
    assert_eq!(taken(&denials, start + 3 * WINDOW + LONGEST), []);
    assert_eq!(denials.next(), None, "and is forgotten");
    agent();
    assert_eq!(taken(&denials, start + 4 * WINDOW + LONGEST), row(1));
}

#[test]
fn whoever_goes_on_for_days_leaves_a_row_an_hour() {
    let (denials, start) = (Denials::default(), Instant::now());
    let mut rows = 0;
    for second in 0..2 * 86_400 {
        denials.note(denial("agent/h1", [192, 0, 2, 1], "A"));
        rows += denials.due(start + Duration::from_secs(second)).len();
    }
    assert!((48..56).contains(&rows), "{rows}");
}

#[test]
fn peers_and_reasons_are_told_apart_and_neighbours_without_a_certificate_are_not() {
    let (denials, now) = (Denials::default(), Instant::now());
    denials.note(denial("agent/h1", [192, 0, 2, 1], "A"));
    denials.note(denial("agent/h1", [198, 51, 100, 1], "A"));
    denials.note(denial("agent/h1", [192, 0, 2, 1], "B"));
    denials.note(denial("agent/h2", [192, 0, 2, 1], "A"));
    denials.note(denial("nobody", [192, 0, 2, 1], "A"));
    denials.note(denial("nobody", [192, 0, 2, 200], "A"));
    denials.note(denial("nobody", [192, 0, 3, 1], "A"));
    let row = |actor: &str, reason: &str, attempts| (actor.to_owned(), reason.to_owned(), attempts);
    assert_eq!(
        taken(&denials, now),
        [
            row("agent/h1", "A", 2),
            row("agent/h1", "B", 1),
            row("agent/h2", "A", 1),
            row("nobody", "A", 2),
            row("nobody", "A", 1)
        ]
    );
}

#[test]
fn what_is_not_alike_has_rows_of_its_own_and_rpcs_that_are_made_up_have_one() {
    let (denials, now) = (Denials::default(), Instant::now());
    let of = |rpc: &str, resource: &str| {
        let about = About {
            verb: "apply".to_owned(),
            resource: resource.to_owned(),
            request_id: "r".to_owned(),
        };
        let rpc = rpc.to_owned();
        denials.note(Denial {
            rpc,
            about,
            ..denial("person/eve", [192, 0, 2, 1], "ROLE_DENIED")
        });
    };
    of("verger.policy.v1.PolicyService/Apply", "Workload/web");
    of("verger.policy.v1.PolicyService/Apply", "Workload/db");
    of("verger.policy.v1.PolicyService/Apply", "Role/admin");
    of("verger.policy.v1.PolicyService/Delete", "Workload/web");
    for made_up in 0..100 {
        of(&format!("verger.policy.v1.PolicyService/M{made_up}"), "");
    }
    let mut rows: Vec<_> = denials
        .due(now)
        .into_iter()
        .map(|denied| (denied.first.about.resource, denied.attempts))
        .collect();
    rows.sort();
    let row = |resource: &str, attempts| (resource.to_owned(), attempts);
    assert_eq!(
        rows,
        [
            row("", 100),
            row("Role/admin", 1),
            row("Workload/web", 1),
            row("Workload/web", 2)
        ]
    );
}

#[test]
fn whoever_is_refused_in_every_way_hides_nothing_of_what_another_is_refused() {
    let (denials, now) = (Denials::default(), Instant::now());
    for eve in 0..12 {
        for reason in 0..1_000 {
            denials.note(denial(
                &format!("person/eve{eve}"),
                [192, 0, 2, 1],
                &format!("R{reason}"),
            ));
        }
    }
    for reason in ["A", "B", "A"] {
        denials.note(denial("person/bob", [192, 0, 2, 1], reason));
    }
    let rows = taken(&denials, now);
    assert!(rows.len() <= NAMED.all + NAMED.rest, "{}", rows.len());
    let own = |who: &str| rows.iter().filter(|(actor, ..)| actor == who).count();
    assert_eq!(own("person/eve0"), NAMED.own + 1, "one for all the rest");
    let rest = |(actor, reason, _): &&(String, String, u64)| actor == "person/eve0" && reason == VARIOUS;
    assert_eq!(rows.iter().filter(rest).count(), 1);
    let eves: u64 = rows
        .iter()
        .filter(|(actor, ..)| actor == "person/eve3")
        .map(|(.., attempts)| attempts)
        .sum();
    assert_eq!(eves, 1_000);
    let bobs: Vec<_> = rows.iter().filter(|(actor, ..)| actor == "person/bob").collect();
    assert_eq!(
        bobs.iter().map(|(.., attempts)| attempts).sum::<u64>(),
        3,
        "{bobs:?}"
    );
}

#[test]
fn networks_of_ipv6_are_what_one_site_has() {
    let network = |address: &str| super::network(address.parse().unwrap()).to_string();
    assert_eq!(network("2001:db8:1:2::3"), "2001:db8:1::");
    assert_eq!(network("192.0.2.255"), "192.0.2.0");
}

#[test]
fn what_could_not_be_written_is_written_later_and_none_is_lost() {
    let (denials, start) = (Denials::default(), Instant::now());
    denials.note(denial("agent/h1", [192, 0, 2, 1], "A"));
    let denied = denials.due(start).pop().unwrap();
    denials.note(denial("agent/h1", [192, 0, 2, 1], "A"));
    denials.put_back(denied);
    assert_eq!(taken(&denials, start + WINDOW / 2), []);
    assert_eq!(taken(&denials, start + WINDOW)[0].2, 2);
}

proptest! {
    /// Whoever calls, however often: rows and memory are bounded, and every call is in some row.
    #[test]
    fn nobody_can_flood_the_log(calls in prop::collection::vec((0..400_u16, any::<bool>(), 0..3_u8, 0..30_u64), 1..2_000)) {
        let (denials, mut now) = (Denials::default(), Instant::now());
        let start = now;
        let (mut noted, mut rows, mut written) = (0, 0, 0);
        let mut count = |due: Vec<Denied>| {
            rows += due.len();
            written += due.iter().map(|denied| denied.attempts).sum::<u64>();
        };
        for (who, named, reason, wait) in calls {
            let [high, low] = who.to_be_bytes();
            let actor = if named { format!("agent/h{who}") } else { "nobody".to_owned() };
            denials.note(denial(&actor, [10, high, low, 1], &format!("R{reason}")));
            noted += 1;
            now += Duration::from_secs(wait);
            count(denials.due(now));
            prop_assert!(denials.counted().len() <= MOST);
        }
        now += LONGEST;
        count(denials.due(now));
        let minutes = usize::try_from((now - start).as_secs() / 60).unwrap() + 1;
        prop_assert!(rows <= minutes * MOST);
        prop_assert_eq!(written, noted);
    }
}
