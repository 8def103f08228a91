//! The connection to a controller: one TLS side, whose certificate renews itself.

use std::sync::Arc;
use std::time::Duration;

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
/// A certificate is renewed when less than this is left.
const RENEW_BEFORE: i64 = 12 * 3_600;

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

    /// Renews the certificate, with the same key, for as long as the agent runs.
    pub(crate) async fn keep_renewed(&self, config: &Config, stop: CancellationToken) {
        loop {
            let due = Identity::load(&config.identity_file()).and_then(|identity| identity.not_after());
            match due {
                Ok(not_after) if not_after - jiff::Timestamp::now().as_second() < RENEW_BEFORE => {
                    if let Err(error) = self.renew(config).await {
                        tracing::warn!(%error, "the certificate was not renewed; trying again");
                    }
                }
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
