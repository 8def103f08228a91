//! What Podman's CLI says and does, at the service itself and through the proxy: the same words, the same codes.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::Count;
use super::front::{ADMIN, BUILDER, Front, WEB, told};

use crate::point::tell;
use crate::runtime_proxy::{STRANGER, VIEWER};

/// One command, what it is fed, and how it has to end.
struct Case {
    name: &'static str,
    words: &'static [&'static str],
    input: &'static str,
    code: i32,
    /// What it says, where that is known.
    says: &'static str,
    /// In a terminal.
    terminal: bool,
    /// What has to be done before, past the proxy.
    before: &'static [&'static str],
}

const fn case(name: &'static str, words: &'static [&'static str], code: i32, says: &'static str) -> Case {
    Case {
        name,
        words,
        input: "",
        code,
        says,
        terminal: false,
        before: &[],
    }
}

const CASES: &[Case] = &[
    case(
        "run",
        &["run", "--rm", "--network", "none", WEB, "/bin/echo", "hello"],
        0,
        "hello",
    ),
    case(
        "run-that-fails",
        &[
            "run",
            "--rm",
            "--network",
            "none",
            WEB,
            "/bin/sh",
            "-c",
            "echo bad >&2; exit 3",
        ],
        3,
        "bad",
    ),
    case(
        "run-of-nothing",
        &["run", "--rm", "--network", "none", WEB, "/bin/nothing"],
        127,
        "",
    ),
    Case {
        input: "fed\n",
        ..case(
            "run-fed",
            &["run", "--rm", "-i", "--network", "none", WEB, "/bin/cat"],
            0,
            "fed",
        )
    },
    Case {
        terminal: true,
        ..case(
            "run-in-a-terminal",
            &[
                "run",
                "--rm",
                "-it",
                "--network",
                "none",
                WEB,
                "/bin/sh",
                "-c",
                "test -t 0 && echo a terminal",
            ],
            0,
            "a terminal",
        )
    },
    case("exec", &["exec", "web", "/bin/echo", "there"], 0, "there"),
    case(
        "exec-that-fails",
        &["exec", "web", "/bin/sh", "-c", "exit 5"],
        5,
        "",
    ),
    Case {
        input: "fed\n",
        ..case("exec-fed", &["exec", "-i", "web", "/bin/cat"], 0, "fed")
    },
    Case {
        terminal: true,
        ..case(
            "exec-in-a-terminal",
            &[
                "exec",
                "-it",
                "web",
                "/bin/sh",
                "-c",
                "test -t 0 && echo a terminal",
            ],
            0,
            "a terminal",
        )
    },
    case(
        "inspect",
        &["inspect", "--format", "{{.Name}} {{.State.Status}}", "web"],
        0,
        "web running",
    ),
    case(
        "inspect-of-nothing",
        &["container", "inspect", "nothing"],
        125,
        "",
    ),
    case("ps", &["ps", "--format", "{{.Names}} {{.Image}}"], 0, "web"),
    case("top", &["top", "web", "comm"], 0, "sleep"),
    case("logs", &["logs", "talks"], 0, "third"),
    case("logs-to-the-end", &["logs", "--follow", "talks"], 0, "third"),
    case("diff", &["container", "diff", "web"], 0, ""),
    case("images", &["images", "--format", "{{.Repository}}"], 0, WEB),
    case("image-exists", &["image", "exists", WEB], 0, ""),
    case(
        "image-exists-not",
        &["image", "exists", "localhost/nothing"],
        1,
        "",
    ),
    case("history", &["history", "--quiet", "--no-trunc", WEB], 0, ""),
    case("tree", &["image", "tree", WEB], 0, "Tags:"),
    case("tag", &["tag", WEB, "localhost/verger-test/tagged"], 0, ""),
    Case {
        before: &["tag", WEB, "localhost/verger-test/tagged"],
        ..case(
            "untag",
            &[
                "untag",
                "localhost/verger-test/tagged",
                "localhost/verger-test/tagged",
            ],
            0,
            "",
        )
    },
    Case {
        before: &["network", "rm", "--force", "verger-net"],
        ..case("network", &["network", "create", "verger-net"], 0, "verger-net")
    },
    Case {
        before: &["network", "create", "verger-net"],
        ..case("network-away", &["network", "rm", "verger-net"], 0, "verger-net")
    },
    Case {
        before: &["volume", "rm", "--force", "verger-vol"],
        ..case("volume", &["volume", "create", "verger-vol"], 0, "verger-vol")
    },
    Case {
        before: &["volume", "create", "verger-vol"],
        ..case("volume-away", &["volume", "rm", "verger-vol"], 0, "verger-vol")
    },
    case("stop-of-nothing", &["stop", "nothing"], 125, ""),
    case(
        "version",
        &["version", "--format", "{{.Server.Version}}"],
        0,
        "4.3.1",
    ),
];

/// Runs them.
pub(super) fn run(front: &Front) -> Result<Count> {
    let mut count = Count::default();
    front.say(&[
        "run",
        "--name",
        "talks",
        "--network",
        "none",
        WEB,
        "/bin/sh",
        "-c",
        "echo first; echo second >&2; echo third",
    ])?;
    for case in CASES {
        let prepare = || -> Result<()> {
            if !case.before.is_empty() {
                // It may be so already.
                front.real()?.args(case.before).output()?;
            }
            Ok(())
        };
        prepare()?;
        let past = said(front.real()?, 0, case)?;
        prepare()?;
        let through = said(front.cli(ADMIN)?, ADMIN, case)?;
        let fits = past.status.code() == Some(case.code)
            && told(&past).contains(case.says)
            && past.status == through.status
            && lines(&past) == lines(&through);
        count.add(fits);
        if !fits {
            tell(&format!(
                "{}: past it {}: {}\nthrough it {}: {}",
                case.name,
                past.status,
                told(&past),
                through.status,
                told(&through)
            ));
        }
        // The proxy is in the way of it.
        let stopped = said(front.cli(STRANGER)?, STRANGER, case)?;
        // The CLI says nothing of why something does not exist for it; and that nothing has a name is told to whoever names it.
        let is_silent = case.words.contains(&"exists") || case.words.contains(&"nothing");
        let right = !stopped.status.success()
            && (is_silent || told(&stopped).contains(&format!("verger: local/{STRANGER} may not ")));
        count.add(right);
        if !right {
            tell(&format!("{}: nobody was stopped: {}", case.name, told(&stopped)));
        }
    }
    copies(front, &mut count)?;
    builds(front, &mut count)?;
    dockers(front, &mut count)?;
    Ok(count)
}

/// What was said, line by line: some lists come in any order.
fn lines(output: &Output) -> Vec<String> {
    // Each run has a container of its own.
    let is_id = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let line = |line: &str| -> String {
        let words = line.split(' ').map(|word| if is_id(word) { "ID" } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    let mut lines: Vec<String> = told(output).lines().map(line).collect();
    lines.sort_unstable();
    lines
}

fn said(mut command: Command, uid: u32, case: &Case) -> Result<Output> {
    command.args(case.words);
    if case.terminal {
        command = in_a_terminal(&command, uid);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {:?}", command.get_program()))?;
    let mut stdin = child.stdin.take().context("its input is piped")?;
    // Who was refused reads none of it.
    let _ = stdin.write_all(case.input.as_bytes());
    // A terminal whose other side has ended is told so by a character, which another terminal may show.
    let held = case.terminal.then_some(stdin);
    let output = child.wait_with_output()?;
    drop(held);
    Ok(output)
}

/// The same command under script(1), as a user.
fn in_a_terminal(command: &Command, uid: u32) -> Command {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let mut script = Command::new("script");
    script.uid(uid).gid(uid);
    script.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => script.env(key, value),
            None => script.env_remove(key),
        };
    }
    script
}

/// Files in and out are the same bytes.
fn copies(front: &Front, count: &mut Count) -> Result<()> {
    let file = front.scene.path("copied-in");
    let bytes: Vec<u8> = (0_u32..200_000).flat_map(u32::to_le_bytes).collect();
    fs::write(&file, &bytes)?;
    let (from, to) = (file.display().to_string(), "web:/tmp/verger-copied");
    let output = front.cli(ADMIN)?.args(["cp", &from, to]).output()?;
    ensure!(output.status.success(), "{}", told(&output));
    let tar = front.cli(ADMIN)?.args(["cp", to, "-"]).output()?;
    let within = tar
        .stdout
        .windows(bytes.len())
        .any(|window| window == bytes.as_slice());
    count.add(tar.status.success() && within);
    front.say(&["exec", "web", "/bin/busybox", "rm", "/tmp/verger-copied"])?;
    Ok(())
}

/// A build, and what it made.
fn builds(front: &Front, count: &mut Count) -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::write(
        folder.path().join("Dockerfile"),
        format!("FROM {WEB}\nCOPY word /word\nRUN /bin/cat /word\n"),
    )?;
    fs::write(folder.path().join("word"), "built-by-verger\n")?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let image = "localhost/verger-test/built";
    let words = ["build", "--no-cache", "--tag", image];
    let output = front.cli(ADMIN)?.args(words).arg(folder.path()).output()?;
    let built = told(&output);
    let ran = front
        .cli(ADMIN)?
        .args(["run", "--rm", "--network", "none", image, "/bin/cat", "/word"])
        .output()?;
    let right =
        output.status.success() && built.contains("built-by-verger") && told(&ran) == "built-by-verger\n";
    count.add(right);
    if !right {
        tell(&format!("build: {built}\nrun: {}", told(&ran)));
    }
    // What a build of Podman's is of says what of the host it has: to build is not enough.
    let output = front
        .cli(BUILDER)?
        .args(["build", "--no-cache"])
        .arg(folder.path())
        .output()?;
    let stopped = !output.status.success() && told(&output).contains("may not administer runtime");
    count.add(stopped);
    if !stopped {
        tell(&format!("who may build: {}", told(&output)));
    }
    Ok(())
}

/// Docker's CLI finds Podman at the same socket.
fn dockers(front: &Front, count: &mut Count) -> Result<()> {
    for (words, says) in [
        (vec!["ps", "--format", "{{.Names}}"], "web"),
        (vec!["exec", "web", "/bin/echo", "by-docker"], "by-docker"),
        (vec!["inspect", "--format", "{{.State.Status}}", "web"], "running"),
        (
            vec!["run", "--rm", "--network", "none", WEB, "/bin/echo", "by-docker"],
            "by-docker",
        ),
    ] {
        let output = front.docker(ADMIN)?.args(&words).output()?;
        let right = output.status.success() && told(&output).contains(says);
        count.add(right);
        if !right {
            tell(&format!("docker {words:?}: {}", told(&output)));
        }
    }
    let output = front
        .docker(VIEWER)?
        .args(["exec", "web", "/bin/true"])
        .output()?;
    let stopped = told(&output).contains("verger: local/10002 may not exec container web");
    count.add(stopped);
    if !stopped {
        tell(&format!("docker exec: {}", told(&output)));
    }
    Ok(())
}
