//! Requests that got past looser readers of Docker's API: each does its harm at Docker itself, none of it through the proxy, and what
//! it was made of passes.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Front;
use super::front::{RUNNER, told};
use super::reused;
use crate::point::{Verdict, tell};
use crate::programs::Programs;
use crate::scene::Docker;

pub(super) const IMAGE: &str = "verger-test/app";

/// A path, and the body for it.
type Twin = (&'static str, fn() -> String);

/// One request that makes a container.
struct Create {
    name: &'static str,
    path: &'static str,
    body: fn() -> String,
    /// What Docker shows of the container that came of it, and what that is once the harm is done.
    shows: (&'static str, &'static str),
    /// The same without harm, if that is no request like every other.
    twin: Option<Twin>,
}

pub(super) const PATH: &str = "/v1.41/containers/create";
const PRIVILEGED: (&str, &str) = ("{{.HostConfig.Privileged}}", "true");

pub(super) fn with(host: &str) -> String {
    format!(r#"{{"Image":"{IMAGE}","HostConfig":{host}}}"#)
}

const fn create(name: &'static str, body: fn() -> String, shows: (&'static str, &'static str)) -> Create {
    Create {
        name,
        path: PATH,
        body,
        shows,
        twin: None,
    }
}

const CREATES: &[Create] = &[
    create("plain", || with(r#"{"Privileged":true}"#), PRIVILEGED),
    create(
        "lower-case",
        || format!(r#"{{"image":"{IMAGE}","hostconfig":{{"privileged":true}}}}"#),
        PRIVILEGED,
    ),
    create(
        "mixed-case",
        || format!(r#"{{"Image":"{IMAGE}","HostConfig":{{"pRivileged":true}}}}"#),
        PRIVILEGED,
    ),
    create(
        "twice",
        || {
            format!(
                r#"{{"Image":"{IMAGE}","HostConfig":{{"Privileged":true}},"HostConfig":{{"CapAdd":["SYS_ADMIN"]}}}}"#
            )
        },
        PRIVILEGED,
    ),
    create(
        "twice-in-two-cases",
        || format!(r#"{{"Image":"{IMAGE}","HostConfig":{{}},"hostConfig":{{"Privileged":true}}}}"#),
        PRIVILEGED,
    ),
    create(
        "long-s",
        || format!("{{\"Image\":\"{IMAGE}\",\"Ho\u{17f}tConfig\":{{\"Privileged\":true}}}}"),
        PRIVILEGED,
    ),
    create(
        "long-s-escaped",
        || format!(r#"{{"Image":"{IMAGE}","Ho\u017ftConfig":{{"Privileged":true}}}}"#),
        PRIVILEGED,
    ),
    create(
        "sign-of-kelvin",
        || with("{\"Networ\u{212a}Mode\":\"host\"}"),
        ("{{.HostConfig.NetworkMode}}", "host"),
    ),
    create(
        "of-the-whole",
        || format!(r#"{{"Image":"{IMAGE}","Privileged":true}}"#),
        PRIVILEGED,
    ),
    Create {
        path: "/v1.41/%63ontainers/create",
        twin: Some((PATH, || with("{}"))),
        ..create("escaped-path", || with(r#"{"Privileged":true}"#), PRIVILEGED)
    },
    Create {
        path: "/containers/create",
        twin: Some(("/containers/create", || with("{}"))),
        ..create("no-version", || with(r#"{"Privileged":true}"#), PRIVILEGED)
    },
    Create {
        twin: Some((PATH, || {
            format!(
                r#"{{"Image":"{IMAGE}","Labels":{{"pad":"{}"}}}}"#,
                "x".repeat(500_000)
            )
        })),
        ..create(
            "over-a-mebibyte",
            || {
                format!(
                    r#"{{"Image":"{IMAGE}","Labels":{{"pad":"{}"}},"HostConfig":{{"Privileged":true}}}}"#,
                    "x".repeat(1_100_000)
                )
            },
            PRIVILEGED,
        )
    },
    Create {
        twin: Some((PATH, || with(r#"{"CapAdd":"CHOWN"}"#))),
        ..create(
            "capability-as-a-text",
            || with(r#"{"CapAdd":"SYS_ADMIN"}"#),
            ("{{.HostConfig.CapAdd}}", "[SYS_ADMIN]"),
        )
    },
    Create {
        twin: Some((PATH, || with(r#"{"Tmpfs":{"/host":""}}"#))),
        ..create(
            "bind",
            || with(r#"{"Binds":["/etc:/host"]}"#),
            ("{{.HostConfig.Binds}}", "[/etc:/host]"),
        )
    },
    create(
        "bind-as-a-mount",
        || with(r#"{"Mounts":[{"Type":"bind","Source":"/etc","Target":"/host"}]}"#),
        ("{{(index .HostConfig.Mounts 0).Source}}", "/etc"),
    ),
    Create {
        twin: Some((PATH, || {
            with(r#"{"Mounts":[{"Type":"volume","Target":"/host"}]}"#)
        })),
        ..create(
            "bind-as-a-volume",
            || {
                with(
                    r#"{"Mounts":[{"Type":"volume","Target":"/host","VolumeOptions":{"DriverConfig":{"Name":"local","Options":{"type":"none","o":"bind","device":"/etc"}}}}]}"#,
                )
            },
            (
                "{{(index .HostConfig.Mounts 0).VolumeOptions.DriverConfig.Options.device}}",
                "/etc",
            ),
        )
    },
    create(
        "host-network",
        || with(r#"{"NetworkMode":"host"}"#),
        ("{{.HostConfig.NetworkMode}}", "host"),
    ),
    create(
        "host-pid",
        || with(r#"{"PidMode":"host"}"#),
        ("{{.HostConfig.PidMode}}", "host"),
    ),
    create(
        "seccomp",
        || with(r#"{"SecurityOpt":["seccomp=unconfined"]}"#),
        ("{{.HostConfig.SecurityOpt}}", "[seccomp=unconfined]"),
    ),
    create(
        "unmasked",
        || with(r#"{"MaskedPaths":[],"ReadonlyPaths":[]}"#),
        ("{{len .HostConfig.MaskedPaths}}", "0"),
    ),
    create(
        "device",
        || {
            with(
                r#"{"Devices":[{"PathOnHost":"/dev/null","PathInContainer":"/dev/x","CgroupPermissions":"rwm"}]}"#,
            )
        },
        ("{{len .HostConfig.Devices}}", "1"),
    ),
    Create {
        twin: Some((PATH, || with(r#"{"Runtime":"runc"}"#))),
        ..create(
            "other-runtime",
            || with(r#"{"Runtime":"io.containerd.runc.v2"}"#),
            ("{{.HostConfig.Runtime}}", "io.containerd.runc.v2"),
        )
    },
];

/// How a body is sent.
pub(super) fn post(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn chunked(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    )
    .into_bytes()
}

pub(super) fn is_made(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 201")
}

fn is_refused(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 4") && answer.contains(r#"{"message":"verger: "#)
}

/// What came of them.
#[derive(Default)]
pub(super) struct Tally {
    tried: usize,
    /// At Docker itself the harm was done.
    works: usize,
    /// Through the proxy it was refused in Verger's words, and not done.
    refused: usize,
    /// The same without harm passed.
    twins: usize,
}

impl Tally {
    pub(super) fn count(&mut self, name: &str, works: bool, refused: bool, twin: bool, told: &str) {
        self.tried += 1;
        self.works += usize::from(works);
        self.refused += usize::from(refused);
        self.twins += usize::from(twin);
        if !(works && refused && twin) {
            tell(&format!(
                "{name}: works at Docker {works}, is refused {refused}, its twin passes {twin}: {told}"
            ));
        }
    }
}

/// Runs it. There is no longer form: it is whole.
///
/// # Errors
/// When the scene does not work.
pub fn run(_long: bool) -> Result<Verdict> {
    let programs = Programs::find()?;
    let front = Front::found(&programs, Docker::find()?)?;
    let mut tally = Tally::default();
    for bypass in CREATES {
        made(&front, bypass, post, &mut tally)?;
    }
    for bypass in CREATES.iter().take(3) {
        made(&front, bypass, chunked, &mut tally)?;
    }
    old_start(&front, &mut tally)?;
    second_of_a_connection(&front, &mut tally)?;
    two_lengths(&front, &mut tally)?;
    execs(&front, &mut tally)?;
    others(&front, &mut tally)?;
    form(&front, &mut tally)?;
    volume(&front, &mut tally)?;
    within_a_container(&front, &mut tally)?;
    reused::number(&front, &mut tally)?;
    unknown_to_the_table(&front, &mut tally)?;
    let Tally {
        tried,
        works,
        refused,
        twins,
    } = tally;
    Ok(Verdict {
        figure: format!(
            "{tried} ways past a looser reader: {works} do their harm at Docker itself, {refused} are refused in Verger's words and did none, {twins} pass without the harm"
        ),
        holds: tried == works && tried == refused && tried == twins,
    })
}

fn made(front: &Front, bypass: &Create, send: fn(&str, &str) -> Vec<u8>, tally: &mut Tally) -> Result<()> {
    let name = front.docker.name(bypass.name);
    let named = |path: &str| format!("{path}?name={name}");
    let body = (bypass.body)();
    let answer = front.raw(0, front.docker.socket(), &send(&named(bypass.path), &body))?;
    let (shows, harm) = bypass.shows;
    let works = is_made(&answer) && front.say(&["inspect", "--format", shows, &name])? == harm;
    forget(front, &name)?;
    let answer = front.raw(RUNNER, &front.socket(), &send(&named(bypass.path), &body))?;
    let refused = is_refused(&answer) && !front.is_there(&name)?;
    forget(front, &name)?;
    let (path, body) = match bypass.twin {
        Some((path, body)) => (path, body()),
        None => (PATH, with("{}")),
    };
    let twin = front.raw(RUNNER, &front.socket(), &send(&named(path), &body))?;
    let passes = is_made(&twin) && front.is_there(&name)?;
    forget(front, &name)?;
    let cut = |text: &str| text.chars().take(600).collect::<String>();
    tally.count(
        bypass.name,
        works,
        refused,
        passes,
        &format!("{}; its twin: {}", cut(&answer), cut(&twin)),
    );
    Ok(())
}

pub(super) fn forget(front: &Front, name: &str) -> Result<()> {
    if front.is_there(name)? {
        front.say(&["rm", "--force", "--volumes", name])?;
    }
    Ok(())
}

/// Before 1.24 a start said anew what the container is.
fn old_start(front: &Front, tally: &mut Tally) -> Result<()> {
    let name = front.docker.name("old-start");
    let body = r#"{"Binds":["/etc:/host"]}"#;
    let mut both = Vec::new();
    for (uid, socket) in [(0, front.docker.socket()), (RUNNER, &front.socket())] {
        front.say(&["create", "--name", &name, IMAGE])?;
        let answer = front.raw(
            uid,
            socket,
            &post(&format!("/v1.23/containers/{name}/start"), body),
        )?;
        let binds = front.say(&["inspect", "--format", "{{.HostConfig.Binds}}", &name])?;
        both.push((answer, binds == "[/etc:/host]"));
        if uid == RUNNER {
            let twin = front.raw(uid, socket, &post(&format!("/v1.41/containers/{name}/start"), ""))?;
            both.push((twin, false));
        }
        forget(front, &name)?;
    }
    let [(_, works), (told, harmed), (twin, _)] = &both[..] else {
        anyhow::bail!("three answers")
    };
    let twin = twin.starts_with("HTTP/1.1 204");
    tally.count("old-start", *works, is_refused(told) && !harmed, twin, told);
    Ok(())
}

/// The first request of a connection is harmless.
fn second_of_a_connection(front: &Front, tally: &mut Tally) -> Result<()> {
    let name = front.docker.name("second");
    let both = |host: &str| {
        let mut bytes = b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n".to_vec();
        bytes.extend(post(&format!("{PATH}?name={name}"), &with(host)));
        bytes
    };
    let answer = front.raw(0, front.docker.socket(), &both(r#"{"Privileged":true}"#))?;
    let works = answer.contains("HTTP/1.1 201") && front.is_there(&name)?;
    forget(front, &name)?;
    let answer = front.raw(RUNNER, &front.socket(), &both(r#"{"Privileged":true}"#))?;
    let refused = answer.starts_with("HTTP/1.1 200")
        && answer.contains("may not reach-host")
        && !front.is_there(&name)?;
    let twin = front.raw(RUNNER, &front.socket(), &both("{}"))?;
    let passes = twin.contains("HTTP/1.1 201") && front.is_there(&name)?;
    forget(front, &name)?;
    tally.count("second-of-a-connection", works, refused, passes, &answer);
    Ok(())
}

/// A length and chunks: a reader that goes by the other takes what follows for part of the body.
fn two_lengths(front: &Front, tally: &mut Tally) -> Result<()> {
    let name = front.docker.name("smuggled");
    let hidden = |host: &str| {
        let inner = post(&format!("{PATH}?name={name}"), &with(host));
        let mut bytes = format!(
            "POST /v1.41/containers/{}/wait HTTP/1.1\r\nHost: docker\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            front.docker.name("none"),
            5 + inner.len()
        )
        .into_bytes();
        bytes.extend(inner);
        bytes
    };
    // Docker goes by the chunks: what follows is a request to it.
    let answer = front.raw(0, front.docker.socket(), &hidden(r#"{"Privileged":true}"#))?;
    let works = answer.contains("HTTP/1.1 201") && front.is_there(&name)?;
    forget(front, &name)?;
    let answer = front.raw(RUNNER, &front.socket(), &hidden(r#"{"Privileged":true}"#))?;
    let refused = answer.contains("verger: ") && !front.is_there(&name)?;
    let twin = front.raw(
        RUNNER,
        &front.socket(),
        &post(&format!("{PATH}?name={name}"), &with("{}")),
    )?;
    let passes = is_made(&twin);
    forget(front, &name)?;
    tally.count("two-lengths", works, refused, passes, &answer);
    Ok(())
}

fn exec_id(answer: &str) -> Result<String> {
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
    let body: Value = serde_json::from_str(body.trim()).with_context(|| answer.to_owned())?;
    Ok(body["Id"].as_str().context("an exec has an id")?.to_owned())
}

/// An exec's own path names no container; and one may be privileged.
fn execs(front: &Front, tally: &mut Tally) -> Result<()> {
    let exec = |container: &str, more: &str| {
        post(
            &format!("/v1.41/containers/{container}/exec"),
            &format!(r#"{{"Cmd":["true"],"AttachStdout":true{more}}}"#),
        )
    };
    let start = |id: &str| post(&format!("/v1.41/exec/{id}/start"), r#"{"Detach":true}"#);
    let real = front.docker.socket();
    // Made past the proxy in a container that this user may do nothing to.
    let foreign = exec_id(&front.raw(0, real, &exec(&front.other, ""))?)?;
    let answer = front.raw(RUNNER, &front.socket(), &start(&foreign))?;
    let works = front.raw(0, real, &start(&foreign))?.starts_with("HTTP/1.1 200");
    let own = exec_id(&front.raw(RUNNER, &front.socket(), &exec(&front.web, ""))?)?;
    let passes = front
        .raw(RUNNER, &front.socket(), &start(&own))?
        .starts_with("HTTP/1.1 200");
    tally.count("foreign-exec", works, is_refused(&answer), passes, &answer);

    // Made by root through the proxy: another may not start it in his own name.
    let roots = exec_id(&front.raw(0, &front.socket(), &exec(&front.other, ""))?)?;
    let answer = front.raw(RUNNER, &front.socket(), &start(&roots))?;
    let works = front
        .raw(0, &front.socket(), &start(&roots))?
        .starts_with("HTTP/1.1 200");
    tally.count("roots-exec", works, is_refused(&answer), passes, &answer);

    for (name, more) in [
        ("privileged-exec", r#","Privileged":true"#),
        ("privileged-exec-folded", r#","privileged":true"#),
        (
            "privileged-exec-twice",
            r#","Privileged":false,"Privileged":true"#,
        ),
    ] {
        let id = exec_id(&front.raw(0, real, &exec(&front.web, more))?)?;
        let shown = front.raw(
            0,
            real,
            format!("GET /v1.41/exec/{id}/json HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )?;
        let works = shown.contains(r#""privileged":true"#);
        let answer = front.raw(RUNNER, &front.socket(), &exec(&front.web, more))?;
        tally.count(name, works, is_refused(&answer), passes, &answer);
    }
    Ok(())
}

/// What joins another container, which this user may do nothing to.
fn others(front: &Front, tally: &mut Tally) -> Result<()> {
    let name = front.docker.name("joins");
    let path = format!("{PATH}?name={name}");
    for (what, host) in [
        ("other-network", r#"{"NetworkMode":"container:OTHER"}"#),
        ("other-pid", r#"{"PidMode":"container:OTHER"}"#),
        ("other-files", r#"{"VolumesFrom":["OTHER"]}"#),
    ] {
        let of = |container: &str| post(&path, &with(&host.replace("OTHER", container)));
        let works = is_made(&front.raw(0, front.docker.socket(), &of(&front.other))?);
        forget(front, &name)?;
        let answer = front.raw(RUNNER, &front.socket(), &of(&front.other))?;
        let refused = is_refused(&answer) && !front.is_there(&name)?;
        let twin = is_made(&front.raw(RUNNER, &front.socket(), &of(&front.web))?);
        forget(front, &name)?;
        tally.count(what, works, refused, twin, &answer);
    }
    Ok(())
}

/// A form in the body is taken for the query.
fn form(front: &Front, tally: &mut Tally) -> Result<()> {
    let form = |body: &str| {
        format!(
            "POST /v1.41/containers/{}/rename HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            front.web,
            body.len()
        )
    };
    let renamed = front.docker.name("renamed");
    let request = form(&format!("name={renamed}"));
    front.raw(0, front.docker.socket(), request.as_bytes())?;
    let works = front.is_there(&renamed)?;
    if works {
        front.say(&["rename", &renamed, &front.web])?;
    }
    let answer = front.raw(RUNNER, &front.socket(), request.as_bytes())?;
    let refused = is_refused(&answer) && !front.is_there(&renamed)?;
    let query = format!(
        "POST /v1.41/containers/{}/rename?name={renamed} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        front.web
    );
    let twin = front.raw(RUNNER, &front.socket(), query.as_bytes())?;
    let passes = twin.starts_with("HTTP/1.1 204") && front.is_there(&renamed)?;
    if front.is_there(&renamed)? {
        front.say(&["rename", &renamed, &front.web])?;
    }
    tally.count("form", works, refused, passes, &answer);
    Ok(())
}

/// A volume with options is a folder of the host: it takes an administrator, and so does every volume with a name this user.
fn volume(front: &Front, tally: &mut Tally) -> Result<()> {
    let name = front.docker.name("volume");
    let arguments = [
        "volume",
        "create",
        "--opt",
        "type=none",
        "--opt",
        "o=bind",
        "--opt",
        "device=/etc",
        &name,
    ];
    let works = front.say(&arguments)? == name;
    front.say(&["volume", "rm", &name])?;
    let output = front.cli(RUNNER).args(arguments).output()?;
    let answer = told(&output);
    let kept = front.say(&["volume", "ls", "--quiet", "--filter", &format!("name={name}")])?;
    let refused = answer.contains("verger: local/10001 may not") && kept.is_empty();
    // Root is let through, as everywhere on his own host.
    let passes = front
        .cli(0)
        .args(["volume", "create", &name])
        .output()?
        .status
        .success();
    front.say(&["volume", "rm", "--force", &name])?;
    tally.count("volume-of-the-host", works, refused, passes, &answer);
    Ok(())
}

/// A container that has the socket shows its own root's number there.
fn within_a_container(front: &Front, tally: &mut Tally) -> Result<()> {
    let list = b"GET /v1.41/containers/json HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n";
    let pid = front.docker.pid(&front.other)?;
    let works = front
        .raw_within(&pid, front.docker.socket(), list)?
        .starts_with("HTTP/1.1 200");
    let answer = front.raw_within(&pid, &front.socket(), list)?;
    let refused = is_refused(&answer) && answer.contains("is in a container");
    let passes = front.raw(0, &front.socket(), list)?.starts_with("HTTP/1.1 200");
    tally.count("within-a-container", works, refused, passes, &answer);
    Ok(())
}

/// What the table does not hold is refused to root, too.
fn unknown_to_the_table(front: &Front, tally: &mut Tally) -> Result<()> {
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n").into_bytes();
    let real: &Path = front.docker.socket();
    let slashed = format!("/v1.41/containers/{}/json", front.web);
    ensure!(
        front.raw(0, real, &get(&slashed))?.starts_with("HTTP/1.1 200"),
        "the container is there"
    );
    for (name, path) in [
        ("debug", "/debug/vars".to_owned()),
        ("unversioned-old", format!("/v1.12/containers/{}/json", front.web)),
    ] {
        let at_docker = front.raw(0, real, &get(&path))?;
        let answer = front.raw(0, &front.socket(), &get(&path))?;
        let passes = front
            .raw(0, &front.socket(), &get(&slashed))?
            .starts_with("HTTP/1.1 200");
        tally.count(
            name,
            at_docker.starts_with("HTTP/1.1 200"),
            is_refused(&answer),
            passes,
            &format!("{at_docker:.300}\n{answer}"),
        );
    }
    Ok(())
}
