//! Docker's own CLI through the proxy prints and ends as it does at Docker itself, and each user has what the roles say.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use verger_integration_tests::programs::Programs;
use verger_integration_tests::runtime_proxy::{self, Front};
use verger_integration_tests::scene::Docker;

fn front() -> Front {
    Front::found(&Programs::find().unwrap(), Docker::find().unwrap()).unwrap()
}

/// What a program prints and how it ends.
fn ends(mut command: Command, input: &str) -> (i32, String, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who ends early does not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().unwrap();
    (
        status.code().unwrap_or(-1),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// The same through the proxy as at Docker itself.
#[track_caller]
fn alike(front: &Front, uid: u32, arguments: &[&str], input: &str) -> (i32, String, String) {
    let with = |mut command: Command| {
        command.args(arguments);
        ends(command, input)
    };
    let (proxied, real) = (with(front.cli(uid)), with(front.real()));
    assert_eq!(proxied, real, "{arguments:?}");
    proxied
}

const RUNNER: u32 = 10_001;

#[test]
fn the_cli_prints_and_ends_as_at_docker_itself() {
    let front = front();
    let web = front.web.as_str();
    // Standard output, error and the code, each by itself.
    let told = alike(
        &front,
        RUNNER,
        &["exec", web, "sh", "-c", "echo out; echo err >&2; exit 7"],
        "",
    );
    assert_eq!(told, (7, "out\n".to_owned(), "err\n".to_owned()));
    // That the input has ended is passed on, and all of it comes.
    let long = "0123456789\n".repeat(50_000);
    let told = alike(&front, RUNNER, &["exec", "--interactive", web, "wc", "-c"], &long);
    assert_eq!((told.0, told.1.trim()), (0, "550000"));
    let told = alike(&front, RUNNER, &["exec", "--interactive", web, "cat"], &long);
    assert!(told.1 == long);
    assert_eq!(
        alike(&front, RUNNER, &["exec", web, "no-such-program"], "").0,
        126
    );
    let told = alike(
        &front,
        0,
        &["run", "--rm", "verger-test/app", "echo ran; exit 3"],
        "",
    );
    assert_eq!((told.0, told.1.as_str()), (3, "ran\n"));
    let told = alike(
        &front,
        RUNNER,
        &["run", "--rm", "--interactive", "verger-test/app", "cat; exit 4"],
        "typed\n",
    );
    assert_eq!((told.0, told.1.as_str()), (4, "typed\n"));
    alike(&front, 0, &["inspect", "no-such-container"], "");
    alike(&front, 0, &["version", "--format", "{{.Server.APIVersion}}"], "");
    alike(&front, 0, &["image", "ls", "--quiet", "verger-test/app"], "");
    alike(
        &front,
        0,
        &["network", "inspect", "bridge", "--format", "{{.Name}}"],
        "",
    );
}

#[test]
fn a_terminal_has_its_size_and_what_is_typed_comes_back() {
    let front = front();
    let line = |host: String| {
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--log-out", "/dev/null", "--command"]);
        // The size is told once the process runs: until then the terminal has none.
        command.arg(format!(
            "stty rows 33 cols 77; {host} exec -it {} sh -c 'read x; echo got-$x; n=0; until size=$(stty size 2>/dev/null); test -n \"$size\"; do n=$((n+1)); test $n -lt 100 || exit 9; sleep 0.1; done; echo $size; exit 5'",
            front.web
        ));
        command
    };
    let docker = |socket: &std::path::Path| format!("docker --host unix://{}", socket.display());
    let user = format!(
        "setpriv --reuid {RUNNER} --regid {RUNNER} --clear-groups env HOME=/nonexistent {}",
        docker(&front.socket())
    );
    let through = ends(line(user), "typed\n");
    let real = ends(line(docker(front.docker.socket())), "typed\n");
    assert_eq!(through.0, 5, "{through:?}");
    assert!(through.1.contains("got-typed"), "{through:?}");
    assert!(through.1.contains("33 77"), "{through:?}");
    assert_eq!(through.0, real.0);
}

#[test]
fn what_is_followed_comes_as_it_is_said() {
    let front = front();
    let name = front.docker.name("speaks");
    front
        .docker
        .run(
            &name,
            &[
                "verger-test/app",
                "echo first; until test -e /tmp/go; do sleep 0.1; done; echo second",
            ],
        )
        .unwrap();
    let mut follow = front
        .cli(RUNNER)
        .args(["logs", "--follow", &name])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "first");
    // It comes before the container ends: it has not been told to go on.
    front.say(&["exec", &name, "touch", "/tmp/go"]).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "second");
    assert!(lines.next().is_none());
    assert!(follow.wait().unwrap().success());
    assert_eq!(alike(&front, RUNNER, &["logs", &name], "").1, "first\nsecond\n");
}

