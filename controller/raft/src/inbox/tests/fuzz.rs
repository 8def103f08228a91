//! Fuzz target: the parts of a snapshot, as a hostile leader may send them.

use bolero::check;
use verger_controller_store::Space;

use super::*;

/// What a hostile leader does next.
#[derive(Clone, Copy, Debug, PartialEq, bolero::TypeGenerator)]
enum Next {
    /// The chunk that follows.
    Chunk,
    /// Some other.
    Other(u8),
    End,
    WrongEnd,
    Head,
    /// Breaks off, and goes on where the member says.
    GoOn,
    /// Breaks off, and goes on elsewhere.
    Elsewhere(u8),
    /// The member is started again.
    Start,
}

/// Plays it, and says whether the member took a snapshot.
async fn play(source: &Source, dir: &Arc<SnapshotDir>, steps: &[Next]) -> Option<DurableSnapshot> {
    let mut inbox = Inbox::new(Arc::clone(dir), Arc::new(Room::of(Space::endless())));
    let mut steps = steps.iter().copied();
    let mut from = 0;
    loop {
        let mut parts = Vec::new();
        let mut at = from;
        let mut then = None;
        for step in steps.by_ref() {
            match step {
                Next::Chunk => {
                    parts.extend(source.chunks(at..at + 1));
                    at += 1;
                }
                Next::Other(number) => parts.push(Part::Chunk(chunk(number.into(), "other"))),
                Next::End => parts.push(source.end()),
                Next::WrongEnd => parts.push(Part::End(pb::SnapshotEnd {
                    chunks: CHUNKS,
                    digest: Bytes::new(),
                })),
                Next::Head => parts.push(source.head(at.min(CHUNKS))),
                Next::GoOn | Next::Elsewhere(_) | Next::Start => {
                    then = Some(step);
                    break;
                }
            }
        }
        let (sender, mut receiver) = mpsc::channel(parts.len().max(1));
        for part in parts {
            let part = Some(part);
            sender.send(pb::InstallSnapshotRequest { part }).await.unwrap();
        }
        drop(sender);
        let taken = inbox.receive(&source.offer(from), &mut receiver).await;
        if let Ok((_, snapshot)) = taken {
            return Some(snapshot);
        }
        if then? == Next::Start {
            inbox = Inbox::new(Arc::clone(dir), Arc::new(Room::of(Space::endless())));
        }
        let (held, _) = inbox.open(&source.offer(0)).await.unwrap();
        let have = held.as_ref().map_or(0, Coming::have);
        assert!(have <= CHUNKS);
        from = match then {
            Some(Next::Elsewhere(number)) => u64::from(number) % (CHUNKS + 1),
            _ => have,
        };
    }
}

#[test]
fn whatever_a_hostile_leader_sends_in_whatever_order_only_what_was_offered_is_taken() {
    let source = Source::new("a");
    let whole = std::fs::read(source.snapshot.path()).unwrap();
    let mut honest = vec![Next::Chunk; 12];
    honest.insert(7, Next::GoOn);
    honest.insert(3, Next::Start);
    honest.push(Next::End);
    let is_taken = |steps: &[Next]| {
        let folder = tempfile::tempdir().unwrap();
        let dir = Arc::new(SnapshotDir::open(folder.path()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let taken = runtime.block_on(play(&source, &dir, steps));
        if let Some(snapshot) = &taken {
            assert_eq!(std::fs::read(snapshot.path()).unwrap(), whole);
        }
        taken.is_some()
    };
    assert!(is_taken(&honest));
    check!()
        .with_generator((bolero::produce::<Vec<Next>>(), 0..16_usize))
        .with_iterations(300)
        .for_each(|(noise, at)| {
            // What is honest with something else in its midst.
            let (before, after) = honest.split_at(*at % honest.len());
            is_taken(&[before, noise, after].concat());
        });
}
