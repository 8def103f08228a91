#![allow(clippy::unwrap_used)]

use super::*;

fn seen(epoch: u64, root: &[u8]) -> Seen {
    Seen {
        epoch,
        root: Digest::of(root),
        at: Timestamp::from_second(1_800_000_000).unwrap(),
        how: How::Shown,
    }
}

fn memory(folder: &tempfile::TempDir) -> Memory {
    Memory::beside(&folder.path().join("context.json"), Digest::of(b"cluster"))
}

#[test]
fn older_sets_and_others_of_the_same_epoch_are_refused_and_newer_ones_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let memory = memory(&folder);
    assert_eq!(memory.recall().unwrap(), None);
    let first = seen(3, b"three");
    memory.admit(None, &first, false).unwrap();
    for (epoch, root, refused) in [
        (3, &b"three"[..], false),
        (2, b"two", true),
        (0, b"", true),
        (3, b"other", true),
        (4, b"four", false),
        (9, b"four", false),
    ] {
        let answer = memory.admit(Some(&first), &seen(epoch, root), false);
        assert_eq!(answer.is_err(), refused, "{epoch}");
    }
    assert_eq!(memory.recall().unwrap().unwrap().epoch, 9);
}

#[test]
fn what_is_accepted_deliberately_is_the_new_memory_and_says_what_was_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let memory = memory(&folder);
    memory.keep(&seen(5, b"five")).unwrap();
    let before = memory.recall().unwrap();
    let said = memory
        .admit(before.as_ref(), &seen(2, b"two"), true)
        .unwrap()
        .unwrap();
    assert!(said.contains("epoch 2") && said.contains("epoch 5"), "{said}");
    assert_eq!(memory.recall().unwrap().unwrap().epoch, 2);
}

#[test]
fn an_answer_that_another_run_overtook_is_not_taken_for_a_step_back() {
    let folder = tempfile::tempdir().unwrap();
    let memory = memory(&folder);
    memory.keep(&seen(5, b"five")).unwrap();
    let before = memory.recall().unwrap();
    // While this run waits for its answer, another one sees epoch 6.
    memory.keep(&seen(6, b"six")).unwrap();
    memory.admit(before.as_ref(), &seen(5, b"five"), false).unwrap();
    assert_eq!(memory.recall().unwrap().unwrap().epoch, 6);
    // Another root of the same epoch is a contradiction whoever saw it.
    assert!(memory.admit(before.as_ref(), &seen(6, b"other"), false).is_err());
}

#[test]
fn many_at_once_leave_the_newest_in_a_file_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let memory = memory(&folder);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let memory = &memory;
            scope.spawn(move || {
                for step in 0..25 {
                    let epoch = 1 + step * 4 + thread;
                    memory.keep(&seen(epoch, &epoch.to_be_bytes())).unwrap();
                    assert!(memory.recall().unwrap().unwrap().epoch >= epoch);
                }
            });
        }
    });
    assert_eq!(memory.recall().unwrap().unwrap().epoch, 100);
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(&memory.file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_damaged_memory_is_an_error_with_file_and_remedy_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let memory = memory(&folder);
    let whole = stored(&seen(5, b"five"), memory.cluster);
    let other = stored(&seen(5, b"five"), Digest::of(b"another"));
    for damage in [&b""[..], b"{", b"\x1b[2J", &whole[..whole.len() / 2], &other] {
        secret::replace(&memory.file, damage).unwrap();
        for error in [
            memory.recall().unwrap_err(),
            memory.keep(&seen(9, b"nine")).unwrap_err(),
        ] {
            let error = error.to_string();
            assert!(
                error.contains("seen-") && error.contains("damaged") && error.contains("remove the file"),
                "{error}"
            );
        }
        assert_eq!(std::fs::read(&memory.file).unwrap(), damage);
    }
}
