//! Nothing can be done to rows whose head was kept that the check does not see.
#![allow(clippy::unwrap_used)]

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;

/// A row that somebody keeps: its number, its key, its value. The head before it is at the front of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    number: u64,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// An audit: its rows, the head, how many are dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Audit {
    rows: Vec<Row>,
    head: ChainHead,
    dropped: u64,
}

fn key(number: u64) -> Vec<u8> {
    [
        &(number / 3).to_be_bytes()[..],
        &((number % 3) as u32).to_be_bytes(),
    ]
    .concat()
}

impl Audit {
    /// Of this many rows, of which the oldest are dropped; and the head after each.
    fn new(rows: u64, dropped: u64, seed: u8) -> (Self, Vec<ChainHead>) {
        let mut heads = vec![ChainHead::START];
        let mut made = Vec::new();
        for number in 1..=rows {
            let before = heads[heads.len() - 1];
            let value = [before.digest.as_bytes(), &[seed, number as u8][..]].concat();
            heads.push(before.then(&key(number), &value));
            made.push(Row {
                number,
                key: key(number),
                value,
            });
        }
        let audit = Self {
            rows: made.split_off(usize::try_from(dropped).unwrap()),
            head: heads[heads.len() - 1],
            dropped,
        };
        (audit, heads)
    }

    fn check(&self, kept: Option<ChainHead>) -> Result<Verified, BrokenChain> {
        let mut check = ChainCheck::begin(kept);
        for Row { number, key, value } in &self.rows {
            let previous = value
                .get(..32)
                .map(|bytes| Digest::from_bytes(bytes.try_into().unwrap()));
            check.take(ChainRow {
                number: *number,
                key,
                value,
                previous,
            })?;
        }
        check.finish(self.head, self.dropped)
    }

    /// Makes numbers, links and the head fit what rows there are: what somebody does who can rewrite everything but what was
    /// kept elsewhere.
    fn rechain(&mut self) {
        let mut head = match self.rows.first() {
            Some(first) if self.dropped > 0 => ChainHead {
                count: self.dropped,
                digest: Digest::from_bytes(first.value[..32].try_into().unwrap()),
            },
            _ => ChainHead::START,
        };
        for row in &mut self.rows {
            row.number = head.count + 1;
            row.key = key(row.number);
            row.value[..32].copy_from_slice(head.digest.as_bytes());
            head = head.then(&row.key, &row.value);
        }
        self.head = head;
    }
}

/// What somebody does to rows.
#[derive(Clone, Debug)]
enum Tampering {
    Delete(prop::sample::Index),
    Change(prop::sample::Index, prop::sample::Index, u8),
    Rekey(prop::sample::Index, prop::sample::Index, u8),
    Swap(prop::sample::Index, prop::sample::Index),
    CutOff(prop::sample::Index),
    Double(prop::sample::Index),
}

fn tampering() -> impl Strategy<Value = Tampering> {
    use Tampering::*;
    let index = any::<prop::sample::Index>;
    prop_oneof![
        index().prop_map(Delete),
        (index(), index(), 1..=255_u8).prop_map(|(row, byte, bits)| Change(row, byte, bits)),
        (index(), index(), 1..=255_u8).prop_map(|(row, byte, bits)| Rekey(row, byte, bits)),
        (index(), index()).prop_map(|(one, other)| Swap(one, other)),
        index().prop_map(CutOff),
        index().prop_map(Double),
    ]
}

fn tamper(audit: &mut Audit, what: &Tampering) {
    let rows = &mut audit.rows;
    let count = rows.len();
    match what {
        Tampering::Delete(row) => drop(rows.remove(row.index(count))),
        Tampering::Change(row, byte, bits) => {
            let value = &mut rows[row.index(count)].value;
            let byte = byte.index(value.len());
            value[byte] ^= bits;
        }
        Tampering::Rekey(row, byte, bits) => {
            let key = &mut rows[row.index(count)].key;
            let byte = byte.index(key.len());
            key[byte] ^= bits;
        }
        Tampering::Swap(one, other) => rows.swap(one.index(count), other.index(count)),
        Tampering::CutOff(row) => rows.truncate(row.index(count)),
        Tampering::Double(row) => {
            let row = row.index(count);
            rows.insert(row, rows[row].clone());
        }
    }
}

