//! Hostile files: refused with a clear error, in bounded time and memory.

use verger_policy::draft::{
    self, InvalidObject, MAX_BYTES, MAX_NODES, MAX_OBJECT_BYTES, MAX_PROBLEMS, Problem,
};
use verger_policy::model::PolicyObject;

fn problems(text: &[u8]) -> Vec<Problem> {
    draft::read("p.yaml", text).unwrap_err()
}

#[track_caller]
fn one(text: &str) -> String {
    let found = problems(text.as_bytes());
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].to_string()
}

#[test]
fn alias_bombs_are_refused_at_the_budget_of_values() {
    let mut bomb = String::from("a0: &a0 [ x, x, x, x, x, x, x, x, x ]\n");
    for level in 1..30 {
        let before = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [ {} ]\n", [before.as_str(); 9].join(", "));
    }
    let found = problems(bomb.as_bytes());
    assert!(
        found[0]
            .message
            .contains(&format!("more than {MAX_NODES} values")),
        "{found:?}"
    );
    assert!(
        found[0].line < 10,
        "the sixth level is beyond the budget: {found:?}"
    );
}

#[test]
fn alias_bombs_of_bytes_are_refused_too() {
    let big = "x".repeat(1 << 19);
    let text = format!("a: &a \"{big}\"\nb: [ {} ]\n", "*a, ".repeat(200));
    let found = problems(text.as_bytes());
    assert!(
        found[0].message.contains(&format!("{MAX_BYTES} bytes of text")),
        "{found:?}"
    );
}

#[test]
fn aliases_do_not_go_round_the_limit_of_depth() {
    let mut text = String::from("a0: &a0 x\n");
    for level in 1..1000 {
        text += &format!("a{level}: &a{level} [ *a{} ]\n", level - 1);
    }
    let found = problems(text.as_bytes());
    assert!(found[0].message.contains("nest deeper than 64"), "{found:?}");
    assert_eq!(found[0].line, 65);
}

#[test]
fn an_alias_inside_its_own_anchor_is_refused() {
    assert_eq!(
        one("&a [ *a ]\n"),
        "p.yaml:1:6: an alias stands inside the value it refers to; write the value out"
    );
}

#[test]
fn aliases_within_the_budget_work() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let text = format!(
        "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: web, labels: &l {{ app: x }} }}\nspec:\n  match: {{ container: {{ labels: *l }} }}\n  config: {{ images: [ \"{digest}\" ] }}\n"
    );
    let object = draft::read("p.yaml", text.as_bytes()).unwrap().remove(0);
    let verger_policy::model::Spec::Workload(workload) = object.spec else {
        unreachable!()
    };
    assert_eq!(workload.hint.labels, object.metadata.labels);
}

#[test]
fn ten_thousand_levels_are_refused() {
    for text in [
        "[".repeat(10_000),
        "{a: ".repeat(10_000),
        "- ".repeat(10_000),
        "? ".repeat(10_000),
    ] {
        let found = problems(text.as_bytes());
        assert_eq!(found.len(), 1, "{}", &text[..4]);
        assert!(found[0].message.contains("nest deeper than 64"), "{:?}", found[0]);
        let mut json = b"verger/v1/object\0".to_vec();
        json.extend(text.as_bytes());
        assert_eq!(PolicyObject::from_canonical(&json), Err(InvalidObject::NotJson));
    }
}

#[test]
fn duplicate_keys_are_refused_with_both_lines() {
    assert!(
        problems(b"kind: Host\nspec: {}\nkind: Host\n")
            .iter()
            .any(|problem| problem.to_string()
                == "p.yaml:3:1: the key `kind` is there twice, before on line 1; keep one of the two")
    );
    assert!(
        problems(b"\"a\": 1\na: 2\n")
            .iter()
            .any(|problem| problem.message.contains("twice"))
    );
}

