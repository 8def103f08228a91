#![allow(clippy::unwrap_used)]
use super::*;
use verger_policy::draft;

fn set(drafts: &str) -> PolicySet {
    let objects = draft::read("t.yaml", drafts.as_bytes()).unwrap();
    PolicySet::empty().change(objects, []).unwrap()
}

pub(super) fn exception(name: &str, scope: &str, begin: &str, end: &str) -> String {
    format!(
        "---\napiVersion: verger/v1\nkind: Exception\nmetadata: {{ name: {name} }}\nspec: {{ rules: [ privilege/is-root ], \
         scope: {scope}, owner: ann, reason: r, ticket: T-1, notBefore: {begin}, notAfter: {end} }}\n"
    )
}

#[test]
fn spans_are_days_or_what_has_hours_and_nothing_else() {
    let seconds = |text: &str| span(text).map(|span| span.as_secs());
    assert_eq!(seconds("14d").unwrap(), 14 * 86_400);
    assert_eq!(seconds("36h").unwrap(), 36 * 3_600);
    assert_eq!(seconds("90m").unwrap(), 5_400);
    for slip in ["", "d", "-1d", "soon", "-5m", "70000d", "14"] {
        assert!(span(slip).unwrap_err().message.contains("--within"), "{slip}");
    }
}

#[test]
fn what_ends_within_the_span_is_told_also_before_it_begins_and_not_once_it_is_over() {
    let set = set(&exception(
        "e",
        "{ workload: web }",
        "2026-05-01T00:00:00Z",
        "2026-05-10T00:00:00Z",
    ));
    let which = ExceptionsArgs {
        workload: None,
        held: crate::args::SetArgs::default(),
    };
    let spec = chosen(&set, &which).unwrap()[0].spec;
    let left = |at: &str, days: i64| {
        left_within(spec, at.parse().unwrap(), SignedDuration::from_hours(24 * days)).is_some()
    };
    assert!(!left("2026-05-02T23:59:59Z", 7));
    assert!(left("2026-05-03T00:00:00Z", 7));
    assert!(left("2026-05-09T23:59:59Z", 7));
    assert!(!left("2026-05-10T00:00:00Z", 7));
    assert!(left("2026-04-30T00:00:00Z", 10));
}

#[test]
fn a_filter_by_workload_takes_what_names_it_or_an_image_it_blesses() {
    let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
    let window = ("2026-05-01T00:00:00Z", "2026-05-10T00:00:00Z");
    let drafts = [
        format!(
            "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: web }}\nspec: {{ match: {{ container: {{ image: web }} }}, \
             config: {{ images: [ \"{}\" ] }} }}\n",
            digest("a")
        ),
        exception("by-name", "{ workload: web }", window.0, window.1),
        exception(
            "by-image",
            &format!("{{ image: \"{}\" }}", digest("a")),
            window.0,
            window.1,
        ),
        exception("of-other", "{ workload: other }", window.0, window.1),
        exception(
            "other-image",
            &format!("{{ image: \"{}\" }}", digest("b")),
            window.0,
            window.1,
        ),
    ];
    let set = set(&drafts.concat());
    let names = |workload: Option<&str>| -> Vec<String> {
        let which = ExceptionsArgs {
            workload: workload.map(ToOwned::to_owned),
            held: crate::args::SetArgs::default(),
        };
        let found = chosen(&set, &which).unwrap();
        found.iter().map(|found| found.key.name.to_string()).collect()
    };
    assert_eq!(names(None).len(), 4);
    assert_eq!(names(Some("web")), ["by-image", "by-name"]);
    assert_eq!(names(Some("other")), ["of-other"]);
    assert_eq!(names(Some("nobody")), Vec::<String>::new());
}

#[test]
fn what_is_left_is_told_in_two_units() {
    let words = |minutes| in_words(SignedDuration::from_mins(minutes));
    assert_eq!(words(59), "in 59 min");
    assert_eq!(words(61), "in 1 h 1 min");
    assert_eq!(words(25 * 60 + 1), "in 1 d 1 h");
}
