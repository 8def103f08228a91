//! The scenario judges what it is told: what is wrong in one value is found.
#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

/// What the stream tells when all is right.
fn told() -> Vec<Value> {
    EXPECTED
        .iter()
        .map(|expected| {
            let actual = match expected.actual {
                Actual::Is(text) => text.to_owned(),
                Actual::Has(text) => format!("before; {text}17)"),
            };
            json!({
                "rule": expected.rule, "field": expected.field, "state": "open", "result": "fail",
                "expected": expected.blessed, "actual": actual,
                "decidedBy": WORKLOAD, "subject": "workload/demo/web",
            })
        })
        .collect()
}

#[test]
fn findings_that_tell_it_as_it_is_have_no_fault() {
    assert_eq!(faults(&told()), Vec::<String>::new());
}

#[test]
fn one_wrong_value_of_any_finding_is_found() {
    for at in 0..EXPECTED.len() {
        for name in ["expected", "actual", "decidedBy", "subject", "result"] {
            for wrong in [json!("something else"), json!(null)] {
                let mut findings = told();
                findings[at][name] = wrong;
                let faults = faults(&findings);
                assert!(
                    faults.len() == 1 && faults[0].contains(EXPECTED[at].rule) && faults[0].contains(name),
                    "{faults:?}"
                );
            }
        }
        let mut findings = told();
        findings.remove(at);
        assert!(faults(&findings)[0].contains("not told"));
    }
}

#[test]
fn the_last_word_counts() {
    let mut findings = told();
    let mut later = findings[0].clone();
    later["actual"] = json!("another");
    findings.push(later);
    assert_eq!(faults(&findings).len(), 1);
}

#[test]
fn an_exception_and_its_end_are_told_in_turn() {
    let root = |state: &str, object: &str| json!({ "rule": "privilege/is-root", "state": state, "decidedBy": object });
    let states = [("suppressed", "Exception/x"), ("open", WORKLOAD)];
    let (first, lifted, again) = (
        root("open", WORKLOAD),
        root("suppressed", "Exception/x"),
        root("open", WORKLOAD),
    );
    let whole = [first, lifted, again];
    assert!(tells_in_turn(&whole, &states));
    assert!(!tells_in_turn(&whole[..2], &states));
    assert!(!tells_in_turn(&[whole[0].clone(), whole[2].clone()], &states));
    assert!(!tells_in_turn(
        &whole,
        &[("suppressed", "Exception/other"), ("open", WORKLOAD)]
    ));
}

#[test]
fn a_line_that_is_being_written_is_not_read_yet() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("findings.jsonl");
    fs::write(&file, "{\"a\":1}\n{\"b\"").unwrap();
    assert_eq!(lines(&file).unwrap(), [json!({ "a": 1 })]);
    fs::write(&file, "no json\n").unwrap();
    assert!(lines(&file).is_err());
    assert!(lines(&folder.path().join("missing")).is_err());
}
