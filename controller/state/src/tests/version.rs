//! The cluster's version.

use super::*;
use crate::ClusterVersion;

fn raise(to: u32) -> Command {
    let action = Action::RaiseVersion {
        to: ClusterVersion::of(to),
    };
    command(20, None, action)
}

fn stored(member: &Member) -> Option<&[u8]> {
    let (tree, key) = ClusterVersion::ROW;
    member.rows.get(&(tree, key.to_vec())).map(Vec::as_slice)
}

#[test]
fn it_goes_up_and_never_down_and_is_kept_and_on_record() {
    let mut member = Member::founded();
    assert_eq!(
        (member.state.version(), stored(&member)),
        (ClusterVersion::FIRST, None)
    );
    for (to, wanted) in [
        (1, 1),
        (3, 3),
        (2, 3),
        (0, 3),
        (7, 7),
        (u32::MAX, u32::MAX),
        (1, u32::MAX),
    ] {
        let before = member.state.audit_head().written;
        assert_eq!(member.checked(&raise(to)), Response::VersionRaised);
        assert_eq!(member.state.version().number(), wanted);
        assert_eq!(member.state.audit_head().written, before + 1);
    }
    assert_eq!(
        stored(&member).and_then(ClusterVersion::of_row),
        Some(ClusterVersion::of(u32::MAX))
    );
    assert_eq!(raise(3).action.word(), "raise-version");
    assert_eq!(raise(3).action.detail(), "to 3");
}

#[test]
fn before_the_founding_there_is_none() {
    let mut member = Member::default();
    assert_eq!(member.checked(&raise(2)), Response::Refused(Refused::NotFounded));
    assert_eq!(member.state.version(), ClusterVersion::FIRST);
}

#[test]
fn stored_bytes_never_change() {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let bytes = raise(3).encode();
    assert_eq!(
        hex(&bytes),
        "080110a09c011a0a706572736f6e2f61646182040208 03".replace(' ', "")
    );
    assert_eq!(Command::decode(bytes), Ok(raise(3)));
    let mut member = Member::founded();
    member.run(&raise(0x0102));
    assert_eq!(stored(&member), Some(&[0, 0, 1, 2][..]));
    for bytes in [&[][..], &[1], &[0, 0, 0], &[0; 5]] {
        assert_eq!(ClusterVersion::of_row(bytes), None);
        let (tree, key) = ClusterVersion::ROW;
        let damaged = State::from_rows(1, [(tree, key.to_vec(), bytes.to_vec())]).unwrap_err();
        assert!(damaged.to_string().contains("version"), "{damaged}");
    }
}

/// What the row of the cluster says of the seal, and whether the seal has one of its own.
fn seal_rows(member: &Member) -> (u32, bool, bool) {
    let row = &member.rows[&(Tree::Cluster, b"cluster".to_vec())];
    let row = stored::ClusterRow::decode(row.as_slice()).unwrap();
    let apart = member.rows.contains_key(&(Tree::Cluster, b"seal".to_vec()));
    (row.format, row.seal.is_empty(), apart)
}

#[test]
fn a_form_changes_with_the_version_that_has_another_and_not_before() {
    let mut member = Member::founded();
    let apply = |member: &mut Member, epoch| {
        let change = member.change(epoch, &key());
        let applied = member.checked(&command(30, None, change));
        assert!(matches!(applied, Response::SetApplied { .. }), "{applied:?}");
    };
    apply(&mut member, 0);
    assert_eq!(seal_rows(&member), (1, false, false));
    let seal = member.state.seal.clone();
    member.checked(&raise(2));
    let is_known = ClusterVersion::of(2).is_known();
    assert_eq!(is_known, cfg!(feature = "next"));
    let wanted = match is_known {
        true => (2, true, true),
        false => (1, false, false),
    };
    assert_eq!((seal_rows(&member), &member.rebuilt().seal), (wanted, &seal));
}
