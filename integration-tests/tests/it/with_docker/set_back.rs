//! Disks that were set back to what they were: a controller restored from a copy, an agent's host restored from one.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use verger_integration_tests::programs::Programs;
use verger_integration_tests::scene::{Docker, Scene, checked};

const CONTRADICTED: &str = "host/findings-contradicted";

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    checked(Command::new("cp").arg("-a").arg(from).arg(to)).unwrap();
}

fn is_open(scene: &Scene, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Option<()>> {
    Ok(scene.open_findings()?.iter().any(wanted).then_some(()))
}

fn of_env(variable: &str) -> impl Fn(&Value) -> bool {
    let field = format!("env[{variable}]");
    move |finding| finding["field"] == field.as_str()
}

/// A cluster with a blessed container and the finding of a first drift.
fn scene(docker: &Docker, name: &str) -> Scene {
    let scene = Scene::found(&Programs::find().unwrap(), docker).unwrap();
    let blessed = docker.name(&format!("{name}-blessed"));
    docker.run(&blessed, &["verger-test/app"]).unwrap();
    scene
        .apply(&scene.bless(docker, &blessed, "set/back").unwrap())
        .unwrap();
    drift(&scene, docker, name, "FIRST");
    scene.findings_arrived().unwrap();
    scene
}

fn drift(scene: &Scene, docker: &Docker, name: &str, variable: &str) {
    let drifted = docker.name(&format!("{name}-{}", variable.to_lowercase()));
    let env = format!("{variable}=1");
    docker.run(&drifted, &["--env", &env, "verger-test/app"]).unwrap();
    scene
        .wait_for(variable, || is_open(scene, of_env(variable)))
        .unwrap();
}

#[test]
fn a_controller_restored_from_a_copy_is_told_everything_anew() {
    let docker = Docker::find().unwrap();
    let mut scene = scene(&docker, "set-back-controller");
    let (data, old) = (scene.path("controller"), scene.path("controller.copy"));
    scene.controller.stop().unwrap();
    copy(&data, &old);
    scene.controller.start().unwrap();
    drift(&scene, &docker, "set-back-controller", "SECOND");
    scene.findings_arrived().unwrap();
    scene.controller.kill().unwrap();
    copy(&old, &data);
    scene.controller.start().unwrap();
    scene
        .wait_for("what it had lost", || is_open(&scene, of_env("SECOND")))
        .unwrap();
    scene
        .wait_for("the contradiction", || {
            is_open(&scene, |finding| finding["rule"] == CONTRADICTED)
        })
        .unwrap();
    assert!(is_open(&scene, of_env("FIRST")).unwrap().is_some());
    // And the stream goes on.
    drift(&scene, &docker, "set-back-controller", "THIRD");
}

#[test]
fn an_agent_restored_from_a_copy_tells_everything_anew() {
    let docker = Docker::find().unwrap();
    let mut scene = scene(&docker, "set-back-agent");
    let (data, old) = (scene.path("agent"), scene.path("agent.copy"));
    scene.agent.stop().unwrap();
    copy(&data, &old);
    scene.agent.start().unwrap();
    for variable in ["SECOND", "THIRD", "FOURTH"] {
        drift(&scene, &docker, "set-back-agent", variable);
    }
    scene.findings_arrived().unwrap();
    scene.agent.kill().unwrap();
    copy(&old, &data);
    scene.agent.start().unwrap();
    drift(&scene, &docker, "set-back-agent", "FIFTH");
    scene
        .wait_for("the contradiction", || {
            is_open(&scene, |finding| finding["rule"] == CONTRADICTED)
        })
        .unwrap();
    for variable in ["FIRST", "SECOND", "THIRD", "FOURTH"] {
        scene
            .wait_for(variable, || is_open(&scene, of_env(variable)))
            .unwrap();
    }
}
