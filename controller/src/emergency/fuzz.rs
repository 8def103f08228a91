//! Fuzz target: what comes in at the door on the host.

#![allow(clippy::unwrap_used)]

use bolero::check;
use verger_fuzz::Damaged;

use super::*;

#[test]
fn hostile_questions_are_refused_or_written_back_to_the_same() {
    let broken = Question::BreakGlass {
        person: "ada".to_owned(),
        reason: "why".to_owned(),
        key: format!("sha256:{}", "ab".repeat(32)),
        ends: Timestamp::from_second(1_800_000_000).unwrap(),
    };
    let end = Question::EndBreakGlass {
        person: "ada".to_owned(),
    };
    let recovered = Question::RecoverLogin {
        person: "ada".to_owned(),
        reason: "why".to_owned(),
        key: format!("sha256:{}", "cd".repeat(32)),
    };
    let seeds = [broken, end, recovered].map(|question| serde_json::to_vec(&question).unwrap());
    check!()
        .with_generator(Damaged::json(seeds))
        .with_iterations(5_000)
        .for_each(|bytes| {
            let Ok(question) = serde_json::from_slice::<Question>(bytes) else {
                return;
            };
            let again = serde_json::to_vec(&question).unwrap();
            assert_eq!(serde_json::from_slice::<Question>(&again).unwrap(), question);
        });
}
