//! Fuzz target: what has come of a snapshot, as a disk may hold it.

use bolero::check;
use verger_fuzz::Damaged;

use super::*;

#[test]
fn a_hostile_draft_gives_sound_chunks_alone_and_goes_on_to_a_whole_file() {
    let two = two();
    let whole = fs::read(two.sent.path()).unwrap();
    drop(two.open());
    let draft = two.dir.dir.join(&two.names()[0]);
    check!()
        .with_generator(Damaged::bytes([whole]).framed(|bytes| bytes.starts_with(b"VGRSNAP")))
        .with_iterations(1_000)
        .for_each(|bytes| {
            fs::write(&draft, &**bytes).unwrap();
            let (incoming, chunks) = two.open();
            assert!(chunks.iter().map(Vec::len).sum::<usize>() <= bytes.len());
            // Whatever was sound was written as it is: the file is whole, if not the one that was meant.
            if chunks == CHUNKS[..chunks.len().min(CHUNKS.len())] {
                assert!(two.end(incoming));
            }
        });
}
