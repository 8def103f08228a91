//! Fuzz target: streams, as a disk or a stranger may have made them.

#![allow(clippy::unwrap_used)]

use bolero::check;
use verger_fuzz::Damaged;

use crate::StreamKind;
use crate::tests::{read, stream};

#[test]
fn hostile_streams_are_refused_in_our_own_words_or_are_the_one_that_was_written() {
    let snapshot = stream(StreamKind::Snapshot);
    // A part that claims the most bytes there can be, or far more.
    let greedy = |length: u32| [&snapshot[..8], &length.to_le_bytes(), &[0; 4]].concat();
    let seeds = [
        snapshot.clone(),
        stream(StreamKind::Log),
        greedy(u32::MAX),
        greedy(1 << 20),
    ];
    check!()
        .with_generator(
            Damaged::bytes(seeds)
                .framed(|bytes| bytes.starts_with(b"VGRSNAP") || bytes.starts_with(b"VGRLOGX")),
        )
        .with_iterations(5_000)
        .for_each(|bytes| match read(bytes) {
            // The digest is of everything, so nothing else ends well.
            Ok(_) => assert_eq!(bytes.to_vec(), snapshot),
            Err(error) => {
                let text = error.to_string();
                assert!(text.len() < 200 && text.is_ascii(), "{text}");
                assert!(!text.contains(char::is_control), "{text}");
            }
        });
}
