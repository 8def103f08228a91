//! The table of errors, as programs rely on it.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use verger_controller_api::ports::Unavailable;
use verger_controller_state::{Action, ClusterVersion, InvalidCommand, Refused, Response};
use verger_policy::digest::Digest;
use verger_proto::agent::v1 as apb;
use verger_proto::cluster::v1 as cpb;
use verger_proto::findings::v1 as fpb;
use verger_proto::policy::v1 as pb;
use verger_transport::JoinToken;

use crate::world::{World, reason, refused, request_of, start, workload};

/// Every refusal of the log, with the code and the reason it is told by. By name, so that a new one is not forgotten here.
fn told(refusal: &Refused) -> (Code, &'static str) {
    match refusal {
        Refused::AlreadyFounded(_) => (Code::AlreadyExists, "ALREADY_FOUNDED"),
        Refused::NotFounded => (Code::FailedPrecondition, "NOT_FOUNDED"),
        Refused::TrustRoot(_) => (Code::InvalidArgument, "TRUST_ROOT_REFUSED"),
        Refused::EpochConflict { .. } => (Code::Aborted, "EPOCH_CONFLICT"),
        Refused::Set(_) => (Code::InvalidArgument, "SET_REFUSED"),
        Refused::Seal { .. } => (Code::PermissionDenied, "SEAL_REFUSED"),
        Refused::TokenAlreadyCreated(_) => (Code::AlreadyExists, "TOKEN_ALREADY_CREATED"),
        Refused::RequestIdReused => (Code::AlreadyExists, "REQUEST_ID_REUSED"),
        Refused::Stamp { .. } => (Code::PermissionDenied, "STAMP_REFUSED"),
        Refused::SealComplete => (Code::FailedPrecondition, "SEAL_COMPLETE"),
        Refused::NoSuchProposal(_) => (Code::NotFound, "NO_SUCH_PROPOSAL"),
        Refused::TooManyProposals => (Code::ResourceExhausted, "TOO_MANY_PROPOSALS"),
        Refused::TooManyTokens => (Code::ResourceExhausted, "TOO_MANY_TOKENS"),
        Refused::TooManyLogins(_) => (Code::ResourceExhausted, "TOO_MANY_LOGINS"),
        Refused::LoginTaken(_) => (Code::PermissionDenied, "LOGIN_TAKEN"),
        Refused::LoginRevoked(_) => (Code::PermissionDenied, "LOGIN_REVOKED"),
        Refused::LoginStale => (Code::PermissionDenied, "LOGIN_STALE"),
        Refused::LoginOver => (Code::FailedPrecondition, "LOGIN_OVER"),
        Refused::LoginName => (Code::InvalidArgument, "LOGIN_NAME"),
        Refused::NoBreakGlass(_) => (Code::NotFound, "NO_BREAK_GLASS"),
        Refused::MemberNameTaken(_) => (Code::AlreadyExists, "MEMBER_NAME_TAKEN"),
        Refused::TooManyMembers(_) => (Code::ResourceExhausted, "TOO_MANY_MEMBERS"),
        Refused::VersionNewer { .. } => (Code::FailedPrecondition, "CLUSTER_VERSION_NEWER"),
        Refused::MemberJoins(_) => (Code::FailedPrecondition, "MEMBER_JOINS"),
        Refused::Token => (Code::PermissionDenied, "TOKEN_REFUSED"),
        Refused::Rejected => (Code::PermissionDenied, "REJECTED"),
        Refused::NotWaiting => (Code::NotFound, "NOT_WAITING"),
        Refused::OtherKey(_) => (Code::PermissionDenied, "OTHER_KEY"),
        Refused::CopiedIdentity(_) => (Code::PermissionDenied, "COPIED_IDENTITY"),
        Refused::NoMachine(_) => (Code::PermissionDenied, "NO_MACHINE"),
        Refused::Evicted(_) => (Code::PermissionDenied, "EVICTED"),
        Refused::Banned { .. } => (Code::PermissionDenied, "BANNED"),
        Refused::NotBanned(_) => (Code::FailedPrecondition, "NOT_BANNED"),
        Refused::NotRevoked(_) => (Code::FailedPrecondition, "NOT_REVOKED"),
        Refused::UnknownAgent => (Code::PermissionDenied, "UNKNOWN_AGENT"),
        Refused::SequenceGap { .. } => (Code::OutOfRange, "SEQUENCE_GAP"),
        Refused::ForgedFinding => (Code::InvalidArgument, "FORGED_FINDING"),
        Refused::ForgedHead(_) => (Code::InvalidArgument, "FORGED_HEAD"),
        Refused::NoSuchFinding => (Code::NotFound, "NO_SUCH_FINDING"),
        Refused::Invalid(_) => (Code::InvalidArgument, "INVALID_COMMAND"),
    }
}

