//! The connection to a controller: one TLS side, whose certificate renews itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::session_service_client::SessionServiceClient;
use verger_transport::{Client, ConnectError, Identity};

use crate::config::Config;
use crate::enrolment::Enrolment;

/// The largest message taken from a controller, bytes: a whole set with the bodies of this host.
const MESSAGE_BYTES: usize = 256 << 20;
/// How often the certificate's age is looked at, and a failed renewal tried again.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A certificate is renewed at this age, and when less than this is left of its life.
const RENEW_AFTER: Duration = Duration::from_secs(12 * 3_600);
/// One that was just renewed is not renewed again, whatever this host's clock says of its end.
const RENEW_EVERY: Duration = Duration::from_secs(3_600);

/// How to reach the cluster.
pub(crate) struct Controllers {
    client: Arc<Client>,
    addresses: Vec<String>,
}

impl Controllers {
    pub(crate) fn new(enrolment: &Enrolment, config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            client: Arc::new(enrolment.client(config)?),
            addresses: enrolment.controllers.clone(),
        })
    }

    pub(crate) async fn connect(&self) -> Result<SessionServiceClient<Channel>, ConnectError> {
        let channel = verger_transport::channel(Arc::clone(&self.client), &self.addresses).await?;
        Ok(SessionServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES))
    }

    /// Renews the certificate, with the same key: at once, and for as long as the agent runs. At once, because a clock that is
    /// behind would find an ended certificate good.
    pub(crate) async fn keep_renewed(&self, config: &Config, stop: CancellationToken) {
        let mut renewed: Option<Instant> = None;
        loop {
            let left = Identity::load(&config.identity_file())
                .and_then(|identity| identity.not_after())
                .map(|not_after| not_after.saturating_sub(jiff::Timestamp::now().as_second()));
            match left {
                Ok(left) if is_due(renewed.map(|at| at.elapsed()), left) => match self.renew(config).await {
                    Ok(()) => renewed = Some(Instant::now()),
                    Err(error) => {
                        tracing::warn!(%error, "the certificate was not renewed; trying again");
                    }
                },
                Ok(_) => {}
                Err(error) => tracing::error!(%error, "the agent's certificate cannot be read"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn renew(&self, config: &Config) -> anyhow::Result<()> {
        let key = Identity::load(&config.identity_file())?.key()?;
        let request = pb::RenewRequest {
            csr: key.request()?.into(),
        };
        let pb::RenewResponse { chain, not_after: _ } =
            self.connect().await?.renew(request).await?.into_inner();
        let identity = Identity::new(chain.into_iter().map(Into::into).collect(), &key);
        identity.save(&config.identity_file())?;
        self.client.replace(&identity)?;
        tracing::info!("the certificate was renewed");
        Ok(())
    }
}

/// By the time since the last renewal of this run, and the seconds left by this host's clock.
fn is_due(since: Option<Duration>, left: i64) -> bool {
    let half = i64::try_from(RENEW_AFTER.as_secs()).unwrap_or(i64::MAX);
    match since {
        None => true,
        Some(since) => since >= RENEW_AFTER || (since >= RENEW_EVERY && left < half),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_start_by_age_and_by_its_end_and_not_over_and_over() {
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3_600));
        assert!(is_due(None, 24 * 3_600));
        assert!(!is_due(hours(0), 24 * 3_600));
        // A clock years ahead.
        assert!(!is_due(hours(0), i64::MIN) && is_due(hours(1), i64::MIN));
        assert!(is_due(hours(2), 11 * 3_600) && !is_due(hours(2), 13 * 3_600));
        // A clock years behind.
        assert!(is_due(hours(12), i64::MAX));
    }
}
