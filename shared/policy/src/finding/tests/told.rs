//! What agents sign of their findings: digests that no change of a row leaves as they are.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::finding::{Chain, FindingUid, Sample, Standing, SubjectClass};

fn transition(number: u8) -> Transition {
    Transition {
        at: time(7),
        uid: FindingUid(Digest::of(&[number])),
        subject: SubjectClass::Workload("payments/web".parse().unwrap()),
        image: Some(Digest::of(b"image")),
        check: Check {
            decided_by: Some("Workload/payments/web".parse().unwrap()),
            ..check(Outcome::Fail)
        },
        lifecycle: Lifecycle::Open,
        wanted: Mode::Enforce,
        effective: Mode::Monitor,
        epoch: 3,
        affected: 2,
        samples: vec![Sample {
            instance: id("a"),
            name: "web-1".to_owned(),
        }],
        evaluated: 4,
        occurrences: 5,
        first_seen: time(6),
        reopened: 1,
    }
}

type Alteration = fn(&mut Transition);

/// A change of each field there is, and of each field of its check.
const ALTERATIONS: [Alteration; 26] = [
    |row| row.at += SignedDuration::from_millis(1),
    |row| row.uid = FindingUid(Digest::of(b"other")),
    |row| row.subject = SubjectClass::Host,
    |row| row.subject = SubjectClass::Unknown(None),
    |row| row.subject = SubjectClass::Workload("payments/wee".parse().unwrap()),
    |row| row.image = None,
    |row| row.check.control = Control::Config,
    |row| row.check.rule = "privilege/non-root".parse().unwrap(),
    |row| row.check.field = "users".into(),
    |row| row.check.result = Outcome::Error,
    |row| row.check.expected = None,
    |row| row.check.expected = Some(String::new()),
    |row| row.check.actual = Some("1".to_owned()),
    |row| row.check.reason = "because".into(),
    |row| row.check.severity = Severity::Low,
    |row| row.check.decided_by = None,
    |row| row.lifecycle = Lifecycle::Suppressed,
    |row| row.wanted = Mode::Monitor,
    |row| row.effective = Mode::Learn,
    |row| row.epoch = 2,
    |row| row.affected = 1,
    |row| row.samples[0].name = "web-2".to_owned(),
    |row| row.samples.clear(),
    |row| row.evaluated = 3,
    |row| row.occurrences = 4,
    |row| row.first_seen -= SignedDuration::from_millis(1),
];

#[test]
fn every_field_of_a_transition_is_in_its_digest() {
    let digest = transition(1).digest();
    assert_eq!(transition(1).digest(), digest);
    let mut digests = std::collections::BTreeSet::from([digest]);
    for (place, alter) in ALTERATIONS.iter().enumerate() {
        let mut altered = transition(1);
        alter(&mut altered);
        assert_ne!(altered, transition(1), "alteration {place} alters something");
        assert!(digests.insert(altered.digest()), "alteration {place}");
    }
    let mut reopened = transition(1);
    reopened.reopened = 2;
    assert!(digests.insert(reopened.digest()));
}

#[test]
fn what_stores_and_wires_cut_off_instants_is_not_in_the_digest() {
    let mut finer = transition(1);
    finer.at += SignedDuration::from_nanos(999_999);
    finer.first_seen += SignedDuration::from_nanos(1);
    assert_eq!(finer.digest(), transition(1).digest());
}

#[test]
fn texts_cannot_be_shifted_into_each_other() {
    let mut shifted = transition(1);
    shifted.check.expected = Some("10000".to_owned());
    shifted.check.actual = Some(String::new());
    let mut other = transition(1);
    other.check.expected = Some("1000".to_owned());
    other.check.actual = Some("0".to_owned());
    assert_ne!(shifted.digest(), other.digest());
}

