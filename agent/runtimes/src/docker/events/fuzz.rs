//! Fuzz target: messages of the daemon's event stream.

use bolero::check;
use verger_fuzz::Damaged;

use super::*;

#[test]
fn hostile_events_mean_nothing_or_a_container_by_its_whole_id() {
    let id = "a".repeat(64);
    let seeds = [
        format!(
            r#"{{"Type":"container","Action":"exec_start: sh","Actor":{{"ID":"{id}","Attributes":{{"name":"web"}}}},"scope":"local","time":1,"timeNano":1}}"#
        ),
        format!(
            r#"{{"Type":"network","Action":"connect","Actor":{{"ID":"net","Attributes":{{"container":"{id}"}}}}}}"#
        ),
        format!(r#"{{"Type":"container","Action":"die","Actor":{{"ID":"{id}"}}}}"#),
    ];
    check!()
        .with_generator(Damaged::json(seeds))
        .with_iterations(5_000)
        .for_each(|bytes| {
            let Ok(message) = serde_json::from_slice::<EventMessage>(bytes) else {
                return;
            };
            match meaning(&message) {
                None | Some(RuntimeEvent::Lost) => {}
                Some(
                    RuntimeEvent::Started(id)
                    | RuntimeEvent::Changed(id)
                    | RuntimeEvent::Gone(id)
                    | RuntimeEvent::Exec(id),
                ) => assert!(is_container_id(&id.id)),
            }
        });
}