#[test]
fn files_go_in_and_out_whole() {
    let front = front();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (there, back) = (folder.path().join("there"), folder.path().join("back"));
    let content: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number * 7 % 251) as u8)
        .collect();
    fs::write(&there, &content).unwrap();
    let copy = |from: &str, to: &str| {
        let mut command = front.cli(RUNNER);
        command.args(["cp", from, to]);
        let told = ends(command, "");
        assert_eq!(told.0, 0, "{told:?}");
    };
    let inside = format!("{}:/tmp/there", front.web);
    copy(there.to_str().unwrap(), &inside);
    copy(&inside, back.to_str().unwrap());
    assert!(fs::read(&back).unwrap() == content);
    // To a container that is none of his, neither.
    let foreign = format!("{}:/tmp/there", front.other);
    for pair in [
        [there.to_str().unwrap(), &foreign],
        [&foreign, back.to_str().unwrap()],
    ] {
        let mut command = front.cli(RUNNER);
        command.arg("cp").args(pair);
        let told = ends(command, "");
        assert!(
            told.0 != 0 && told.2.contains("verger: local/10001 may not copy-"),
            "{told:?}"
        );
    }
}

#[test]
fn an_image_is_built_and_only_by_who_may() {
    let front = front();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let large = "x".repeat(2 << 20);
    fs::write(folder.path().join("large"), &large).unwrap();
    fs::write(
        folder.path().join("Dockerfile"),
        "FROM verger-test/busybox\nCOPY large /large\nRUN wc -c < /large\n",
    )
    .unwrap();
    let image = front.docker.name("image");
    let build = |uid| {
        let mut command = front.cli(uid);
        command
            .args(["build", "--no-cache", "--tag", &image])
            .arg(folder.path());
        ends(command, "")
    };
    let told = build(0);
    assert!(told.0 == 0 && told.1.contains("2097152"), "{told:?}");
    front.say(&["rmi", &image]).unwrap();
    let told = build(RUNNER);
    assert!(
        told.0 != 0 && told.2.contains("verger: local/10001 may not build images"),
        "{told:?}"
    );
}

#[test]
fn nothing_of_the_runtime_is_to_be_had_while_the_agent_is_away_and_sessions_end() {
    let mut front = front();
    front.scene.agent.stop().unwrap();
    let mut command = front.cli(0);
    command.args(["ps"]);
    let told = ends(command, "");
    assert!(told.0 != 0 && told.2.contains("Cannot connect"), "{told:?}");
    front.scene.agent.start().unwrap();
    let mut command = front.cli(RUNNER);
    command.args(["inspect", "--format", "{{.Name}}", &front.web]);
    assert_eq!(ends(command, "").0, 0);
}

#[test]
fn no_request_that_a_looser_reader_would_let_through_does_its_harm() {
    let verdict = runtime_proxy::bypasses(false).unwrap();
    assert!(verdict.holds, "{}", verdict.figure);
}

#[test]
fn each_user_does_to_each_container_what_the_roles_say() {
    let verdict = runtime_proxy::matrix(false).unwrap();
    assert!(verdict.holds, "{}", verdict.figure);
}
