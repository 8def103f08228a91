//! Hosts that wait for approval, are shut out, or are on another machine: what they are answered, and what people see of it.

use tonic::{Code, Status};
use verger_controller_state::{Action, Command};
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::connect_request::Message as Up;
use verger_proto::cluster::v1 as cpb;
use verger_wire::digest_bytes;

use crate::world::{World, batch, fields, key_digest, refused, request_of};

async fn token(world: &World, agent: &str, approval: bool) -> String {
    let request = cpb::CreateJoinTokenRequest {
        request_id: world.request_id(),
        agent_id: agent.to_owned(),
        ttl_seconds: 0,
        approval,
    };
    let answer = world.ada().cluster().create_join_token(request).await.unwrap();
    answer.into_inner().token
}

fn machine(name: &str) -> bytes::Bytes {
    digest_bytes(&key_digest(name))
}

async fn enrol(
    world: &World,
    (token, agent): (&str, &str),
    key: &str,
    on: &str,
) -> Result<pb::EnrolResponse, Status> {
    let request = pb::EnrolRequest {
        token: token.to_owned(),
        csr: request_of(key),
        agent_id: agent.to_owned(),
        machine: machine(on),
    };
    let answer = world.caller("").enrolment().enrol(request).await?;
    Ok(answer.into_inner())
}

async fn approve(world: &World, agent: &str, key: &str) -> Result<(), Status> {
    let request = cpb::ApproveHostRequest {
        request_id: world.request_id(),
        agent_id: agent.to_owned(),
        key: digest_bytes(&key_digest(key)),
    };
    world.ada().cluster().approve_host(request).await.map(drop)
}

/// How often it was said that a key was used elsewhere.
fn tells(world: &World) -> usize {
    let proposed = world.log.proposed();
    let tells = |command: &&Command| matches!(command.action, Action::TellCopy { .. });
    proposed.iter().filter(tells).count()
}

async fn ban(world: &World, agent: &str, reason: &str) -> Result<(), Status> {
    let request = cpb::BanHostRequest {
        request_id: world.request_id(),
        agent_id: agent.to_owned(),
        reason: reason.to_owned(),
    };
    world.ada().cluster().ban_host(request).await.map(drop)
}

async fn evict(world: &World, agent: &str) -> Result<(), Status> {
    let request = cpb::EvictHostRequest {
        request_id: world.request_id(),
        agent_id: agent.to_owned(),
        reason: "its disk was stolen".to_owned(),
    };
    world.ada().cluster().evict_host(request).await.map(drop)
}

async fn hosts(world: &World) -> Vec<cpb::Host> {
    let all = world
        .ada()
        .cluster()
        .list_hosts(cpb::ListHostsRequest::default())
        .await;
    all.unwrap().into_inner().hosts
}

