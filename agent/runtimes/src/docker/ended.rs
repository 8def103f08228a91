//! Containers that do not run, and starting them again.

use std::time::Duration;

use serde::Deserialize;
use verger_agent_core::runtime::{RuntimeError, RuntimeProblem};

use super::{DOCUMENT_LIMIT, DockerRuntime, http, is_container_id};

/// Containers that were made and not started, or have ended.
const LISTING: &str =
    "/containers/json?all=1&filters=%7B%22status%22%3A%5B%22created%22%2C%22exited%22%5D%7D";
/// A start is over when the runtime has made the container and run its first process.
const START: Duration = Duration::from_secs(120);

/// A container that does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its full id.
    pub id: String,
    /// Why it could not be started the last time; empty where it could. Hostile bytes.
    pub error: String,
    /// When the daemon starts it by itself: `no`, `always`, `unless-stopped`, `on-failure`.
    pub restart: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    state: State,
    host_config: HostConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    restart_policy: Option<RestartPolicy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RestartPolicy {
    #[serde(default)]
    name: String,
}

pub(super) fn parse(bytes: &[u8]) -> Option<Ended> {
    let read: Inspected = serde_json::from_slice(bytes).ok()?;
    is_container_id(&read.id).then(|| Ended {
        id: read.id,
        error: read.state.error,
        restart: read
            .host_config
            .restart_policy
            .map(|policy| policy.name)
            .unwrap_or_default(),
    })
}

impl DockerRuntime {
    /// The containers that do not run. One that cannot be read is left out: nobody starts what is not known.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn ended(&self) -> Result<Vec<Ended>, RuntimeError> {
        let shared = &self.shared;
        let version = shared.version().await?;
        let listed = shared.summaries(version, LISTING).await;
        let mut ended = Vec::new();
        for summary in listed.map_err(|problem| shared.error(problem))? {
            let path = format!("/v{version}/containers/{}/json", summary.id);
            match shared.client.get(&path, DOCUMENT_LIMIT).await {
                Ok(bytes) => ended.extend(parse(&bytes)),
                Err(gone @ RuntimeProblem::Unreachable(_)) => return Err(shared.error(gone)),
                Err(problem) => {
                    tracing::debug!(container = summary.id, %problem, "an ended container is not read")
                }
            }
        }
        Ok(ended)
    }

    /// Starts a container, through all that stands before its runtime.
    ///
    /// # Errors
    /// When it does not start; says what the daemon says.
    pub async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        let shared = &self.shared;
        let version = shared.version().await?;
        let patient = http::Client {
            timeout: START,
            ..shared.client.clone()
        };
        let answer = match is_container_id(id) {
            true => patient.post(&format!("/v{version}/containers/{id}/start")).await,
            false => Err(RuntimeProblem::Malformed {
                request: "a start".to_owned(),
                reason: "no container has such an id".to_owned(),
            }),
        };
        answer.map_err(|problem| shared.error(problem))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_counts_is_read_and_what_is_none_is_left_out() {
        let id = "a".repeat(64);
        let text = format!(
            r#"{{"Id":"{id}","State":{{"Error":"e","ExitCode":128}},"HostConfig":{{"RestartPolicy":{{"Name":"always","MaximumRetryCount":0}}}}}}"#
        );
        let read = parse(text.as_bytes()).unwrap();
        assert_eq!(
            (read.id, read.error.as_str(), read.restart.as_str()),
            (id, "e", "always")
        );
        for damaged in ["{}", r#"{"Id":"../x","State":{},"HostConfig":{}}"#, "["] {
            assert_eq!(parse(damaged.as_bytes()), None, "{damaged}");
        }
    }
}