#[test]
fn tags_merge_keys_and_keys_that_are_not_text_are_refused() {
    for (text, message) in [
        ("!x a: b\n", "the tag `!x` does not fit here"),
        (
            "a: !!binary aGk=\n",
            "the tag `tag:yaml.org,2002:binary` does not fit here",
        ),
        (
            "a: !!int x\n",
            "the tag `tag:yaml.org,2002:int` does not fit here",
        ),
        (
            "a: !!set { x }\n",
            "the tag `tag:yaml.org,2002:set` does not fit here",
        ),
        (
            "a: &x { b: c }\nd: { <<: *x }\n",
            "merge keys (`<<`) are not part of YAML 1.2",
        ),
        ("1: a\n", "a key is not text"),
        ("null: a\n", "a key is not text"),
        (
            "yes: a\n",
            "the key `yes` is a word that other YAML readers take for true or false",
        ),
        ("[ a ]: b\n", "a key is a list or a map"),
    ] {
        let found = problems(text.as_bytes());
        assert!(
            found.iter().any(|problem| problem.message == message),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn text_that_is_not_utf8_is_located() {
    let found = problems(b"a: b\n\xc3\xa4: \xff\n");
    assert_eq!((found[0].line, found[0].column), (2, 4));
    assert_eq!(found[0].message, "is not UTF-8");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_fine() {
    let text =
        "\u{feff}apiVersion: verger/v1\r\nkind: Host\r\nmetadata: { name: h }\r\nspec: { agent: h }\r\n";
    assert_eq!(draft::read("p.yaml", text.as_bytes()).unwrap().len(), 1);
}

#[test]
fn hostile_names_are_shown_escaped_and_cut() {
    let shown = one(&format!(
        "apiVersion: verger/v1\nkind: Host\nmetadata: {{ name: h }}\nspec: {{ agent: h, \"\\e[2J\\r\u{202e}{}\": 1 }}\n",
        "x".repeat(100_000)
    ));
    assert!(shown.len() < 500, "{}", shown.len());
    assert!(shown.contains("\\u{1b}[2J\\u{d}\\u{202e}xxx"), "{shown}");
    assert!(shown.chars().all(verger_policy::model::is_printable));
}

#[test]
fn a_million_unknown_fields_are_counted_not_listed() {
    let text: String = (0..200_000).map(|n| format!("f{n}: a\n")).collect();
    let found = problems(text.as_bytes());
    assert_eq!(found.len(), MAX_PROBLEMS + 1);
    let last = found.last().unwrap();
    // Of the fields, less those shown, and the three that are missing.
    assert_eq!(
        last.message,
        format!("{} more problems are not shown", 200_000 + 3 - MAX_PROBLEMS),
        "{last:?}"
    );
}

#[test]
fn problems_of_many_documents_are_counted_not_listed() {
    let found = problems("--- a\n".repeat(50_000).as_bytes());
    assert_eq!(found.len(), MAX_PROBLEMS + 1);
    assert_eq!(found.last().unwrap().message, "49000 more problems are not shown");
}

#[test]
fn more_bytes_than_the_limit_are_refused_unread() {
    let found = problems(&vec![b' '; MAX_BYTES + 1]);
    assert_eq!(found.len(), 1);
    assert!(found[0].message.contains("the limit is 67108864"), "{found:?}");
}

#[test]
fn endless_flow_collections_are_refused_before_they_are_held() {
    for (unit, open) in [
        (",", "["),
        ("a,", "["),
        ("? ", "["),
        ("[],", "["),
        ("a: b,", "{"),
        ("&a ", "["),
    ] {
        let text = format!("{open}{}", unit.repeat(MAX_BYTES / 8 / unit.len()));
        let found = problems(text.as_bytes());
        assert!(
            found[0].message.contains("of more than 1048576 bytes"),
            "{unit}: {found:?}"
        );
    }
}

#[test]
fn more_values_than_the_budget_are_refused() {
    let text = "- a\n".repeat(MAX_NODES + 1);
    let found = problems(text.as_bytes());
    assert!(found[0].message.contains("more than 1000000 values"), "{found:?}");
    assert_eq!(found[0].line as usize, MAX_NODES);
}

#[test]
fn an_object_beyond_its_own_limit_is_refused() {
    let text = format!(
        "apiVersion: verger/v1\nkind: Workload\nmetadata: {{ name: web }}\nspec:\n  config:\n    images: [ \"sha256:{}\" ]\n    command:\n{}",
        "a".repeat(64),
        format!("      - {}\n", "x".repeat(MAX_OBJECT_BYTES / 4)).repeat(4)
    );
    assert!(one(&text).contains("canonical bytes; the limit is 1048576"));
    assert_eq!(
        PolicyObject::from_canonical(&vec![b'x'; MAX_OBJECT_BYTES + 1]),
        Err(InvalidObject::TooLarge(MAX_OBJECT_BYTES + 1))
    );
}

#[test]
fn only_the_canonical_spelling_of_an_object_is_accepted_as_bytes() {
    let good = br#"{"apiVersion":"verger/v1","kind":"Host","metadata":{"name":"h"},"spec":{"agent":"h"}}"#;
    let read = |json: &[u8]| PolicyObject::from_canonical(&[b"verger/v1/object\0", json].concat());
    assert!(read(good).is_ok());
    assert_eq!(PolicyObject::from_canonical(good), Err(InvalidObject::Prefix));
    let text = std::str::from_utf8(good).unwrap();
    for other in [
        text.replace(":{", ": {"),
        format!("{text} "),
        text.replace("\"h\"}}", "\"\\u0068\"}}"),
        text.replace("\"spec\":{", "\"spec\":{\"labels\":{},"),
        text.replace("{\"name\":\"h\"}", "{\"name\":\"g\",\"name\":\"h\"}"),
        text.replace(
            "{\"name\":\"h\"}",
            "{\"annotations\":{\"a\":\"b\"},\"name\":\"h\"}",
        ),
    ] {
        assert_eq!(
            read(other.as_bytes()),
            Err(InvalidObject::NotCanonical),
            "{other}"
        );
    }
    let unknown = read(text.replace("\"agent\"", "\"agend\"").as_bytes()).unwrap_err();
    assert!(unknown.to_string().contains("did you mean `agent`?"), "{unknown}");
    assert!(matches!(read(b"{}"), Err(InvalidObject::Problems(_))));
}

#[test]
fn a_key_that_a_json_library_keeps_for_itself_is_a_key_like_others() {
    let text = r#"{ apiVersion: verger/v1, kind: Host, metadata: { name: h }, spec: { agent: h, labels: { "$serde_json::private::RawValue": "{\"zone\":\"eu\"}" } } }"#;
    let object = draft::read("h.yaml", text.as_bytes()).unwrap().remove(0);
    assert_eq!(
        PolicyObject::from_canonical(&object.canonical_bytes()),
        Ok(object.clone())
    );
    assert_eq!(
        draft::read("w.yaml", draft::write(&object).as_bytes()),
        Ok(vec![object])
    );
}
