//! The trust root's later versions.

use jiff::SignedDuration;
use verger_seal::{Rotation, Terms, TrustedKey};

use super::*;

pub(super) fn bob() -> SealingKey {
    SealingKey::from_seed([2; 32])
}

impl Member {
    /// A change of the trust root to Bob's key, signed by these.
    pub(super) fn rotation(&self, signing: &[&SealingKey]) -> Action {
        let root = &self.state.cluster().unwrap().trust_root;
        let keys = [TrustedKey {
            name: "bob".to_owned(),
            public: bob().public(),
        }];
        let envelope = root.succeed(&Terms::new(keys.to_vec(), 1), &[]).unwrap();
        let (next_root, _) = root.read_successor(&envelope.to_json()).unwrap();
        let next = self.state.set().change([], []).unwrap();
        let end = at(1_000_000) + SignedDuration::from_hours(1);
        let count = next.len() as u64;
        let statement = SetStatement::new(&next_root, next.epoch(), next.root(), count, end);
        let mut rotation = Rotation::new(root, &envelope, statement).unwrap();
        for key in signing {
            rotation.sign(root, key).unwrap();
        }
        let (envelope, seal) = rotation.envelopes();
        Action::RotateTrustRoot {
            trust_root: envelope.to_json().into(),
            seal: seal.to_json().into(),
        }
    }
}

/// With a set that Ada has sealed.
fn member() -> Member {
    let mut member = Member::founded();
    let change = member.change(0, &key());
    let applied = member.checked(&command(11, None, change));
    assert!(matches!(applied, Response::SetApplied { .. }), "{applied:?}");
    member
}

#[test]
fn the_keys_change_with_the_set_and_the_old_ones_seal_nothing_more() {
    let mut member = member();
    let rotation = member.rotation(&[&key(), &bob()]);
    let made = member.checked(&command(12, Some("r"), rotation.clone()));
    assert!(matches!(made, Response::SetApplied { epoch: 2, .. }), "{made:?}");
    assert_eq!(
        member.checked(&command(13, Some("r"), rotation)),
        made,
        "asked again"
    );
    let cluster = member.state.cluster().unwrap();
    assert_eq!((cluster.trust_root.version(), cluster.later.len()), (2, 1));
    assert_eq!(cluster.id, Member::founded().state.cluster().unwrap().id);
    let root = cluster.trust_root.clone();
    verger_seal::verify_set(&root, member.state.seal().unwrap(), at(13)).unwrap();
    // What the old key seals, for the epoch that is next.
    let old = member.change(2, &key());
    assert_eq!(word(&member.checked(&command(14, None, old))), "SEAL_REFUSED");
    let new = member.change(2, &bob());
    let applied = member.checked(&command(15, None, new));
    assert!(
        matches!(applied, Response::SetApplied { epoch: 3, .. }),
        "{applied:?}"
    );
}

#[test]
fn a_change_that_one_side_alone_has_signed_changes_nothing() {
    let mut member = member();
    for signing in [&[][..], &[&key()], &[&bob()]] {
        let rotation = member.rotation(signing);
        let refused = word(&member.checked(&command(12, None, rotation)));
        assert!(
            matches!(refused, "TRUST_ROOT_REFUSED" | "SEAL_REFUSED"),
            "{refused}"
        );
        assert_eq!(member.state.cluster().unwrap().trust_root.version(), 1);
        assert_eq!(member.state.set().epoch(), 1);
    }
}

#[test]
fn a_change_made_on_another_set_is_refused() {
    let mut member = member();
    let rotation = member.rotation(&[&key(), &bob()]);
    let change = member.change(1, &key());
    member.checked(&command(12, None, change));
    let refused = member.checked(&command(13, None, rotation));
    assert_eq!(word(&refused), "SEAL_REFUSED", "{refused:?}");
    assert_eq!(member.state.cluster().unwrap().trust_root.version(), 1);
}

#[test]
fn the_row_of_a_rotation_says_which_trust_root_gave_way_to_which() {
    let mut member = member();
    let rotation = member.rotation(&[&key(), &bob()]);
    let in_force = |member: &Member| {
        let cluster = member.state.cluster().unwrap();
        Digest::of(cluster.later.last().unwrap_or(&cluster.envelope))
    };
    let before = in_force(&member);
    member.checked(&Command {
        counted: true,
        ..command(12, None, rotation)
    });
    let mut rows = member.rows.iter().filter(|((tree, _), _)| *tree == Tree::Audit);
    let row = stored::AuditRow::decode(rows.next_back().unwrap().1.as_slice()).unwrap();
    let told = [&row.before, &row.after].map(|digest| crate::convert::digest(digest).unwrap());
    assert_eq!(told, [before, in_force(&member)]);
    assert_ne!(told[0], told[1]);
}

#[test]
fn stored_bytes_of_a_rotation_never_change() {
    let action = Action::RotateTrustRoot {
        trust_root: Bytes::from_static(b"t"),
        seal: Bytes::from_static(b"s"),
    };
    let command = command(1, None, action);
    let hex: String = command
        .encode()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        hex,
        "080110e8071a0a706572736f6e2f616461aa01060a017412 0173".replace(' ', "")
    );
    assert_eq!(Command::decode(command.encode()).unwrap(), command);
    let mut member = member();
    let rotation = member.rotation(&[&key(), &bob()]);
    member.run(&super::command(12, None, rotation));
    let prefix = b"trust_root/".to_vec();
    let key = [prefix, 2_u64.to_be_bytes().to_vec()].concat();
    assert!(member.rows.contains_key(&(Tree::Cluster, key)));
}
