//! Calling the cluster.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, Interval};
use tonic::transport::Channel;
use tonic::{Request, Status};
use verger_proto::cluster::v1::audit_service_client::AuditServiceClient;
use verger_proto::cluster::v1::certificate_service_client::CertificateServiceClient;
use verger_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use verger_proto::cluster::v1::member_service_client::MemberServiceClient;
use verger_proto::findings::v1::findings_service_client::FindingsServiceClient;
use verger_proto::policy::v1::policy_service_client::PolicyServiceClient;
use verger_proto::policy::v1::proposal_service_client::ProposalServiceClient;
use verger_transport::{Client, ConnectError, channel};

use crate::context::{self, Context};
use crate::renewal;
use crate::sealed::Memory;
use crate::status::is_unreachable;

/// The largest answer that is taken in, bytes: a whole policy set with its bodies.
const ANSWER_BYTES: usize = 24 << 20;
/// A call that is not answered within this is given up.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// How often a program that runs for long looks whether the certificate is to be renewed.
const RENEW_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// How often a change is offered again when nobody answers.
const ATTEMPTS: u32 = 6;

/// The bound of the first wait between two attempts, milliseconds.
const FIRST_WAIT: u64 = 200;
/// The longest one, milliseconds.
const LONGEST_WAIT: u64 = 5_000;

/// A context with a connection to one of its controllers.
pub(crate) struct Session {
    context: Context,
    place: PathBuf,
    memory: Memory,
    client: Arc<Client>,
    channel: Channel,
}

impl Session {
    /// Connects to the first controller that answers.
    ///
    /// # Errors
    /// When there is no usable context, or no controller answers.
    pub(crate) async fn open(named: Option<&Path>) -> anyhow::Result<Self> {
        let place = context::place(named)?;
        let mut context = Context::load(&place)?;
        if context.login.is_some() {
            renewal::refuse_ended(&context)?;
        }
        let client = Client::new(&context.cluster_id, &context.identity()?, &context.authorities()?)
            .context("the context's certificates cannot be used")?;
        let client = Arc::new(client);
        let channel = channel(Arc::clone(&client), &context.addresses).await?;
        renewal::keep(&mut context, &place, &client, &channel).await;
        Ok(Self {
            memory: Memory::beside(&place, context.cluster()),
            place,
            context,
            client,
            channel,
        })
    }

    /// Connects to one controller, with the certificate as it is.
    ///
    /// # Errors
    /// When there is no usable context, or that controller does not answer.
    pub(crate) async fn at(named: Option<&Path>, address: &str) -> anyhow::Result<Self> {
        let place = context::place(named)?;
        let context = Context::load(&place)?;
        let client = Client::new(&context.cluster_id, &context.identity()?, &context.authorities()?)
            .context("the context's certificates cannot be used")?;
        let client = Arc::new(client);
        let channel = channel(Arc::clone(&client), &[address.to_owned()]).await?;
        Ok(Self {
            memory: Memory::beside(&place, context.cluster()),
            place,
            context,
            client,
            channel,
        })
    }

    /// Renews the certificate now.
    ///
    /// # Errors
    /// When the cluster gives none, or the context's file cannot be written.
    pub(crate) async fn renew(&mut self) -> anyhow::Result<()> {
        renewal::renew(&mut self.context, &self.place, &self.client, &self.channel).await
    }

    /// The context it was opened with.
    pub(crate) const fn context(&self) -> &Context {
        &self.context
    }

    /// The file of the context.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// What this person saw of the cluster's set before.
    pub(crate) const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// When a program that runs for long is to [keep the certificate renewed](Self::keep_renewed). A connection ends with the
    /// certificate that it was made with; the next one is made with the newer.
    pub(crate) fn renewals() -> Interval {
        tokio::time::interval_at(Instant::now() + RENEW_EVERY, RENEW_EVERY)
    }

    /// Renews the certificate if it is time to.
    pub(crate) async fn keep_renewed(&mut self) {
        renewal::reload(&mut self.context, &self.place, &self.client);
        renewal::keep(&mut self.context, &self.place, &self.client, &self.channel).await;
    }