fn refusals() -> Vec<Refused> {
    vec![
        Refused::AlreadyFounded(Digest::of(b"root")),
        Refused::NotFounded,
        Refused::TrustRoot("no key".to_owned()),
        Refused::EpochConflict {
            expected: 1,
            current: 2,
        },
        Refused::Set("twice".to_owned()),
        Refused::Seal {
            word: "wrong-key",
            detail: "nobody's".to_owned(),
        },
        Refused::TokenAlreadyCreated("t".to_owned()),
        Refused::RequestIdReused,
        Refused::Stamp {
            word: "w",
            detail: "d".to_owned(),
        },
        Refused::SealComplete,
        Refused::NoSuchProposal(7),
        Refused::TooManyProposals,
        Refused::TooManyTokens,
        Refused::LoginTaken("bea".to_owned()),
        Refused::LoginRevoked("bea".to_owned()),
        Refused::LoginStale,
        Refused::LoginOver,
        Refused::LoginName,
        Refused::NoBreakGlass("bea".to_owned()),
        Refused::MemberNameTaken("m2".parse().unwrap()),
        Refused::TooManyMembers(1),
        Refused::VersionNewer {
            cluster: ClusterVersion::of(2),
            newest: ClusterVersion::FIRST,
        },
        Refused::MemberJoins("m2".parse().unwrap()),
        Refused::Token,
        Refused::Rejected,
        Refused::NotWaiting,
        Refused::OtherKey("h1".parse().unwrap()),
        Refused::CopiedIdentity("h1".parse().unwrap()),
        Refused::NoMachine("h1".parse().unwrap()),
        Refused::Evicted("h1".parse().unwrap()),
        Refused::Banned {
            agent: "h1".parse().unwrap(),
            reason: "hostile".to_owned(),
        },
        Refused::NotBanned("h1".parse().unwrap()),
        Refused::NotRevoked("bob".to_owned()),
        Refused::UnknownAgent,
        Refused::SequenceGap { expected: 3 },
        Refused::ForgedFinding,
        Refused::ForgedHead("it is of another host"),
        Refused::NoSuchFinding,
        Refused::Invalid(InvalidCommand::Undecodable),
        Refused::Invalid(InvalidCommand::TooLarge(1)),
        Refused::Invalid(InvalidCommand::Format(2)),
        Refused::Invalid(InvalidCommand::Field("stamp_ms")),
    ]
}

/// Every way to propose something, by the rpc that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Apply,
    Delete,
    CreateJoinToken,
    Ack,
    Enrol,
    Report,
}

impl Way {
    const ALL: [Self; 6] = [
        Self::Apply,
        Self::Delete,
        Self::CreateJoinToken,
        Self::Ack,
        Self::Enrol,
        Self::Report,
    ];

    async fn go(self, world: &World) -> Result<(), Status> {
        let ada = world.ada();
        match self {
            Self::Apply => {
                let request = world.change(&[workload("web", "a", 1)], &[]);
                ada.policy().apply(request).await.map(drop)
            }
            Self::Delete => {
                let request = pb::DeleteRequest {
                    request_id: world.request_id(),
                    key: Some(pb::ObjectKey {
                        kind: "Workload".to_owned(),
                        name: "web".to_owned(),
                    }),
                    ..Default::default()
                };
                ada.policy().delete(request).await.map(drop)
            }
            Self::CreateJoinToken => {
                let request = cpb::CreateJoinTokenRequest {
                    request_id: world.request_id(),
                    agent_id: "h2".to_owned(),
                    ttl_seconds: 0,
                    approval: false,
                };
                ada.cluster().create_join_token(request).await.map(drop)
            }
            Self::Ack => {
                let request = fpb::AckRequest {
                    request_id: world.request_id(),
                    uid: world.fault("user").uid.to_string(),
                    note: "known".to_owned(),
                };
                ada.findings().ack(request).await.map(drop)
            }
            Self::Enrol => {
                let request = apb::EnrolRequest {
                    token: token().reveal().to_string(),
                    csr: request_of("k"),
                    agent_id: "h2".to_owned(),
                    machine: Default::default(),
                };
                world.caller("").enrolment().enrol(request).await.map(drop)
            }
            Self::Report => {
                let mut reporter = world.caller("agent/h1").report().await?;
                reporter.tell(1, &[]).await.map(drop)
            }
        }
    }
}

