//! What the agent does while others are away.

use std::os::unix::fs::symlink;

use serde_json::Value;
use verger_integration_tests::programs::Programs;
use verger_integration_tests::scene::{Docker, Scene};

fn scene(docker: &Docker) -> Scene {
    Scene::found(&Programs::find().unwrap(), docker).unwrap()
}

fn finding<'a>(findings: &'a [Value], field: &str) -> Option<&'a Value> {
    findings.iter().find(|finding| finding["field"] == field)
}

#[test]
fn an_agent_judges_while_the_controller_is_away_and_delivers_later() {
    let docker = Docker::find().unwrap();
    let mut scene = scene(&docker);
    let (blessed, drifted) = (docker.name("away-blessed"), docker.name("away-drifted"));
    docker.run(&blessed, &["verger-test/app"]).unwrap();
    scene
        .apply(&scene.bless(&docker, &blessed, "away/web").unwrap())
        .unwrap();
    scene
        .judged(&blessed, |row| row["workloads"][0] == "away/web")
        .unwrap();

    scene.controller.stop().unwrap();
    docker
        .run(&drifted, &["--env", "WHILE_AWAY=1", "verger-test/app"])
        .unwrap();
    // It judges by its ledger: also after a restart, with nobody to ask.
    scene.agent.kill().unwrap();
    scene.agent.start().unwrap();
    let back = jiff::Timestamp::now();
    scene.controller.start().unwrap();
    let found = scene
        .wait_for("the finding", || {
            Ok(finding(&scene.open_findings()?, "env[WHILE_AWAY]").cloned())
        })
        .unwrap();
    let first_seen: jiff::Timestamp = found["firstSeen"].as_str().unwrap().parse().unwrap();
    assert!(first_seen <= back + jiff::SignedDuration::from_secs(5), "{found}");
    assert_eq!(found["subject"], "workload/away/web");
}

#[test]
fn an_agent_that_starts_before_docker_says_so_and_looks_when_docker_is_there() {
    let docker = Docker::find().unwrap();
    let scene = scene(&docker);
    let name = docker.name("away-docker");
    docker.run(&name, &["verger-test/app"]).unwrap();
    scene.judged(&name, |_| true).unwrap();

    // Docker's socket is behind a link that is not there yet.
    let (mut scene, link) = (scene, docker.socket().to_owned());
    let socket = scene.path("docker.sock");
    let config = scene.path("agent.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace(link.to_str().unwrap(), socket.to_str().unwrap()),
    )
    .unwrap();
    scene.agent.stop().unwrap();
    scene.agent.start().unwrap();
    let blind = scene
        .wait_for("the host to be blind", || {
            Ok(finding(&scene.open_findings()?, "docker").cloned())
        })
        .unwrap();
    assert_eq!(blind["rule"], "host/unreadable-runtime", "{blind}");
    scene
        .wait_for("the host to be shown as blind", || {
            Ok((scene.rows(&["hosts"])?[0]["state"] == "blind").then_some(()))
        })
        .unwrap();

    symlink(&link, &socket).unwrap();
    scene
        .wait_for("the host to see again", || {
            let open = scene.open_findings()?;
            Ok(finding(&open, "docker").is_none().then_some(()))
        })
        .unwrap();
    scene.judged(&name, |_| true).unwrap();
}
