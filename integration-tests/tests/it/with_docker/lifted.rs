//! A guardrail's own check, and the exceptions that lift it or nothing, on a container that runs.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use verger_integration_tests::programs::Programs;
use verger_integration_tests::scene::{Docker, Scene};

const RULE: &str = "guardrail/lifted/house/limited";

fn exception(name: &str, rule: &str) -> String {
    let end = (Timestamp::now() + SignedDuration::from_hours(48)).strftime("%Y-%m-%dT%H:%M:%SZ");
    format!(
        "---\napiVersion: verger/v1\nkind: Exception\nmetadata: {{ name: {name} }}\nspec: {{ rules: [ {rule} ], scope: {{ workload: lifted/web }}, \
         owner: ann, reason: until it is measured, ticket: T-1, notAfter: {end} }}\n"
    )
}

/// What `verger exceptions` says, and how it ends.
fn said(scene: &Scene, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut command = scene.verger();
    command
        .arg("exceptions")
        .args(arguments)
        .args(["--output", "json"]);
    let output = command.output().unwrap();
    let rows = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), rows)
}

#[test]
fn a_check_finds_what_it_forbids_an_exception_lifts_it_and_what_lifts_nothing_is_told() {
    let docker = Docker::find().unwrap();
    let mut scene = Scene::found(&Programs::find().unwrap(), &docker).unwrap();
    let (greedy, modest) = (docker.name("lifted-greedy"), docker.name("lifted-modest"));
    docker
        .run(&greedy, &["--memory", "512m", "verger-test/app"])
        .unwrap();
    docker
        .run(&modest, &["--memory", "64m", "verger-test/app"])
        .unwrap();
    let draft = scene.bless(&docker, &greedy, "lifted/web").unwrap();
    scene.apply(&draft).unwrap();
    scene
        .judged(&greedy, |row| row["workloads"][0] == "lifted/web")
        .unwrap();
    let finding = |state: &str| -> anyhow::Result<Option<Value>> {
        let found = scene.rows(&["findings", "list"])?;
        Ok(found
            .into_iter()
            .find(|found| found["rule"] == RULE && found["state"] == state))
    };
    assert!(finding("open").unwrap().is_none());

    let guardrail = "apiVersion: verger/v1\nkind: Guardrail\nmetadata: { name: lifted/house }\nspec: { checks: [ { id: limited, expression: \
                     limits.memory <= 100 * 1024 * 1024, message: one container can take the memory of all } ] }\n";
    scene.apply(guardrail).unwrap();
    let open = scene.wait_for("the finding", || finding("open")).unwrap();
    assert_eq!(
        (&open["field"], &open["actual"], &open["decidedBy"]),
        (
            &"limits.memory".into(),
            &"false".into(),
            &"Guardrail/lifted/house".into()
        )
    );
    // The one that has less holds it. Others on this daemon are of the image, too.
    assert!(!open["samples"].to_string().contains(&modest), "{open}");

    let drafts = [
        exception("lifted/idle", "config/seccomp"),
        exception("lifted/needed", RULE),
    ];
    scene.apply(&drafts.concat()).unwrap();
    scene
        .wait_for("the finding to be lifted", || finding("suppressed"))
        .unwrap();
    let unused = scene
        .wait_for("every instance to be judged anew", || {
            let (code, unused) = said(&scene, &["unused"]);
            let told = unused.iter().all(|row| row["use"]["usage"] == "unused");
            Ok((code == Some(1) && told && unused.len() == 1).then_some(unused))
        })
        .unwrap();
    assert_eq!(unused[0]["name"], "lifted/idle");
    let (code, listed) = said(&scene, &["list", "--workload", "lifted/web"]);
    assert_eq!((code, listed.len()), (Some(0), 2));
    assert_eq!(listed[1]["state"], "inForce");
    assert!(
        !listed[1]["sealedBy"].as_array().unwrap().is_empty(),
        "{listed:?}"
    );
    assert_eq!(said(&scene, &["expiring", "--within", "1d"]).0, Some(0));
    assert_eq!(said(&scene, &["expiring", "--within", "3d"]).0, Some(1));

    // While its host says nothing, nobody can say that nothing needs it.
    scene.agent.stop().unwrap();
    scene
        .wait_for("the host to be away", || {
            let (code, unused) = said(&scene, &["unused"]);
            Ok((code == Some(3) && unused[0]["use"]["usage"] == "unknown").then_some(()))
        })
        .unwrap();
    scene.agent.start().unwrap();
}
