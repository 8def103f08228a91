//! Calls that are refused at the door are in the audit too; and what the log refused is there once.

use std::sync::Arc;
use std::time::Duration;

use tonic::Code;
use verger_controller_api::denials::{keep_record, write_rest};
use verger_controller_api::ports::Unavailable;
use verger_proto::agent::v1 as apb;
use verger_proto::cluster::v1 as pb;
use verger_proto::policy::v1 as ppb;

use crate::world::{World, batch, binding, denied, host, reason, refused, request_of, soon, start};

/// Writes refused calls from now on.
fn record(world: &World) -> tokio::task::JoinHandle<()> {
    let (denials, log) = (Arc::clone(&world.denials), Arc::clone(&world.log));
    let surroundings = Arc::clone(&world.surroundings);
    tokio::spawn(async move { keep_record(&denials, &*log, &*surroundings).await })
}

async fn look(world: &World, peer: &str) -> String {
    let request = ppb::GetSetRequest { with_bodies: false };
    let answer = world.caller(peer).policy().get_set(request).await;
    answer.map_or_else(|status| reason(&status), |_| String::new())
}

#[tokio::test(start_paused = true)]
async fn refused_calls_are_counted_into_a_row_a_minute() {
    let world = World::founded();
    record(&world);
    for _ in 0..20 {
        assert_eq!(look(&world, "agent/h1").await, "NOT_A_PERSON");
    }
    world.settle().await;
    let entries = denied(&world).await;
    assert_eq!(entries.len(), 1);
    let pb::AuditEntry {
        actor,
        outcome,
        from,
        attempts,
        detail,
        ..
    } = &entries[0];
    assert_eq!(
        (actor.as_str(), outcome.as_str(), from.as_str(), *attempts),
        ("agent/h1", "NOT_A_PERSON", "192.0.2.1:40000", 1)
    );
    assert_eq!(
        detail,
        &format!("verger.policy.v1.PolicyService/GetSet, since {}", start())
    );
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(
        denied(&world)
            .await
            .iter()
            .map(|row| row.attempts)
            .collect::<Vec<_>>(),
        [1, 19]
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_calls_without_a_right_is_on_record_whatever_the_reason() {
    let world = World::founded();
    record(&world);
    world.enrol(&["h1"]);
    look(&world, "controller/c2").await;
    look(&world, "").await;
    let ended = world.caller_with("agent/h1", "h1", start().as_second() - 1);
    refused(
        ended.connect().await.map(drop),
        Code::Unauthenticated,
        "CERTIFICATE_EXPIRED",
    );
    let stray = world.caller("agent/h9");
    refused(
        stray.connect().await.map(drop),
        Code::PermissionDenied,
        "UNKNOWN_AGENT",
    );
    let enrolment = apb::EnrolRequest {
        token: format!("{}.{}", "ab".repeat(8), "cd".repeat(32)),
        csr: request_of("h2"),
        agent_id: "h2".to_owned(),
        machine: Default::default(),
    };
    refused(
        world.caller("").enrolment().enrol(enrolment).await,
        Code::PermissionDenied,
        "TOKEN_REFUSED",
    );
    world.settle().await;
    let mut found: Vec<_> = denied(&world)
        .await
        .into_iter()
        .map(|row| (row.actor, row.outcome))
        .collect();
    found.sort();
    let row = |actor: &str, outcome: &str| (actor.to_owned(), outcome.to_owned());
    assert_eq!(
        found,
        [
            row("agent/h1", "CERTIFICATE_EXPIRED"),
            row("agent/h9", "UNKNOWN_AGENT"),
            row("controller/c2", "NOT_A_PERSON"),
            row("nobody", "NOT_A_PERSON"),
            row("nobody", "TOKEN_REFUSED"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_log_refuses_has_one_row_as_what_the_door_refuses_and_what_is_served_none() {
    let world = World::founded();
    record(&world);
    let change = world.change(&[host("h1", "a")], &[]);
    let unsealed = ppb::ApplyRequest {
        seal: None,
        ..change.clone()
    };
    let before = world.log.state().audit_head().written;
    let answer = world.ada().policy().apply(unsealed).await;
    refused(answer, Code::PermissionDenied, "SEAL_REFUSED");
    world.settle().await;
    assert_eq!(world.log.state().audit_head().written, before + 1);
    let again = ppb::ApplyRequest {
        request_id: world.request_id(),
        ..change
    };
    world.ada().policy().apply(again).await.unwrap();
    world.settle().await;
    assert_eq!(world.log.state().audit_head().written, before + 2);
    let entries = denied(&world).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].outcome, "SEAL_REFUSED");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_changes_that_the_log_refuses_are_two_rows() {
    let world = World::founded();
    record(&world);
    let before = world.log.state().audit_head().written;
    let ada = world.ada();
    for _ in 0..1_000 {
        let unsealed = ppb::ApplyRequest {
            seal: None,
            ..world.change(&[host("h1", "a")], &[])
        };
        let answer = ada.policy().apply(unsealed).await;
        refused(answer, Code::PermissionDenied, "SEAL_REFUSED");
    }
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(world.log.state().audit_head().written, before + 2);
    let attempts: Vec<_> = denied(&world).await.iter().map(|row| row.attempts).collect();
    assert_eq!(attempts, [1, 999]);
}

#[tokio::test(start_paused = true)]
async fn what_is_overtaken_or_gone_leaves_no_row_and_never_reaches_the_log() {
    let world = World::founded();
    record(&world);
    let late = world.change(&[host("h2", "a")], &[]);
    let made = world.change(&[host("h1", "a")], &[]);
    world.ada().policy().apply(made.clone()).await.unwrap();
    let (before, proposed) = (world.log.state().audit_head(), world.log.proposed().len());
    let ada = world.ada();
    for _ in 0..100 {
        let late = ppb::ApplyRequest {
            request_id: world.request_id(),
            ..late.clone()
        };
        refused(ada.policy().apply(late).await, Code::Aborted, "EPOCH_CONFLICT");
        let gone = ppb::WithdrawRequest {
            request_id: world.request_id(),
            number: 7,
        };
        refused(
            ada.proposals().withdraw(gone).await,
            Code::NotFound,
            "NO_SUCH_PROPOSAL",
        );
    }
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(world.log.state().audit_head(), before);
    assert_eq!(world.log.proposed().len(), proposed);
    // The benign twin: whoever lost the answer asks again, though the set has moved on.
    let again = ada.policy().apply(made).await.unwrap().into_inner();
    assert_eq!(again.epoch, 1);
}

#[tokio::test(start_paused = true)]
async fn a_row_says_what_was_asked_for_and_under_which_id() {
    let world = World::founded();
    record(&world);
    let bindings = [
        binding("admins", "admin", "ada", ""),
        binding("viewers", "viewer", "bob", ""),
    ];
    world.apply(&bindings, &[]).await;
    let bob = world.caller("person/bob");
    let change = world.change(&[host("h2", "a")], &[]);
    let id = change.request_id.clone();
    refused(
        bob.policy().apply(change).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
    let token = pb::CreateJoinTokenRequest {
        request_id: "the-token".to_owned(),
        agent_id: "h2".to_owned(),
        ..Default::default()
    };
    let answer = bob.cluster().create_join_token(token).await;
    refused(answer, Code::PermissionDenied, "ROLE_DENIED");
    let odd = pb::CreateJoinTokenRequest {
        request_id: "\u{1b}[2J no id".to_owned(),
        agent_id: "h2".to_owned(),
        ..Default::default()
    };
    let answer = world.caller("agent/h1").cluster().create_join_token(odd).await;
    refused(answer, Code::PermissionDenied, "NOT_A_PERSON");
    let nobody_left = world.change(&[], &["RoleBinding/admins"]);
    let last = nobody_left.request_id.clone();
    let answer = world.ada().policy().apply(nobody_left).await;
    refused(answer, Code::FailedPrecondition, "NOBODY_LEFT");
    world.settle().await;
    let mut found: Vec<_> = denied(&world)
        .await
        .into_iter()
        .map(|row| (row.outcome, row.request_id, row.detail))
        .collect();
    found.sort();
    let row = |outcome: &str, id: &str, rpc: &str, asked: &str| {
        let detail = format!("verger.{rpc}, since {}{asked}", start());
        (outcome.to_owned(), id.to_owned(), detail)
    };
    let mut expected = vec![
        row(
            "NOBODY_LEFT",
            &last,
            "policy.v1.PolicyService/Apply",
            ": delete RoleBinding/admins",
        ),
        row(
            "NOT_A_PERSON",
            "",
            "cluster.v1.ClusterService/CreateJoinToken",
            "",
        ),
        row(
            "ROLE_DENIED",
            &id,
            "policy.v1.PolicyService/Apply",
            ": apply Host/h2",
        ),
        row(
            "ROLE_DENIED",
            "the-token",
            "cluster.v1.ClusterService/CreateJoinToken",
            ": create tokens/h2",
        ),
    ];
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_in_the_middle_of_a_stream_is_on_record() {
    let world = World::founded();
    record(&world);
    world.enrol(&["h1", "h2"]);
    let mut forger = world.caller("agent/h1").report().await.unwrap();
    let mut forged = world.fault("user");
    forged.uid = verger_policy::finding::FindingUid(verger_policy::digest::Digest::of(b"no fault's"));
    refused(
        forger.tell(1, &[forged]).await,
        Code::InvalidArgument,
        "FORGED_FINDING",
    );
    let mut rows = world
        .ada()
        .audit()
        .watch(pb::WatchRequest::default())
        .await
        .unwrap()
        .into_inner();
    world.apply(&[binding("bobs", "admin", "bob", "")], &[]).await;
    let ended = loop {
        match soon(rows.message()).await {
            Ok(message) => assert!(message.is_some()),
            Err(status) => break status,
        }
    };
    refused(Err::<(), _>(ended), Code::PermissionDenied, "ROLE_DENIED");
    // The benign twin.
    let mut honest = world.caller("agent/h2").report().await.unwrap();
    honest.tell(1, &[world.fault("user")]).await.unwrap();
    drop(honest);
    world.settle().await;
    let request = pb::ListRequest {
        filter: Some(pb::AuditFilter {
            action: "denied".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let answer = world
        .caller("person/bob")
        .audit()
        .list(request)
        .await
        .unwrap()
        .into_inner();
    let mut found: Vec<_> = answer
        .rows
        .into_iter()
        .filter_map(|row| row.entry)
        .map(|row| (row.actor, row.outcome, row.detail))
        .collect();
    found.sort();
    let row = |actor: &str, outcome: &str, detail: &str| {
        (
            actor.to_owned(),
            outcome.to_owned(),
            format!("verger.{}", detail.replace("NOW", &start().to_string())),
        )
    };
    assert_eq!(
        found,
        [
            row(
                "agent/h1",
                "FORGED_FINDING",
                "agent.v1.SessionService/Report, since NOW"
            ),
            row(
                "person/ada",
                "ROLE_DENIED",
                "cluster.v1.AuditService/Watch, since NOW: watch audit"
            ),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn refused_calls_wait_while_nothing_can_be_written() {
    let world = World::founded();
    world
        .log
        .answer(Err(Unavailable::Failed("the disk is full".to_owned())));
    record(&world);
    look(&world, "agent/h1").await;
    world.settle().await;
    assert_eq!(denied(&world).await, []);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(denied(&world).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn rows_name_the_rules_that_decided() {
    let world = World::founded();
    record(&world);
    let bindings = [
        binding("admins", "admin", "ada", ""),
        binding("writers", "author", "ada", ""),
        binding("viewers", "viewer", "bob", ""),
    ];
    world.apply(&bindings, &[]).await;
    world.apply(&[host("h1", "a")], &[]).await;
    let request = world.change(&[host("h2", "a")], &[]);
    let denied = world.caller("person/bob").policy().apply(request).await;
    refused(denied, Code::PermissionDenied, "ROLE_DENIED");
    world.settle().await;
    let request = pb::ListRequest::default();
    let answer = world.ada().audit().list(request).await.unwrap().into_inner();
    let entries: Vec<_> = answer.rows.into_iter().map(|row| row.entry.unwrap()).collect();
    let [founded, first, second, denied] = entries.as_slice() else {
        panic!("{entries:?}")
    };
    assert!(
        founded.policies.is_empty() && first.policies.is_empty(),
        "nothing was bound"
    );
    assert_eq!(second.policies.len(), 2, "{second:?}");
    for (rule, binding) in second.policies.iter().zip(["admins", "writers"]) {
        assert!(
            (rule.contains("apply") || rule.contains("every verb on every resource"))
                && rule.ends_with(&format!("given by RoleBinding/{binding}")),
            "{rule}"
        );
    }
    assert_eq!(
        (denied.actor.as_str(), denied.outcome.as_str()),
        ("person/bob", "ROLE_DENIED")
    );
    assert_eq!(denied.policies, ["no rule allows it"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_stops_writes_what_is_in_no_row_yet() {
    let world = World::founded();
    record(&world);
    for _ in 0..3 {
        look(&world, "agent/h1").await;
        world.settle().await;
    }
    assert_eq!(denied(&world).await.len(), 1);
    write_rest(&world.denials, &*world.log, &*world.surroundings).await;
    let attempts: Vec<_> = denied(&world).await.iter().map(|row| row.attempts).collect();
    assert_eq!(attempts, [1, 2]);
    write_rest(&world.denials, &*world.log, &*world.surroundings).await;
    assert_eq!(denied(&world).await.len(), 2);
}

/// A call that is in the log, and was hung up on by then.
async fn hang_up_on<T>(world: &World, call: impl Future<Output = T>) {
    let before = world.log.proposed().len();
    let in_the_log = async {
        while world.log.proposed().len() == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = call => panic!("the log waits"),
        () = in_the_log => {}
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_log_refuses_is_on_record_though_the_caller_hung_up_and_what_it_grants_is_not() {
    let world = World::founded();
    record(&world);
    world.enrol(&["h1"]);
    let (ada, eve) = (world.ada(), world.caller("person/eve"));
    let before = world.log.state().audit_head().written;
    world.log.hold();
    let unsealed = ppb::ApplyRequest {
        seal: None,
        ..world.change(&[host("h1", "a")], &[])
    };
    hang_up_on(&world, async { ada.policy().apply(unsealed).await }).await;
    // A deadline of the caller's own does the same.
    let mut late = tonic::Request::new(ppb::ApplyRequest {
        seal: None,
        ..world.change(&[host("h2", "a")], &[])
    });
    late.set_timeout(Duration::from_millis(5));
    let answer = eve.policy().apply(late).await;
    assert!(
        matches!(
            answer.unwrap_err().code(),
            Code::Cancelled | Code::DeadlineExceeded
        ),
        "the log waits"
    );
    world.settle().await;
    world.log.release();
    world.settle().await;
    // The benign twin.
    world.log.hold();
    let sealed = world.change(&[host("h1", "a")], &[]);
    hang_up_on(&world, async { ada.policy().apply(sealed).await }).await;
    world.settle().await;
    world.log.release();
    world.settle().await;
    let mut rows: Vec<_> = denied(&world)
        .await
        .into_iter()
        .map(|row| (row.actor, row.outcome, row.attempts))
        .collect();
    rows.sort();
    let row = |actor: &str| (actor.to_owned(), "SEAL_REFUSED".to_owned(), 1);
    assert_eq!(rows, [row("person/ada"), row("person/eve")]);
    assert_eq!(world.log.state().set().epoch(), 1, "the twin's change was made");
    assert_eq!(world.log.state().audit_head().written, before + 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_in_the_middle_of_a_stream_is_on_record_though_nobody_waits_for_it() {
    let world = World::founded();
    record(&world);
    world.enrol(&["h1", "h2"]);
    let forger = world.caller("agent/h1").report().await.unwrap();
    let honest = world.caller("agent/h2").report().await.unwrap();
    // What only controllers say of a host, which the log knows.
    let mut forged = world.resolved("agent");
    forged.check.rule = "host/silent".parse().unwrap();
    forged.subject = verger_policy::finding::SubjectClass::Host;
    forged.image = None;
    world.identify(&mut forged);
    world.log.hold();
    let before = world.log.proposed().len();
    forger.send_ahead(batch(1, &[forged])).await;
    honest.send_ahead(batch(1, &[world.fault("user")])).await;
    world.settle().await;
    assert_eq!(world.log.proposed().len(), before + 2, "both are in the log");
    drop((forger, honest));
    world.settle().await;
    world.log.release();
    world.settle().await;
    let told = |agent: &str| {
        world
            .log
            .state()
            .host(&agent.parse().unwrap())
            .unwrap()
            .last_sequence
    };
    assert_eq!((told("h1"), told("h2")), (0, 1));
    let rows: Vec<_> = denied(&world)
        .await
        .into_iter()
        .map(|row| (row.actor, row.outcome, row.attempts))
        .collect();
    assert_eq!(rows, [("agent/h1".to_owned(), "FORGED_FINDING".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_stops_while_it_writes_loses_nothing_of_what_it_took() {
    let world = World::founded();
    let record = record(&world);
    world.log.hold();
    for agent in ["agent/h1", "agent/h2", "agent/h3"] {
        world.denials.note(verger_controller_api::denials::Denial {
            actor: agent.to_owned(),
            address: ([192, 0, 2, 1], 1).into(),
            rpc: "S/M".to_owned(),
            reason: "NOT_A_PERSON".to_owned(),
            policy: None,
            at: start(),
            about: Default::default(),
        });
    }
    world.settle().await;
    assert_eq!(world.log.proposed().len(), 1, "the first is being written");
    world.denials.stop();
    world.log.release();
    soon(record).await.unwrap();
    write_rest(&world.denials, &*world.log, &*world.surroundings).await;
    let rows: Vec<_> = denied(&world).await.into_iter().map(|row| row.actor).collect();
    assert_eq!(rows, ["agent/h1", "agent/h2", "agent/h3"]);
}
