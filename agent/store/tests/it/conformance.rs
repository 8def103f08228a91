use verger_agent_core::store::conformance;

use crate::bench::Place;

#[test]
fn the_store_on_sled_conforms() {
    conformance::run(|limit| Box::new(Place::new(limit)));
}
