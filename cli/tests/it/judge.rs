//! `judge`: exit codes, the document and its schema, on recordings of real containers.

use serde_json::Value;

use crate::program::{Program, Ran, recorded};

const IMAGE: &str = "sha256:0bc56f850c3a38a79b97012e6d9e7ab63461c83ad765befbcd04850d2ac69218";

/// The recorded hardened container, as one would state it.
fn policy(more: &str) -> String {
    format!(
        "apiVersion: verger/v1
kind: Workload
metadata: {{ name: shop/web }}
spec:
  match: {{ container: {{ image: vg }} }}
  config:
    images: [ {IMAGE} ]
{more}"
    )
}

/// The recorded hardened container, with Docker's word, its image and the policy.
fn hardened(program: &Program, policy: &str, more: &[&str]) -> Ran {
    let policy = program.write("policy.yaml", policy);
    let (oci, inspect, image) = (
        recorded("hardened.config.json"),
        recorded("hardened.inspect.json"),
        recorded("image.inspect.json"),
    );
    let args = [
        "judge",
        "--policy",
        &policy,
        "--oci",
        &oci,
        "--inspect",
        &inspect,
        "--image",
        &image,
    ];
    program.run(&[&args[..], more].concat())
}

/// A draft that `bless` wrote for the hardened container.
fn blessed(program: &Program) -> String {
    let docker = crate::bless::docker(program, "hardened");
    crate::bless::bless(program, &docker, "it").ends(0).out
}

#[test]
fn what_is_missing_is_named_in_full_with_an_example() {
    let program = Program::new();
    let ran = program.run(&["judge"]).ends(2);
    for wanted in [
        "--policy <PATH>",
        "--oci <FILE>",
        "--inspect <FILE>",
        "Example: verger judge --policy shop.yaml --oci config.json",
    ] {
        assert!(ran.err.contains(wanted), "{wanted}: {}", ran.err);
    }
    for (args, wanted) in [
        (
            &["judge", "--policy", "p.yaml"][..],
            "<--oci <FILE>|--inspect <FILE>>",
        ),
        (&["apply"], "Example: verger apply -f shop.yaml"),
        (&["token", "create"], "Example: verger token create --agent web-1"),
        (&["instances", "shop"], "--host <HOST>"),
    ] {
        let ran = program.run(args).ends(2);
        assert!(
            ran.err.contains(wanted) && ran.err.contains("Example: "),
            "{args:?}: {}",
            ran.err
        );
    }
    // Of other mistakes clap says enough.
    assert!(
        !program
            .run(&["judge", "--polcy", "x"])
            .ends(2)
            .err
            .contains("Example")
    );
}

fn of<'a>(document: &'a Value, rule: &str) -> Vec<&'a Value> {
    document["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["rule"] == rule)
        .collect()
}

fn assert_fits_the_schema(document: &Value) {
    let schema = include_str!("../../schemas/judgement.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let faults: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}\n{document:#}");
    let mut strange = document.clone();
    strange["checks"][0]["result"] = "fine".into();
    assert!(!validator.is_valid(&strange), "the schema lets anything through");
}

#[test]
fn clean_ends_with_zero_and_says_so() {
    let program = Program::new();
    let draft = blessed(&program);
    let ran = hardened(&program, &draft, &[]).ends(0);
    assert!(
        ran.out.contains("held to shop/web; ") && ran.out.contains("0 fail"),
        "{}",
        ran.out
    );
    let document = hardened(&program, &draft, &["-o", "json"]).ends(0).json();
    assert_eq!(
        (&document["workload"], &document["claim"]),
        (&"shop/web".into(), &"entitled".into())
    );
    assert_fits_the_schema(&document);
}

