//! The policy sets of a simulated cluster: each names who is on call, and no two that follow each other the same person.

use bytes::Bytes;
use jiff::Timestamp;
use verger_controller_raft::Member;
use verger_controller_state::Action;
use verger_policy::draft;
use verger_policy::model::{PolicyObject, RoleSubject, Spec};
use verger_policy::set::PolicySet;
use verger_seal::{SealingKey, SetStatement};

/// When a set's seal ends: never, as the clusters' clock stands.
const NEVER: Timestamp = Timestamp::constant(1_000_000, 0);
/// Who is on call in turn.
const PEOPLE: [&str; 3] = ["ada", "bob", "eve"];
/// In the place of the epoch of a set whose role is not the one that it was sealed with.
const TORN: u64 = u64::MAX;

/// Who is on call in the set of an epoch; nobody before there was a role.
fn on_call(epoch: u64) -> Option<&'static str> {
    let turn = usize::try_from(epoch).unwrap() % PEOPLE.len();
    (epoch > 0).then_some(PEOPLE[turn])
}

fn binding(epoch: u64) -> PolicyObject {
    let person = on_call(epoch).unwrap();
    let text = format!(
        "apiVersion: verger/v1\nkind: RoleBinding\nmetadata:\n  name: on-call\nspec:\n  role: operator\n  subjects: [person/{person}]\n"
    );
    draft::read("on-call.yaml", text.as_bytes()).unwrap().remove(0)
}

/// The epoch of a set, if the role in it is that epoch's.
pub(crate) fn read(set: &PolicySet) -> u64 {
    let bound = set.objects().find_map(|object| match &object.spec {
        Spec::RoleBinding(binding) => binding.subjects.first(),
        _ => None,
    });
    let bound = bound.map(|subject| match subject {
        RoleSubject::Person(person) => person.to_string(),
        other => panic!("nobody binds {other:?}"),
    });
    match bound.as_deref() == on_call(set.epoch()) {
        true => set.epoch(),
        false => TORN,
    }
}

/// The next set, in which another is on call, sealed on what a member has applied; and the epoch it was made on.
pub(crate) fn next(member: &Member) -> Option<(u64, Action)> {
    member.read(|state| {
        let root = &state.cluster()?.trust_root;
        let epoch = state.set().epoch();
        let role = binding(epoch + 1);
        let next = state.set().change([role.clone()], []).ok()?;
        let count = u64::try_from(next.len()).ok()?;
        let key = SealingKey::from_seed([1; 32]);
        let seal = SetStatement::new(root, next.epoch(), next.root(), count, NEVER)
            .seal(&[&key])
            .to_json()
            .into();
        let set = Action::ApplySet {
            expected_epoch: epoch,
            upserts: vec![Bytes::from(role.canonical_bytes())],
            deletes: Vec::new(),
            seal,
        };
        Some((epoch, set))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_with_the_role_of_another_epoch_is_torn() {
        let empty = PolicySet::default();
        let first = empty.change([binding(1)], []).unwrap();
        let second = first.change([binding(2)], []).unwrap();
        assert_eq!([&empty, &first, &second].map(read), [0, 1, 2]);
        for torn in [
            empty.change([], []).unwrap(),
            first.change([], []).unwrap(),
            first.change([binding(1)], []).unwrap(),
        ] {
            assert_eq!(read(&torn), TORN, "{torn:?}");
        }
    }
}
