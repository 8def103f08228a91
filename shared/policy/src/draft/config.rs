//! The `config` block of a workload.

use std::collections::BTreeMap;

use super::env::env;
use super::mount::{device, mount};
use super::node::{Node, Value};
use super::port::port;
use super::problem::{nearest, quoted};
use super::reader::{Got, Reader};
use super::scalar::{MAX_INTEGER, bytes, id, integer, millicores, path};
use crate::digest::Digest;
use crate::model::{
    CAPABILITIES, Config, Limits, NamespaceMode, Namespaces, Rlimit, Rootfs, Seccomp, UserSpec,
};

/// The resources of getrlimit(2).
const RLIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads `spec.config`.
pub(super) fn config(reader: &mut Reader<'_>, node: &Node) -> Got<Config> {
    let mut fields = reader.open(node)?;
    let r = reader;
    let images = fields.required(r, "images", "[ \"sha256:…\" ]", |r, node| {
        let images = r.set(node, image)?;
        if images.is_empty() {
            return Err(r.report(node.place, "blesses no image", "list at least one digest"));
        }
        Ok(images)
    });
    let command = fields.stated(r, "command", |r, node| {
        let command = r.list(node, |r, node| r.text(node).map(str::to_owned))?;
        if command.is_empty() {
            return Err(r.report(
                node.place,
                "is empty",
                "write the full argv, or remove the field for the image's own",
            ));
        }
        Ok(command)
    });
    let env = fields.stated(r, "env", env);
    let user = fields.stated(r, "user", user);
    let working_dir = fields.stated(r, "workingDir", path);
    let capabilities = fields.stated(r, "capabilities", |r, node| r.set(node, capability));
    let no_new_privileges = fields.stated(r, "noNewPrivileges", |r, node| r.truth(node));
    let seccomp = fields.stated(r, "seccomp", seccomp);
    let rootfs = fields.stated(r, "rootfs", |r, node| r.word(node, Rootfs::ALL, Rootfs::word));
    let namespaces = fields.optional(r, "namespaces", namespaces);
    let mounts = fields.stated(r, "mounts", |r, node| {
        r.records(node, "target", mount, |m| m.target.clone())
    });
    let devices = fields.stated(r, "devices", |r, node| {
        r.records(node, "path", device, |d| d.path.clone())
    });
    let sysctls = fields.stated(r, "sysctls", sysctls);
    let limits = fields.optional(r, "limits", limits);
    let ports = fields.stated(r, "ports", |r, node| {
        r.records(node, "port", port, |p| p.listen.clone())
    });
    let masked_paths = fields.stated(r, "maskedPaths", |r, node| r.set(node, path));
    let readonly_paths = fields.stated(r, "readonlyPaths", |r, node| r.set(node, path));
    fields.close(r)?;
    Ok(Config {
        images: images?,
        command: command?,
        env: env?,
        user: user?,
        working_dir: working_dir?,
        capabilities: capabilities?,
        no_new_privileges: no_new_privileges?,
        seccomp: seccomp?,
        rootfs: rootfs?,
        namespaces: namespaces?.unwrap_or_default(),
        mounts: mounts?,
        devices: devices?,
        sysctls: sysctls?,
        limits: limits?.unwrap_or_default(),
        ports: ports?,
        masked_paths: masked_paths?,
        readonly_paths: readonly_paths?,
    })
}

/// Reads the digest of an image config.
pub(super) fn image(reader: &mut Reader<'_>, node: &Node) -> Got<Digest> {
    const REMEDY: &str =
        "write the digest of the image config that `docker image inspect --format {{.Id}} IMAGE` prints";
    let text = reader.text(node)?;
    if let Ok(digest) = text.parse() {
        return Ok(digest);
    }
    let message = if text == "any" {
        "`any` would bless every image".to_owned()
    } else if text.contains('@') {
        format!(
            "{} names a manifest in a registry; one image has many of those and one config digest",
            quoted(text)
        )
    } else if text.starts_with("sha256:") || text.is_empty() {
        format!(
            "{} is not a digest: it is `sha256:` and 64 lower-case hex digits",
            quoted(text)
        )
    } else {
        format!("{} is an image's name, and a tag can move", quoted(text))
    };
    Err(reader.report(node.place, message, REMEDY))
}

fn user(reader: &mut Reader<'_>, node: &Node) -> Got<UserSpec> {
    let mut fields = reader.open(node)?;
    let uid = fields.required(reader, "uid", "1000", id);
    let gid = fields.required(reader, "gid", "1000", id);
    let groups = fields.optional(reader, "groups", |reader, node| reader.set(node, id));
    fields.close(reader)?;
    Ok(UserSpec {
        uid: uid?,
        gid: gid?,
        groups: groups?.unwrap_or_default(),
    })
}

fn capability(reader: &mut Reader<'_>, node: &Node) -> Got<String> {
    let text = reader.text(node)?;
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("CAP_") {
        upper
    } else {
        format!("CAP_{upper}")
    };
    if CAPABILITIES.contains(&name.as_str()) {
        return Ok(name);
    }
    let remedy = match nearest(&name, &CAPABILITIES) {
        _ if name == "CAP_ALL" => "list them one by one, so that a new kernel adds none".to_owned(),
        Some(near) => format!("did you mean `{near}`?"),
        None => "write a name from capabilities(7), as in CAP_NET_BIND_SERVICE".to_owned(),
    };
    Err(reader.report(node.place, format!("unknown capability {}", quoted(text)), remedy))
}

