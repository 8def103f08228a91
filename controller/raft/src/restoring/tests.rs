#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use verger_controller_state::{Action, Response, State};

use super::*;
use crate::member::MemberConfig;
use crate::peers::NoPeers;
use crate::testing::{PATIENCE, command, found_by};

/// In seconds since 1970.
const NOW: u64 = 1_800_000_000;

fn node(name: &str) -> Node {
    Node {
        name: name.to_owned(),
        address: format!("{name}:7402"),
        ..Node::default()
    }
}

async fn open(dir: &Path, id: u64) -> Member {
    let config = MemberConfig {
        id,
        node: node("c1"),
        is_first: id == 1,
        start: 1,
    };
    let member = Member::open(config, dir.to_owned(), Arc::new(NoPeers))
        .await
        .unwrap();
    member.wait_until_leading(PATIENCE).await.unwrap();
    member.catch_up().await.unwrap();
    member
}

async fn login(member: &Member, person: &str) {
    let action = Action::CreateLogin {
        person: person.to_owned(),
        key: verger_policy::digest::Digest::of(person.as_bytes()),
    };
    let given = member.propose(&command(action)).await.unwrap();
    assert_eq!(given, Response::LoginCreated);
}

async fn founded(dir: &Path) -> Member {
    Member::create(dir).unwrap();
    let member = open(dir, 1).await;
    found_by(&member).await;
    member
}

/// Writes down what a member saves, in pieces of so many bytes.
async fn saved(member: &Member, dir: &Path, most: usize) -> PathBuf {
    let mut saved = member.save().await.unwrap();
    assert!(matches!(member.save().await, Err(crate::SaveError::Busy)));
    let (size, mut bytes) = (saved.size(), Vec::new());
    loop {
        let (back, piece) = saved.read(most).await.unwrap();
        saved = back;
        if piece.is_empty() {
            break;
        }
        bytes.extend(piece);
    }
    assert_eq!(bytes.len() as u64, size);
    let file = dir.join("kept by somebody");
    std::fs::write(&file, bytes).unwrap();
    file
}

#[test]
fn every_log_that_is_restored_begins_behind_all_that_were_before() {
    let begins = |now, index| beginning(now, index).unwrap();
    let base = begins(NOW, 7);
    assert_eq!(base, NOW << 20);
    // A million entries later, and a second.
    assert!(begins(NOW + 1, base + 900_000) > base + 1_000_000);
    assert!(
        begins(NOW + 1, 7) > base + 1_000_000,
        "of the same snapshot again"
    );
    // A clock that is behind.
    assert!(begins(5, base + 3) > base + 3);
    assert!(begins(0, 0) > 0);
    // Numbers that JSON can write exactly.
    assert!(begins(8_000_000_000, 7) < 1 << 53, "until the year 2223");
    for (now, index) in [(1 << 33, 7), (u64::MAX, 7), (NOW, (1 << 53) - 1), (NOW, u64::MAX)] {
        assert_eq!(beginning(now, index), None, "{now} {index}");
    }
}

/// Writes a snapshot whose header says this, with the mark of what was applied as it is given, and no rows.
fn made_up(dir: &Path, last: StoredId, applied: Option<StoredId>) -> PathBuf {
    let applied = applied.map(|id| codec::log_id(id.term, id.index));
    let only = Membership::new(vec![[1].into()], BTreeMap::from([(1, node("c1"))])).unwrap();
    let mark = Mark {
        applied,
        membership: StoredMembership::new(applied, only),
        chain: Chain::default(),
    };
    let mut writer = SnapshotDir::open(&dir.join("made"))
        .unwrap()
        .begin(SnapshotMeta {
            last,
            membership: codec::encode_mark(&mark).into(),
        })
        .unwrap();
    writer.chunk(&[0]).unwrap();
    writer.finish().unwrap().path().to_owned()
}

