//! Fuzz target: filters and page tokens of callers.

use bolero::check;
use prost::Message as _;
use verger_fuzz::Damaged;
use verger_policy::model::printable;

use super::*;

/// A refusal of the argument, in words that a terminal shows as they are.
fn assert_refused(status: &Status) {
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(printable(status.message()), status.message());
    assert!(status.message().len() < 2_100);
}

#[test]
fn hostile_filters_and_tokens_are_refused_as_arguments_or_let_through_what_they_name() {
    let filter = pb::Filter {
        lifecycles: vec![1, 2],
        controls: vec!["privilege".to_owned()],
        workload: "payments/web".to_owned(),
        agent_id: "edge-1".to_owned(),
        rule: "privilege/is-root".to_owned(),
    };
    check!()
        .with_generator((
            Damaged::proto([filter.encode_to_vec()]),
            Damaged::bytes(["payments/web", "edge-1"]),
        ))
        .with_iterations(5_000)
        .for_each(|(filter, token)| {
            if let Ok(message) = pb::Filter::decode(&**filter) {
                match Filter::parse(Some(message.clone())) {
                    Ok(filter) => {
                        assert_eq!(filter.lifecycles.len(), message.lifecycles.len());
                        assert_eq!(
                            filter.workload.map_or(String::new(), |name| name.to_string()),
                            message.workload
                        );
                        assert_eq!(
                            filter.agent.map_or(String::new(), |name| name.to_string()),
                            message.agent_id
                        );
                        assert_eq!(
                            filter.rule.map_or(String::new(), |name| name.to_string()),
                            message.rule
                        );
                    }
                    Err(status) => assert_refused(&status),
                }
            }
            let token = token.text();
            match paging::after::<AgentId>(&token) {
                Ok(after) => assert_eq!(after.map_or(String::new(), |agent| agent.to_string()), token),
                Err(status) => assert_refused(&status),
            }
        });
}
