//! People's own programs through the proxy print and end as they do at Docker itself, and each user has what the roles say.

use std::process::Command;

use verger_integration_tests::programs::Programs;
use verger_integration_tests::runtime_proxy::{self, Front};
use verger_integration_tests::scene::Docker;

fn front() -> Front {
    Front::found(&Programs::find().unwrap(), Docker::find().unwrap()).unwrap()
}

/// What a program prints and how it ends.
fn ends(mut command: Command) -> (bool, String) {
    let output = command.output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

const RUNNER: u32 = 10_001;

#[test]
fn nothing_of_the_runtime_is_to_be_had_while_the_agent_is_away_and_sessions_end() {
    let mut front = front();
    front.scene.agent.stop().unwrap();
    let mut command = front.cli(0);
    command.args(["ps"]);
    let (went, told) = ends(command);
    assert!(!went && told.contains("Cannot connect"), "{told:?}");
    front.scene.agent.start().unwrap();
    let mut command = front.cli(RUNNER);
    command.args(["inspect", "--format", "{{.Name}}", &front.web]);
    let (went, told) = ends(command);
    assert!(went, "{told}");
}

#[test]
fn no_request_that_a_looser_reader_would_let_through_does_its_harm() {
    let verdict = runtime_proxy::bypasses(false).unwrap();
    assert!(verdict.holds, "{}", verdict.figure);
}

#[test]
fn the_programs_that_people_have_print_and_end_as_at_docker_itself() {
    let verdict = runtime_proxy::clients(false).unwrap();
    assert!(verdict.holds, "{}", verdict.figure);
}

#[test]
fn each_user_does_to_each_container_what_the_roles_say() {
    let verdict = runtime_proxy::matrix(false).unwrap();
    assert!(verdict.holds, "{}", verdict.figure);
}