#[test]
fn digests_never_change() {
    // Worked out by another program from the description of the bytes.
    let row = transition(1);
    assert_eq!(row.digest().hex(), FROZEN_TRANSITION);
    let chain = Chain::START.then(&row.digest()).then(&transition(2).digest());
    assert_eq!((chain.sequence, chain.digest.hex().as_str()), (2, FROZEN_CHAIN));
    let mut standing = Standing::default();
    assert_eq!(standing.digest().hex(), FROZEN_NOTHING);
    standing.note(&row);
    standing.note(&transition(2));
    assert_eq!(standing.digest().hex(), FROZEN_TABLE);
}

const FROZEN_TRANSITION: &str = "bb0a2f8ee21427aeab16fbfd4ea26aed34c459628ce1f303f43a48531067fdd8";
const FROZEN_CHAIN: &str = "cfb10d7ee3d4c2efbc440cca946bbcf13232b235d0f7969cff0612a9d5df5383";
const FROZEN_NOTHING: &str = "e39fcdcc5f1ccd9fab5c88d59221d04cbe4996a7d8add99813652d5d1122a52e";
const FROZEN_TABLE: &str = "7a30f5aa85ad6ac9713e54eb7fca29b86e3a290d00d429c21a0c5bf0c7e60dc4";

#[test]
fn a_chain_tells_order_number_and_content_apart() {
    let (one, two) = (transition(1).digest(), transition(2).digest());
    let there = Chain::START.then(&one).then(&two);
    for other in [
        Chain::START.then(&two).then(&one),
        Chain::START.then(&one).then(&one),
        Chain::START.then(&two),
        Chain {
            sequence: 1,
            ..Chain::START
        }
        .then(&one)
        .then(&two),
    ] {
        assert_ne!(other.digest, there.digest);
    }
}

/// What a host told, as a table worked out anew.
fn worked_out(rows: &BTreeMap<FindingUid, Transition>) -> Standing {
    let mut standing = Standing::default();
    rows.values().for_each(|row| standing.note(row));
    standing
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Kept up row by row it is the same as worked out from the rows that are not over, in whatever order they come.
    #[test]
    fn a_table_is_what_its_rows_make_of_it(told in prop::collection::vec((0_u8..40, 0_u8..3, 0_u64..4), 0..120)) {
        let (mut kept, mut rows) = (Standing::default(), BTreeMap::new());
        for (number, state, affected) in told {
            let lifecycle = [Lifecycle::Open, Lifecycle::Suppressed, Lifecycle::Resolved][usize::from(state)];
            let row = Transition { lifecycle, affected, ..transition(number) };
            kept.note(&row);
            // Between, as an agent signs: what was worked out must not be kept too long.
            kept.digest();
            if lifecycle == Lifecycle::Resolved {
                rows.remove(&row.uid);
            } else {
                rows.insert(row.uid, row);
            }
        }
        let mut anew = worked_out(&rows);
        prop_assert_eq!((kept.count(), kept.digest()), (anew.count(), anew.digest()));
        prop_assert_eq!(kept.count(), rows.len() as u64);
        prop_assert_eq!(kept.rows().collect::<Vec<_>>(), anew.rows().collect::<Vec<_>>());
    }

    /// One row less, one more, one altered, or one under the uid of another: none leaves the digest as it was.
    #[test]
    fn any_change_of_a_row_is_found(count in 1_u8..60, chosen in 0_u8..60, alteration in 0..ALTERATIONS.len()) {
        let rows: BTreeMap<_, _> = (0..count).map(transition).map(|row| (row.uid, row)).collect();
        let honest = worked_out(&rows).digest();
        let uid = transition(chosen % count).uid;
        let mut changed = vec![rows.clone(), rows.clone(), rows.clone()];
        changed[0].remove(&uid);
        changed[1].insert(transition(200).uid, transition(200));
        ALTERATIONS[alteration](changed[2].get_mut(&uid).unwrap());
        for rows in changed {
            prop_assert_ne!(worked_out(&rows).digest(), honest);
        }
    }
}
