//! Changes of objects, as watchers read them.

use super::*;
use crate::Place;

fn host(number: usize, version: usize) -> PolicyObject {
    let text = format!(
        "apiVersion: verger/v1\nkind: Host\nmetadata: {{ name: h{number} }}\nspec: {{ agent: h{number}, labels: {{ v: v{version} }} }}\n"
    );
    verger_policy::draft::read("h", text.as_bytes())
        .unwrap()
        .remove(0)
}

impl Member {
    /// Makes a change of hosts: puts in versions, takes out those without; gives its revision.
    fn set_hosts(&mut self, hosts: &[(usize, Option<usize>)]) -> u64 {
        let upserts: Vec<_> = hosts
            .iter()
            .filter_map(|(number, version)| Some(host(*number, (*version)?)))
            .collect();
        let gone = hosts.iter().filter(|(_, version)| version.is_none());
        let deletes: Vec<_> = gone
            .map(|(number, _)| host(*number, 0).key())
            .filter(|key| self.state.set().entry(key).is_some())
            .collect();
        let next = self.state.set().change(upserts.clone(), deletes.clone()).unwrap();
        let action = Action::ApplySet {
            expected_epoch: self.state.set().epoch(),
            upserts: upserts.iter().map(canonical).collect(),
            deletes,
            seal: self.seal(&next, &key()),
        };
        let response = self.checked(&command(self.now(), None, action));
        assert!(matches!(response, Response::SetApplied { .. }), "{response:?}");
        self.state.revision()
    }

    fn told(&self, after: u64) -> Option<Vec<(u64, String, Option<u64>)>> {
        let changes = self.state.objects_changed(&Place::after(after))?;
        Some(
            changes
                .map(|change| (change.revision, change.key.to_string(), change.born))
                .collect(),
        )
    }
}

#[test]
fn an_object_keeps_its_birth_and_one_that_is_made_again_is_another() {
    let mut member = Member::founded();
    let first = member.set_hosts(&[(1, Some(1))]);
    let second = member.set_hosts(&[(1, Some(2)), (2, Some(1))]);
    let name = |number: u8| format!("Host/h{number}");
    assert_eq!(
        member.told(first).unwrap(),
        [(second, name(1), Some(first)), (second, name(2), Some(second))]
    );
    let third = member.set_hosts(&[(1, None)]);
    assert_eq!(member.told(second).unwrap(), [(third, name(1), None)]);
    let fourth = member.set_hosts(&[(1, Some(2))]);
    assert_eq!(member.told(second).unwrap(), [(fourth, name(1), Some(fourth))]);
}

#[test]
fn what_is_forgotten_stays_forgotten_when_a_deleted_object_is_made_again() {
    let mut member = Member::founded();
    let many = crate::limits::TOMBSTONES + 1;
    let all = |version| (0..many).map(|number| (number, version)).collect::<Vec<_>>();
    let there = member.set_hosts(&all(Some(1)));
    member.set_hosts(&all(None));
    assert_eq!(
        member.told(there),
        None,
        "one of those that are gone is forgotten"
    );
    // One fewer is gone now than are remembered.
    member.set_hosts(&[(many - 1, Some(2))]);
    assert_eq!(member.told(there), None);
    assert_eq!(
        member
            .rebuilt()
            .objects_changed(&Place::after(there))
            .map(Iterator::count),
        None
    );
    let now = member.state.revision();
    assert_eq!(member.told(now), Some(vec![]), "who comes now misses nothing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_watcher_that_resumes_anywhere_ends_with_what_there_is(
        steps in prop::collection::vec((prop::collection::btree_map(0_usize..7, prop::option::of(1_usize..4), 0..4), 0_u8..4), 1..25),
    ) {
        let mut member = Member::founded();
        let mut copies: std::collections::BTreeMap<ObjectKey, u64> = std::collections::BTreeMap::new();
        let mut place = Place::beginning(member.state.revision());
        for (hosts, reads) in steps {
            member.set_hosts(&hosts.into_iter().collect::<Vec<_>>());
            // So many at a time.
            for _ in 0..reads {
                let Some(changes) = member.state.objects_changed(&place) else {
                    copies.clear();
                    place = Place::beginning(member.state.revision());
                    continue;
                };
                let changes: Vec<_> = changes.take(2).map(|change| (change.revision, change.key.clone(), change.born)).collect();
                if changes.is_empty() {
                    place = Place::after(member.state.revision());
                }
                for (revision, key, born) in changes {
                    place.within = Some((revision, key.clone()));
                    match born {
                        None => { copies.remove(&key); }
                        Some(born) => { copies.insert(key, born); }
                    }
                }
            }
        }
        loop {
            let Some(changes) = member.state.objects_changed(&place) else {
                copies.clear();
                place = Place::beginning(member.state.revision());
                continue;
            };
            for change in changes {
                match change.born {
                    None => { copies.remove(change.key); }
                    Some(born) => { copies.insert(change.key.clone(), born); }
                }
            }
            break;
        }
        let there: Vec<_> = member.state.set().entries().map(|entry| entry.key.clone()).collect();
        prop_assert_eq!(copies.keys().cloned().collect::<Vec<_>>(), there);
        prop_assert!(copies.values().all(|born| *born > 0));
    }
}
