//! Ways to launch a container by Podman: as it is blessed, and otherwise.

use std::path::Path;

use super::host::{ACT, Out};

/// One way to launch.
#[derive(Clone)]
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) image: &'static str,
    /// None: none.
    pub(super) network: Option<String>,
    pub(super) user: &'static str,
    pub(super) flags: Vec<String>,
    /// What takes the place of the image.
    pub(super) instead: Vec<String>,
    pub(super) says: &'static str,
}

impl Attack {
    pub(super) fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    pub(super) fn arguments(&self, name: &str, out: &Out) -> Vec<String> {
        let mut all = words(&["run", "--detach", "--name", name, "--network"]);
        all.push(self.network.clone().unwrap_or_else(|| "none".to_owned()));
        all.extend(words(&[
            "--user",
            self.user,
            "--cap-drop",
            "all",
            "--memory",
            "64m",
        ]));
        all.extend(words(&["--security-opt", "no-new-privileges", "--volume"]));
        all.push(format!("{}:/out", out.0.display()));
        all.extend(self.flags.iter().cloned());
        if self.instead.is_empty() {
            all.push(format!("localhost/verger-test/{}", self.image));
        }
        all.extend(self.instead.iter().cloned());
        all.extend(words(&["/bin/sh", "-c", ACT]));
        all
    }
}

pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(super) fn benign() -> Attack {
    benign_as("web")
}

pub(super) fn benign_as(image: &'static str) -> Attack {
    Attack {
        name: "benign",
        image,
        network: None,
        user: "7:7",
        flags: Vec::new(),
        instead: Vec::new(),
        says: "",
    }
}

/// One with a network of its own.
pub(super) fn open() -> Attack {
    open_as("open")
}

pub(super) fn open_as(image: &'static str) -> Attack {
    Attack {
        network: Some("podman".to_owned()),
        ..benign_as(image)
    }
}

pub(super) fn attacks(root: &Path, lookalike: &Path) -> Vec<Attack> {
    let with = |name, flags: &[&str], says| Attack {
        name,
        flags: words(flags),
        says,
        ..benign()
    };
    let binds = format!("{}:/etc/hosts", lookalike.display());
    vec![
        Attack {
            image: "other",
            says: "of no blessed workload",
            ..benign().named("unknown")
        },
        // A label, a name and a variable of the blessed one.
        Attack {
            image: "other",
            flags: words(&[
                "--label",
                "image=localhost/verger-test/web",
                "--hostname",
                "web",
                "--env",
                "IMAGE=web",
            ]),
            says: "of no blessed workload",
            ..benign().named("claims")
        },
        with("capability", &["--cap-add", "SYS_ADMIN"], "config/capabilities"),
        Attack {
            user: "0",
            says: "config/user",
            ..benign().named("root")
        },
        with("bind", &["--volume", "/etc:/host"], "config/mounts"),
        with("bind-like-podmans", &["--volume", &binds], "config/mounts"),
        Attack {
            network: Some("host".to_owned()),
            says: "config/namespaces",
            ..benign().named("host-network")
        },
        with("host-pid", &["--pid", "host"], "config/namespaces"),
        with(
            "annotation",
            &["--annotation", "run.oci.keep_original_groups=1"],
            "config/annotations",
        ),
        with(
            "cgroup",
            &["--cgroup-parent", "/verger-other"],
            "linux.cgroupsPath",
        ),
        with(
            "seccomp",
            &["--security-opt", "seccomp=unconfined"],
            "config/seccomp",
        ),
        with("command", &["--entrypoint", "/bin/busybox"], "config/command"),
        Attack {
            instead: vec!["--rootfs".to_owned(), root.display().to_string()],
            says: "it cannot be judged",
            ..benign().named("rootfs")
        },
    ]
}