    /// As [`Self::reconnect`], for as long as nobody answers; the certificate is kept renewed.
    ///
    /// # Errors
    /// When the certificate has ended meanwhile: then nobody will answer.
    pub(crate) async fn insist_on_reconnecting(&mut self, waits: &mut Waits) -> anyhow::Result<()> {
        loop {
            waits.next().await;
            let connected = self.reconnect().await;
            // After another run's certificate was taken over.
            renewal::refuse_ended(&self.context)?;
            if connected.is_ok() {
                self.keep_renewed().await;
                return Ok(());
            }
        }
    }

    /// Connects again, to whichever controller answers now, with the certificate that another run may have renewed.
    ///
    /// # Errors
    /// When none does.
    pub(crate) async fn reconnect(&mut self) -> Result<(), ConnectError> {
        renewal::reload(&mut self.context, &self.place, &self.client);
        // Whoever was asked last may be there, and have nobody to decide anything with.
        if !self.context.addresses.is_empty() {
            self.context.addresses.rotate_left(1);
        }
        self.channel = channel(Arc::clone(&self.client), &self.context.addresses).await?;
        Ok(())
    }

    pub(crate) fn policy(&self) -> PolicyServiceClient<Channel> {
        PolicyServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(crate) fn certificates(&self) -> CertificateServiceClient<Channel> {
        CertificateServiceClient::new(self.channel.clone())
    }

    pub(crate) fn proposals(&self) -> ProposalServiceClient<Channel> {
        ProposalServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(crate) fn findings(&self) -> FindingsServiceClient<Channel> {
        FindingsServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(crate) fn members(&self) -> MemberServiceClient<Channel> {
        MemberServiceClient::new(self.channel.clone())
    }

    pub(crate) fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    /// Offers a change until somebody answers. `attempt` must make the same request each time, request id included: then
    /// a change whose first answer was lost is not made twice.
    ///
    /// # Errors
    /// The answer, or that nobody answered.
    pub(crate) async fn insist<T, F>(&mut self, mut attempt: impl FnMut(&Self) -> F) -> anyhow::Result<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let mut waits = Waits::new();
        for _ in 1..ATTEMPTS {
            match attempt(self).await {
                Err(status) if is_unreachable(&status) => waits.next().await,
                other => return Ok(other?),
            }
            // Who cannot be reached now may be at the next attempt.
            let _ = self.reconnect().await;
        }
        attempt(self).await.map_err(|status| {
            let unknown = is_unreachable(&status);
            let error = anyhow::Error::from(status);
            if unknown {
                error.context("whether the change was made is not known; look before you try again")
            } else {
                error
            }
        })
    }
}

/// A call with a limit.
pub(crate) fn call<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_LIMIT);
    request
}

/// A new request id.
pub(crate) fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The waits of one series of attempts: each evenly spread below a bound that doubles, so that many who wait do not come
/// back at once.
pub(crate) struct Waits {
    attempt: u32,
}

impl Waits {
    pub(crate) const fn new() -> Self {
        Self { attempt: 0 }
    }

    /// Waits before the next attempt.
    pub(crate) async fn next(&mut self) {
        let mut random = [0; 8];
        // Without randomness the longest wait is as good.
        let random = getrandom::fill(&mut random).map_or(u64::MAX, |()| u64::from_le_bytes(random));
        let bound = self.bound();
        self.attempt = self.attempt.saturating_add(1);
        tokio::time::sleep(Duration::from_millis(random % (bound + 1))).await;
    }

    /// Milliseconds.
    fn bound(&self) -> u64 {
        (FIRST_WAIT << self.attempt.min(16)).min(LONGEST_WAIT)
    }

    /// Begins again, after a success.
    pub(crate) const fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_again() {
        let mut waits = Waits { attempt: 0 };
        let mut bounds = Vec::new();
        for attempt in 0..100 {
            waits.attempt = attempt;
            bounds.push(waits.bound());
        }
        assert!(bounds.is_sorted() && bounds[0] == FIRST_WAIT && bounds[99] == LONGEST_WAIT);
        waits.reset();
        assert_eq!(waits.bound(), FIRST_WAIT);
    }
}
