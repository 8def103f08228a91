//! What the benchmark of judging counts, without its clock.

use verger_integration_tests::drift_eval;
use verger_integration_tests::scene::Docker;

#[test]
fn recorded_containers_are_judged_clean_and_unchanged_ones_cost_no_request() {
    let counts = drift_eval::counts(&Docker::find().unwrap()).unwrap();
    assert_eq!(
        counts,
        "500 instances judged clean, 0 requests about unchanged ones"
    );
}
