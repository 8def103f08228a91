//! What is verified of a real cluster that does not lie: it passes, whoever comes, waits and goes.

use verger_integration_tests::programs::Programs;
use verger_integration_tests::scene::{Scene, checked};

use crate::enrolment::{again, configure};

/// With the code that `findings verify` ends with, what it says.
fn verify(scene: &Scene) -> (Option<i32>, String) {
    let output = scene.verger().args(["findings", "verify"]).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// Until all is verified: members sign with each new set, and agents within a minute. Meanwhile there are doubts, and nothing more.
#[track_caller]
fn verified(scene: &Scene, epoch: u64) {
    let policy = format!(
        "apiVersion: verger/v1\nkind: Host\nmetadata: {{ name: h{epoch} }}\nspec: {{ agent: h{epoch} }}\n"
    );
    scene.apply(&policy).unwrap();
    let seen = || match verify(scene) {
        (Some(0), _) => Ok(Some(())),
        (Some(3), _) => Ok(None),
        (_, said) => panic!("{said}"),
    };
    if let Err(error) = scene.wait_for("what is signed", seen) {
        panic!("{error}\n{}", verify(scene).1);
    }
}

#[test]
fn a_cluster_that_tells_the_truth_is_verified_as_hosts_come_wait_and_go() {
    let mut scene = Scene::without_agent(&Programs::find().unwrap(), "").unwrap();
    let kept = scene.say(&["audit", "head"]).unwrap();
    checked(&mut scene.join("db-1", &[], "agent.toml").unwrap()).unwrap();
    scene.agent.start().unwrap();
    verified(&scene, 1);

    // It waits, and is no host; let in, it is one that has signed nothing; shut out, it is still to be shown.
    let config = configure(&scene, "web", 'a');
    let join = scene.join("web-1", &["--approval"], &config).unwrap();
    let waiting = again(&join, "0").output().unwrap();
    let said = String::from_utf8(waiting.stdout).unwrap();
    verified(&scene, 2);
    let key = said.lines().find(|line| line.trim().starts_with("sha256:"));
    let key = key.unwrap().trim();
    scene.say(&["hosts", "web-1", "--approve", "--key", key]).unwrap();
    for decision in [&[][..], &["--evict", "--reason", "stolen"]] {
        if !decision.is_empty() {
            scene.say(&[&["hosts", "web-1"], decision].concat()).unwrap();
        }
        let (code, said) = verify(&scene);
        assert!(
            code == Some(3) && said.contains("web-1: its agent has signed nothing yet"),
            "{said}"
        );
    }
    scene.say(&["hosts", "web-1", "--remove"]).unwrap();
    verified(&scene, 3);

    let verify = scene.say(&["audit", "verify", "--head", kept.trim()]).unwrap();
    assert!(verify.contains("The head you kept is of these rows"), "{verify}");
}
