//! An agent is whom its certificate names, whatever its messages say.

use std::collections::BTreeMap;

use tonic::{Code, Status};
use verger_controller_api::ports::Unavailable;
use verger_controller_state::Action;
use verger_policy::digest::Digest;
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::connect_request::Message as Up;
use verger_proto::cluster::v1 as cpb;

use crate::world::{Caller, World, fields, key_digest, refused, request_of, start, workload};

/// Two enrolled agents and a set.
async fn world() -> World {
    let world = World::founded();
    world.apply(&[workload("web", "a", 1)], &[]).await;
    world.enrol(&["h1", "h2"]);
    world
}

async fn host(world: &World, agent: &str) -> cpb::Host {
    let request = cpb::GetHostRequest {
        agent_id: agent.to_owned(),
    };
    let answer = world.ada().cluster().get_host(request).await.unwrap();
    answer.into_inner().host.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_session_says_is_of_the_certificates_agent_alone() {
    let world = world().await;
    let before = host(&world, "h2").await;
    let mut talk = world.caller("agent/h1").hello((0, Default::default())).await;
    let (nonce, _) = talk.set().await;
    talk.ack(nonce, world.position()).await;
    let claimed = cpb::Instance {
        agent_id: "h2".to_owned(),
        runtime: "docker".to_owned(),
        id: "i1".to_owned(),
        ..Default::default()
    };
    talk.say(Up::Status(pb::Status {
        instances: vec![claimed],
        unreadable: [("docker".to_owned(), "no permission".to_owned())].into(),
        ..Default::default()
    }))
    .await;
    world.settle().await;

    let all = world
        .ada()
        .cluster()
        .list_instances(cpb::ListInstancesRequest::default())
        .await;
    let all = all.unwrap().into_inner().instances;
    let owners: Vec<_> = all
        .iter()
        .map(|instance| (&*instance.agent_id, &*instance.id))
        .collect();
    assert_eq!(
        owners,
        [("h1", "i1")],
        "the instance is of the host that runs the agent"
    );
    assert_eq!(host(&world, "h2").await, before, "nothing was heard of the other");
    let own = host(&world, "h1").await;
    assert!(
        own.connected && own.epoch == 1 && own.unreadable.len() == 1,
        "{own:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn findings_are_counted_and_filed_under_the_certificates_agent() {
    let world = world().await;
    let fault = world.fault("user");
    let mut one = world.caller("agent/h1").report().await.unwrap();
    let mut other = world.caller("agent/h2").report().await.unwrap();
    assert_eq!(
        one.tell(1, &[world.fault("group"), fault.clone()]).await.unwrap(),
        2
    );
    assert_eq!(
        other.tell(1, std::slice::from_ref(&fault)).await.unwrap(),
        1,
        "numbers are each agent's own"
    );
    assert_eq!(one.tell(3, &[world.resolved("user")]).await.unwrap(), 3);

    let state = world.log.state();
    let finding = state.finding(&fault.uid).unwrap();
    let hosts: BTreeMap<_, _> = finding
        .hosts
        .iter()
        .map(|(agent, count)| (agent.as_str(), count.affected))
        .collect();
    assert_eq!(
        hosts,
        [("h1", 0), ("h2", 1)].into(),
        "one host cannot resolve what another has"
    );
    let alone = state.finding(&world.fault("group").uid).unwrap();
    assert_eq!(alone.hosts.len(), 1);
    let sequences: Vec<_> = state.hosts().map(|(_, host)| host.last_sequence).collect();
    assert_eq!(sequences, [3, 1]);
}

async fn renew(
    world: &World,
    agent: &str,
    certificate: (&str, i64),
    key: &str,
) -> Result<pb::RenewResponse, Status> {
    let (of, not_after) = certificate;
    let mut client = world
        .caller_with(&format!("agent/{agent}"), of, not_after)
        .session();
    let csr = request_of(key);
    Ok(client
        .renew(pb::RenewRequest {
            csr,
            machine: Default::default(),
        })
        .await?
        .into_inner())
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_for_its_own_agent_and_key_only() {
    let world = world().await;
    let before = world.log.state();
    let good = start().as_second() + 60;
    let renewed = renew(&world, "h1", ("h1", good), "h1").await.unwrap();
    assert_eq!(renewed.chain[0].as_ref(), b"h1 holds h1");
    assert!(renewed.not_after.unwrap().seconds > start().as_second());
    for (own, asked) in [("h1", "h2"), ("h1", "new")] {
        let status = refused(
            renew(&world, "h1", (own, good), asked).await,
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        );
        assert_eq!(fields(&status), ["csr"]);
    }
    for key in ["h2", "old"] {
        let answer = renew(&world, "h1", (key, good), key).await;
        refused(answer, Code::PermissionDenied, "UNKNOWN_AGENT");
    }
    let csr = Digest::of(b"noise").as_bytes().to_vec().into();
    let answer = world
        .caller("agent/h1")
        .session()
        .renew(pb::RenewRequest {
            csr,
            machine: Default::default(),
        })
        .await;
    refused(answer, Code::InvalidArgument, "CERTIFICATE_REQUEST");
    assert_eq!(world.log.state(), before);
}

#[tokio::test(start_paused = true)]
async fn an_ended_certificate_serves_for_its_renewal_and_for_nothing_else() {
    let world = world().await;
    let ended = start().as_second() - 1;
    let late = || world.caller_with("agent/h1", "h1", ended);
    let session = late().connect().await.map(drop);
    refused(session, Code::Unauthenticated, "CERTIFICATE_EXPIRED");
    let report = late().report().await.map(drop);
    refused(report, Code::Unauthenticated, "CERTIFICATE_EXPIRED");
    assert_eq!(world.fleet.of(&"h1".parse().unwrap()).sessions, 0);
    renew(&world, "h1", ("h1", ended), "h1").await.unwrap();
    // On a connection that was opened in time, long ago.
    let long_ago = start().as_second() - 31 * 86_400;
    let answer = renew(&world, "h1", ("h1", long_ago), "h1").await;
    refused(answer, Code::Unauthenticated, "CERTIFICATE_EXPIRED");
    // The benign twin: the same agent, in time.
    world.caller("agent/h1").connect().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_key_of_an_agent_that_was_enrolled_anew_is_shut_out_from_open_streams_too() {
    let world = world().await;
    let old = world.caller("agent/h1");
    let mut talk = old.hello((0, Default::default())).await;
    talk.set().await;
    let mut report = old.report().await.unwrap();
    assert_eq!(report.tell(1, &[world.fault("user")]).await.unwrap(), 1);

    world.evict("h1");
    world.enrol_with("h1", "new");
    let state = world.log.state();
    refused(report.answer().await, Code::PermissionDenied, "UNKNOWN_AGENT");
    assert_eq!(world.log.state(), state, "nothing of the old key's came in");
    let end = talk.end().await;
    refused(Err::<(), _>(end), Code::PermissionDenied, "UNKNOWN_AGENT");
    refused(
        old.connect().await.map(drop),
        Code::PermissionDenied,
        "UNKNOWN_AGENT",
    );
    let good = start().as_second() + 86_400;
    let new = world.caller_with("agent/h1", "new", good);
    let mut talk = new.hello((0, Default::default())).await;
    talk.set().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_noted_of_an_agent_that_is_not_enrolled() {
    let world = world().await;
    let answer = world.caller("agent/h9").connect().await.map(drop);
    refused(answer, Code::PermissionDenied, "UNKNOWN_AGENT");
    let seen = world.fleet.of(&"h9".parse().unwrap());
    assert!(seen.last.is_none() && seen.sessions == 0, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_persons_certificate_is_renewed_for_its_own_name_and_key_only() {
    let world = world().await;
    let renew = |person: &str, key: &str| {
        let mut client = world.caller(&format!("person/{person}")).certificates();
        let csr = request_of(key);
        async move {
            client
                .renew_certificate(cpb::RenewCertificateRequest { csr })
                .await
        }
    };
    let renewed = renew("bob", "bob").await.unwrap().into_inner();
    assert_eq!(renewed.chain[0].as_ref(), b"person bob holds bob");
    assert!(renewed.not_after.unwrap().seconds > start().as_second());
    let status = refused(
        renew("bob", "ada").await,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
    );
    assert_eq!(fields(&status), ["csr"]);
}

/// The rows of certificates that were issued: who asked, and what it says.
async fn certificates(world: &World) -> Vec<(String, String)> {
    let request = cpb::ListRequest {
        filter: Some(cpb::AuditFilter {
            action: "record-certificate".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let answer = world.ada().audit().list(request).await.unwrap().into_inner();
    let entries = answer.rows.into_iter().filter_map(|row| row.entry);
    entries.map(|entry| (entry.actor, entry.detail)).collect()
}

/// Bob's certificate, renewed by him.
async fn renewed(bob: &Caller) -> Result<cpb::RenewCertificateResponse, Status> {
    let csr = request_of("bob");
    let request = cpb::RenewCertificateRequest { csr };
    let answer = bob.certificates().renew_certificate(request).await?;
    Ok(answer.into_inner())
}

#[tokio::test(start_paused = true)]
async fn a_persons_certificate_is_on_record_before_anybody_has_it() {
    let world = world().await;
    let bob = world.caller("person/bob");
    let renew = || renewed(&bob);
    let create = |id: &str| cpb::CreateLoginRequest {
        request_id: id.to_owned(),
        person: "bea".to_owned(),
        csr: request_of("bea"),
    };
    // What cannot be put on record is given to nobody.
    let unwritten = || {
        world
            .log
            .answer(Err(Unavailable::Failed("the disk is full".to_owned())))
    };
    unwritten();
    refused(renew().await, Code::Unavailable, "CANNOT_WRITE");
    assert_eq!(certificates(&world).await, []);
    let first = renew().await.unwrap();
    world
        .ada()
        .certificates()
        .create_login(create("1"))
        .await
        .unwrap();
    let end = start() + jiff::SignedDuration::from_hours(24);
    let row = |actor: &str, person: &str| {
        let digest = Digest::of(format!("person {person} holds {person}").as_bytes());
        let detail = format!("of person/{person}, certificate {digest}, until {end}");
        (actor.to_owned(), detail)
    };
    let rows = [row("person/bob", "bob"), row("person/ada", "bea")];
    assert_eq!(certificates(&world).await, rows);
    assert_eq!(Digest::of(&first.chain[0]), Digest::of(b"person bob holds bob"));
}

#[tokio::test(start_paused = true)]
async fn whoever_renews_over_and_over_is_given_one_certificate_and_leaves_one_row() {
    let world = world().await;
    let bob = world.caller("person/bob");
    let renew = || async { renewed(&bob).await.unwrap() };
    let first = renew().await;
    for _ in 0..100 {
        assert_eq!(renew().await, first);
    }
    assert_eq!(certificates(&world).await.len(), 1);
    // A quarter of its life later it is another.
    world.surroundings.pass(6 * 3_600);
    renew().await;
    assert_eq!(certificates(&world).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_gave_way_to_another_serves_nobody() {
    let world = world().await;
    let status = |key: &str| {
        let mut client = world
            .caller_with("person/ada", key, start().as_second() + 60)
            .cluster();
        async move { client.get_status(cpb::GetStatusRequest {}).await.map(drop) }
    };
    world.give_login("ada", "lost");
    status("lost").await.unwrap();
    world.give_login("ada", "new");
    refused(status("lost").await, Code::Unauthenticated, "LOGIN_REPLACED");
    status("new").await.unwrap();
    world
        .caller("person/bob")
        .cluster()
        .get_status(cpb::GetStatusRequest {})
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_the_peoples_authority_without_a_login_serves_nobody() {
    let world = world().await;
    let status = |caller: crate::world::Caller| async move {
        let answer = caller.cluster().get_status(cpb::GetStatusRequest {}).await;
        answer.map(drop)
    };
    // Somebody who holds the authority's key made it, of a name that nobody was given, and of one that somebody has.
    let made_up = world.caller("person/mallory");
    refused(
        status(made_up.clone()).await,
        Code::Unauthenticated,
        "LOGIN_UNKNOWN",
    );
    let me = made_up.certificates().who_am_i(cpb::WhoAmIRequest {}).await;
    refused(me, Code::Unauthenticated, "LOGIN_UNKNOWN");
    let csr = request_of("mallory");
    let renewed = made_up
        .certificates()
        .renew_certificate(cpb::RenewCertificateRequest { csr })
        .await;
    refused(renewed, Code::Unauthenticated, "LOGIN_UNKNOWN");
    let another = world.caller_with("person/ada", "mallory", start().as_second() + 60);
    refused(status(another).await, Code::Unauthenticated, "LOGIN_REPLACED");
    // The benign twins: who was given one, and the same name once it was given.
    status(world.ada()).await.unwrap();
    world.give_login("mallory", "mallory");
    status(made_up).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_watcher_was_let_in_by_is_cut_off_when_it_is_dropped() {
    let world = world().await;
    let end = start() + jiff::SignedDuration::from_hours(1);
    world.provider.say(Ok(world.provider.word("bea", "b-1", &[])));
    world.run(Action::LogIn {
        person: "bea".to_owned(),
        key: key_digest("bea"),
        word: world.provider.word("bea", "b-1", &[]).word,
        ends: end,
        replaces: false,
    });
    world
        .apply(
            &[
                crate::world::binding("all", "admin", "ada", ""),
                crate::world::binding("looks", "viewer", "bea", ""),
            ],
            &[],
        )
        .await;
    let bea = world.caller("person/bea");
    let mut watch = bea
        .findings()
        .watch(verger_proto::findings::v1::WatchRequest::default())
        .await
        .unwrap()
        .into_inner();
    crate::world::soon(watch.message()).await.unwrap();
    let late = end + jiff::SignedDuration::from_secs(verger_controller_state::limits::ENDED_LOGIN_SECONDS);
    let now = world.log.state().clock();
    for tick in verger_controller_state::ticks(now, late, usize::MAX, "controller/c1") {
        world.log.run(&tick);
    }
    assert!(world.log.state().login("bea").is_none());
    let last = loop {
        if let Err(status) = crate::world::soon(watch.message()).await {
            break status;
        }
    };
    assert_eq!(last.code(), Code::Unauthenticated, "{last:?}");
    let status = bea.cluster().get_status(cpb::GetStatusRequest {}).await;
    refused(status, Code::Unauthenticated, "LOGIN_UNKNOWN");
}

#[tokio::test(start_paused = true)]
async fn a_login_is_given_to_another_and_takes_the_place_of_the_one_before_it() {
    let world = world().await;
    let give = |key: &str| {
        let request = cpb::CreateLoginRequest {
            request_id: world.request_id(),
            person: "bob".to_owned(),
            csr: request_of(key),
        };
        let mut client = world.ada().certificates();
        async move { client.create_login(request).await }
    };
    let status = |key: &str| {
        let end = start().as_second() + 60;
        let mut client = world.caller_with("person/bob", key, end).cluster();
        async move { client.get_status(cpb::GetStatusRequest {}).await.map(drop) }
    };
    let given = give("first").await.unwrap().into_inner();
    assert_eq!(given.chain[0].as_ref(), b"person bob holds first");
    status("first").await.unwrap();
    give("second").await.unwrap();
    refused(status("first").await, Code::Unauthenticated, "LOGIN_REPLACED");
    status("second").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_removed_is_nobodys_and_its_streams_end() {
    let world = world().await;
    let mut report = world.caller("agent/h1").report().await.unwrap();
    report.tell(1, &[world.fault("user")]).await.unwrap();
    let remove = || {
        let request = cpb::RemoveHostRequest {
            request_id: world.request_id(),
            agent_id: "h1".to_owned(),
        };
        let mut client = world.ada().cluster();
        async move { client.remove_host(request).await }
    };
    remove().await.unwrap();
    refused(remove().await, Code::NotFound, "NOT_FOUND");
    refused(report.answer().await, Code::PermissionDenied, "UNKNOWN_AGENT");
    assert!(world.log.state().finding(&world.fault("user").uid).is_none());
    let hosts = world
        .ada()
        .cluster()
        .list_hosts(cpb::ListHostsRequest::default())
        .await;
    assert_eq!(hosts.unwrap().into_inner().hosts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_heard_of_a_host_goes_with_it_and_what_was_heard_of_others_stays() {
    let world = world().await;
    for agent in ["h1", "h2"] {
        world.note_instances(agent, vec![crate::world::instance("i-1", "web")]);
    }
    let sweep = || {
        let state = world.log.state();
        world.fleet.keep(|agent| state.host(agent).is_some());
    };
    let talk = world.caller("agent/h1").hello((0, Default::default())).await;
    world.settle().await;
    sweep();
    assert_eq!(world.fleet.instances(None).len(), 2, "both are known");
    // One that is shut out is known still, and so is what it told.
    world.evict("h2");
    world.run(Action::RemoveHost {
        agent: "h1".parse().unwrap(),
    });
    sweep();
    drop(talk);
    world.settle().await;
    sweep();
    let left: Vec<String> = world
        .fleet
        .instances(None)
        .into_iter()
        .map(|instance| instance.agent_id)
        .collect();
    assert_eq!(left, ["h2"]);
    assert_eq!(world.fleet.voice(&"h1".parse().unwrap()).heard, None);
}

#[tokio::test(start_paused = true)]
async fn an_open_stream_ends_with_the_certificate_it_was_opened_with() {
    let world = world().await;
    let end = start().as_second() + 60;
    let short = world.caller_with("agent/h1", "h1", end);
    let mut talk = short.hello(world.position()).await;
    let mut report = short.report().await.unwrap();
    assert_eq!(report.tell(1, &[world.fault("user")]).await.unwrap(), 1);
    // The benign twin: another agent, whose certificate is good.
    let mut other = world.caller("agent/h2").hello(world.position()).await;
    world.surroundings.pass(60);
    talk.is_quiet().await;
    assert_eq!(
        report.tell(2, &[world.fault("group")]).await.unwrap(),
        2,
        "to the last second"
    );
    world.surroundings.pass(1);
    let began = tokio::time::Instant::now();
    let status = Err::<(), _>(talk.end().await);
    refused(status, Code::Unauthenticated, "CERTIFICATE_EXPIRED");
    refused(
        report.answer().await,
        Code::Unauthenticated,
        "CERTIFICATE_EXPIRED",
    );
    assert!(began.elapsed().as_secs() <= 5, "{:?}", began.elapsed());
    other.is_quiet().await;
    // It renews, and comes back at once where it was.
    renew(&world, "h1", ("h1", end), "h1").await.unwrap();
    let renewed = world.caller("agent/h1");
    renewed.hello(world.position()).await.is_quiet().await;
    let mut report = renewed.report().await.unwrap();
    assert_eq!(report.held, 2);
    assert_eq!(report.tell(3, &[world.resolved("user")]).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_says_after_its_certificate_ended_is_not_taken_in() {
    let world = world().await;
    let short = world.caller_with("agent/h1", "h1", start().as_second() + 60);
    let talk = short.hello(world.position()).await;
    let mut report = short.report().await.unwrap();
    assert_eq!(report.tell(1, &[world.fault("user")]).await.unwrap(), 1);
    world.settle().await;
    let before = (world.log.state(), world.fleet.of(&"h1".parse().unwrap()).last);
    world.surroundings.pass(61);
    talk.alive().await;
    let told = report.tell(2, &[world.resolved("user")]).await;
    refused(told, Code::Unauthenticated, "CERTIFICATE_EXPIRED");
    world.settle().await;
    let after = (world.log.state(), world.fleet.of(&"h1".parse().unwrap()).last);
    assert!(before == after);
}
