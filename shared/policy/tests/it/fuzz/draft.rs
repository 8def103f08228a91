//! Drafts: YAML that people, and whoever writes to their repository, have made.

use std::collections::BTreeSet;

use bolero::check;
use verger_fuzz::Damaged;
use verger_policy::draft::{self, Draft, MAX_OBJECT_BYTES, MAX_PROBLEMS};
use verger_policy::model::PolicyObject;

use super::assert_short;
use crate::judging::at;

const DRAFTS: &[&[u8]] = &[
    include_bytes!("../every_field.yaml"),
    include_bytes!("../every_role_field.yaml"),
    b"kind: Host\nspec: { agent: &a h, labels: { zone: \"eu\", 'b': !!str 1 } }\nmetadata:\n  name: *a\napiVersion: verger/v1\n",
    b"--- # none\n...\n---\n- a: [ &x { b: | \n   c\n } ]\n  d: >-\n   e\n- *x\n",
];

fn drafts() -> Damaged {
    Damaged::lines(DRAFTS)
}

/// An accepted object is what its canonical bytes and its rendering for people say.
fn assert_sound(object: &PolicyObject) {
    let bytes = object.canonical_bytes();
    assert!(bytes.len() <= MAX_OBJECT_BYTES);
    let mut plain = object.clone();
    plain.metadata.annotations.clear();
    assert_eq!(PolicyObject::from_canonical(&bytes), Ok(plain));
    let text = draft::write(object);
    assert_eq!(
        draft::read("w", text.as_bytes()).as_ref(),
        Ok(&vec![object.clone()]),
        "{text}"
    );
}

#[test]
fn hostile_drafts_are_refused_with_short_problems_or_read_to_sound_objects() {
    check!()
        .with_generator(drafts())
        .with_iterations(1_000)
        .for_each(|text| match draft::read("d\u{1b}.yaml", text) {
            Ok(objects) => {
                objects.iter().for_each(assert_sound);
                let keys: BTreeSet<_> = objects.iter().map(PolicyObject::key).collect();
                assert_eq!(keys.len(), objects.len(), "an object is there twice");
            }
            Err(problems) => {
                assert!((1..=MAX_PROBLEMS + 1).contains(&problems.len()));
                for problem in &problems {
                    assert_short(&problem.to_string());
                }
            }
        });
}

#[test]
fn a_hostile_draft_means_the_same_read_whole_and_document_by_document() {
    check!()
        .with_generator(drafts())
        .with_iterations(1_000)
        .for_each(|text| {
            let whole = draft::read_at("d", text, at());
            let parts = draft::parse("d", text).and_then(|drafts| {
                drafts
                    .into_iter()
                    .map(|draft: Draft| draft.check_at(at()))
                    .collect()
            });
            match (whole, parts) {
                (Ok(whole), parts) => assert_eq!(parts, Ok(whole)),
                (Err(_), Ok(parts)) => {
                    let keys: BTreeSet<_> = parts.iter().map(PolicyObject::key).collect();
                    assert!(
                        keys.len() < parts.len(),
                        "only a doubled object shows in the whole alone"
                    );
                }
                (Err(_), Err(_)) => {}
            }
        });
}
