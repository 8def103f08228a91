//! Starting again what the gate refused for want of an answer: Docker tries no second time, not even after a boot.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use verger_agent_runtimes::docker::{DockerRuntime, Ended};
use verger_gate_protocol::WITHOUT_ANSWER;
use verger_policy::model::printable_within;

/// Between two attempts to ask a daemon that does not answer yet.
const RETRY: Duration = Duration::from_secs(2);

/// Starts them, each once, when the daemon answers. Each goes through the gate, and so is judged.
pub(crate) async fn start_again(docker: Arc<DockerRuntime>, stop: CancellationToken) {
    let starting = async {
        let ended = loop {
            match docker.ended().await {
                Ok(ended) => break ended,
                Err(error) => tracing::debug!(%error, "what ended cannot be listed yet"),
            }
            tokio::time::sleep(RETRY).await;
        };
        for one in ended.iter().filter(|one| is_to_run(one)) {
            match docker.start(&one.id).await {
                Ok(()) => tracing::info!(
                    container = one.id,
                    "started again: it was refused while nobody answered the gate"
                ),
                Err(error) => {
                    let error = printable_within(&error.to_string(), 400);
                    tracing::warn!(
                        container = one.id,
                        error,
                        "not started again, though it was refused while nobody answered the gate"
                    );
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => return,
        () = starting => {}
    }
    // A part of the agent that ends by itself has failed.
    stop.cancelled().await;
}

/// Whether Docker would have it run, and nothing but the agent's silence kept it from running.
fn is_to_run(ended: &Ended) -> bool {
    let by_itself = matches!(ended.restart.as_str(), "always" | "unless-stopped");
    by_itself && ended.error.contains("verger-gate: ") && ended.error.contains(WITHOUT_ANSWER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_for_want_of_an_answer_runs_and_nothing_else() {
        let unanswered = format!(
            "failed to create shim task: OCI runtime create failed: verger-gate: create refused: the policy agent is unreachable at /run/x (No such file or directory (os error 2)); {WITHOUT_ANSWER}: unknown"
        );
        let judged = "OCI runtime create failed: verger-gate: create refused: it is of no blessed workload; policy of epoch 7: …";
        for (error, restart, runs) in [
            (unanswered.as_str(), "always", true),
            (&unanswered, "unless-stopped", true),
            (&unanswered, "on-failure", false),
            (&unanswered, "no", false),
            (&unanswered, "", false),
            (judged, "always", false),
            ("", "always", false),
            (WITHOUT_ANSWER, "always", false),
        ] {
            let ended = Ended {
                id: "ab".to_owned(),
                error: error.to_owned(),
                restart: restart.to_owned(),
            };
            assert_eq!(is_to_run(&ended), runs, "{restart}: {error}");
        }
    }
}