#[tokio::test(start_paused = true)]
async fn a_host_that_waits_is_given_nothing_and_costs_the_log_one_entry() {
    let world = World::founded();
    let token = token(&world, "h1", true).await;
    let first = enrol(&world, (&token, "h1"), "k", "m").await.unwrap();
    assert_eq!(
        first,
        pb::EnrolResponse {
            waiting: true,
            ..Default::default()
        }
    );
    let state = world.log.state();
    for _ in 0..20 {
        assert!(enrol(&world, (&token, "h1"), "k", "m").await.unwrap().waiting);
    }
    assert_eq!(world.log.state().revision(), state.revision());
    let answer = world
        .caller_with("agent/h1", "k", i64::MAX)
        .connect()
        .await
        .map(drop);
    refused(answer, Code::PermissionDenied, "UNKNOWN_AGENT");

    let [host] = &*hosts(&world).await else {
        panic!("one host")
    };
    assert_eq!((host.standing(), &*host.agent_id), (cpb::Standing::Waiting, "h1"));
    assert_eq!(host.waiting[0].key, digest_bytes(&key_digest("k")));
    refused(
        approve(&world, "h1", "other").await,
        Code::NotFound,
        "NOT_WAITING",
    );
    approve(&world, "h1", "k").await.unwrap();
    let certificate = enrol(&world, (&token, "h1"), "k", "m").await.unwrap();
    assert_eq!(certificate.chain[0].as_ref(), b"h1 holds k");
    let [host] = &*hosts(&world).await else {
        panic!("one host")
    };
    assert_eq!(
        (host.standing(), host.waiting.len()),
        (cpb::Standing::Enrolled, 0)
    );
    assert_eq!(host.key, digest_bytes(&key_digest("k")));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_rejected_is_told_so() {
    let world = World::founded();
    let token = token(&world, "h1", true).await;
    enrol(&world, (&token, "h1"), "k", "m").await.unwrap();
    let reject = cpb::RejectHostRequest {
        request_id: world.request_id(),
        agent_id: "h1".to_owned(),
        key: digest_bytes(&key_digest("k")),
    };
    world.ada().cluster().reject_host(reject).await.unwrap();
    let answer = enrol(&world, (&token, "h1"), "k", "m").await;
    refused(answer, Code::PermissionDenied, "REJECTED");
    assert_eq!(hosts(&world).await, []);
}

#[tokio::test(start_paused = true)]
async fn waiting_hosts_are_listed_among_the_others_page_by_page() {
    let world = World::founded();
    world.enrol(&["h1", "h3"]);
    for (agent, key) in [("h2", "k2"), ("h4", "k4"), ("h4", "k5")] {
        world.wait(agent, key);
    }
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = cpb::ListHostsRequest {
            page_size: 1,
            page_token,
        };
        let page = world
            .ada()
            .cluster()
            .list_hosts(request)
            .await
            .unwrap()
            .into_inner();
        found.extend(page.hosts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let told: Vec<_> = found
        .iter()
        .map(|host| (&*host.agent_id, host.waiting.len()))
        .collect();
    assert_eq!(told, [("h1", 0), ("h2", 1), ("h3", 0), ("h4", 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_shut_out_is_cut_off_at_once_and_told_why() {
    for (ban_it, why) in [(false, "EVICTED"), (true, "BANNED")] {
        let world = World::founded();
        world.enrol(&["h1", "h2"]);
        let (one, other) = (world.caller("agent/h1"), world.caller("agent/h2"));
        let mut talk = one.hello((0, Default::default())).await;
        let mut report = one.report().await.unwrap();
        let mut twin = other.report().await.unwrap();
        assert_eq!(report.tell(1, &[world.fault("user")]).await.unwrap(), 1);
        world.settle().await;
        let began = tokio::time::Instant::now();
        match ban_it {
            false => evict(&world, "h1").await.unwrap(),
            true => ban(&world, "h1", "hostile").await.unwrap(),
        }
        // Without a word of the agent's, and before the next heartbeat.
        refused(report.answer().await, Code::PermissionDenied, why);
        refused(Err::<(), _>(talk.end().await), Code::PermissionDenied, why);
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
        refused(one.connect().await.map(drop), Code::PermissionDenied, why);
        refused(one.report().await.map(drop), Code::PermissionDenied, why);
        let csr = request_of("h1");
        let renew = pb::RenewRequest {
            csr,
            machine: Default::default(),
        };
        refused(one.session().renew(renew).await, Code::PermissionDenied, why);
        // The benign twin goes on.
        assert_eq!(twin.tell(1, &[world.fault("user")]).await.unwrap(), 1);

        let shown = hosts(&world).await;
        assert_eq!(&*shown[0].standing_by, "person/ada");
        assert!(shown[0].standing_since.is_some() && !shown[0].standing_reason.is_empty());
        assert_eq!(shown[1].standing(), cpb::Standing::Enrolled);
        assert_eq!(
            world
                .log
                .state()
                .finding(&world.fault("user").uid)
                .unwrap()
                .hosts
                .len(),
            2
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_banned_host_costs_the_log_nothing_whatever_token_it_has() {
    let world = World::founded();
    world.enrol(&["h1"]);
    ban(&world, "h1", "hostile").await.unwrap();
    let (own, others) = (token(&world, "h1", false).await, token(&world, "h2", false).await);
    let revision = world.log.state().revision();
    for _ in 0..5 {
        for (of, key) in [
            ((&*own, "h1"), "h1"),
            ((&own, "h1"), "new"),
            ((&others, "h2"), "h1"),
        ] {
            let status = refused(
                enrol(&world, of, key, "m").await,
                Code::PermissionDenied,
                "BANNED",
            );
            assert!(status.message().contains("hostile"), "{status:?}");
        }
    }
    assert_eq!(world.log.state().revision(), revision);
    let remove = cpb::RemoveHostRequest {
        request_id: world.request_id(),
        agent_id: "h1".to_owned(),
    };
    refused(
        world.ada().cluster().remove_host(remove).await,
        Code::FailedPrecondition,
        "BANNED",
    );
    enrol(&world, (&others, "h2"), "other", "m").await.unwrap();
    let unban = cpb::UnbanHostRequest {
        request_id: world.request_id(),
        agent_id: "h1".to_owned(),
    };
    world.ada().cluster().unban_host(unban).await.unwrap();
    enrol(&world, (&own, "h1"), "h1", "m").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_decided_of_nobody_or_for_no_reason_is_refused() {
    let world = World::founded();
    world.enrol(&["h1"]);
    let before = world.log.state();
    refused(evict(&world, "h9").await, Code::NotFound, "NOT_FOUND");
    refused(ban(&world, "h9", "x").await, Code::NotFound, "NOT_FOUND");
    for reason in ["", " ", &"x".repeat(513)] {
        let status = refused(
            ban(&world, "h1", reason).await,
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        );
        assert_eq!(fields(&status), ["reason"]);
    }
    let request = cpb::ApproveHostRequest {
        request_id: world.request_id(),
        agent_id: "h1".to_owned(),
        key: Default::default(),
    };
    let answer = world.ada().cluster().approve_host(request).await;
    let status = refused(answer, Code::InvalidArgument, "INVALID_ARGUMENT");
    assert_eq!(fields(&status), ["key"]);
    assert_eq!(world.log.state().hosts().next(), before.hosts().next());
}

#[tokio::test(start_paused = true)]
async fn another_key_is_not_the_same_host_and_is_told_what_to_do() {
    let world = World::founded();
    world.enrol(&["h1"]);
    let token = token(&world, "h1", false).await;
    let revision = world.log.state().revision();
    let status = refused(
        enrol(&world, (&token, "h1"), "new", "m").await,
        Code::PermissionDenied,
        "OTHER_KEY",
    );
    assert!(status.message().contains("verger hosts h1 --evict"), "{status:?}");
    assert_eq!(world.log.state().revision(), revision);
    enrol(&world, (&token, "h1"), "h1", "m").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_an_agent_on_another_machine_is_refused_and_is_a_finding() {
    let world = World::founded();
    let token = token(&world, "h1", false).await;
    enrol(&world, (&token, "h1"), "h1", "m1").await.unwrap();
    let hello = |on: &str| {
        Up::Hello(pb::Hello {
            epoch: 0,
            root: Default::default(),
            agent_version: "1".to_owned(),
            machine: machine(on),
        })
    };
    let told = |on: &str| pb::ReportRequest {
        machine: machine(on),
        ..batch(1, &[world.fault("user")])
    };
    // The positive control: the machine that was enrolled.
    let original = world.caller("agent/h1");
    let mut talk = original.connect().await.unwrap();
    talk.say(hello("m1")).await;
    let mut report = original.report().await.unwrap();
    assert_eq!(report.send(told("m1")).await.unwrap(), 1);

    let copy = world.caller("agent/h1");
    for _ in 0..3 {
        let mut second = copy.connect().await.unwrap();
        second.say(hello("m2")).await;
        refused(
            Err::<(), _>(second.end().await),
            Code::PermissionDenied,
            "COPIED_IDENTITY",
        );
    }
    let mut stolen = copy.report().await.unwrap();
    let answer = stolen.send(told("m2")).await;
    refused(answer, Code::PermissionDenied, "COPIED_IDENTITY");
    let renew = pb::RenewRequest {
        csr: request_of("h1"),
        machine: machine("m2"),
    };
    let answer = copy.session().renew(renew).await;
    refused(answer, Code::PermissionDenied, "COPIED_IDENTITY");
    let again = enrol(&world, (&token, "h1"), "h1", "m2").await;
    refused(again, Code::PermissionDenied, "COPIED_IDENTITY");
    assert_eq!(tells(&world), 1, "it is said once");
    let state = world.log.state();
    assert!(state.is_told_of_copy(&"h1".parse().unwrap(), Some(&key_digest("m2"))));
    // The one that was enrolled goes on.
    world.settle().await;
    assert!(talk.next().await.is_ok());
    assert_eq!(
        world
            .log
            .state()
            .host(&"h1".parse().unwrap())
            .unwrap()
            .last_sequence,
        1
    );

    // Not saying which machine it is on is no way round.
    let mut third = copy.connect().await.unwrap();
    third.hello((0, Default::default())).await;
    refused(
        Err::<(), _>(third.end().await),
        Code::PermissionDenied,
        "NO_MACHINE",
    );
    let mut stolen = copy.report().await.unwrap();
    let answer = stolen.send(batch(2, &[world.fault("user")])).await;
    refused(answer, Code::PermissionDenied, "NO_MACHINE");
    let renew = pb::RenewRequest {
        csr: request_of("h1"),
        machine: Default::default(),
    };
    let answer = copy.session().renew(renew).await;
    let status = refused(answer, Code::PermissionDenied, "NO_MACHINE");
    assert!(
        status.message().contains("systemd-machine-id-setup"),
        "{status:?}"
    );
    let again = pb::EnrolRequest {
        token: token.clone(),
        csr: request_of("h1"),
        agent_id: "h1".to_owned(),
        machine: Default::default(),
    };
    let answer = world.caller("").enrolment().enrol(again).await;
    refused(answer, Code::PermissionDenied, "NO_MACHINE");

    let noise = Up::Hello(pb::Hello {
        machine: bytes::Bytes::from_static(b"noise"),
        ..Default::default()
    });
    let mut talk = original.connect().await.unwrap();
    talk.say(noise).await;
    refused(
        Err::<(), _>(talk.end().await),
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
    );
}

#[tokio::test(start_paused = true)]
async fn who_does_not_say_on_which_machine_is_refused_and_told_of_where_the_host_is_bound_to_one() {
    let world = World::founded();
    let token = token(&world, "h1", false).await;
    enrol(&world, (&token, "h1"), "h1", "m1").await.unwrap();
    // The benign twin: enrolled on a machine without an id, and bound to none.
    world.enrol(&["h2"]);
    let mut talk = world.caller("agent/h2").hello((0, Default::default())).await;
    talk.is_quiet().await;
    let mut talk = world.caller("agent/h1").hello((0, Default::default())).await;
    refused(
        Err::<(), _>(talk.end().await),
        Code::PermissionDenied,
        "NO_MACHINE",
    );
    let state = world.log.state();
    let is_told = |agent: &str| state.is_told_of_copy(&agent.parse().unwrap(), None);
    assert!(is_told("h1") && !is_told("h2"));
    assert_eq!(
        world.fleet.of(&"h1".parse().unwrap()).ledger,
        None,
        "nothing it said was noted"
    );
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_told_of_although_the_host_itself_lost_its_machines_id_before() {
    let world = World::founded();
    let token = token(&world, "h1", false).await;
    enrol(&world, (&token, "h1"), "h1", "m1").await.unwrap();
    let caller = world.caller("agent/h1");
    let hello = async |on: Option<&str>| {
        let talk = caller.connect().await.unwrap();
        talk.say(Up::Hello(pb::Hello {
            machine: on.map(machine).unwrap_or_default(),
            ..Default::default()
        }))
        .await;
        talk
    };
    for _ in 0..2 {
        let mut talk = hello(None).await;
        refused(
            Err::<(), _>(talk.end().await),
            Code::PermissionDenied,
            "NO_MACHINE",
        );
        assert_eq!(tells(&world), 1);
    }
    // It has its id back, and serves.
    let mut talk = hello(Some("m1")).await;
    talk.is_quiet().await;
    assert_eq!(tells(&world), 1);
    for _ in 0..2 {
        let mut talk = hello(Some("m2")).await;
        refused(
            Err::<(), _>(talk.end().await),
            Code::PermissionDenied,
            "COPIED_IDENTITY",
        );
        assert_eq!(tells(&world), 2);
    }
    let state = world.log.state();
    assert!(state.is_told_of_copy(&"h1".parse().unwrap(), Some(&key_digest("m2"))));
}