fn token() -> JoinToken {
    JoinToken::from_random([9; 40])
}

/// With an agent and its finding, and a token for another.
fn world() -> World {
    let world = World::founded();
    world.run(Action::CreateToken {
        id: token().id().to_owned(),
        secret_hash: Digest::from_bytes(token().secret_hash()),
        agent: "h2".parse().unwrap(),
        expires: start() + jiff::SignedDuration::from_secs(600),
        approval: false,
    });
    world.enrol(&["h1"]);
    world.log.run(&world.ingestion("h1", vec![world.fault("user")]));
    world
}

#[tokio::test(start_paused = true)]
async fn every_refusal_of_the_log_has_its_code_and_reason_whatever_was_proposed() {
    let world = world();
    let before = world.log.state();
    for refusal in refusals() {
        for way in Way::ALL {
            // To an agent a gap is an answer: where to go on from.
            if way == Way::Report && matches!(refusal, Refused::SequenceGap { .. }) {
                continue;
            }
            world.log.answer(Ok(Response::Refused(refusal.clone())));
            let (code, why) = told(&refusal);
            let status = way.go(&world).await.expect_err("refused");
            assert_eq!((status.code(), &*reason(&status)), (code, why), "{way:?}");
            assert_eq!(status.message(), refusal.to_string(), "{way:?}");
            let info = status.get_details_error_info().unwrap();
            assert_eq!(info.domain, "verger", "{way:?}");
        }
    }
    assert_eq!(world.log.state(), before);
}

#[test]
fn every_reason_is_the_word_of_its_refusal_and_no_two_share_one() {
    let mut words: Vec<_> = refusals()
        .iter()
        .map(|refusal| (refusal.word(), told(refusal).1))
        .collect();
    assert!(words.iter().all(|(word, reason)| word == reason), "{words:?}");
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), 39);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_takes_nothing_now_is_unavailable_and_says_when_to_try_again() {
    let world = world();
    for (error, why) in [
        (Unavailable::Elsewhere("an election".to_owned()), "NOT_LEADING"),
        (Unavailable::Failed("the disk is full".to_owned()), "CANNOT_WRITE"),
    ] {
        for way in Way::ALL {
            world.log.answer(Err(error.clone()));
            let status = refused(way.go(&world).await, Code::Unavailable, why);
            let retry = status.get_details_retry_info().unwrap().retry_delay;
            assert_eq!(retry, Some(Duration::from_millis(500)), "{way:?}");
            assert_eq!(status.message(), error.to_string(), "{way:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_as_of_now_is_not_read_at_all() {
    let world = world();
    world
        .log
        .fall_behind(Unavailable::Elsewhere("cut off from the others".to_owned()));
    let ada = world.ada();
    let uid = world.fault("user").uid.to_string();
    let key = Some(pb::ObjectKey {
        kind: "Workload".to_owned(),
        name: "web".to_owned(),
    });
    let host = cpb::GetHostRequest {
        agent_id: "h1".to_owned(),
    };
    let rehearsal = pb::ApplyRequest {
        dry_run: true,
        ..Default::default()
    };
    let answers = [
        ada.policy().get_set(pb::GetSetRequest::default()).await.map(drop),
        ada.policy().get(pb::GetRequest { key }).await.map(drop),
        ada.policy().list(pb::ListRequest::default()).await.map(drop),
        ada.policy().watch(pb::WatchRequest::default()).await.map(drop),
        ada.policy().apply(rehearsal).await.map(drop),
        ada.cluster().get_status(cpb::GetStatusRequest {}).await.map(drop),
        ada.cluster()
            .list_hosts(cpb::ListHostsRequest::default())
            .await
            .map(drop),
        ada.cluster().get_host(host).await.map(drop),
        ada.findings().list(fpb::ListRequest::default()).await.map(drop),
        ada.findings().get(fpb::GetRequest { uid }).await.map(drop),
        ada.findings().watch(fpb::WatchRequest::default()).await.map(drop),
    ];
    for answer in answers {
        let status = refused(answer, Code::Unavailable, "NOT_LEADING");
        assert!(status.get_details_retry_info().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_something_else_is_the_members_fault_where_no_id_can_explain_it() {
    let world = world();
    for way in [Way::Enrol, Way::Report] {
        world.log.answer(Ok(Response::Founded(Digest::of(b"root"))));
        let status = refused(way.go(&world).await, Code::Internal, "UNEXPECTED_ANSWER");
        assert!(
            !status.message().contains("sha256"),
            "details go to the log: {status:?}"
        );
    }
}
