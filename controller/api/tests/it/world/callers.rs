//! Callers, what they say on streams, and what they are told.

use std::fmt::Debug;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;
use verger_policy::finding::Transition;
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::connect_request::Message as Up;
use verger_proto::agent::v1::connect_response::Message as Down;
use verger_proto::agent::v1::enrolment_service_client::EnrolmentServiceClient;
use verger_proto::agent::v1::session_service_client::SessionServiceClient;
use verger_proto::cluster::v1 as audit;
use verger_proto::cluster::v1::audit_service_client::AuditServiceClient;
use verger_proto::cluster::v1::certificate_service_client::CertificateServiceClient;
use verger_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use verger_proto::cluster::v1::join_service_client::JoinServiceClient;
use verger_proto::cluster::v1::login_service_client::LoginServiceClient;
use verger_proto::cluster::v1::member_service_client::MemberServiceClient;
use verger_proto::findings::v1::findings_service_client::FindingsServiceClient;
use verger_proto::policy::v1::policy_service_client::PolicyServiceClient;
use verger_proto::policy::v1::proposal_service_client::ProposalServiceClient;

use super::World;

/// How long an answer may take, on the paused clock.
const ANSWER: Duration = Duration::from_secs(60);

/// Waits for an answer, and fails instead of waiting for ever.
pub(crate) async fn soon<T>(answer: impl Future<Output = T>) -> T {
    timeout(ANSWER, answer).await.expect("an answer comes")
}

/// Somebody, with a connection.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) Channel);

impl Caller {
    pub(crate) fn policy(&self) -> PolicyServiceClient<Channel> {
        PolicyServiceClient::new(self.0.clone()).max_decoding_message_size(usize::MAX)
    }

    pub(crate) fn proposals(&self) -> ProposalServiceClient<Channel> {
        ProposalServiceClient::new(self.0.clone())
    }

    pub(crate) fn cluster(&self) -> ClusterServiceClient<Channel> {
        ClusterServiceClient::new(self.0.clone())
    }

    pub(crate) fn members(&self) -> MemberServiceClient<Channel> {
        MemberServiceClient::new(self.0.clone())
    }

    pub(crate) fn joining(&self) -> JoinServiceClient<Channel> {
        JoinServiceClient::new(self.0.clone())
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.0.clone())
    }

    pub(crate) fn certificates(&self) -> CertificateServiceClient<Channel> {
        CertificateServiceClient::new(self.0.clone())
    }

    pub(crate) fn login(&self) -> LoginServiceClient<Channel> {
        LoginServiceClient::new(self.0.clone())
    }

    pub(crate) fn findings(&self) -> FindingsServiceClient<Channel> {
        FindingsServiceClient::new(self.0.clone())
    }

    pub(crate) fn session(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.0.clone()).max_decoding_message_size(usize::MAX)
    }

    pub(crate) fn enrolment(&self) -> EnrolmentServiceClient<Channel> {
        EnrolmentServiceClient::new(self.0.clone())
    }

    /// Opens a policy session and says nothing yet.
    pub(crate) async fn connect(&self) -> Result<Talk, Status> {
        let (say, said) = mpsc::channel(16);
        let answers = self.session().connect(ReceiverStream::new(said)).await?;
        Ok(Talk {
            say,
            answers: answers.into_inner(),
        })
    }

    /// Opens a policy session of an agent that holds this.
    pub(crate) async fn hello(&self, held: (u64, bytes::Bytes)) -> Talk {
        let talk = self.connect().await.unwrap();
        talk.hello(held).await;
        talk
    }

    /// Opens a stream of findings.
    pub(crate) async fn report(&self) -> Result<Reporter, Status> {
        let (say, said) = mpsc::channel(16);
        let answers = self.session().report(ReceiverStream::new(said)).await?;
        let mut reporter = Reporter {
            say,
            answers: answers.into_inner(),
            held: 0,
            chain: bytes::Bytes::new(),
        };
        reporter.held = reporter.answer().await?;
        Ok(reporter)
    }
}

/// A policy session, seen from the agent.
pub(crate) struct Talk {
    say: mpsc::Sender<pb::ConnectRequest>,
    answers: Streaming<pb::ConnectResponse>,
}

impl Talk {
    pub(crate) async fn say(&self, message: Up) {
        let message = pb::ConnectRequest {
            message: Some(message),
        };
        self.say.send(message).await.expect("the session is open");
    }

    /// Says that the agent is there.
    pub(crate) async fn alive(&self) {
        self.say(Up::Alive(pb::Alive {})).await;
    }

    /// Sends a message with nothing in it.
    pub(crate) async fn say_nothing(&self) {
        let message = pb::ConnectRequest { message: None };
        self.say.send(message).await.expect("the session is open");
    }

