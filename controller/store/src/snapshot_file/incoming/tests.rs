//! What has come of a snapshot, gone on with.

#![allow(clippy::unwrap_used)]

mod fuzz;

use bytes::Bytes;

use super::*;
use crate::LogId;

const CHUNKS: [&[u8]; 4] = [b"first", &[7; 300], b"third", b"last"];

fn meta(index: u64, membership: &'static [u8]) -> SnapshotMeta {
    SnapshotMeta {
        last: LogId { index, term: 3 },
        membership: Bytes::from_static(membership),
    }
}

/// A member's folder, and the whole snapshot in another's.
struct Two {
    dir: SnapshotDir,
    sent: DurableSnapshot,
    id: SnapshotId,
    folders: [tempfile::TempDir; 2],
}

fn two() -> Two {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [dir, other] = [0, 1].map(|at: usize| SnapshotDir::open(folders[at].path()).unwrap());
    let mut writer = other.begin(meta(7, b"m")).unwrap();
    for chunk in CHUNKS {
        writer.chunk(chunk).unwrap();
    }
    let sent = writer.finish().unwrap();
    let id = other.id(&sent).unwrap();
    Two {
        dir,
        sent,
        id,
        folders,
    }
}

impl Two {
    /// Opens it, and says which chunks are there.
    fn open(&self) -> (Incoming, Vec<Vec<u8>>) {
        let mut chunks = Vec::new();
        let mut visit = |chunk: &[u8]| chunks.push(chunk.to_vec());
        let incoming = self.dir.incoming(meta(7, b"m"), &self.id, &mut visit).unwrap();
        assert_eq!(incoming.chunks(), chunks.len() as u64);
        (incoming, chunks)
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.dir.names().unwrap();
        names.sort();
        names
    }

    /// Has the rest of it come, and says whether it is the other's then, byte for byte.
    fn end(&self, mut incoming: Incoming) -> bool {
        let have = usize::try_from(incoming.chunks()).unwrap();
        for chunk in &CHUNKS[have..] {
            incoming.chunk(chunk).unwrap();
        }
        let before = self.dir.latest().unwrap();
        let whole = incoming.finish().unwrap();
        assert_eq!(self.dir.latest().unwrap(), before, "nobody has taken it in");
        let snapshot = self.dir.take_in(whole).unwrap();
        self.dir.verify(&snapshot).is_ok()
            && fs::read(snapshot.path()).unwrap() == fs::read(self.sent.path()).unwrap()
    }
}

#[test]
fn a_snapshot_is_known_by_how_it_ends() {
    let two = two();
    assert_eq!(two.id.chunks, 4);
    let bytes = fs::read(two.sent.path()).unwrap();
    assert_eq!(bytes[bytes.len() - 32..], two.id.digest);
    for cut in [bytes.len() - 1, TRAILER_BYTES - 1, 0] {
        fs::write(two.sent.path(), &bytes[..cut]).unwrap();
        let error = two.dir.id(&two.sent).unwrap_err();
        assert!(error.is_damage(), "{error}");
    }
}

#[test]
fn wherever_it_breaks_off_it_goes_on_behind_the_last_chunk_also_after_a_start() {
    for breaks in 0..=CHUNKS.len() {
        let mut two = two();
        let (mut incoming, _) = two.open();
        for chunk in &CHUNKS[..breaks] {
            incoming.chunk(chunk).unwrap();
        }
        drop(incoming);
        assert_eq!(two.dir.latest().unwrap(), None, "it is no snapshot yet");
        two.dir = SnapshotDir::open(two.folders[0].path()).unwrap();
        let (incoming, chunks) = two.open();
        assert_eq!(chunks, CHUNKS[..breaks]);
        assert!(two.end(incoming));
        assert_eq!(two.names(), ["00000000000000000007-00000000000000000003.vsnap"]);
    }
}

#[test]
fn whatever_byte_a_disk_cut_it_at_what_is_sound_is_kept_and_the_rest_comes_again() {
    let two = two();
    let whole = fs::read(two.sent.path()).unwrap();
    let (incoming, _) = two.open();
    drop(incoming);
    let draft = two.dir.dir.join(&two.names()[0]);
    let mut most = 0;
    for cut in 0..=whole.len() {
        fs::write(&draft, &whole[..cut]).unwrap();
        let (_, chunks) = two.open();
        assert!(
            chunks.len() >= most && chunks == CHUNKS[..chunks.len()],
            "cut at {cut}"
        );
        most = chunks.len();
    }
    assert_eq!(most, CHUNKS.len());
    // Also where its end is there already.
    fs::write(&draft, &whole).unwrap();
    let (incoming, _) = two.open();
    assert!(two.end(incoming));
}

#[test]
fn nobody_goes_on_with_what_has_come_of_another_file() {
    let two = two();
    let other = SnapshotId {
        digest: [0; 32],
        ..two.id
    };
    for (of, id) in [
        (meta(7, b"m"), &other),
        (meta(8, b"m"), &two.id),
        // The same name, and not what the draft begins with.
        (meta(7, b"others"), &two.id),
    ] {
        let (mut incoming, _) = two.open();
        incoming.chunk(CHUNKS[0]).unwrap();
        drop(incoming);
        let mut visit = |_: &[u8]| panic!("it has come of another");
        let incoming = two.dir.incoming(of, id, &mut visit).unwrap();
        assert_eq!((incoming.chunks(), two.names().len()), (0, 1));
        incoming.discard().unwrap();
        assert!(two.names().is_empty());
    }
}

#[test]
fn what_a_newer_snapshot_overtakes_is_removed() {
    let two = two();
    let begin = |index| {
        let mut writer = two.dir.begin(meta(index, b"m")).unwrap();
        writer.chunk(b"x").unwrap();
        writer.finish().unwrap()
    };
    let (incoming, _) = two.open();
    begin(6);
    two.dir.prune().unwrap();
    SnapshotDir::open(two.folders[0].path()).unwrap();
    assert_eq!(two.names().len(), 2, "it is the newest");
    drop(incoming);
    begin(7);
    two.dir.prune().unwrap();
    assert!(two.names().iter().all(|name| name.ends_with(SUFFIX)));
}

#[test]
fn a_whole_snapshot_is_found_where_it_is_that_file_and_sound() {
    let two = two();
    assert_eq!(two.dir.find(&meta(7, b"m"), &two.id).unwrap(), None);
    let (incoming, _) = two.open();
    assert!(two.end(incoming));
    let found = two.dir.find(&meta(7, b"m"), &two.id).unwrap().unwrap();
    assert_eq!(two.dir.id(&found).unwrap(), two.id);
    let other = SnapshotId {
        digest: [0; 32],
        ..two.id
    };
    assert_eq!(two.dir.find(&meta(7, b"m"), &other).unwrap(), None);
    let mut bytes = fs::read(found.path()).unwrap();
    bytes[60] ^= 1;
    fs::write(found.path(), bytes).unwrap();
    assert_eq!(two.dir.find(&meta(7, b"m"), &two.id).unwrap(), None);
}

#[test]
fn what_says_nothing_is_no_snapshot() {
    let two = two();
    let (mut incoming, _) = two.open();
    assert!(matches!(incoming.chunk(b""), Err(StoreError::Refused { .. })));
    assert!(matches!(incoming.finish(), Err(StoreError::Refused { .. })));
}