/// How many rows there were, and how many of them are dropped: so many are left, at the least.
fn sizes(left: u64) -> impl Strategy<Value = (u64, u64)> {
    (left..30).prop_flat_map(move |rows| (Just(rows), 0..=rows - left))
}

proptest! {
    #[test]
    fn an_audit_that_nobody_touched_is_verified_against_each_of_its_heads((rows, dropped) in sizes(1)) {
        let (audit, heads) = Audit::new(rows, dropped, 7);
        for kept in &heads {
            let verified = audit.check(Some(*kept)).unwrap();
            let met = if kept.count < dropped { KeptHead::Dropped } else { KeptHead::Met };
            prop_assert_eq!((verified.kept, verified.dropped, verified.head), (met, dropped, audit.head));
            prop_assert_eq!(kept.to_string().parse::<ChainHead>().unwrap(), *kept);
        }
        prop_assert_eq!(audit.check(None).unwrap().kept, KeptHead::None);
    }

    #[test]
    fn whatever_is_done_to_rows_alone_shows((rows, dropped) in sizes(2), done in tampering()) {
        let (audit, _) = Audit::new(rows, dropped, 7);
        let mut touched = audit.clone();
        tamper(&mut touched, &done);
        prop_assume!(touched != audit);
        prop_assert!(touched.check(None).is_err());
    }

    /// The head that was kept is over the first `kept` rows; whatever is done to those shows, even by somebody who makes
    /// everything else fit.
    #[test]
    fn whatever_is_done_to_rows_under_a_kept_head_shows_whoever_does_it(
        (rows, dropped) in sizes(1),
        kept in any::<prop::sample::Index>(),
        done in prop::collection::vec(tampering(), 1..4),
    ) {
        let kept = dropped + 1 + kept.index(usize::try_from(rows - dropped).unwrap()) as u64;
        let (audit, heads) = Audit::new(rows, dropped, 7);
        let kept = heads[usize::try_from(kept).unwrap()];
        let mut touched = audit.clone();
        for done in &done {
            if !touched.rows.is_empty() {
                tamper(&mut touched, done);
            }
        }
        let under = |audit: &Audit| {
            let rows = audit.rows.iter().take(usize::try_from(kept.count - dropped).unwrap());
            rows.map(|row| row.value.get(32..).map(<[u8]>::to_vec)).collect::<Vec<_>>()
        };
        prop_assume!(under(&touched) != under(&audit));
        touched.rechain();
        prop_assert!(touched.check(Some(kept)).is_err(), "{:?}", touched);
    }

    /// The oldest rows can be taken out, as bounds demand; but then they are said to be gone.
    #[test]
    fn rows_taken_out_at_the_front_are_counted((rows, dropped) in sizes(2), more in any::<prop::sample::Index>(), lie in 0..40_u64) {
        let more = 1 + more.index(usize::try_from(rows - dropped - 1).unwrap()) as u64;
        let (audit, heads) = Audit::new(rows, dropped, 7);
        let mut touched = audit.clone();
        touched.rows.drain(..usize::try_from(more).unwrap());
        prop_assert!(touched.check(None).is_err(), "the number of dropped rows is not so");
        touched.dropped = dropped + more;
        prop_assert_eq!(touched.check(heads.last().copied()).unwrap().dropped, dropped + more);
        // Nor can another number be said: the head that was kept is over more rows.
        prop_assume!(lie != dropped + more);
        touched.dropped = lie;
        for (number, row) in (lie + 1..).zip(&mut touched.rows) {
            row.number = number;
        }
        touched.head.count = lie + touched.rows.len() as u64;
        prop_assert_ne!(touched.check(heads.last().copied()).map(|verified| verified.kept), Ok(KeptHead::Met));
    }
}

fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// Before every test's rows.
const BEGAN: i64 = 1_700_000_000;
const DAY: i64 = 86_400;

