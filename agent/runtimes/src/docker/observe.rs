//! From the daemon's documents to facts: where the bytes meet the pure parsers.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use verger_agent_core::runtime::{Listed, Phase};
use verger_policy::digest::Digest;
use verger_policy::facts::oci::{self, OciConfig};
use verger_policy::facts::{Evidence, ImageDefaults, Instance, InstanceId, image, inspect, merge};
use verger_policy::model::RuntimeKind;

use super::daemon;
use super::http::printable;
use crate::unknown::unknown_instance;

/// Members of a listing's element that change though nothing of the container does.
const RELATIVE: [&str; 3] = ["Status", "SizeRw", "SizeRootFs"];
/// What is missing until `/proc` is read.
const NOT_LIVE: &str = "/proc was not read";

/// Of an inspection, what is needed to go on: the rest is the parsers'.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Head {
    state: State,
    /// Digest of the image config.
    #[serde(default)]
    pub(super) image: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    #[serde(default)]
    pid: u32,
}

impl Head {
    /// Where it is in its life; `None` if it has ended.
    pub(super) fn phase(&self) -> Option<Phase> {
        match self.state.status.as_str() {
            "created" => Some(Phase::Created),
            "paused" => Some(Phase::Paused),
            "restarting" => Some(Phase::Restarting),
            "exited" | "dead" | "removing" => None,
            // A word of a later daemon: what has a process runs.
            _ => (self.state.pid != 0).then_some(Phase::Running),
        }
    }

    /// The pid of its first process in this phase.
    pub(super) fn init_pid(&self, phase: Phase) -> Option<u32> {
        (matches!(phase, Phase::Running | Phase::Paused) && self.state.pid != 0).then_some(self.state.pid)
    }
}

/// Reads what is needed to go on.
pub(super) fn head(inspect: &[u8]) -> Result<Head, String> {
    serde_json::from_slice(inspect).map_err(|e| format!("its inspection is malformed: {e}"))
}

/// Digest of an element of the listing without what is relative to now; `None` if it is no object.
pub(super) fn stable_digest(element: &[u8]) -> Option<Digest> {
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_slice(element).ok()?;
    members.retain(|name, _| !RELATIVE.contains(&name.as_str()));
    serde_json::to_vec(&members).ok().map(|bytes| Digest::of(&bytes))
}

/// What the image says of itself.
pub(super) fn image(inspect: &[u8]) -> Evidence<ImageDefaults> {
    match image::parse(inspect) {
        Ok(image) => Evidence::Seen(image.defaults),
        Err(error) => Evidence::Missing(error.to_string()),
    }
}

/// The facts of one container. Where its OCI config cannot be read, the inspection has to do: what was asked for
/// instead of what the kernel got.
pub(super) fn instance(
    id: &str,
    inspect: &[u8],
    oci: &Result<Vec<u8>, String>,
    image_defaults: Evidence<ImageDefaults>,
) -> Instance {
    let oci = parsed(id, oci);
    match inspect::parse(inspect) {
        Ok(inspected) if inspected.id == id => {
            let (oci, why) = match oci {
                Ok(oci) => (Some(oci), None),
                Err(why) => (None, Some(why)),
            };
            let mut instance = merge::instance(inspected, oci, image_defaults, Evidence::missing(NOT_LIVE));
            if let Some(why) = why {
                instance.config.lacks_oci_config(&why);
            }
            daemon::confine(&mut instance.config.apparmor);
            instance
        }
        Ok(_) => by_oci(id, oci, "the daemon answered with another container"),
        Err(error) => by_oci(id, oci, &error.to_string()),
    }
}

/// A container that runs, as far as the listing says, and whose inspection cannot be had. Its OCI config is enough to
/// judge most of it.
pub(super) fn unreadable(id: &str, oci: &Result<Vec<u8>, String>, reason: &str) -> Listed {
    let instance = by_oci(id, parsed(id, oci), &printable(reason));
    Listed {
        instance: instance.into(),
        phase: Phase::Running,
        init_pid: None,
    }
}

fn parsed(id: &str, oci: &Result<Vec<u8>, String>) -> Result<OciConfig, String> {
    let read = oci.as_ref().map_err(String::clone);
    read.and_then(|bytes| oci::parse(bytes).map_err(|e| e.to_string()))
        .inspect_err(|reason| {
            tracing::debug!(
                container = id,
                reason,
                "its inspection stands in for its OCI config"
            );
        })
}

fn by_oci(id: &str, oci: Result<OciConfig, String>, reason: &str) -> Instance {
    let unknown = unknown_instance(instance_id(id), reason);
    match oci {
        Ok(OciConfig { config, .. }) => Instance { config, ..unknown },
        Err(_) => unknown,
    }
}

fn instance_id(id: &str) -> InstanceId {
    InstanceId {
        runtime: RuntimeKind::Docker,
        id: id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn phases_follow_the_daemons_words() {
        for (status, pid, expected) in [
            ("created", 0, Some(Phase::Created)),
            ("running", 7, Some(Phase::Running)),
            ("paused", 7, Some(Phase::Paused)),
            ("restarting", 0, Some(Phase::Restarting)),
            ("exited", 0, None),
            ("removing", 0, None),
            ("stopping", 7, Some(Phase::Running)),
        ] {
            let head =
                head(format!(r#"{{"State":{{"Status":"{status}","Pid":{pid}}}}}"#).as_bytes()).unwrap();
            assert_eq!(head.phase(), expected, "{status}");
            let shown = expected.and_then(|phase| head.init_pid(phase));
            assert_eq!(shown.is_some(), pid != 0, "{status}");
        }
    }

    #[test]
    fn relative_times_change_no_digest_and_labels_do() {
        let digest = |status: &str, label: &str| {
            stable_digest(
                format!(r#"{{"Id":"a","Status":"{status}","Labels":{{"x":"{label}"}}}}"#).as_bytes(),
            )
        };
        assert_eq!(digest("Up 1 second", "a"), digest("Up 2 hours", "a"));
        assert_ne!(digest("Up 1 second", "a"), digest("Up 1 second", "b"));
        assert_eq!(stable_digest(b"[]"), None);
    }

    #[test]
    fn an_unreadable_container_escapes_what_the_daemon_said() {
        let listed = unreadable(ID, &Err("none".to_owned()), "bad \u{1b}[2J");
        let Evidence::Missing(reason) = &listed.instance.image else {
            panic!("it was not read")
        };
        assert_eq!(reason, "bad \\u{1b}[2J");
    }

    #[test]
    fn without_an_inspection_the_oci_config_is_used() {
        let oci =
            br#"{"process":{"args":["/bin/x"],"cwd":"/","user":{"uid":5,"gid":6}},"root":{},"linux":{}}"#;
        let oci = Ok(oci.to_vec());
        oci::parse(oci.as_ref().unwrap()).unwrap();
        let instance = unreadable(ID, &oci, "too big").instance;
        assert_eq!(instance.config.command, Evidence::Seen(vec!["/bin/x".to_owned()]));
        assert_eq!(instance.image, Evidence::missing("too big"));
    }

    #[test]
    fn an_answer_for_another_container_is_not_taken() {
        let other = "b".repeat(64);
        let inspect = format!(r#"{{"Id":"{other}","Config":{{}},"HostConfig":{{}}}}"#);
        let none = Evidence::missing("no image");
        let instance = instance(ID, inspect.as_bytes(), &Err("none".to_owned()), none);
        assert_eq!(instance.id.id, ID);
        assert_eq!(
            instance.config.command,
            Evidence::missing("the daemon answered with another container")
        );
    }
}
