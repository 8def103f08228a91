//! Ways to root that lead over files of the host.

use super::{BECOME, Running};
use crate::drift::sheet::{Sheet, member};
use crate::facts::{ConfigFacts, Evidence, MountOrigin};
use crate::model::Access;

/// Paths of the host that hold what root runs, trusts or keeps secret.
pub const SENSITIVE_PATHS: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/run",
    "/var/spool/cron",
];

/// Sockets whose owner does as root what it is told.
pub const RUNTIME_SOCKETS: &[&str] = &[
    "/run/buildkit/buildkitd.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/docker.sock",
    "/run/dockershim.sock",
    "/run/podman/podman.sock",
    "/run/systemd/private",
    // Where those of Docker and Podman go once the proxy owns theirs.
    "/run/verger/docker-real.sock",
    "/run/verger/podman-real.sock",
];

pub(super) fn judge(sheet: &mut Sheet, config: &ConfigFacts, running: &Running<'_>) {
    let given = match &config.mounts {
        Evidence::Missing(reason) => return sheet.skip(BECOME, "mounts", reason),
        Evidence::Seen(given) => given,
    };
    let mark = sheet.mark();
    for (target, mount) in given {
        let MountOrigin::Bind(source) = &mount.origin else {
            continue;
        };
        if let Some(reason) = danger(source, mount.access) {
            let actual = format!("bind:{source} {}", mount.access);
            sheet.fail_because(
                BECOME,
                member("mounts", target),
                "no way to the host",
                &actual,
                reason,
            );
        }
    }
    // A socket that was bound in from outside, or under another name of its directory.
    for mount in running.mounts {
        let socket = RUNTIME_SOCKETS
            .iter()
            .any(|socket| is_named_like(&mount.root, socket));
        let told = given.get(&mount.target).is_some_and(|facts| match &facts.origin {
            MountOrigin::Bind(source) => danger(source, facts.access).is_some(),
            _ => false,
        });
        if socket && !told {
            let actual = format!("{} of {}", mount.root, mount.source);
            let field = member("mounts", &mount.target);
            sheet.fail_because(BECOME, field, "no way to the host", &actual, SOCKET);
        }
    }
    match running.unseen_mounts {
        Some(reason) if sheet.is_clean_since(mark) => sheet.skip(BECOME, "mounts", reason),
        None if sheet.is_clean_since(mark) => sheet.pass(BECOME, "mounts"),
        _ => {}
    }
}

const SOCKET: &str = "A runtime's socket starts containers as root for whoever may write to it";

/// Whether a path is called as a runtime's socket is, in whatever directory: sockets are moved. A name without `.sock` says
/// nothing by itself.
fn is_named_like(path: &str, socket: &str) -> bool {
    let name = |path| str::rsplit(path, '/').next();
    socket.ends_with(".sock") && name(path) == name(socket)
}

/// Why a bind of this path of the host is a way to root, if it is.
fn danger(source: &str, access: Access) -> Option<&'static str> {
    let source = match source.trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    let within = |path: &str, above: &str| {
        above == "/" || path == above || path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
    };
    let canonical = source
        .strip_prefix("/var")
        .filter(|rest| within(rest, "/run"))
        .unwrap_or(source);
    let socket = |path: &&&str| within(path, canonical) || is_named_like(canonical, path);
    if RUNTIME_SOCKETS.iter().find(socket).is_some() {
        return Some(if canonical == "/" {
            "The whole file system of the host is in reach"
        } else {
            SOCKET
        });
    }
    if SENSITIVE_PATHS.iter().any(|path| within(path, source)) {
        return Some("It holds what root of the host runs, trusts or keeps secret");
    }
    let below = SENSITIVE_PATHS.iter().any(|path| within(source, path));
    (below && access == Access::Rw)
        .then_some("What root of the host runs, trusts or keeps may be changed through it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_that_lead_to_root_are_found() {
        for (source, access, dangerous) in [
            ("/", Access::Ro, true),
            ("/var", Access::Ro, true),
            ("/var/run", Access::Ro, true),
            ("/run", Access::Ro, true),
            ("/run/", Access::Ro, true),
            ("/var/run/docker.sock", Access::Ro, true),
            ("/srv/other/docker.sock", Access::Ro, true),
            ("/run/containerd", Access::Ro, true),
            ("/etc", Access::Ro, true),
            ("/etc/localtime", Access::Ro, false),
            ("/etc/cron.d", Access::Rw, true),
            ("/usr/local/share/x", Access::Rw, true),
            ("/usr/local/share/x", Access::Ro, false),
            ("/run/systemd/private", Access::Ro, true),
            ("/run/systemd", Access::Ro, true),
            ("/srv/samba/private", Access::Rw, false),
            ("/srv/data", Access::Rw, false),
            ("/home/app", Access::Rw, false),
            ("/etcetera", Access::Rw, false),
            ("/var/lib/docker/volumes", Access::Rw, true),
        ] {
            assert_eq!(danger(source, access).is_some(), dangerous, "{source} {access}");
        }
    }
}