fn seccomp(reader: &mut Reader<'_>, node: &Node) -> Got<Seccomp> {
    match reader.text(node)? {
        "default" => Ok(Seccomp::Default),
        "unconfined" => Ok(Seccomp::Unconfined),
        _ => reader
            .parse(node, "write `default`, `unconfined` or the digest of a profile")
            .map(Seccomp::Profile),
    }
}

fn namespaces(reader: &mut Reader<'_>, node: &Node) -> Got<Namespaces> {
    let mut fields = reader.open(node)?;
    let network = fields.stated(reader, "network", |reader, node| namespace(reader, node, true));
    let mut other = |reader: &mut Reader<'_>, name| {
        fields.stated(reader, name, |reader, node| namespace(reader, node, false))
    };
    let ipc = other(reader, "ipc");
    let pid = other(reader, "pid");
    let uts = other(reader, "uts");
    let user = other(reader, "user");
    let cgroup = other(reader, "cgroup");
    fields.close(reader)?;
    Ok(Namespaces {
        network: network?,
        ipc: ipc?,
        pid: pid?,
        uts: uts?,
        user: user?,
        cgroup: cgroup?,
    })
}

fn namespace(reader: &mut Reader<'_>, node: &Node, may_be_none: bool) -> Got<NamespaceMode> {
    let text = reader.text(node)?;
    match text {
        "own" => return Ok(NamespaceMode::Own),
        "host" => return Ok(NamespaceMode::Host),
        "none" if may_be_none => return Ok(NamespaceMode::None),
        _ => {}
    }
    if let Some(name) = text.strip_prefix("workload:") {
        return name.parse().map(NamespaceMode::Workload).map_err(|error| {
            reader.report(
                node.place,
                format!("{} names no workload: {error}", quoted(text)),
                "write workload:NAME",
            )
        });
    }
    let words = if may_be_none {
        "own, none, host, workload:NAME, any"
    } else {
        "own, host, workload:NAME, any"
    };
    Err(reader.report(
        node.place,
        format!("unknown word {}", quoted(text)),
        format!("write one of: {words}"),
    ))
}

fn sysctls(reader: &mut Reader<'_>, node: &Node) -> Got<BTreeMap<String, String>> {
    let name = |reader: &mut Reader<'_>, key: &super::node::Key| {
        let part = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/'))
        };
        if key.text.contains('.') && key.text.len() <= 255 && key.text.split('.').all(part) {
            return Ok(());
        }
        Err(reader.report(
            key.place,
            format!("{} is not the name of a kernel parameter", quoted(&key.text)),
            "write it with dots, as in net.core.somaxconn",
        ))
    };
    reader.map(node, name, |reader, node| reader.text(node).map(str::to_owned))
}

fn limits(reader: &mut Reader<'_>, node: &Node) -> Got<Limits> {
    let mut fields = reader.open(node)?;
    let memory = fields.stated(reader, "memory", bytes);
    let pids = fields.stated(reader, "pids", |reader, node| {
        integer(reader, node, 1, MAX_INTEGER)
    });
    let cpu = fields.stated(reader, "cpu", millicores);
    let rlimits = fields.stated(reader, "rlimits", |reader, node| {
        reader.map(node, resource, rlimit)
    });
    fields.close(reader)?;
    Ok(Limits {
        memory: memory?,
        pids: pids?,
        cpu: cpu?,
        rlimits: rlimits?,
    })
}

fn resource(reader: &mut Reader<'_>, key: &super::node::Key) -> Got<()> {
    if RLIMITS.contains(&&*key.text) {
        return Ok(());
    }
    let remedy = match nearest(key.text.trim_start_matches("RLIMIT_"), &RLIMITS) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("write one of: {}", RLIMITS.join(", ")),
    };
    Err(reader.report(
        key.place,
        format!("unknown resource {}", quoted(&key.text)),
        remedy,
    ))
}

fn rlimit(reader: &mut Reader<'_>, node: &Node) -> Got<Rlimit> {
    let mut fields = reader.open(node)?;
    let soft = fields.required(reader, "soft", "1024", amount);
    let hard = fields.required(reader, "hard", "1024", amount);
    fields.close(reader)?;
    let limit = Rlimit {
        soft: soft?,
        hard: hard?,
    };
    if limit.soft > limit.hard {
        return Err(reader.report(
            node.place,
            "the soft limit is above the hard one",
            "lower `soft` or raise `hard`",
        ));
    }
    Ok(limit)
}

fn amount(reader: &mut Reader<'_>, node: &Node) -> Got<u64> {
    match &node.value {
        Value::Text { text, .. } if &**text == "unlimited" => Ok(u64::MAX),
        Value::Number(_) => integer(reader, node, 0, MAX_INTEGER),
        _ => reader.wrong_sort(node, "an integer or `unlimited`"),
    }
}
