//! The ways to launch what is not blessed.

use super::out::Out;

/// One way to launch what is not blessed.
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) flags: &'static [&'static str],
    pub(super) image: &'static str,
    /// What it is refused for.
    pub(super) says: &'static str,
}

pub(super) const BENIGN: Attack = Attack {
    name: "benign",
    flags: &[],
    image: "verger-test/app",
    says: "",
};

/// A label with the name of a key that a reader of JSON has kept for itself.
const RESERVED: &str = "$serde_json::private::RawValue=1";

/// What is blessed with that label is let in.
pub(super) const LABELLED: Attack = Attack {
    name: "labelled",
    flags: &["--label", RESERVED],
    ..BENIGN
};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "unknown",
        image: "verger-test/busybox",
        says: "of no blessed workload",
        ..BENIGN
    },
    Attack {
        name: "capability",
        flags: &["--cap-add", "SYS_ADMIN"],
        says: "config/capabilities",
        ..BENIGN
    },
    Attack {
        name: "root",
        flags: &["--user", "0"],
        says: "config/user",
        ..BENIGN
    },
    Attack {
        name: "bind",
        flags: &["--volume", "/etc:/host"],
        says: "config/mounts",
        ..BENIGN
    },
    Attack {
        name: "host-network",
        flags: &["--network", "host"],
        says: "config/namespaces",
        ..BENIGN
    },
    Attack {
        name: "host-pid",
        flags: &["--pid", "host"],
        says: "config/namespaces",
        ..BENIGN
    },
    Attack {
        name: "named-runtime",
        flags: &["--runtime", "io.containerd.runc.v2", "--cap-add", "SYS_ADMIN"],
        says: "config/capabilities",
        ..BENIGN
    },
    Attack {
        name: "label",
        flags: &["--label", RESERVED, "--cap-add", "SYS_ADMIN"],
        says: "config/capabilities",
        ..BENIGN
    },
    Attack {
        name: "port",
        flags: &["--publish", "80"],
        says: "config/ports",
        ..BENIGN
    },
    Attack {
        name: "check",
        flags: &["--workdir", "/tmp"],
        says: "guardrail/launch/places/not-in-tmp",
        ..BENIGN
    },
    Attack {
        name: "seccomp",
        flags: &["--security-opt", "seccomp=unconfined"],
        says: "config/seccomp",
        ..BENIGN
    },
];

impl Attack {
    /// For `docker run`, flags, image and all.
    pub(super) fn arguments(&self, out: &Out) -> Vec<String> {
        let (volume, act) = (out.volume(), out.act());
        let fixed = [
            "--memory",
            "64m",
            "--security-opt",
            "no-new-privileges",
            "--volume",
            &volume,
        ];
        let words = fixed.into_iter().chain(self.flags.iter().copied());
        // Both images run a shell, one of them by its own word.
        let shell: &[&str] = if self.image == BENIGN.image {
            &[]
        } else {
            &["sh", "-c"]
        };
        let words = words
            .chain([self.image])
            .chain(shell.iter().copied())
            .chain([act.as_str()]);
        words.map(str::to_owned).collect()
    }
}
