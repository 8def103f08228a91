//! `Workload`: a class of running things that share one blessed configuration.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::control::words;
use super::{Config, Labels, Mode, Modes};

/// The `spec` of a `Workload`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Hints that say which instances claim to be this workload. Hints oblige; digests entitle.
    pub hint: ContainerHint,
    /// Sealed host labels that select the hosts it may run on and its body is sent to.
    pub hosts: Labels,
    /// Modes per control; `None` where nothing was written (monitor).
    pub mode: Option<Modes>,
    /// Fields of `config` of which the gate takes away what a launch asks beyond them, in place of refusing it.
    pub tighten: BTreeSet<Tighten>,
    /// The blessed configuration.
    pub config: Config,
}

words! {
    /// A field of `config` that can be held to by taking away, before anything runs.
    Tighten {
        /// Capabilities beyond those that are blessed are dropped.
        Capabilities = "capabilities",
        /// NoNewPrivs is set.
        NoNewPrivileges = "noNewPrivileges",
        /// The root file system is mounted read-only.
        Rootfs = "rootfs",
        /// The blessed seccomp filter is put where none is, or one that lets more through.
        Seccomp = "seccomp",
    }
}

/// Hints over containers. An instance meets them when it meets all; with none stated, no instance does.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ContainerHint {
    /// Repository name of the image, without tag and digest (`registry.example/payments/web`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Labels of the container.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl ContainerHint {
    /// Whether nothing was stated.
    pub fn is_empty(&self) -> bool {
        self.image.is_none() && self.labels.is_empty()
    }
}

impl Serialize for Workload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Match<'a> {
            container: &'a ContainerHint,
        }
        #[derive(Serialize)]
        struct Shape<'a> {
            #[serde(rename = "match")]
            hint: Match<'a>,
            #[serde(skip_serializing_if = "Labels::is_empty")]
            hosts: &'a Labels,
            #[serde(skip_serializing_if = "Option::is_none")]
            mode: Option<BTreeMap<&'static str, Mode>>,
            #[serde(skip_serializing_if = "BTreeSet::is_empty")]
            tighten: &'a BTreeSet<Tighten>,
            config: &'a Config,
        }
        let mode = self.mode.as_ref().map(|modes| {
            let mut map: BTreeMap<&'static str, Mode> = modes
                .controls
                .iter()
                .map(|(control, mode)| (control.word(), *mode))
                .collect();
            map.insert("default", modes.default);
            map
        });
        Shape {
            hint: Match {
                container: &self.hint,
            },
            hosts: &self.hosts,
            mode,
            tighten: &self.tighten,
            config: &self.config,
        }
        .serialize(serializer)
    }
}
