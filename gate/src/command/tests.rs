#![allow(clippy::unwrap_used)]

use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn judged(line: &str) -> Judged {
    match read(&words(line)) {
        Ok(Command::Judged(judged)) => judged,
        other => panic!("{line}: {other:?}"),
    }
}

fn refused(line: &str) -> String {
    read(&words(line)).expect_err(line).to_string()
}

#[test]
fn the_calls_of_shims_are_read() {
    // As containerd's shim and conmon make them.
    let create = judged(
        "--root /run/docker/runtime-runc/moby --log /run/b/log.json --log-format json create --bundle /run/b --pid-file /run/b/init.pid ab12",
    );
    assert_eq!(create.operation, Operation::Create);
    assert_eq!(create.id, "ab12");
    assert_eq!(create.bundle.as_deref(), Some(Path::new("/run/b")));
    let crun = judged(
        "--systemd-cgroup --root=/run/crun create --bundle=/b --pid-file /b/pid --console-socket /b/s --preserve-fds 0 ab12",
    );
    assert_eq!(crun.bundle.as_deref(), Some(Path::new("/b")));
    // As conmon calls them for Podman.
    for line in [
        "create --bundle /b --pid-file /p/pidfile ab12",
        "--log-format=json --log /b/oci-log create --bundle /b --pid-file /p/pidfile --no-subreaper ab12",
    ] {
        let made = judged(line);
        assert_eq!(
            (made.operation, made.bundle.as_deref()),
            (Operation::Create, Some(Path::new("/b")))
        );
    }
    let run = judged("exec --pid-file /b/x/exec_pid --process /b/x/exec-process-7 --detach ab12");
    assert_eq!(run.process.as_deref(), Some(Path::new("/b/x/exec-process-7")));
    let exec =
        judged("--root /r exec --process /tmp/p --console-socket /tmp/s --detach --pid-file /tmp/pid ab12");
    assert_eq!(exec.process.as_deref(), Some(Path::new("/tmp/p")));
    assert_eq!(exec.pid_file.as_deref(), Some(Path::new("/tmp/pid")));
    assert_eq!(judged("--root /r start ab12").operation, Operation::Start);
    assert_eq!(
        judged("restore -d --image-path /i -b /b ab12").operation,
        Operation::Restore
    );
    assert_eq!(judged("run ab12").bundle, None);
}

#[test]
fn what_gives_a_container_more_than_is_judged_is_refused() {
    for (line, flag) in [
        ("create --bundle /b --preserve-fds 1 ab12", "--preserve-fds"),
        ("run --preserve-fds=00 ab12", "--preserve-fds"),
        ("exec --process /p --preserve-fds 3 ab12", "--preserve-fds"),
        ("create --bundle /b --no-pivot ab12", "--no-pivot"),
        ("run --no-pivot ab12", "--no-pivot"),
        ("restore --no-pivot ab12", "--no-pivot"),
    ] {
        let why = refused(line);
        assert!(why.contains(flag) && why.contains("not judged"), "{line}: {why}");
    }
}

#[test]
fn what_ends_or_shows_a_container_passes() {
    for line in [
        "",
        "--version",
        "-v",
        "--root /r kill --all ab12 9",
        "--root /r --log /l --log-format json delete --force ab12",
        "--root /r state ab12",
        "pause ab12",
        "resume ab12",
        "ps --format json ab12",
        "events --stats ab12",
        "features",
        "update --resources - ab12",
        // However they are written.
        "-root /r kill ab12 9",
        "--root /a --root /b delete ab12",
        "--debug=true --new-flag x state ab12",
    ] {
        assert_eq!(read(&words(line)).unwrap(), Command::Passed, "{line}");
    }
}

#[test]
fn what_is_not_known_is_refused() {
    for line in [
        "--preload create ab12",
        "--root",
        "--debug=false create ab12",
        "--root /a --root /b create ab12",
        // What might be run under a flag that is not known.
        "--new-flag kill create ab12",
        "--new-flag mounts kill ab12",
        "--new-flag spec delete",
        "-root kill run ab12",
        // What runc and crun read as two things.
        "-root /r create ab12",
        "-root=/r create ab12",
        "create -bundle=/b ab12",
        "create -bundle /b ab12",
        "create -b=/b ab12",
        "create -b/b ab12",
        "create --b /b ab12",
        "run -dk ab12",
        "create - ab12",
        "create --rootfs /x ab12",
        "create --bundle /a -b /b ab12",
        "create --bundle",
        "create",
        "create ab12 cd34",
        "create ../ab12",
        "create ..",
        "create --config /etc/other.json ab12",
        "start --bundle /b ab12",
        "exec --process /p --cap CAP_SYS_ADMIN ab12",
        "exec ab12 sh",
        "exec --tty ab12",
        "spec",
        "mount",
        "/bin/sh",
    ] {
        let text = refused(line);
        assert!(!text.is_empty() && !text.contains('\n'), "{line}: {text}");
    }
    assert!(refused("exec ab12").contains("--process"));
    assert!(refused("--preload create ab12").contains("\"--preload\""));
    assert!(refused("create -b /a --bundle /b x").contains("--bundle is given twice"));
}

#[test]
fn a_value_that_looks_like_a_command_is_a_value() {
    assert_eq!(judged("--root kill create ab12").operation, Operation::Create);
    assert_eq!(
        judged("--log state --root=kill run ab12").operation,
        Operation::Run
    );
}

#[test]
fn the_log_is_found_before_what_is_refused() {
    let found = log(&words("--root /r --log=/l --log-format json --odd create x"));
    assert_eq!(found.file.as_deref(), Some(Path::new("/l")));
    assert!(found.json);
    assert_eq!(log(&words("create --log /l")), Log::default());
}

#[test]
fn another_command_to_the_same_runtime_has_its_flags_and_not_its_log() {
    let line =
        words("--root=/r --log /l --log-format json --systemd-cgroup --cgroup-manager cgroupfs start ab12");
    let expected = words("--cgroup-manager cgroupfs --root /r --systemd-cgroup");
    assert_eq!(globals(&line).unwrap(), expected);
    assert_eq!(globals(&words("--new-flag start ab12")), None);
}
