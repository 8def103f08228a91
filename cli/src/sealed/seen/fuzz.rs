//! Fuzz target: the memory of the last set seen. Damage must never read as "nothing was seen", nor move a terminal.

#![allow(clippy::unwrap_used)]

use bolero::check;
use verger_fuzz::Damaged;

use super::*;
use crate::output::fuzz::assert_shown;

#[test]
fn hostile_memories_are_refused_or_written_back_to_the_same() {
    let cluster = Digest::of(b"cluster");
    let seen = Seen {
        epoch: 7,
        root: Digest::of(b"root"),
        at: Timestamp::from_second(1_800_000_000).unwrap(),
        how: How::Sealed,
    };
    check!()
        .with_generator(Damaged::json([stored(&seen, cluster)]))
        .with_iterations(5_000)
        .for_each(|bytes| match parse(bytes, cluster) {
            Ok(seen) => assert_eq!(parse(&stored(&seen, cluster), cluster).unwrap(), seen),
            Err(what) => {
                assert_shown(&what);
                assert!(what.starts_with("damaged") && what.len() < 2_000, "{what}");
            }
        });
}
