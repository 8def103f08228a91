//! Fuzz target: the head row, behind its checksum.

use bolero::check;
use verger_fuzz::Damaged;

use super::{Bounds, Head};
use crate::log_db::LogId;

#[test]
fn a_hostile_head_row_is_none_or_has_bounds_that_can_be_counted() {
    let head = Head {
        sequence: 9,
        bounds: Bounds {
            first: 5,
            last: Some(LogId { index: 7, term: 2 }),
            purged: Some(LogId { index: 4, term: 1 }),
        },
        vote_crc: Some(0x0403_0201),
    };
    check!()
        .with_generator(
            Damaged::bytes([head.encode(), Head::default().encode(), vec![0xff; 53]])
                .framed(|bytes| bytes.len() == 53),
        )
        .with_iterations(10_000)
        .for_each(|bytes| {
            let Some(head) = Head::decode(bytes) else { return };
            assert_eq!(Head::decode(&head.encode()), Some(head));
            let indices = head.bounds.indices();
            assert_eq!(head.bounds.clip(&indices), indices);
        });
}
