#![allow(clippy::unwrap_used)]
use std::net::Ipv6Addr;

use verger_transport::PeerCertificate;

use super::*;

mod answers;
mod large;

fn peer(name: &str) -> PeerInfo {
    PeerInfo {
        certificate: Some(PeerCertificate {
            peer: name.parse().unwrap(),
            key: [0; 32],
            not_after: i64::MAX,
        }),
        address: ([192, 0, 2, 1], 1).into(),
    }
}

/// The same peer under another key.
fn with_key(name: &str, key: u8) -> PeerInfo {
    let mut peer = peer(name);
    peer.certificate.as_mut().unwrap().key = [key; 32];
    peer
}

fn all_serve() -> Quotas {
    Quotas::new(Arc::new(|_| true))
}

fn layer() -> QuotasLayer {
    QuotasLayer::new(Arc::new(|_| true))
}

fn stranger(address: IpAddr) -> PeerInfo {
    PeerInfo {
        certificate: None,
        address: (address, 1).into(),
    }
}

fn reason(begun: Result<OpenCall, Status>) -> String {
    let status = begun.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(RETRY));
    status.get_details_error_info().unwrap().reason
}

#[test]
fn one_peer_has_so_many_calls_open_and_another_has_its_own() {
    let (quotas, now) = (all_serve(), Instant::now());
    let open: Vec<OpenCall> = (0..AGENT.open)
        .map(|_| quotas.begin(&peer("agent/h1"), now).unwrap())
        .collect();
    assert_eq!(reason(quotas.begin(&peer("agent/h1"), now)), "TOO_MANY_CALLS");
    quotas.begin(&peer("agent/h2"), now).unwrap();
    quotas.begin(&peer("person/h1"), now).unwrap();
    drop(open);
    quotas.begin(&peer("agent/h1"), now).unwrap();
}

#[test]
fn one_peer_begins_so_many_calls_in_a_time_also_when_each_is_over_at_once() {
    let (quotas, now) = (all_serve(), Instant::now());
    let burst = AGENT.burst;
    for _ in 0..burst {
        quotas.begin(&peer("agent/h1"), now).unwrap();
    }
    assert_eq!(reason(quotas.begin(&peer("agent/h1"), now)), "TOO_OFTEN");
    quotas.begin(&peer("agent/h2"), now).unwrap();
    quotas.begin(&peer("agent/h1"), now + AGENT.every).unwrap();
    assert_eq!(
        reason(quotas.begin(&peer("agent/h1"), now + AGENT.every)),
        "TOO_OFTEN"
    );
    // Part of the time between two calls is not lost.
    quotas
        .begin(&peer("agent/h1"), now + AGENT.every * 5 / 2)
        .unwrap();
    quotas.begin(&peer("agent/h1"), now + AGENT.every * 3).unwrap();
    let later = now + AGENT.every * (burst + 9);
    for _ in 0..burst {
        quotas.begin(&peer("agent/h1"), later).unwrap();
    }
    assert_eq!(reason(quotas.begin(&peer("agent/h1"), later)), "TOO_OFTEN");
}

#[test]
fn strangers_are_known_by_their_address_and_those_without_room_are_one() {
    let (quotas, now) = (all_serve(), Instant::now());
    let v6 = |last: u16| -> IpAddr { Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last).into() };
    let open: Vec<OpenCall> = (0..STRANGER.open)
        .map(|each| {
            quotas
                .begin(&stranger(v6(u16::try_from(each).unwrap())), now)
                .unwrap()
        })
        .collect();
    assert_eq!(reason(quotas.begin(&stranger(v6(9_999)), now)), "TOO_MANY_CALLS");
    drop(open);
    let many: Vec<OpenCall> = (0..u32::try_from(STRANGERS).unwrap() + STRANGER.open)
        .map_while(|each| {
            quotas
                .begin(&stranger(IpAddr::V4((0x0a00_0000 + each).into())), now)
                .ok()
        })
        .collect();
    assert_eq!(
        many.len(),
        STRANGERS - 1 + usize::try_from(STRANGER.open).unwrap()
    );
    let one_more = stranger(IpAddr::V4(0x0b00_0000.into()));
    assert_eq!(reason(quotas.begin(&one_more, now)), "TOO_MANY_CALLS");
    quotas.begin(&peer("agent/h1"), now).unwrap();
    // Who has been quiet gives way.
    drop(many);
    quotas.begin(&one_more, now + Duration::from_secs(3_600)).unwrap();
    assert!(quotas.counts().all.len() < 4);
}

#[test]
fn a_person_begins_hundreds_of_calls_a_second_for_ever_and_not_thousands() {
    let (quotas, start) = (all_serve(), Instant::now());
    let calls = |every: Duration| {
        let begun = |each: u32| quotas.begin(&peer("person/ada"), start + every * each);
        (0..60_000).find_map(|each| begun(each).err())
    };
    assert!(calls(Duration::from_micros(2_000)).is_none(), "500 a second");
    let status = calls(Duration::from_micros(200)).expect("5,000 a second are too many");
    assert_eq!(reason(Err(status)), "TOO_OFTEN");
    quotas.begin(&peer("person/bob"), start).unwrap();
}

#[test]
fn whoever_holds_a_key_that_serves_no_more_takes_nothing_of_the_one_that_does() {
    let now = Instant::now();
    for name in ["agent/h1", "person/ada"] {
        let quotas = Quotas::new(Arc::new(|certificate| certificate.key == [2; 32]));
        let stolen: Vec<OpenCall> = (0..STRANGER.open)
            .map(|_| quotas.begin(&with_key(name, 1), now).unwrap())
            .collect();
        assert_eq!(
            reason(quotas.begin(&with_key(name, 1), now)),
            "TOO_MANY_CALLS",
            "it is bounded by its address"
        );
        drop(stolen);
        while quotas.begin(&with_key(name, 1), now).is_ok() {}
        assert_eq!(reason(quotas.begin(&with_key(name, 3), now)), "TOO_OFTEN");
        let own = AGENT.open.min(PERSON.open);
        let open: Vec<OpenCall> = (0..own)
            .map(|_| quotas.begin(&with_key(name, 2), now).unwrap())
            .collect();
        assert_eq!(u32::try_from(open.len()).unwrap(), own);
    }
}

#[test]
fn what_was_taken_before_a_key_served_no_more_is_none_of_its_successors() {
    let (serving, now) = (Arc::new(Mutex::new(1)), Instant::now());
    let serves = Arc::clone(&serving);
    let quotas = Quotas::new(Arc::new(move |certificate| {
        certificate.key == [*serves.lock().unwrap(); 32]
    }));
    let _stolen: Vec<OpenCall> = (0..AGENT.open)
        .map(|_| quotas.begin(&with_key("agent/h1", 1), now).unwrap())
        .collect();
    assert_eq!(
        reason(quotas.begin(&with_key("agent/h1", 1), now)),
        "TOO_MANY_CALLS"
    );
    *serving.lock().unwrap() = 2;
    quotas.begin(&with_key("agent/h1", 2), now).unwrap();
}

#[test]
fn of_keys_that_came_and_went_nothing_is_kept() {
    let (quotas, start) = (all_serve(), Instant::now());
    for each in 0..10_000_u32 {
        let key = u8::try_from(each % 251).unwrap();
        let name = format!("person/p{}", each / 251);
        quotas.begin(&with_key(&name, key), start + SWEEP * each).unwrap();
        assert!(quotas.counts().all.len() <= 2, "{each}");
    }
}
