//! Fuzz target: the set as a controller that lies tells it. A person is about to sign what follows it.

#![allow(clippy::unwrap_used)]

use bolero::check;
use prost::Message as _;
use verger_fuzz::Damaged;

use super::tests::{answer, key};
use super::*;
use crate::output::fuzz::assert_shown;

#[test]
fn hostile_answers_are_distrusted_or_are_the_set_that_people_sealed() {
    let (honest, cluster) = answer(&key(1));
    let set = verified(honest.clone(), cluster, Timestamp::UNIX_EPOCH)
        .unwrap()
        .set;
    check!()
        .with_generator(Damaged::proto([honest.encode_to_vec()]))
        .with_iterations(3_000)
        .for_each(|bytes| {
            let Ok(message) = pb::GetSetResponse::decode(&**bytes) else {
                return;
            };
            match verified(message, cluster, Timestamp::UNIX_EPOCH) {
                Ok(held) if held.not_after.is_none() => assert_eq!(held.set, PolicySet::empty()),
                Ok(held) => {
                    assert_eq!(held.set, set);
                    let next = held.set.change([], []).unwrap();
                    let next = Next::of(&held, next);
                    assert!(next.changes.is_empty() && next.upserts().is_empty());
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(
                        text.contains("cannot be trusted") || text.contains("later version"),
                        "{text:.300}"
                    );
                    assert_shown(&text);
                }
            }
        });
}