proptest! {
    /// The oldest rows are taken out, and said to be dropped, by somebody who makes everything fit. The rows that are left are
    /// whole; what was kept beside the head says how many are gone.
    #[test]
    fn rows_under_a_kept_head_that_are_gone_since_are_counted_whoever_drops_them(
        (rows, dropped) in sizes(1),
        kept in any::<prop::sample::Index>(),
        more in any::<prop::sample::Index>(),
    ) {
        let kept = dropped + 1 + kept.index(usize::try_from(rows - dropped).unwrap()) as u64;
        let more = more.index(usize::try_from(rows - dropped).unwrap()) as u64;
        let (audit, heads) = Audit::new(rows, dropped, 7);
        let head = heads[usize::try_from(kept).unwrap()];
        let keepsake = Keepsake::new(head, dropped, Some(moment(BEGAN)));
        let mut touched = audit.clone();
        touched.rows.drain(..usize::try_from(more).unwrap());
        touched.dropped += more;
        let verified = touched.check(Some(head)).unwrap();
        let gone = more.min(kept - dropped);
        let wanted = |some: fn(u64) -> KeptRows| if gone == 0 { KeptRows::AllHere } else { some(gone) };
        let later = |days| Some(moment(BEGAN + days * DAY));
        prop_assert_eq!(keepsake.rows(&verified, later(401)), wanted(KeptRows::Gone));
        prop_assert_eq!(keepsake.rows(&verified, None), wanted(KeptRows::Gone));
        prop_assert_eq!(keepsake.rows(&verified, later(399)), wanted(KeptRows::TakenOut));
        // Kept after they were dropped, the same audit passes.
        let after = Keepsake::new(head, touched.dropped, later(1));
        prop_assert_eq!(after.rows(&verified, later(2)), KeptRows::AllHere);
        // Where nothing is said of it, none is taken to have been dropped before.
        let unsaid = Keepsake::of_head(head).rows(&verified, later(2));
        let under = touched.dropped.min(kept);
        prop_assert_eq!(unsaid, if under == 0 { KeptRows::AllHere } else { KeptRows::Gone(under) });
    }

    /// What controllers do, told in moments: each row is dropped when it is older than the bound, or there are too many. None of
    /// that is ever called taken out, whenever the head was kept.
    #[test]
    fn what_bounds_demand_is_never_said_to_be_taken_out(
        gaps in prop::collection::vec(0..150 * DAY, 2..30),
        kept in any::<prop::sample::Index>(),
    ) {
        let (audit, heads) = Audit::new(gaps.len() as u64, 0, 7);
        let mut at = BEGAN;
        let times: Vec<i64> = gaps.iter().map(|gap| { at += gap; at }).collect();
        let kept = kept.index(gaps.len());
        // How many are dropped once the row of this place is written.
        let dropped_at = |place: usize| times[..place].iter().filter(|at| **at < times[place] - AUDIT_SECONDS).count();
        let keepsake = Keepsake::new(
            heads[kept + 1],
            dropped_at(kept) as u64,
            Some(moment(times[dropped_at(kept)]) + SignedDuration::from_millis(999)),
        );
        let last = gaps.len() - 1;
        let dropped = dropped_at(last);
        let mut now = audit.clone();
        now.rows.drain(..dropped);
        now.dropped = dropped as u64;
        let verified = now.check(Some(keepsake.head())).unwrap();
        let gone = (dropped.min(kept + 1) - dropped_at(kept)) as u64;
        let wanted = if gone == 0 { KeptRows::AllHere } else { KeptRows::Gone(gone) };
        prop_assert_eq!(keepsake.rows(&verified, Some(moment(times[last]))), wanted);
    }

    #[test]
    fn what_is_kept_is_written_and_read_back(count in 0..9_u64, dropped in 0..9_u64, oldest in prop::option::of(0..BEGAN)) {
        let (_, heads) = Audit::new(count, 0, 7);
        let head = heads[usize::try_from(count).unwrap()];
        for keepsake in [Keepsake::of_head(head), Keepsake::new(head, dropped, oldest.map(moment))] {
            prop_assert_eq!(keepsake.to_string().parse::<Keepsake>(), Ok(keepsake));
            prop_assert!(keepsake.dropped().is_none_or(|dropped| dropped <= count));
        }
        // As it was written before anything was said of rows that were dropped.
        prop_assert_eq!(head.to_string().parse::<Keepsake>(), Ok(Keepsake::of_head(head)));
    }
}

