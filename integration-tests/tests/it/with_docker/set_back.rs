//! Disks that were set back to what they were: a controller restored from a copy, an agent's host restored from one.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use verger_agent_core::store::SpoolStore as _;
use verger_integration_tests::programs::Programs;
use verger_integration_tests::scene::{Docker, PATIENCE, Scene, checked};

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
    // When this one has come the agent knows that the one before has, and keeps it no more: what it still kept it would send again, and
    // nothing would contradict.
    drift(&scene, &docker, "set-back-controller", "AFTER_IT");
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

/// The number that the next transition of this host gets, while its agent does not run.
fn next_number(scene: &Scene) -> u64 {
    let folder = scene.path("agent").join("store");
    let (_, spool) = verger_agent_store::open(&folder, &Default::default()).unwrap();
    spool.usage().unwrap().next_sequence
}

/// Lets the agent run alone until it has numbered more than `number` transitions.
fn run_alone_beyond(scene: &mut Scene, number: u64) {
    let mark = scene.path("agent").join("store/spool.watermark");
    let began = Instant::now();
    while next_number(scene) <= number {
        assert!(began.elapsed() < PATIENCE * 3, "{}", scene.agent.log_tail());
        let before = std::fs::read(&mark).unwrap();
        scene.agent.start().unwrap();
        let mut changed = || Ok((std::fs::read(&mark)? != before).then_some(()));
        scene.wait_for("a round of findings", &mut changed).unwrap();
        scene.agent.stop().unwrap();
    }
}

#[test]
fn an_agent_set_back_that_made_as_many_findings_again_is_told_by_the_chain_and_verified_afterwards() {
    let docker = Docker::find().unwrap();
    let mut scene = scene(&docker, "set-back-chain");
    let (data, old) = (scene.path("agent"), scene.path("agent.copy"));
    scene.agent.stop().unwrap();
    copy(&data, &old);
    scene.agent.start().unwrap();
    drift(&scene, &docker, "set-back-chain", "SECOND");
    scene.findings_arrived().unwrap();
    verified(&scene);
    scene.agent.stop().unwrap();
    let held = next_number(&scene);
    scene.controller.stop().unwrap();
    copy(&old, &data);
    // Other findings under the same numbers, and more of them than the controller holds.
    let env: Vec<String> = (0..12).map(|number| format!("OTHER_{number}=1")).collect();
    let mut arguments: Vec<&str> = env.iter().flat_map(|env| ["--env", env.as_str()]).collect();
    arguments.push("verger-test/app");
    docker
        .run(&docker.name("set-back-chain-other"), &arguments)
        .unwrap();
    run_alone_beyond(&mut scene, held);
    scene.controller.start().unwrap();
    scene.agent.start().unwrap();
    scene
        .wait_for("the contradiction", || {
            is_open(&scene, |finding| {
                finding["rule"] == CONTRADICTED && finding["actual"] == "others are under these numbers"
            })
        })
        .unwrap();
    for variable in ["FIRST", "SECOND", "OTHER_0", "OTHER_11"] {
        scene
            .wait_for(variable, || is_open(&scene, of_env(variable)))
            .unwrap();
    }
    verified(&scene);
}

/// What the controller shows is what the agent signed: soon, for it may be telling.
fn verified(scene: &Scene) {
    let verify = || {
        let rows = scene.rows(&["findings", "verify"])?;
        let row = rows.first().filter(|row| row["result"] == "verified").cloned();
        Ok(row)
    };
    let row = scene.wait_for("what is signed", verify).unwrap();
    assert_eq!(row["keyKnownBy"], "audit");
    assert!(row["open"].as_u64() > Some(0), "{row}");
}
