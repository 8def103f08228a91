//! Hints oblige, digests entitle.

use verger_policy::drift::{Claim, Outcome, claim};
use verger_policy::facts::Evidence;

use crate::judging::*;

fn name(text: &str) -> verger_policy::model::Name {
    text.parse().unwrap()
}

fn held(workload: &str, entitled: bool) -> Claim {
    Claim::Workload {
        name: name(workload),
        entitled,
    }
}

#[test]
fn claims_are_as_the_table_says() {
    let (a, b) = (format!("{{ images: [ {A} ] }}"), format!("{{ images: [ {B} ] }}"));
    let web = workload("web", "{ image: registry.example/web, labels: { app: web } }", &a);
    let same_digest = workload(
        "other",
        "{ image: registry.example/web, labels: { app: other } }",
        &a,
    );
    let by_label = workload("labelled", "{ labels: { tier: edge } }", &b);
    let policy = [web, same_digest, by_label].concat();
    let compiled = compiled(&policy);
    let digest = |text: &str| Evidence::Seen(text.parse().unwrap());
    let missing = || Evidence::missing("not known");
    let rows = [
        (
            "all hints and the digest",
            digest(A),
            "registry.example/web",
            vec![("app", "web")],
            held("web", true),
        ),
        (
            "the label tells workloads of one digest apart",
            digest(A),
            "registry.example/web",
            vec![("app", "other")],
            held("other", true),
        ),
        (
            "dropping the labels evades nothing",
            digest(A),
            "registry.example/web",
            vec![],
            Claim::Ambiguous(vec![name("other"), name("web")]),
        ),
        (
            "another name evades nothing",
            digest(B),
            "copy",
            vec![],
            held("labelled", true),
        ),
        (
            "hints alone oblige",
            digest("sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"),
            "registry.example/web",
            vec![("app", "web")],
            held("web", false),
        ),
        (
            "one hint of two is none",
            missing(),
            "registry.example/web",
            vec![("tier", "x")],
            Claim::Unknown,
        ),
        (
            "a digest wins over hints",
            digest(B),
            "registry.example/web",
            vec![("app", "web")],
            held("labelled", true),
        ),
        (
            "hints of two workloads are ambiguous",
            missing(),
            "registry.example/web",
            vec![("app", "web"), ("tier", "edge")],
            Claim::Ambiguous(vec![name("labelled"), name("web")]),
        ),
        ("nothing fits", missing(), "nginx", vec![], Claim::Unknown),
    ];
    for (what, image, image_name, labels, expected) in rows {
        let mut instance = blessed(&compiled);
        instance.image = image;
        instance.image_name = Some(image_name.to_owned());
        instance.labels.0 = labels
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        assert_eq!(claim(&compiled, &instance), expected, "{what}");
    }
}

#[test]
fn docker_hub_names_are_one_however_they_are_written() {
    let compiled = compiled(&workload(
        "box",
        "{ image: docker.io/library/busybox }",
        &format!("{{ images: [ {A} ] }}"),
    ));
    let mut instance = blessed(&compiled);
    instance.image = Evidence::Seen(B.parse().unwrap());
    for image in [
        "busybox",
        "library/busybox",
        "docker.io/library/busybox",
        "docker.io/busybox",
    ] {
        instance.image_name = Some(image.to_owned());
        assert_eq!(claim(&compiled, &instance), held("box", false), "{image}");
    }
}

#[test]
fn a_workload_of_another_host_claims_nothing() {
    let policy = workload("web", "{ image: web }", &format!("{{ images: [ {A} ] }}"))
        .replace("  config:", "  hosts: { zone: eu-1 }\n  config:");
    let objects = read(&policy);
    let here = |zone: &str| {
        let labels = verger_policy::model::Labels([("zone".to_owned(), zone.to_owned())].into());
        verger_policy::compile::compile(&objects, &labels, 1)
    };
    let instance = blessed(&here("eu-1"));
    assert_eq!(claim(&here("eu-1"), &instance), held("web", true));
    assert_eq!(claim(&here("us-1"), &instance), Claim::Unknown);
}

#[test]
fn ambiguous_instances_are_held_to_all_requirements() {
    let a = format!("{{ images: [ {A} ], command: [ /one ] }}");
    let b = format!("{{ images: [ {A} ], command: [ /two ] }}");
    let compiled = compiled(
        &[
            workload("a", "{ labels: { app: x } }", &a),
            workload("b", "{ labels: { app: x } }", &b),
        ]
        .concat(),
    );
    let judgement = judged(&compiled, &blessed(&compiled));
    assert_eq!(
        failing(&judgement),
        ["config/ambiguous match", "config/command command"]
    );
    let command = judgement
        .failing()
        .find(|check| check.field == "command")
        .unwrap();
    assert_eq!(command.decided_by.as_ref().unwrap().to_string(), "Workload/b");
}

#[test]
fn unknown_instances_are_reported_under_a_guardrail_and_unjudged_without() {
    let blessing = compiled(&workload(
        "web",
        "{ image: web }",
        &format!("{{ images: [ {A} ] }}"),
    ));
    let mut stranger = blessed(&blessing);
    stranger.image = Evidence::Seen(B.parse().unwrap());
    stranger.image_name = None;
    let judgement = judged(&blessing, &stranger);
    assert_eq!(
        result(&judgement, "config/unknown-instance", "match"),
        Some(Outcome::NotEvaluated)
    );

    let guarded = compiled(&guardrail("all", "{ profile: baseline }"));
    let judgement = judged(&guarded, &stranger);
    assert_eq!(failing(&judgement), ["config/unknown-instance match"]);
    assert_eq!(judgement.claim, Claim::Unknown);
    let check = judgement.failing().next().unwrap();
    assert_eq!(check.decided_by.as_ref().unwrap().to_string(), "Guardrail/all");
}

#[test]
fn an_unknown_image_digest_is_not_evaluated() {
    let compiled = compiled(&workload(
        "web",
        "{ image: web }",
        &format!("{{ images: [ {A} ] }}"),
    ));
    let mut instance = blessed(&compiled);
    instance.image = Evidence::missing("the runtime does not say");
    let judgement = judged(&compiled, &instance);
    assert_eq!(judgement.claim, held("web", false));
    assert_eq!(
        result(&judgement, "config/image", "images"),
        Some(Outcome::NotEvaluated)
    );
}
