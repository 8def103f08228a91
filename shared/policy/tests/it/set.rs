//! The algebra of policy sets.

use std::sync::Arc;

use proptest::prelude::*;
use verger_policy::draft;
use verger_policy::model::{Labels, PolicyObject};
use verger_policy::set::{Body, Entry, MAX_EPOCH, PolicySet, SetDiff, SetError, diff};

use crate::objects::objects;

fn read(text: &str) -> Vec<PolicyObject> {
    draft::read("set.yaml", text.as_bytes()).unwrap()
}

fn host(name: &str, labels: &str) -> PolicyObject {
    read(&format!(
        "{{ apiVersion: verger/v1, kind: Host, metadata: {{ name: {name} }}, spec: {{ agent: {name}, labels: {labels} }} }}"
    ))
    .remove(0)
}

fn set_of(objects: Vec<PolicyObject>) -> PolicySet {
    PolicySet::empty().change(objects, []).unwrap()
}

fn parts(set: &PolicySet) -> Vec<(Entry, Option<Arc<Body>>)> {
    set.parts()
        .map(|(entry, body)| (entry.clone(), body.cloned()))
        .collect()
}

/// Any set, reached in two changes so that epochs differ.
fn sets() -> impl Strategy<Value = PolicySet> {
    (objects(6), objects(6), any::<u64>()).prop_map(|(first, second, drop)| {
        let set = set_of(first);
        let given: Vec<_> = second.iter().map(PolicyObject::key).collect();
        let deletes: Vec<_> = set
            .entries()
            .enumerate()
            .filter(|(index, entry)| drop >> (index % 64) & 1 == 1 && !given.contains(&entry.key))
            .map(|(_, entry)| entry.key.clone())
            .collect();
        // Two hosts of one agent cannot meet here: agents are named as their objects.
        set.change(second, deletes).unwrap()
    })
}

proptest! {
    #[test]
    fn a_set_does_not_differ_from_itself(set in sets()) {
        prop_assert!(diff(&set, &set).is_empty());
    }

    #[test]
    fn a_difference_leads_from_one_set_to_the_other(a in sets(), b in sets(), host in prop::bool::ANY) {
        let a = if host { a.narrowed_to(&Labels::default()) } else { a };
        let reached = a.apply(&diff(&a, &b), b.epoch()).unwrap();
        prop_assert_eq!(reached.root(), b.root());
        prop_assert_eq!(reached, b);
    }

    #[test]
    fn the_root_ignores_the_order_of_input(objects in objects(8), seed in any::<prop::sample::Index>()) {
        let mut turned = objects.clone();
        if !turned.is_empty() {
            let by = seed.index(turned.len());
            turned.rotate_left(by);
            turned.reverse();
        }
        prop_assert_eq!(set_of(objects).root(), set_of(turned).root());
    }

    #[test]
    fn stored_parts_assemble_to_the_same_set_in_any_order(set in sets()) {
        let mut all = parts(&set);
        all.reverse();
        prop_assert_eq!(PolicySet::assemble(set.epoch(), all).unwrap(), set);
    }

    #[test]
    fn the_root_needs_no_bodies(set in sets(), zone in "[a-z]{1,3}") {
        let narrowed = set.narrowed_to(&Labels([("zone".to_owned(), zone)].into()));
        prop_assert_eq!(narrowed.root(), set.root());
    }

    #[test]
    fn every_difference_of_content_is_described(a in sets(), b in sets()) {
        let difference = diff(&a, &b);
        let described = difference.describe(&a);
        let changed = b.entries().filter(|entry| a.entry(&entry.key) != Some(entry)).count();
        prop_assert_eq!(described.len(), changed + difference.deletes.len());
    }
}

#[test]
fn a_change_is_one_epoch_and_keeps_the_epochs_of_what_it_leaves_alone() {
    let first = set_of(vec![host("a", "{ zone: eu }"), host("b", "{ zone: us }")]);
    let second = first
        .change([host("a", "{ zone: eu }"), host("b", "{ zone: ap }")], [])
        .unwrap();
    let epochs: Vec<u64> = second.entries().map(|entry| entry.epoch).collect();
    assert_eq!((first.epoch(), second.epoch(), epochs), (1, 2, vec![1, 2]));
    let resealed = second.change([], []).unwrap();
    assert_eq!((resealed.epoch(), resealed.root()), (3, second.root()));
}

#[test]
fn impossible_changes_are_refused() {
    let set = set_of(vec![host("a", "{}")]);
    let key = |name: &str| host(name, "{}").key();
    assert_eq!(set.change([], [key("b")]), Err(SetError::NoSuchObject(key("b"))));
    assert_eq!(
        set.change([host("b", "{}"), host("b", "{ x: z }")], []),
        Err(SetError::Twice(key("b")))
    );
    assert_eq!(
        set.change([host("a", "{}")], [key("a")]),
        Err(SetError::Twice(key("a")))
    );
    let gone = SetDiff {
        upserts: Vec::new(),
        deletes: vec![key("b")],
    };
    assert_eq!(set.apply(&gone, 2), Err(SetError::NoSuchObject(key("b"))));
}