#[test]
fn of_more_rows_than_are_kept_any_may_be_gone() {
    let head = ChainHead {
        count: 1_000_010,
        digest: Digest::from_bytes([7; 32]),
    };
    let keepsake = Keepsake::new(head, 0, Some(moment(BEGAN)));
    let verified = |dropped| Verified {
        head,
        dropped,
        unchained: 0,
        kept: KeptHead::Met,
    };
    let last = Some(moment(BEGAN + DAY));
    assert_eq!(keepsake.rows(&verified(10), last), KeptRows::Gone(10));
    assert_eq!(keepsake.rows(&verified(11), last), KeptRows::TakenOut(11));
}

#[test]
fn what_is_kept_has_one_form_and_says_nothing_that_cannot_be() {
    let (_, heads) = Audit::new(3, 0, 7);
    let keepsake = Keepsake::new(heads[3], 2, Some(moment(BEGAN)));
    assert_eq!(keepsake.to_string(), format!("{}:2:1700000000", heads[3]));
    assert_eq!(
        (keepsake.dropped(), keepsake.oldest()),
        (Some(2), Some(moment(BEGAN)))
    );
    for more in [
        ":4",
        ":",
        ":+1",
        ":1:",
        ":1:-5",
        ":1:5:6",
        ":1:99999999999999999999",
        ":1:999999999999999",
        ":x",
        ":1:5 ",
    ] {
        assert!(
            format!("{}{more}", heads[3]).parse::<Keepsake>().is_err(),
            "{more}"
        );
    }
    // Before 1970 nothing was written.
    assert_eq!(
        Keepsake::new(heads[3], 9, Some(moment(-5))).to_string(),
        format!("{}:3", heads[3])
    );
}

#[test]
fn the_head_of_known_rows_never_changes() {
    let head = ChainHead::START
        .then(&[0; 12], b"first")
        .then(&[1; 12], b"second");
    assert_eq!(
        head.to_string(),
        "00f7137c0dcae07f67300ffad4b77835ca359f67c8c8d0b44a50358f9493e377:2"
    );
}

#[test]
fn other_spellings_of_a_head_are_refused() {
    let head = ChainHead::START.then(&[0; 12], b"first").to_string();
    let upper = head.to_uppercase();
    for text in [
        "",
        ":",
        ":1",
        "00:1",
        &head[1..],
        &upper,
        &head[..65],
        &format!("{head}:1"),
        &format!("sha256:{head}"),
    ] {
        assert!(text.parse::<ChainHead>().is_err(), "{text}");
    }
    assert!(head.replace(":1", ":+1").parse::<ChainHead>().is_err());
    assert!(
        head.replace(":1", ":99999999999999999999")
            .parse::<ChainHead>()
            .is_err()
    );
}

#[test]
fn rows_of_before_there_was_a_chain_are_its_beginning_and_nowhere_else() {
    let row = |number, previous| ChainRow {
        number,
        key: if number == 1 { &[1; 12] } else { &[2; 12] },
        value: b"v",
        previous,
    };
    let start = ChainHead::START;
    let mut check = ChainCheck::begin(None);
    check.take(row(1, None)).unwrap();
    check.take(row(2, Some(start.digest))).unwrap();
    let head = ChainHead { count: 1, ..start }.then(&[2; 12], b"v");
    assert_eq!(check.finish(head, 0).unwrap().unchained, 1);
    let mut check = ChainCheck::begin(None);
    check.take(row(1, Some(start.digest))).unwrap();
    assert_eq!(check.take(row(2, None)), Err(BrokenChain::Link(2)));
}

#[test]
fn an_audit_without_rows_is_one_in_which_nothing_was_ever_done() {
    let empty = |kept, head, dropped| {
        ChainCheck::begin(kept)
            .finish(head, dropped)
            .map(|verified| verified.kept)
    };
    assert_eq!(empty(None, ChainHead::START, 0), Ok(KeptHead::None));
    let (audit, _) = Audit::new(3, 0, 7);
    let none = BrokenChain::Head { rows: 0, head: 3 };
    for dropped in [0, 2, 3] {
        assert_eq!(empty(None, audit.head, dropped), Err(none.clone()));
        assert_eq!(empty(Some(audit.head), audit.head, dropped), Err(none.clone()));
    }
    let other = ChainHead {
        count: 0,
        ..audit.head
    };
    assert!(empty(None, other, 0).is_err());
    assert!(empty(None, ChainHead::START, 1).is_err());
    assert_eq!(
        empty(Some(audit.head), ChainHead::START, 0),
        Err(BrokenChain::CutOff { written: 0, kept: 3 })
    );
}
