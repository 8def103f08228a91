//! Fuzz target: the head record, behind its checksum.

use bolero::check;
use verger_fuzz::Damaged;

use super::Head;

#[test]
fn a_hostile_head_record_is_none_or_stored_again_to_the_same_bytes() {
    let head = Head {
        commit: 9,
        count: 4,
        sum: u64::MAX,
        last: 7,
    };
    check!()
        .with_generator(
            Damaged::bytes([head.encode(), Head::default().encode()]).framed(|bytes| bytes.len() == 32),
        )
        .with_iterations(10_000)
        .for_each(|bytes| match Head::decode(bytes) {
            Some(head) => {
                assert_eq!(head.encode(), bytes.to_vec());
                assert_eq!((head.mark().commit, head.mark().last), (head.commit, head.last));
            }
            None => assert_ne!(bytes.len(), 32),
        });
}
