//! Calling the cluster.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, Interval};
use tonic::metadata::MetadataValue;
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

use crate::args::StaleArgs;
use crate::context::{self, Context};
use crate::output::note;
use crate::renewal;
use crate::sealed::Memory;
use crate::status::is_unreachable;

/// The largest answer that is taken in, bytes: a whole policy set with its bodies.
const ANSWER_BYTES: usize = 24 << 20;
/// A call that is not answered within this is given up.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// A member that has not answered a question by then is passed by, where there is another to ask: one that cannot tell what is current says
/// so within 5 s, and one that hangs never does.
const QUESTION_LIMIT: Duration = Duration::from_secs(7);
/// Says that an answer may be out of date: where a member cannot tell, it answers of what it knows.
const STALE_OK: &str = "verger-stale-ok";
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
    route: Mutex<Route>,
    /// The only controller that is asked, where it is to be one alone.
    only: Option<String>,
    /// What is asked may be answered of what a member knows, current or not.
    stale_ok: bool,
}

/// To whom the connection is.
struct Route {
    /// Which of the context's addresses.
    at: usize,
    channel: Channel,
}

/// Connects to the first of these addresses that answers, beginning with one of them.
async fn connected(client: &Arc<Client>, addresses: &[String], from: usize) -> Result<Route, ConnectError> {
    let mut failed = Err(ConnectError::NoAddress);
    for turn in 0..addresses.len() {
        let at = from.wrapping_add(turn) % addresses.len();
        match channel(Arc::clone(client), &addresses[at..=at]).await {
            Ok(channel) => return Ok(Route { at, channel }),
            Err(ConnectError::Unreachable { last, .. }) => {
                failed = Err(ConnectError::Unreachable {
                    addresses: addresses.join(", "),
                    last,
                });
            }
            other => failed = other.map(|channel| Route { at, channel }),
        }
    }
    failed
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
        let route = connected(&client, &context.addresses, 0).await?;
        renewal::keep(&mut context, &place, &client, &route.channel).await;
        Ok(Self {
            memory: Memory::beside(&place, context.cluster()),
            place,
            context,
            client,
            route: Mutex::new(route),
            only: None,
            stale_ok: false,
        })
    }

    /// Connects to one controller, with the certificate as it is. It alone is asked: what it does not answer, no other answers for it.
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
            route: Mutex::new(Route { at: 0, channel }),
            only: Some(address.to_owned()),
            stale_ok: false,
        })
    }

    /// Renews the certificate now.
    ///
    /// # Errors
    /// When the cluster gives none, or the context's file cannot be written.
    pub(crate) async fn renew(&mut self) -> anyhow::Result<()> {
        let channel = self.channel();
        renewal::renew(&mut self.context, &self.place, &self.client, &channel).await
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
        let channel = self.channel();
        renewal::keep(&mut self.context, &self.place, &self.client, &channel).await;
    }

    /// Whom it may ask.
    fn addresses(&self) -> &[String] {
        self.only
            .as_ref()
            .map_or(&self.context.addresses, std::slice::from_ref)
    }

    fn route(&self) -> MutexGuard<'_, Route> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn channel(&self) -> Channel {
        self.route().channel.clone()
    }

    /// Has everything that is asked answered also by who cannot tell whether it is current, where that is good enough, and says that it may
    /// not be.
    pub(crate) fn stale_ok(mut self, StaleArgs { stale_ok }: StaleArgs) -> Self {
        self.stale_ok = stale_ok;
        if stale_ok {
            note(
                "warning: what is shown may be out of date: the member that answers need not know whether it is current",
            );
        }
        self
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
        self.turn_to_the_next().await
    }

    /// Connects to the next controller that answers. Whoever was asked last may be there, and have nobody to decide anything with.
    pub(crate) async fn turn_to_the_next(&self) -> Result<(), ConnectError> {
        let next = self.route().at.wrapping_add(1);
        let route = connected(&self.client, self.addresses(), next).await?;
        *self.route() = route;
        Ok(())
    }

    pub(crate) fn policy(&self) -> PolicyServiceClient<Channel> {
        PolicyServiceClient::new(self.channel()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(crate) fn certificates(&self) -> CertificateServiceClient<Channel> {
        CertificateServiceClient::new(self.channel())
    }

    pub(crate) fn proposals(&self) -> ProposalServiceClient<Channel> {
        ProposalServiceClient::new(self.channel()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(crate) fn findings(&self) -> FindingsServiceClient<Channel> {
        FindingsServiceClient::new(self.channel()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel()).max_decoding_message_size(ANSWER_BYTES)
    }

    pub(crate) fn members(&self) -> MemberServiceClient<Channel> {
        MemberServiceClient::new(self.channel())
    }

    pub(crate) fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.channel()).max_decoding_message_size(ANSWER_BYTES)
    }

    /// Asks what changes nothing. Who does not answer, or cannot tell what is current, is passed by: each controller of the context is asked,
    /// and the first once more.
    ///
    /// # Errors
    /// The answer, or that nobody gave one.
    pub(crate) async fn ask<M: Clone, T>(
        &self,
        question: M,
        ask: impl AsyncFn(&Self, Request<M>) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let others = self.addresses().len().saturating_sub(1);
        for _ in 0..others {
            let asked =
                tokio::time::timeout(QUESTION_LIMIT, ask(self, self.question(question.clone()))).await;
            match asked {
                Ok(Err(status)) if is_unreachable(&status) => {}
                Ok(other) => return other,
                Err(_) => {}
            }
            // Where nobody answers, the last is asked as long as any call is.
            let _ = self.turn_to_the_next().await;
        }
        let answer = ask(self, self.question(question.clone())).await;
        match answer {
            // It may have been one that is gone.
            Err(status) if others > 0 && is_unreachable(&status) => {
                let _ = self.turn_to_the_next().await;
                ask(self, self.question(question)).await
            }
            answer => answer,
        }
    }

    fn question<M>(&self, message: M) -> Request<M> {
        let mut request = call(message);
        if self.stale_ok {
            request
                .metadata_mut()
                .insert(STALE_OK, MetadataValue::from_static("1"));
        }
        request
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
            let is_unknown = is_unreachable(&status);
            let error = anyhow::Error::from(status);
            if is_unknown {
                // The last answer speaks of its own attempt alone.
                error.context(format!(
                    "whether one of {ATTEMPTS} attempts made the change is not known; look before you try again"
                ))
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
    #![allow(clippy::unwrap_used)]

    use std::cell::Cell;

    use tonic::transport::Endpoint;
    use verger_transport::{Authority, Identity, KeyPair, Purpose, SpiffeId, certificate_pem};

    use super::*;

    const NOBODY: [&str; 2] = ["127.0.0.1:1", "127.0.0.1:2"];

    /// With two addresses at which nobody is.
    fn session(only: Option<&str>) -> Session {
        let folder = tempfile::tempdir().unwrap();
        let id = "0".repeat(64);
        let members = Authority::create(folder.path(), Purpose::Members, &id).unwrap();
        let people = Authority::create(folder.path(), Purpose::People, &id).unwrap();
        let key = KeyPair::generate().unwrap();
        let person = SpiffeId {
            cluster: id.clone(),
            peer: "person/ann".parse().unwrap(),
        };
        let issued = people.issue(&key.request().unwrap(), &person, Duration::from_secs(3_600), &[]);
        let person = Identity::new(issued.unwrap().chain, &key);
        let context = serde_json::json!({
            "clusterId": id, "addresses": NOBODY, "memberCas": [certificate_pem(members.certificate())],
            "certificate": person.chain_pem(), "key": person.key_pem(), "person": "ann",
        });
        let context: Context = serde_json::from_value(context).unwrap();
        let authorities = context.authorities().unwrap();
        let client = Client::new(&id, &context.identity().unwrap(), &authorities).unwrap();
        Session {
            memory: Memory::beside(folder.path(), context.cluster()),
            place: folder.path().to_owned(),
            context,
            client: Arc::new(client),
            route: Mutex::new(Route {
                at: 0,
                channel: Endpoint::from_static("https://127.0.0.1:1").connect_lazy(),
            }),
            only: only.map(str::to_owned),
            stale_ok: false,
        }
    }

    /// Asks; each question is answered by what its number gives, or never.
    async fn asked(session: &Session, answer: impl Fn(u32) -> Option<Result<(), Status>>) -> (u32, bool) {
        let asked = Cell::new(0);
        let result = session
            .ask((), async |_, _| {
                asked.set(asked.get() + 1);
                match answer(asked.get()) {
                    Some(answer) => answer,
                    None => std::future::pending().await,
                }
            })
            .await;
        (asked.get(), result.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_is_asked_once_more_whether_the_others_refused_or_hung() {
        let session = session(None);
        let away = || Some(Err(Status::unavailable("no quorum")));
        for first in [None, away()] {
            let answer = |number| match number {
                1 => first.clone(),
                2 => away(),
                _ => Some(Ok(())),
            };
            assert_eq!(asked(&session, answer).await, (3, true), "{first:?}");
        }
        assert_eq!(asked(&session, |_| away()).await, (3, false));
        let answered = |_| Some(Err(Status::not_found("there is none")));
        assert_eq!(asked(&session, answered).await, (1, false));
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_the_last_attempt_was_told_is_said_of_all_of_them() {
        for (answer, is_unknown, attempts) in [
            (Status::unavailable("the change was not made"), true, ATTEMPTS),
            (Status::not_found("there is none"), false, 1),
        ] {
            let asked = Cell::new(0);
            let mut session = session(None);
            let answered = session.insist(|_| {
                asked.set(asked.get() + 1);
                std::future::ready(Err::<(), _>(answer.clone()))
            });
            let error = format!("{:#}", answered.await.unwrap_err());
            assert_eq!(error.contains("is not known"), is_unknown, "{error}");
            assert_eq!(asked.get(), attempts);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_one_alone_is_asked_no_other_answers_for_it() {
        let session = session(Some(NOBODY[1]));
        assert_eq!(session.addresses(), [NOBODY[1]]);
        let away = |_| Some(Err(Status::unavailable("no quorum")));
        assert_eq!(asked(&session, away).await, (1, false));
        let error = session.turn_to_the_next().await.unwrap_err().to_string();
        assert!(
            error.contains(NOBODY[1]) && !error.contains(&format!("{},", NOBODY[0])),
            "{error}"
        );
        // What is kept of the context is whole.
        assert_eq!(session.context().addresses, NOBODY);
    }

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