#[test]
fn two_host_objects_of_one_agent_are_refused() {
    let second = read(
        "{ apiVersion: verger/v1, kind: Host, metadata: { name: b }, spec: { agent: a, labels: { zone: free } } }",
    );
    let refused = set_of(vec![host("a", "{}")]).change(second, []);
    assert!(matches!(refused, Err(SetError::AgentTwice { agent, .. }) if agent.as_str() == "a"));
}

#[test]
fn epochs_end_at_the_largest_exact_integer() {
    let last = PolicySet::assemble(MAX_EPOCH, []).unwrap();
    assert_eq!(last.change([], []), Err(SetError::EpochTooLarge(MAX_EPOCH + 1)));
    assert_eq!(
        PolicySet::assemble(u64::MAX, []),
        Err(SetError::EpochTooLarge(u64::MAX))
    );
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let set = set_of(vec![host("a", "{ zone: eu }"), host("b", "{}")]);
    let good = parts(&set);
    let key = good[0].0.key.clone();

    let mut twice = good.clone();
    twice.push(good[0].clone());
    assert_eq!(PolicySet::assemble(1, twice), Err(SetError::Twice(key.clone())));

    let mut swapped = good.clone();
    swapped[0].1 = good[1].1.clone();
    assert_eq!(
        PolicySet::assemble(1, swapped),
        Err(SetError::BodyMismatch(key.clone()))
    );

    let mut reselected = good.clone();
    reselected[0].0.hosts = Labels([("zone".to_owned(), "nowhere".to_owned())].into());
    assert_eq!(
        PolicySet::assemble(1, reselected),
        Err(SetError::BodyMismatch(key.clone()))
    );

    let mut later = good;
    later[0].0.epoch = 2;
    assert_eq!(
        PolicySet::assemble(1, later),
        Err(SetError::EntryFromTheFuture {
            key,
            entry: 2,
            set: 1
        })
    );
}

#[test]
fn a_host_needs_what_selects_it_and_finds_its_labels() {
    let mut all = read(include_str!("every_field.yaml"));
    all.push(host("h1", "{ zone: eu-1 }"));
    all.push(host("h2", "{ zone: us-1 }"));
    let set = set_of(all);
    let labels = |name: &str| set.host_labels(&name.parse().unwrap()).cloned().unwrap();
    let needed = |labels: &Labels| {
        set.needed_by(labels)
            .map(|entry| entry.key.to_string())
            .collect::<Vec<_>>()
    };
    assert!(needed(&labels("h1")).contains(&"Workload/payments/web".to_owned()));
    assert!(!needed(&labels("h2")).contains(&"Workload/payments/web".to_owned()));
    assert_eq!(set.host_labels(&"h3".parse().unwrap()), None);

    let narrowed = set.narrowed_to(&labels("h2"));
    let web = "Workload/payments/web".parse().unwrap();
    assert!(narrowed.entry(&web).is_some() && narrowed.body(&web).is_none());
    assert_eq!(narrowed.missing_for(&labels("h2")).count(), 0);
    assert_eq!(
        narrowed
            .missing_for(&labels("h1"))
            .map(|entry| entry.key.clone())
            .collect::<Vec<_>>(),
        set.needed_by(&labels("h1"))
            .filter(|e| !e.hosts.select(&labels("h2")))
            .map(|e| e.key.clone())
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_change_is_described_field_by_field() {
    let text = include_str!("every_field.yaml");
    let before = set_of(read(text));
    let changed = text
        .replace("uid: 1000,", "uid: 0,")
        .replace("access: rw, options", "access: ro, options")
        .replace("nosuid, nodev", "nosuid")
        .replace("owner: \"Ada <ada@example>\"", "owner: Bob")
        .replace("\":8080\"", "\"\\e[31m\\u202e8080\"");
    let after = before.change(
        read(&changed).into_iter().chain([host("new", "{ a: b }")]),
        ["Guardrail/no-root".parse().unwrap()],
    );
    // An object cannot be put in and taken out at once.
    assert!(matches!(after, Err(SetError::Twice(_))));
    let keep = |object: &PolicyObject| object.key().to_string() != "Guardrail/no-root";
    let after = before
        .change(
            read(&changed)
                .into_iter()
                .filter(keep)
                .chain([host("new", "{ a: b }")]),
            ["Guardrail/no-root".parse().unwrap()],
        )
        .unwrap();
    let lines: Vec<String> = diff(&before, &after)
        .describe(&before)
        .iter()
        .flat_map(|change| change.to_string().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(
        lines,
        [
            "~ Exception payments/web-root spec.owner: \"Ada <ada@example>\" -> \"Bob\"",
            "- Guardrail no-root",
            "+ Host new",
            "+ Host new spec.agent: \"new\"",
            "+ Host new spec.labels.a: \"b\"",
            "~ Workload payments/web spec.config.command: [\"/app/server\",\"--listen\",\":8080\"] -> [\"/app/server\",\"--listen\",\"\\u001b[31m\\u{202e}8080\"]",
            "~ Workload payments/web spec.config.mounts[/data].access: \"rw\" -> \"ro\"",
            "~ Workload payments/web spec.config.mounts[/data].options: [\"nodev\",\"nosuid\"] -> [\"nosuid\"]",
            "~ Workload payments/web spec.config.user.uid: 1000 -> 0",
        ]
    );
}
