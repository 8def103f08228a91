//! Enrolment: a token serves the agent it was made for, once, and in time.

use futures::future::join_all;
use tonic::{Code, Response, Status};
use verger_proto::agent::v1 as pb;
use verger_proto::cluster::v1 as cpb;

use crate::world::{World, fields, key_digest, refused, request_of};

async fn token(world: &World, agent: &str) -> String {
    let request = cpb::CreateJoinTokenRequest {
        request_id: world.request_id(),
        agent_id: agent.to_owned(),
        ttl_seconds: 0,
        approval: false,
    };
    let answer = world.ada().cluster().create_join_token(request).await.unwrap();
    answer.into_inner().token
}

async fn enrol(
    world: &World,
    token: &str,
    agent: &str,
    key: &str,
) -> Result<Response<pb::EnrolResponse>, Status> {
    let request = pb::EnrolRequest {
        token: token.to_owned(),
        csr: request_of(key),
        agent_id: agent.to_owned(),
        machine: Default::default(),
    };
    world.caller("").enrolment().enrol(request).await
}

#[tokio::test(start_paused = true)]
async fn whoever_holds_a_token_gets_the_certificate_of_its_agent_and_what_to_trust() {
    let world = World::founded();
    let token = token(&world, "h1").await;
    let answer = enrol(&world, &token, "h1", "k").await.unwrap().into_inner();
    assert_eq!(answer.chain[0].as_ref(), b"h1 holds k");
    assert_eq!(answer.member_cas, [bytes::Bytes::from_static(b"members")]);
    let state = world.log.state();
    assert_eq!(answer.trust_root.unwrap().json, state.cluster().unwrap().envelope);
    assert_eq!(state.host(&"h1".parse().unwrap()).unwrap().key, key_digest("k"));
}

#[tokio::test(start_paused = true)]
async fn of_fifty_at_once_one_is_enrolled() {
    let world = World::founded();
    let token = token(&world, "h1").await;
    let keys: Vec<String> = (0..50).map(|number| format!("k{number}")).collect();
    let answers = join_all(keys.iter().map(|key| enrol(&world, &token, "h1", key))).await;
    let winners: Vec<_> = answers
        .iter()
        .zip(&keys)
        .filter(|(answer, _)| answer.is_ok())
        .collect();
    assert_eq!(winners.len(), 1);
    let key = world.log.state().host(&"h1".parse().unwrap()).unwrap().key;
    assert_eq!(key, key_digest(winners[0].1), "the one that was told so");
    for answer in answers.into_iter().filter(Result::is_err) {
        refused(answer, Code::PermissionDenied, "TOKEN_REFUSED");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_does_not_serve_is_refused_with_one_reason_and_stays_unspent() {
    let world = World::founded();
    let good = token(&world, "h1").await;
    let (id, _) = good.split_once('.').unwrap();
    let wrong_secret = format!("{id}.{}", "A".repeat(43));
    let unknown = format!("{}.{}", "0".repeat(16), "A".repeat(43));
    for (text, agent) in [
        (&*good, "h2"),
        (&*wrong_secret, "h1"),
        (&*unknown, "h1"),
        ("no token", "h1"),
        ("", "h1"),
    ] {
        let answer = enrol(&world, text, agent, "k").await;
        refused(answer, Code::PermissionDenied, "TOKEN_REFUSED");
        assert_eq!(world.log.state().hosts().count(), 0, "{text} for {agent}");
    }
    enrol(&world, &good, "h1", "k").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_has_no_token_costs_the_log_nothing() {
    let world = World::founded();
    let good = token(&world, "h1").await;
    let before = world.log.state();
    for _ in 0..20 {
        let unknown = format!("{}.{}", "0".repeat(16), "A".repeat(43));
        let answer = enrol(&world, &unknown, "h1", "k").await;
        refused(answer, Code::PermissionDenied, "TOKEN_REFUSED");
    }
    assert_eq!(world.log.state().revision(), before.revision());
    enrol(&world, &good, "h1", "k").await.unwrap();
    assert!(world.log.state().revision() > before.revision());
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_answer_was_lost_asks_again_with_its_key_and_no_other_does() {
    let world = World::founded();
    let token = token(&world, "h1").await;
    enrol(&world, &token, "h1", "k").await.unwrap();
    let again = enrol(&world, &token, "h1", "k").await.unwrap().into_inner();
    assert_eq!(again.chain[0].as_ref(), b"h1 holds k");
    let other = enrol(&world, &token, "h1", "other").await;
    refused(other, Code::PermissionDenied, "TOKEN_REFUSED");
    world.surroundings.pass(601);
    let late = enrol(&world, &token, "h1", "k").await;
    refused(late, Code::PermissionDenied, "TOKEN_REFUSED");
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_when_its_answer_says() {
    let world = World::founded();
    let request = cpb::CreateJoinTokenRequest {
        request_id: world.request_id(),
        agent_id: "h1".to_owned(),
        ttl_seconds: 60,
        approval: false,
    };
    let answer = world
        .ada()
        .cluster()
        .create_join_token(request)
        .await
        .unwrap()
        .into_inner();
    let end = answer.expires.unwrap().seconds;
    assert_eq!(end, crate::world::start().as_second() + 60);
    world.surroundings.pass(60);
    let late = enrol(&world, &answer.token, "h1", "k").await;
    refused(late, Code::PermissionDenied, "TOKEN_REFUSED");
    assert_eq!(world.log.state().hosts().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_token_is_made_for_a_name_that_no_certificate_can_carry() {
    let world = World::founded();
    let token = token(&world, "h1").await;
    let before = world.log.state();
    for name in ["", "web/1", "Web", "-h", "h_1", &"h".repeat(64)] {
        let request = cpb::CreateJoinTokenRequest {
            request_id: world.request_id(),
            agent_id: name.to_owned(),
            ttl_seconds: 0,
            approval: false,
        };
        let made = world.ada().cluster().create_join_token(request).await;
        let status = refused(made, Code::InvalidArgument, "INVALID_ARGUMENT");
        assert_eq!(fields(&status), ["agent_id"], "{name}");
        let enrolled = enrol(&world, &token, name, "k").await;
        let status = refused(enrolled, Code::InvalidArgument, "INVALID_ARGUMENT");
        assert_eq!(fields(&status), ["agent_id"], "{name}");
    }
    assert_eq!(world.log.state(), before);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_readable_key_spends_no_token() {
    let world = World::founded();
    let token = token(&world, "h1").await;
    let before = world.log.state();
    let request = pb::EnrolRequest {
        token: token.clone(),
        csr: bytes::Bytes::from_static(b"noise"),
        agent_id: "h1".to_owned(),
        machine: Default::default(),
    };
    let answer = world.caller("").enrolment().enrol(request).await;
    refused(answer, Code::InvalidArgument, "CERTIFICATE_REQUEST");
    assert_eq!(world.log.state(), before);
    enrol(&world, &token, "h1", "k").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_fails_says_so_and_keeps_its_reason_to_the_log() {
    let world = World::founded();
    let token = token(&world, "h1").await;
    world.authority.fail();
    let status = refused(
        enrol(&world, &token, "h1", "k").await,
        Code::Internal,
        "AUTHORITY",
    );
    assert!(!status.message().contains("fire"), "{status:?}");
}
