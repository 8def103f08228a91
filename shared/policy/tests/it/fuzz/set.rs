//! Sets assembled of what a controller or a disk says.

use std::sync::Arc;

use bolero::check;
use verger_policy::model::Labels;
use verger_policy::set::{Body, Entry, ObjectChange, PolicySet, diff};

use super::assert_shown;
use super::canonical::objects;

/// What was made, or nothing after a refusal that is safe to show.
fn made<T>(result: Result<T, impl std::fmt::Display>) -> Option<T> {
    result.map_err(|error| assert_shown(&error.to_string())).ok()
}

#[test]
fn hostile_parts_make_no_set_or_one_that_every_way_leads_to() {
    let parts = || {
        (
            objects(),
            0..4_u64,
            bolero::produce::<bool>(),
            bolero::produce::<bool>(),
        )
    };
    check!()
        .with_generator((0..4_u64, [parts(), parts(), parts()]))
        .with_iterations(1_000)
        .for_each(|(epoch, parts)| {
            let parts = parts.iter().filter_map(|(bytes, epoch, held, relabelled)| {
                let body = made(Body::from_canonical(bytes.to_vec()))?;
                let mut entry = body.entry(*epoch);
                if *relabelled {
                    entry.hosts = Labels::default();
                }
                Some((entry, held.then(|| Arc::new(body))))
            });
            let parts: Vec<(Entry, Option<Arc<Body>>)> = parts.collect();
            let Some(set) = made(PolicySet::assemble(*epoch, parts.iter().cloned())) else {
                return;
            };
            assert_eq!(set.len(), parts.len());
            assert!(set.entries().all(|entry| entry.epoch <= *epoch));
            for (entry, body) in set.parts() {
                let Some(body) = body else { continue };
                assert_eq!(body.entry(entry.epoch), *entry);
            }
            // The root is of the entries: neither their order nor which bodies are here matters.
            let bare = parts.iter().rev().map(|(entry, _)| (entry.clone(), None));
            assert_eq!(PolicySet::assemble(*epoch, bare).unwrap().root(), set.root());
            let empty = PolicySet::empty();
            assert_eq!(empty.apply(&diff(&empty, &set), *epoch).as_ref(), Ok(&set));
            let back = set.apply(&diff(&set, &empty), 0);
            assert_eq!(back.as_ref(), Ok(&empty));
            for change in diff(&empty, &set).describe(&empty) {
                let ObjectChange::Added(_, fields) = change else {
                    panic!("{change:?}")
                };
                fields.iter().for_each(|field| assert_shown(&field.to_string()));
            }
        });
}
