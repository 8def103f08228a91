//! Asking to be enrolled; where a person has to approve this host, until one has.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tonic::{Code, Status};
use verger_policy::digest::Digest;
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::enrolment_service_client::EnrolmentServiceClient;
use verger_transport::{Authority, Client, ConnectError, JoinCommand, channel};

/// Between two questions whether somebody has approved.
const AGAIN: Duration = Duration::from_secs(2);

/// Why an attempt came to nothing.
#[derive(Debug)]
enum Failed {
    /// Nobody answered: somebody may, the next time.
    Unreached(ConnectError),
    /// It was answered.
    Refused(Status),
}

impl Failed {
    /// Whether whoever waits asks again: a controller may be stopped and started meanwhile.
    fn is_over_soon(&self) -> bool {
        match self {
            Self::Unreached(_) => true,
            Self::Refused(status) => matches!(
                status.code(),
                Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded
            ),
        }
    }
}

impl From<Failed> for anyhow::Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Unreached(error) => error.into(),
            Failed::Refused(status) => anyhow::anyhow!("the controller refused: {}", status.message()),
        }
    }
}

/// Asks until the host is let in or refused; of a host that has to be approved, for as long as `limit`.
///
/// # Errors
/// When the controllers refuse or cannot be reached, or nobody has approved in time: then the same command goes on waiting.
pub(super) async fn ask(
    command: &JoinCommand,
    request: &pb::EnrolRequest,
    limit: Duration,
) -> anyhow::Result<pb::EnrolResponse> {
    let client = Arc::new(Client::pinned(&command.cluster_id, &command.ca_pin)?);
    let began = Instant::now();
    let mut is_waiting = false;
    loop {
        match attempt(&client, command, request).await {
            Ok(response) if !response.waiting => return Ok(response),
            Ok(_) if !is_waiting => {
                is_waiting = true;
                tell(command, request)?;
            }
            Ok(_) => {}
            Err(failed) if is_waiting && failed.is_over_soon() => {
                tracing::info!(why = %anyhow::Error::from(failed), "no answer; asking again");
            }
            Err(failed) => return Err(failed.into()),
        }
        anyhow::ensure!(
            began.elapsed() < limit,
            "nobody has approved this host yet: run the same command again to go on waiting; its key is kept"
        );
        tokio::time::sleep(AGAIN.min(limit)).await;
    }
}

async fn attempt(
    client: &Arc<Client>,
    command: &JoinCommand,
    request: &pb::EnrolRequest,
) -> Result<pb::EnrolResponse, Failed> {
    let channel = channel(Arc::clone(client), std::slice::from_ref(&command.enrol_address))
        .await
        .map_err(Failed::Unreached)?;
    let answer = EnrolmentServiceClient::new(channel).enrol(request.clone()).await;
    Ok(answer.map_err(Failed::Refused)?.into_inner())
}

/// Says what a person has to compare before this host is let in.
fn tell(command: &JoinCommand, request: &pb::EnrolRequest) -> anyhow::Result<()> {
    let key = Authority::key_digest(&request.csr).context("the key that was just made")?;
    let (agent, key) = (&command.agent, Digest::from_bytes(key));
    writeln!(
        std::io::stdout(),
        "This host waits until a person approves it. Its key is\n  {key}\nWhoever approves it compares the key, and runs\n  verger hosts {agent} --approve --key {key}"
    )?;
    Ok(())
}