#[test]
fn a_violation_ends_with_one_and_names_field_expected_and_actual() {
    let program = Program::new();
    let draft = blessed(&program).replace("fast", "slow");
    let ran = hardened(&program, &draft, &["-o", "json"]).ends(1);
    let document = ran.json();
    assert_fits_the_schema(&document);
    let failing: Vec<&Value> = document["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["result"] == "fail")
        .collect();
    let [only] = failing.as_slice() else {
        panic!("{failing:#?}")
    };
    assert_eq!(
        (&only["rule"], &only["control"]),
        (&"config/env".into(), &"config".into())
    );
    assert!(only["field"].as_str().unwrap().contains("MODE"), "{only}");
    assert_eq!(only["decidedBy"]["name"], "shop/web");
    let table = hardened(&program, &draft, &[]).ends(1).out;
    assert!(
        table.contains("config/env") && !table.contains(" pass  "),
        "{table}"
    );
}

#[test]
fn not_evaluated_ends_with_three() {
    let program = Program::new();
    let draft = blessed(&program);
    assert!(draft.contains("workingDir: /data"), "{draft}");
    let draft = draft.replace("workingDir: /data", "workingDir: any");
    let document = hardened(&program, &draft, &["-o", "json"]).ends(3).json();
    assert_fits_the_schema(&document);
    assert!(
        document["checks"]
            .as_array()
            .unwrap()
            .iter()
            .any(|check| check["result"] == "notEvaluated")
    );
}

#[test]
fn an_unknown_container_is_not_evaluated_unless_a_guardrail_speaks() {
    let program = Program::new();
    let other = policy("")
        .replace("image: vg", "image: other")
        .replace(IMAGE, &format!("sha256:{}", "a".repeat(64)));
    let document = hardened(&program, &other, &["-o", "json"]).ends(3).json();
    assert_eq!(
        (&document["claim"], &document["workload"]),
        (&"unknown".into(), &Value::Null)
    );
    assert_fits_the_schema(&document);
    let guarded = format!(
        "{other}---\napiVersion: verger/v1\nkind: Guardrail\nmetadata: {{ name: all }}\nspec: {{ profile: baseline, unknown: refuse }}\n"
    );
    hardened(&program, &guarded, &[]).ends(1);
}

#[test]
fn one_workload_can_be_asked_for() {
    let program = Program::new();
    let other = blessed(&program).replace("shop/web", "shop/other");
    let other = other
        .replace("image: vg", "image: never")
        .replace(IMAGE, &format!("sha256:{}", "a".repeat(64)));
    let document = hardened(&program, &other, &["--workload", "shop/other", "-o", "json"])
        .ends(1)
        .json();
    assert_eq!(
        (&document["claim"], &document["workload"]),
        (&"obliged".into(), &"shop/other".into())
    );
    assert_eq!(of(&document, "config/image")[0]["result"], "fail");

    let ran = hardened(&program, &other, &["--workload", "shop/none"]).ends(2);
    assert!(ran.err.contains("shop/none"), "{}", ran.err);
    let elsewhere = other.replace("spec:\n", "spec:\n  hosts: { zone: eu-1 }\n");
    let ran = hardened(&program, &elsewhere, &["--workload", "shop/other"]).ends(2);
    assert!(ran.err.contains("--host-label"), "{}", ran.err);
    let args = ["--workload", "shop/other", "--host-label", "zone=eu-1"];
    hardened(&program, &elsewhere, &args).ends(1);
}

#[test]
fn labels_given_on_the_command_line_claim() {
    let program = Program::new();
    let labelled = blessed(&program)
        .replace("image: vg", "labels: { app: web }")
        .replace(IMAGE, &format!("sha256:{}", "a".repeat(64)));
    let claim = |more: &[&str]| {
        hardened(&program, &labelled, &[more, &["-o", "json"]].concat()).json()["claim"].clone()
    };
    assert_eq!(claim(&[]), "unknown");
    assert_eq!(claim(&["--label", "app=web"]), "obliged");
}

#[test]
fn an_exception_lifts_a_violation_while_it_holds() {
    let program = Program::new();
    let draft = format!(
        "{}---
apiVersion: verger/v1
kind: Exception
metadata: {{ name: slow }}
spec:
  rules: [ config/env ]
  scope: {{ workload: shop/web }}
  owner: ann
  reason: measured
  ticket: T-1
  notBefore: 2026-01-01T00:00:00Z
  notAfter: 2026-02-01T00:00:00Z
",
        blessed(&program).replace("fast", "slow")
    );
    let document = hardened(&program, &draft, &["--at", "2026-01-15T00:00:00Z", "-o", "json"])
        .ends(0)
        .json();
    assert_fits_the_schema(&document);
    assert!(
        of(&document, "config/env")
            .iter()
            .any(|check| check["result"] == "excepted")
    );
    hardened(&program, &draft, &["--at", "2026-02-01T00:00:00Z"]).ends(1);
    let ran = hardened(&program, &draft, &["--at", "tomorrow"]).ends(2);
    assert!(ran.err.contains("RFC 3339"), "{}", ran.err);
}

#[test]
fn every_problem_of_every_file_is_said_at_once() {
    let program = Program::new();
    program.write(
        "policies/a.yaml",
        policy("    comand: [ /x ]\n    user: { uid: -1, gid: 0 }\n"),
    );
    program.write("policies/b.yml", policy("").replace(IMAGE, "busybox:latest"));
    program.write("policies/c.json", "{");
    program.write("policies/notes.txt", "not: [ read");
    let oci = recorded("hardened.config.json");
    let ran = program
        .run(&["judge", "--policy", "policies", "--oci", &oci])
        .ends(2);
    for wanted in [
        "policies/a.yaml:8:5: ",
        "command",
        "uid",
        "policies/b.yml:7:",
        "policies/c.json",
        "nothing was changed",
    ] {
        assert!(ran.err.contains(wanted), "{wanted}: {}", ran.err);
    }
    assert!(
        ran.out.is_empty() && !ran.err.contains("notes.txt"),
        "{}",
        ran.err
    );
}

#[test]
fn bad_documents_name_the_file_and_what_they_should_be() {
    let program = Program::new();
    let draft = program.write("policy.yaml", policy(""));
    let bad = program.write("bad.json", "[{}, {}]");
    let one: Value = serde_json::from_slice(&std::fs::read(recorded("plain.inspect.json")).unwrap()).unwrap();
    let one = if one.is_array() { one[0].clone() } else { one };
    let two = program.write("two.json", serde_json::json!([one, one]).to_string());
    let oci = recorded("hardened.config.json");
    for (args, wanted) in [
        (vec!["--oci", &bad], "bad.json: not an OCI runtime config.json"),
        (vec!["--inspect", &two], "give them one at a time"),
        (vec!["--oci", "missing.json"], "missing.json: cannot be read"),
        (
            vec!["--oci", &oci, "--image", "vg:1"],
            "a tag names no fixed image",
        ),
        (vec!["--oci", &oci, "--image", "sha256:12"], "64 lower-case hex"),
        (vec!["--oci", &oci, "--label", "x"], "KEY=VALUE"),
        (
            vec!["--oci", &oci, "--policy", "nowhere"],
            "nowhere: cannot be read",
        ),
    ] {
        let ran = program
            .run(&[&["judge", "--policy", &draft], args.as_slice()].concat())
            .ends(2);
        assert!(
            ran.out.is_empty() && ran.err.contains(wanted),
            "{wanted}: {}",
            ran.err
        );
    }
}

#[test]
fn one_object_in_two_files_is_refused() {
    let program = Program::new();
    program.write("p/a.yaml", policy(""));
    program.write("p/b.yaml", policy(""));
    let oci = recorded("hardened.config.json");
    let ran = program.run(&["judge", "--policy", "p", "--oci", &oci]).ends(2);
    assert!(
        ran.err.contains("p/b.yaml") && ran.err.contains("p/a.yaml too"),
        "{}",
        ran.err
    );
}

#[test]
fn names_from_containers_never_act_on_a_terminal() {
    let program = Program::new();
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\n\u{202e}<script>";
    let mut inspect: Value =
        serde_json::from_slice(&std::fs::read(recorded("plain.inspect.json")).unwrap()).unwrap();
    let container = if inspect.is_array() {
        &mut inspect[0]
    } else {
        &mut inspect
    };
    container["Name"] = format!("/{evil}").into();
    container["Path"] = evil.into();
    container["Config"]["Labels"] = serde_json::json!({ evil: "x".repeat(1 << 20) });
    container["Config"]["WorkingDir"] = evil.into();
    let env: Vec<String> = (0..10_000).map(|n| format!("A{n}{evil}={evil}")).collect();
    container["Config"]["Env"] = serde_json::json!(env);
    let inspect = program.write("evil.json", inspect.to_string());
    let draft = program.write("policy.yaml", policy(""));
    for format in ["table", "wide", "json", "jsonl", "yaml", "name"] {
        let args = [
            "judge",
            "--policy",
            &draft,
            "--inspect",
            &inspect,
            "--image",
            IMAGE,
            "-o",
            format,
        ];
        let ran = program.run(&args).ends(1);
        let raw = |text: &str| text.contains(['\u{1b}', '\u{7}', '\r', '\u{202e}']);
        assert!(!raw(&ran.out) && !raw(&ran.err), "{format}");
        assert!(ran.out.contains("config/command"), "{format}");
    }
}

#[test]
fn a_check_of_a_guardrail_is_judged_and_told_by_its_rule() {
    let program = Program::new();
    let workload = blessed(&program);
    let draft = |expression: &str| {
        format!(
            "{workload}---\napiVersion: verger/v1\nkind: Guardrail\nmetadata: {{ name: house }}\nspec: {{ checks: [ {{ id: own, expression: '{expression}', \
             message: it is not ours }} ] }}\n"
        )
    };
    let judged = |expression: &str, code: i32| {
        let document = hardened(&program, &draft(expression), &["-o", "json"])
            .ends(code)
            .json();
        assert_fits_the_schema(&document);
        of(&document, "guardrail/house/own")[0].clone()
    };
    assert_eq!(judged("user.uid != 0", 0)["result"], "pass");
    let failing = judged("user.uid == 0", 1);
    assert_eq!(
        (
            &failing["result"],
            &failing["expected"],
            &failing["decidedBy"]["kind"]
        ),
        (&"fail".into(), &"user.uid == 0".into(), &"Guardrail".into())
    );
    let ran = hardened(&program, &draft("user.udi == 0"), &[]).ends(2);
    assert!(
        ran.err.contains("spec.checks[0].expression") && ran.err.contains("did you mean `user.uid`?"),
        "{}",
        ran.err
    );
    let explained = program.run(&["explain", "Guardrail"]).ends(0).out;
    assert!(
        explained.contains("user.uid") && explained.contains("mounts[].target"),
        "{explained}"
    );
    let explained = program
        .run(&["explain", "Guardrail", "-o", "json"])
        .ends(0)
        .json();
    assert!(explained["seen"].as_array().unwrap().len() > 20, "{explained}");
    program.run(&["explain", "guardrail/house/own"]).ends(0);
}

#[test]
fn every_shipped_policy_is_valid() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/policies");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let objects =
            verger_policy::draft::read(path.to_str().unwrap(), &std::fs::read(&path).unwrap()).unwrap();
        read += objects.len();
    }
    assert!(read >= 5, "{read} objects");
}