#[tokio::test]
async fn a_header_that_no_log_came_to_or_that_is_not_of_its_rows_is_refused() {
    const MOST: u64 = 1 << 52;
    let id = |index, term| StoredId { index, term };
    let same = |index, term| (id(index, term), Some(id(index, term)));
    for ((last, applied), wanted) in [
        (same(7, u64::MAX), Some("the term 18446744073709551615")),
        (same(7, MOST + 1), Some("the term 4503599627370497")),
        (same(u64::MAX, 3), Some("the index 18446744073709551615")),
        (same(MOST + 1, 3), Some("the index 4503599627370497")),
        ((id(9, 3), Some(id(8, 3))), Some("is entry 8 of term 3")),
        ((id(9, 3), Some(id(9, 2))), Some("is entry 9 of term 2")),
        ((id(9, 3), None), Some("is no entry")),
        (same(MOST, MOST), None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("new");
        let file = made_up(dir.path(), last, applied);
        std::fs::create_dir(&new).unwrap();
        let late = Member::restore(&new, &file, &node("c9"), u64::MAX).await;
        match wanted {
            None => assert!(matches!(late, Err(MemberError::Clock(u64::MAX))), "{late:?}"),
            Some(_) => assert!(matches!(late, Err(MemberError::Store(_))), "{late:?}"),
        }
        std::fs::remove_dir_all(&new).unwrap();
        std::fs::create_dir(&new).unwrap();
        let made = Member::restore(&new, &file, &node("c9"), NOW).await;
        match (made, wanted) {
            (Ok(from), None) => {
                assert_eq!((from.index, from.term), (MOST, MOST));
                assert_eq!(from.number, MOST + (1 << 20));
            }
            (Err(MemberError::Store(error)), Some(wanted)) => {
                let text = error.to_string();
                let name = file.file_name().unwrap().to_str().unwrap();
                assert!(text.contains(wanted) && text.contains(name), "{text}");
            }
            (made, wanted) => panic!("{last:?}: {made:?}, {wanted:?}"),
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_saved_and_goes_on_alone_behind_every_revision_of_before() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| dir.path().join(name));
    let member = founded(&old).await;
    login(&member, "bob").await;
    let file = saved(&member, dir.path(), 100).await;
    assert_eq!(
        std::fs::read_dir(old.join("saving")).unwrap().count(),
        0,
        "nothing stays"
    );
    // What came after it is not in it.
    login(&member, "late").await;
    let at_save = member.read(State::revision) - 1;
    member.stop().await;

    std::fs::create_dir(&new).unwrap();
    let from = Member::restore(&new, &file, &node("c9"), NOW).await.unwrap();
    assert_eq!((from.index, from.number), (at_save, NOW << 20));
    assert_eq!(from.members, [(1, node("c1"))]);
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes.ends_with(&from.digest));
    for _ in 0..2 {
        let member = open(&new, from.number).await;
        assert!(member.read(|state| state.login("bob").is_some() && state.login("late").is_none()));
        let standing = member.standing();
        let members: Vec<_> = standing.members.iter().map(|member| &member.node.name).collect();
        assert_eq!(members, ["c9"]);
        assert!(
            standing.term > from.term && standing.applied >= from.number,
            "{standing:?}"
        );
        login(&member, "later").await;
        assert!(member.read(State::revision) > from.number);
        member.snapshot_and_purge().await.unwrap();
        member.stop().await;
    }
    // There is a member now.
    let again = Member::restore(&new, &file, &node("c9"), NOW).await.unwrap_err();
    assert!(again.to_string().contains("already holds a member"), "{again}");
}

#[tokio::test]
async fn nothing_is_restored_of_a_file_that_is_damaged_or_is_no_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let member = founded(&dir.path().join("old")).await;
    let file = saved(&member, dir.path(), 1 << 20).await;
    member.stop().await;
    let whole = std::fs::read(&file).unwrap();
    let mut places: Vec<usize> = (0..whole.len()).step_by(17).collect();
    places.extend([7, whole.len() - 1]);
    for (round, at) in places.into_iter().enumerate() {
        let mut bytes = whole.clone();
        match round % 2 {
            0 => bytes[at] ^= 0x80,
            _ => bytes.truncate(at),
        }
        std::fs::write(&file, &bytes).unwrap();
        let new = dir.path().join(format!("new-{round}"));
        std::fs::create_dir(&new).unwrap();
        let refused = Member::restore(&new, &file, &node("c9"), NOW).await.unwrap_err();
        let MemberError::Store(error) = &refused else {
            panic!("byte {at}: {refused}");
        };
        let text = error.to_string();
        assert!(text.contains("kept by somebody"), "{text}");
        assert!(
            text.contains("another copy") || text.contains("run a newer program"),
            "{text}"
        );
    }
    std::fs::remove_file(&file).unwrap();
    let new = dir.path().join("new");
    std::fs::create_dir(&new).unwrap();
    let missing = Member::restore(&new, &file, &node("c9"), NOW).await.unwrap_err();
    assert!(format!("{missing:?}").contains("kept by somebody"), "{missing:?}");
}
