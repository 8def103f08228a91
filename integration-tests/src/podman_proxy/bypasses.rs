//! Requests that reach the host when Podman's service is asked itself: none of them gets through for who may make containers and no more, and what
//! each was made of passes.

use anyhow::{Context as _, Result, ensure};

use super::Count;
use super::front::{Front, WEB};
use crate::point::tell;
use crate::runtime_proxy::RUNNER;

const SPEC: &str = "/v4.3.1/libpod/containers/create";
const DOCKERS: &str = "/v1.41/containers/create";

/// One request that makes a container that has more than itself.
struct Create {
    name: &'static str,
    path: &'static str,
    /// Members of the document, besides image and command.
    more: &'static str,
    /// What is in its place without harm.
    twin: &'static str,
    /// What Podman shows of the container that came of it holds this.
    shows: &'static str,
}

const fn spec(name: &'static str, more: &'static str, twin: &'static str, shows: &'static str) -> Create {
    Create {
        name,
        path: SPEC,
        more,
        twin,
        shows,
    }
}

const fn compat(name: &'static str, more: &'static str, twin: &'static str, shows: &'static str) -> Create {
    Create {
        path: DOCKERS,
        ..spec(name, more, twin, shows)
    }
}

const CREATES: &[Create] = &[
    spec(
        "privileged",
        r#""privileged":true"#,
        r#""privileged":false"#,
        r#""Privileged":true"#,
    ),
    spec(
        "privileged-in-capitals",
        r#""PRIVILEGED":true"#,
        "",
        r#""Privileged":true"#,
    ),
    spec(
        "privileged-twice",
        r#""privileged":false,"privileged":true"#,
        "",
        r#""Privileged":true"#,
    ),
    spec(
        "long-s",
        "\"u\u{17f}er\":\"0\",\"privileged\":true",
        r#""user":"0""#,
        r#""Privileged":true"#,
    ),
    spec(
        "bind",
        r#""mounts":[{"destination":"/h","type":"bind","source":"/etc"}]"#,
        r#""mounts":[{"destination":"/h","type":"tmpfs","source":"tmpfs"}]"#,
        r#""Source":"/etc""#,
    ),
    spec(
        "pid-of-the-host",
        r#""pidns":{"nsmode":"host"}"#,
        r#""pidns":{"nsmode":"private"}"#,
        r#""PidMode":"host""#,
    ),
    spec(
        "network-of-the-host",
        r#""netns":{"nsmode":"host"}"#,
        r#""netns":{"nsmode":"none"}"#,
        r#""NetworkMode":"host""#,
    ),
    spec(
        "network-by-its-path",
        r#""netns":{"nsmode":"path","value":"/proc/self/ns/net"}"#,
        r#""netns":{"nsmode":"none"}"#,
        "/proc/self/ns/net",
    ),
    spec(
        "capability",
        r#""cap_add":["SYS_ADMIN"]"#,
        r#""cap_add":["CAP_CHOWN"]"#,
        "CAP_SYS_ADMIN",
    ),
    spec("device", r#""devices":[{"path":"/dev/fuse"}]"#, "", "/dev/fuse"),
    spec(
        "no-seccomp",
        r#""seccomp_profile_path":"unconfined""#,
        "",
        r#""Name""#,
    ),
    spec(
        "rootfs-of-the-host",
        r#""overlay_volumes":[{"destination":"/h","source":"/etc"}]"#,
        "",
        r#""Name""#,
    ),
    spec(
        "log-in-a-file-of-the-host",
        r#""log_configuration":{"driver":"k8s-file","path":"/tmp/verger-never"}"#,
        r#""log_configuration":{"driver":"k8s-file"}"#,
        "/tmp/verger-never",
    ),
    spec(
        "annotation-of-the-runtime",
        r#""annotations":{"run.oci.keep_original_groups":"1"}"#,
        r#""annotations":{"io.kubernetes.cri-o.TTY":"false"}"#,
        "keep_original_groups",
    ),
    spec(
        "namespace-of-another",
        r#""ipcns":{"nsmode":"container","value":"other"}"#,
        r#""ipcns":{"nsmode":"container","value":"web"}"#,
        r#""IpcMode":"container:"#,
    ),
    spec(
        "volumes-of-another",
        r#""volumes_from":["other"]"#,
        r#""volumes_from":["web"]"#,
        r#""Name""#,
    ),
    spec("unmasked", r#""unmask":["ALL"]"#, "", r#""Name""#),
    spec(
        "kernel-parameter",
        r#""sysctl":{"kernel.core_pattern":"core"}"#,
        r#""sysctl":{"fs.mqueue.msg_max":"20"}"#,
        r#""Name""#,
    ),
    spec(
        "time-zone-of-another-place",
        r#""timezone":"../../../etc/hostname""#,
        "",
        r#""Name""#,
    ),
    spec(
        "unit-that-root-starts",
        r#""labels":{"io.containers.autoupdate":"local","PODMAN_SYSTEMD_UNIT":"poweroff.target"}"#,
        r#""labels":{"io.containers":"local"}"#,
        "poweroff.target",
    ),
    spec(
        "tree-of-the-hosts-services",
        r#""entrypoint":["/usr/sbin/init"],"systemd":"true""#,
        r#""entrypoint":["/bin/sh"],"systemd":"true""#,
        r#""SystemdMode":true"#,
    ),
    spec(
        "mounts-of-another-made-writable",
        r#""volumes_from":["web:rw"]"#,
        r#""volumes_from":["web:ro"]"#,
        r#""Name""#,
    ),
    compat(
        "tree-of-the-hosts-services-in-dockers",
        r#""Entrypoint":["[\"/bin/sh\",\"-c\",\"sleep 60 #/systemd\"]"],"HostConfig":{}"#,
        r#""Entrypoint":["/bin/sh"],"HostConfig":{}"#,
        r#""SystemdMode":true"#,
    ),
    compat(
        "volume-that-begins-nowhere",
        r#""Volumes":{"./../../../proc/self/exe":{}},"HostConfig":{}"#,
        r#""Volumes":{"/proc-like":{}},"HostConfig":{}"#,
        r#""Name""#,
    ),
    compat(
        "dockers-privileged",
        r#""HostConfig":{"Privileged":true}"#,
        r#""HostConfig":{"Privileged":false}"#,
        r#""Privileged":true"#,
    ),
    compat(
        "dockers-lower-case",
        r#""hostconfig":{"privileged":true}"#,
        r#""HostConfig":{}"#,
        r#""Privileged":true"#,
    ),
    compat(
        "dockers-bind",
        r#""HostConfig":{"Mounts":[{"Type":"bind","Source":"/etc","Target":"/h"}]}"#,
        r#""HostConfig":{"Mounts":[{"Type":"tmpfs","Target":"/t"}]}"#,
        r#""Source":"/etc""#,
    ),
    compat(
        "volume-that-is-a-bind",
        r#""Volumes":{"/etc:/h":{}},"HostConfig":{}"#,
        r#""Volumes":{"/h":{}},"HostConfig":{}"#,
        r#""Source":"/etc""#,
    ),
    compat(
        "network-by-path-in-dockers",
        r#""HostConfig":{"NetworkMode":"ns:/proc/self/ns/net"}"#,
        r#""HostConfig":{"NetworkMode":"none"}"#,
        "/proc/self/ns/net",
    ),
    compat(
        "variable-of-the-service",
        r#""Env":["PATH*"],"HostConfig":{}"#,
        r#""Env":["A=b"],"HostConfig":{}"#,
        r#""Name""#,
    ),
];

/// What comes out as Podman puts it, and reaches nothing that who may do everything to `web` may not have.
const HONEST: &[(&str, &str)] = &[
    ("plain", r#""terminal":false"#),
    (
        "names-of-another",
        r#""utsns":{"nsmode":"container","value":"web"}"#,
    ),
    (
        "processes-of-another",
        r#""pidns":{"nsmode":"container","value":"web"}"#,
    ),
    (
        "network-of-another",
        r#""netns":{"nsmode":"container","value":"web"}"#,
    ),
    ("files-of-another", r#""volumes_from":["web"]"#),
    (
        "tmpfs",
        r#""mounts":[{"destination":"/t","type":"tmpfs","source":"tmpfs","options":["rw","nosuid"]}]"#,
    ),
    (
        "capabilities",
        r#""cap_add":["CAP_CHOWN"],"cap_drop":["CAP_KILL"]"#,
    ),
    (
        "limits",
        r#""resource_limits":{"memory":{"limit":67108864},"pids":{"limit":10}},"r_limits":[{"type":"nofile","hard":10,"soft":10}]"#,
    ),
    (
        "tighter",
        r#""no_new_privileges":true,"read_only_filesystem":true"#,
    ),
];

/// Other calls, by method and target; what a user with less is refused.
const CALLS: &[(&str, &str, &str)] = &[
    (
        "escaped-path",
        "POST /v4.3.1/libpod/%63ontainers/web/exec",
        r#"{"Cmd":["/bin/true"]}"#,
    ),
    (
        "escaped-api",
        "POST /v4.3.1/%6cibpod/containers/other/exec",
        r#"{"Cmd":["/bin/true"]}"#,
    ),
    ("no-version", "POST /libpod/containers/other/stop?timeout=0", ""),
    (
        "other-by-its-name",
        "POST /v4.3.1/libpod/containers/other/exec",
        r#"{"Cmd":["/bin/true"]}"#,
    ),
    (
        "pod",
        "POST /v4.3.1/libpod/pods/create",
        r#"{"name":"p","no_infra":true}"#,
    ),
    (
        "secret",
        "POST /v4.3.1/libpod/secrets/create?name=verger-never",
        "x",
    ),
    ("mounted", "POST /v4.3.1/libpod/containers/web/mount", ""),
    (
        "image-of-a-file",
        "POST /v4.3.1/libpod/images/pull?reference=dir%3A%2Fetc&policy=missing",
        "",
    ),
    (
        "archive-of-the-host",
        "POST /v4.3.1/libpod/images/import?url=%2Fetc%2Fhostname&reference=localhost%2Fnever",
        "",
    ),
    ("kube", "GET /v4.3.1/libpod/generate/kube?names=other", ""),
    (
        "insecure",
        "POST /v4.3.1/libpod/images/pull?reference=localhost%2Fx&tlsVerify=F",
        "",
    ),
    (
        "build",
        "POST /v4.3.1/libpod/build?dockerfile=%5B%22Dockerfile%22%5D",
        "",
    ),
    ("prune", "POST /v4.3.1/libpod/system/prune?volumes=true", ""),
];

/// Runs them.
pub(super) fn run(front: &Front) -> Result<Count> {
    let mut count = Count::default();
    for create in CREATES {
        one(front, &mut count, create).with_context(|| create.name)?;
    }
    for (name, more) in HONEST {
        let body = format!(r#"{{"name":"{name}","image":"{WEB}","command":["/bin/sleep","600"],{more}}}"#);
        let (status, told) = front.raw(RUNNER, &request(&format!("POST {SPEC}"), &body))?;
        let is_made = status == 201 && front.is_there(name)?;
        count.add(is_made);
        match is_made {
            true => drop(front.say(&["rm", "--force", "--time", "0", name])?),
            false => tell(&format!("{name}: {told}")),
        }
    }
    for (name, call, body) in CALLS {
        let (status, told) = front.raw(RUNNER, &request(call, body))?;
        let stopped = matches!(status, 400 | 403) && told.contains("verger: ");
        count.add(stopped);
        if !stopped {
            tell(&format!("{name}: {told}"));
        }
    }
    smuggled(front, &mut count)?;
    Ok(count)
}

fn request(call: &str, body: &str) -> Vec<u8> {
    format!(
        "{call} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn one(front: &Front, count: &mut Count, create: &Create) -> Result<()> {
    let Create {
        name,
        path,
        more,
        twin,
        shows,
    } = create;
    let of = |container: &str, more: &str| {
        let comma = if more.is_empty() { "" } else { "," };
        if *path == SPEC {
            let body = format!(
                r#"{{"name":"{container}","image":"{WEB}","command":["/bin/sleep","600"]{comma}{more}}}"#
            );
            request(&format!("POST {path}"), &body)
        } else {
            let body = format!(r#"{{"Image":"{WEB}","Cmd":["/bin/sleep","600"]{comma}{more}}}"#);
            request(&format!("POST {path}?name={container}"), &body)
        }
    };
    let made = |container: &str| -> Result<String> {
        let shown = front.say(&["container", "inspect", container])?;
        front.say(&["rm", "--force", "--time", "0", container])?;
        Ok(shown.split_whitespace().collect())
    };
    // At the service itself it does its harm.
    let (status, told) = front.raw_past(&of("unprotected", more))?;
    ensure!(status == 201, "at Podman itself: {told}");
    let shown = made("unprotected")?;
    ensure!(shown.contains(shows), "at Podman itself it is not there: {shown}");
    // Through the proxy it does not.
    let (status, told) = front.raw(RUNNER, &of("protected", more))?;
    let mut right =
        matches!(status, 400 | 403) && told.contains("verger: ") && !front.is_there("protected")?;
    // What it was made of does.
    let (status, benign) = front.raw(RUNNER, &of("twin", twin))?;
    right &= status == 201 && front.is_there("twin")?;
    if front.is_there("twin")? {
        made("twin")?;
    }
    count.add(right);
    if !right {
        tell(&format!("{name}: {told}\nits twin: {benign}"));
    }
    Ok(())
}

/// A second request within what a loose reader takes for the body of the first, and one after it on the same connection.
fn smuggled(front: &Front, count: &mut Count) -> Result<()> {
    let harm = r#"{"name":"smuggled","image":"localhost/verger-test/web","command":["/bin/true"],"privileged":true}"#;
    let second = format!(
        "POST {SPEC} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{harm}",
        harm.len()
    );
    let first = "GET /v4.3.1/libpod/containers/web/json HTTP/1.1\r\nHost: d\r\n";
    for (name, head) in [
        ("kept-alive", format!("{first}\r\n")),
        (
            "two-lengths",
            format!(
                "{first}Content-Length: 0\r\nContent-Length: {}\r\n\r\n",
                second.len()
            ),
        ),
        (
            "length-and-chunks",
            format!(
                "{first}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                second.len()
            ),
        ),
    ] {
        front.raw(RUNNER, format!("{head}{second}").as_bytes())?;
        let right = !front.is_there("smuggled")?;
        count.add(right);
        if !right {
            tell(&format!("{name}: it was made"));
            front.say(&["rm", "--force", "smuggled"])?;
        }
    }
    let (status, told) = front.raw_past(second.as_bytes())?;
    ensure!(
        status == 201 && front.is_there("smuggled")?,
        "at Podman itself: {told}"
    );
    front.say(&["rm", "--force", "smuggled"])?;
    Ok(())
}