    /// Says what the agent holds.
    pub(crate) async fn hello(&self, (epoch, root): (u64, bytes::Bytes)) {
        self.say(Up::Hello(pb::Hello {
            epoch,
            root,
            agent_version: "1.2.3".to_owned(),
            machine: Default::default(),
        }))
        .await;
    }

    /// The next message, whatever it is.
    pub(crate) async fn next(&mut self) -> Result<pb::ConnectResponse, Status> {
        let next = soon(self.answers.message()).await;
        next.map(|message| message.expect("the session goes on"))
    }

    /// The next message, if there is one without anything more happening.
    pub(crate) async fn there(&mut self) -> Option<Down> {
        let next = timeout(Duration::from_millis(1), self.answers.message())
            .await
            .ok()?;
        next.unwrap().expect("the session goes on").message
    }

    /// How the session ends; heartbeats before that do not count.
    pub(crate) async fn end(&mut self) -> Status {
        for _ in 0..8 {
            if let Err(status) = self.next().await {
                return status;
            }
        }
        panic!("the session goes on");
    }

    /// The next set, with its nonce.
    pub(crate) async fn set(&mut self) -> (u64, pb::SetUpdate) {
        for _ in 0..4 {
            let pb::ConnectResponse { nonce, message } = self.next().await.unwrap();
            if let Some(Down::Set(update)) = message {
                return (nonce, update);
            }
        }
        panic!("no set was offered");
    }

    /// Asserts that nothing but heartbeats comes in the next half minute.
    pub(crate) async fn is_quiet(&mut self) {
        for _ in 0..6 {
            let message = self.next().await.unwrap().message;
            assert!(matches!(message, Some(Down::Heartbeat(_))), "{message:?}");
        }
    }

    /// Says nothing more.
    pub(crate) fn fall_silent(self) -> Streaming<pb::ConnectResponse> {
        self.answers
    }

    /// Refuses what was offered.
    pub(crate) async fn nack(&self, nonce: u64, reason: &str, detail: &str) {
        self.say(Up::Nack(pb::Nack {
            nonce,
            reason: reason.to_owned(),
            detail: detail.to_owned(),
        }))
        .await;
    }

    /// Accepts what was offered.
    pub(crate) async fn ack(&self, nonce: u64, (epoch, root): (u64, bytes::Bytes)) {
        self.say(Up::Ack(pb::Ack { nonce, epoch, root })).await;
    }
}

/// A stream of findings, seen from the agent.
pub(crate) struct Reporter {
    say: mpsc::Sender<pb::ReportRequest>,
    answers: Streaming<pb::ReportResponse>,
    /// What the member held when the stream was opened.
    pub(crate) held: u64,
    /// The member's chain, as it said it last.
    pub(crate) chain: bytes::Bytes,
}

impl Reporter {
    /// Sends a message and waits for its answer.
    pub(crate) async fn send(&mut self, message: pb::ReportRequest) -> Result<u64, Status> {
        self.send_ahead(message).await;
        self.answer().await
    }

    /// Sends a message and waits for nothing.
    pub(crate) async fn send_ahead(&self, message: pb::ReportRequest) {
        self.say.send(message).await.expect("the stream is open");
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> Result<u64, Status> {
        let answer = soon(self.answers.message()).await?;
        let pb::ReportResponse { acknowledged, chain } = answer.expect("the stream goes on");
        self.chain = chain;
        Ok(acknowledged)
    }

    /// Sends transitions numbered from `first` and waits for the answer.
    pub(crate) async fn tell(&mut self, first: u64, transitions: &[Transition]) -> Result<u64, Status> {
        self.send(super::batch(first, transitions)).await
    }
}

/// The stable reason of a refusal; empty if it has none.
pub(crate) fn reason(status: &Status) -> String {
    status
        .get_details_error_info()
        .map(|info| info.reason)
        .unwrap_or_default()
}

/// The paths of the fields a refusal names.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    let request = status.get_details_bad_request();
    let violations = request
        .map(|request| request.field_violations)
        .unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}

/// Asserts that an answer is this refusal.
#[track_caller]
pub(crate) fn refused<T: Debug>(answer: Result<T, Status>, code: Code, why: &str) -> Status {
    let status = answer.expect_err("this must be refused");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (code, why),
        "{status:?}"
    );
    status
}

/// What the audit says of refused calls.
pub(crate) async fn denied(world: &World) -> Vec<audit::AuditEntry> {
    let request = audit::ListRequest {
        filter: Some(audit::AuditFilter {
            action: "denied".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let answer = world.ada().audit().list(request).await.unwrap().into_inner();
    answer.rows.into_iter().map(|row| row.entry.unwrap()).collect()
}
