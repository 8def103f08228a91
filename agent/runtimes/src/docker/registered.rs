//! The runtimes that a daemon knows (`docker info`): whoever may run a container may name any of them.

use std::collections::BTreeMap;

use serde::Deserialize;
use verger_agent_core::runtime::RuntimeProblem;

use super::http::printable;

/// The runtimes, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegisteredRuntimes(pub BTreeMap<String, RegisteredRuntime>);

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct RegisteredRuntime {
    /// The program that is called, a name or a path; for a shim that is told nothing, none.
    #[serde(default)]
    pub path: Option<String>,
    /// The shim of containerd that calls it, where it is not the usual one.
    #[serde(default, rename = "runtimeType")]
    pub kind: Option<String>,
}

/// Reads the answer to a request for the daemon's description.
pub(super) fn parse(request: &str, bytes: &[u8]) -> Result<RegisteredRuntimes, RuntimeProblem> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Info {
        runtimes: BTreeMap<String, RegisteredRuntime>,
    }
    let malformed = |error: serde_json::Error| RuntimeProblem::Malformed {
        request: request.to_owned(),
        reason: printable(&error.to_string()),
    };
    let Info { mut runtimes } = serde_json::from_slice(bytes).map_err(malformed)?;
    for runtime in runtimes.values_mut() {
        runtime.kind = runtime.kind.take().filter(|kind| !kind.is_empty());
    }
    Ok(RegisteredRuntimes(runtimes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_daemons_say_is_read_and_silence_is_not_none() {
        let info = br#"{"ID":"x","Runtimes":{"runc":{"path":"runc"},"io.containerd.runc.v2":{"path":"runc","status":{"a":"b"}},
            "kata":{"runtimeType":"io.containerd.kata.v2"},"mine":{"path":"/opt/runc","runtimeArgs":["--debug"],"runtimeType":""}}}"#;
        let read = parse("/info", info).unwrap().0;
        assert_eq!(read["runc"].path.as_deref(), Some("runc"));
        assert_eq!(read["kata"].kind.as_deref(), Some("io.containerd.kata.v2"));
        assert_eq!(
            (read["mine"].path.as_deref(), read["mine"].kind.as_deref()),
            (Some("/opt/runc"), None)
        );
        assert_eq!(read.len(), 4);
        for damaged in [&b"{}"[..], b"[]", br#"{"Runtimes":[]}"#, b"{"] {
            assert!(matches!(
                parse("/info", damaged),
                Err(RuntimeProblem::Malformed { .. })
            ));
        }
    }
}
