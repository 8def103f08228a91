//! Logins: by the identity provider, with groups that roles are bound to; and broken glass.

use jiff::SignedDuration;
use tonic::{Code, Response, Status};
use verger_controller_api::identity_provider::{ProviderError, nonce};
use verger_controller_state::Action;
use verger_proto::agent::v1 as apb;
use verger_proto::cluster::v1 as pb;
use verger_proto::findings::v1 as fpb;
use verger_proto::policy::v1 as ppb;
use verger_wire::digest_bytes;

use crate::world::{World, binding, key_digest, refused, request_of, soon, start, workload};

async fn complete(world: &World, key: &str) -> Result<Response<pb::CompleteLoginResponse>, Status> {
    let request = pb::CompleteLoginRequest {
        csr: request_of(key),
        port: 40_000,
        code: "code".to_owned(),
        code_verifier: "verifier".to_owned(),
    };
    world.caller("").login().complete_login(request).await
}

fn bea(world: &World, key: &str) -> crate::world::Caller {
    world.caller_with("person/bea", key, start().as_second() + 86_400)
}

async fn hosts(caller: &crate::world::Caller) -> Result<(), Status> {
    let request = pb::ListHostsRequest::default();
    caller.cluster().list_hosts(request).await.map(drop)
}

/// Ada is the admin, and whoever is in `sre` an operator.
async fn bound() -> World {
    let world = World::founded();
    let mut group = binding("sres", "operator", "nobody", "");
    let verger_policy::model::Spec::RoleBinding(spec) = &mut group.spec else {
        panic!("a binding")
    };
    spec.subjects = ["group/sre".parse().unwrap()].into();
    let admin = binding("admins", "admin", "ada", "");
    world.apply(&[admin, group], &[]).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_login_by_the_provider_has_the_powers_of_its_groups_until_it_ends() {
    let world = bound().await;
    let answer = complete(&world, "one").await.unwrap().into_inner();
    let end = start() + SignedDuration::from_hours(1);
    let leaf = std::str::from_utf8(&answer.chain[0]).unwrap();
    assert_eq!(leaf, format!("person bea until {end} holds one"));
    assert_eq!(
        (answer.person.as_str(), answer.groups),
        ("bea", vec!["sre".to_owned()])
    );
    assert_eq!(
        *world.provider.nonces.lock().unwrap(),
        [nonce(&key_digest("one"))]
    );
    let caller = bea(&world, "one");
    hosts(&caller).await.unwrap();
    let me = caller
        .certificates()
        .who_am_i(pb::WhoAmIRequest {})
        .await
        .unwrap();
    let me = me.into_inner();
    assert_eq!(
        (me.issuer.as_str(), me.subject.as_str()),
        ("https://id.example", "b-1")
    );
    assert_eq!(
        (me.groups, me.ends.unwrap().seconds),
        (vec!["sre".to_owned()], end.as_second())
    );
    // What groups give ends where they end: an operator changes no policy, and nobody else is in the group.
    let change = world.change(&[workload("web", "a", 1)], &[]);
    refused(
        caller.policy().apply(change).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
    refused(
        hosts(&world.caller("person/eve")).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
    // The rule that decided is on record where it is a change.
    let token = pb::CreateJoinTokenRequest {
        request_id: world.request_id(),
        agent_id: "h1".to_owned(),
        ttl_seconds: 0,
        approval: false,
    };
    caller.cluster().create_join_token(token).await.unwrap();
    let last = world.log.proposed().pop().unwrap();
    assert_eq!(last.actor, "person/bea");
    assert!(
        last.policies[0].contains("RoleBinding/sres"),
        "{:?}",
        last.policies
    );
    // It is not renewed, and it ends.
    let renew = pb::RenewCertificateRequest {
        csr: request_of("one"),
    };
    let renewed = caller.certificates().renew_certificate(renew).await;
    refused(renewed, Code::FailedPrecondition, "LOGIN_NOT_RENEWED");
    world.surroundings.pass(3_600);
    world.run(Action::Tick { until: end });
    refused(hosts(&caller).await, Code::Unauthenticated, "LOGIN_ENDED");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_the_provider_took_away_is_gone_with_the_next_login() {
    let world = bound().await;
    complete(&world, "one").await.unwrap();
    let old = bea(&world, "one");
    hosts(&old).await.unwrap();
    let watch = fpb::WatchRequest::default();
    let mut stream = old.findings().watch(watch).await.unwrap().into_inner();
    soon(stream.message()).await.unwrap();
    world.provider.say(Ok(world.provider.word("bea", "b-1", &[])));
    complete(&world, "two").await.unwrap();
    refused(
        hosts(&bea(&world, "two")).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
    refused(hosts(&old).await, Code::Unauthenticated, "LOGIN_REPLACED");
    // Streams outlive logins no more than calls do.
    world.run(Action::Tick { until: start() });
    let mut last = Ok(None);
    for _ in 0..4 {
        last = soon(stream.message()).await;
        if last.is_err() {
            break;
        }
    }
    refused(last, Code::Unauthenticated, "LOGIN_REPLACED");
    world
        .provider
        .say(Ok(world.provider.word("bea", "b-1", &["sre"])));
    complete(&world, "three").await.unwrap();
    hosts(&bea(&world, "three")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_does_not_vouch_for_gives_no_login_and_costs_the_log_nothing() {
    let world = bound().await;
    for (error, code, reason) in [
        (
            ProviderError::Unreachable("no answer".to_owned()),
            Code::FailedPrecondition,
            "PROVIDER_UNREACHABLE",
        ),
        (
            ProviderError::Refused("invalid_grant".to_owned()),
            Code::PermissionDenied,
            "PROVIDER_REFUSED",
        ),
        (
            ProviderError::Token {
                word: "TOKEN_NONCE",
                detail: "another key".to_owned(),
            },
            Code::PermissionDenied,
            "TOKEN_NONCE",
        ),
        (
            ProviderError::Claims("no name".to_owned()),
            Code::PermissionDenied,
            "CLAIMS_REFUSED",
        ),
    ] {
        let before = world.log.state();
        world.provider.say(Err(error));
        refused(complete(&world, "one").await, code, reason);
        assert!(world.log.state() == before, "{reason}");
    }
    complete(&world, "one").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_word_that_was_used_gives_no_second_key_a_login_and_a_lost_answer_is_given_again() {
    let world = bound().await;
    let word = world.provider.word("bea", "b-1", &["sre"]);
    world.provider.say(Ok(word.clone()));
    complete(&world, "one").await.unwrap();
    world.provider.say(Ok(word.clone()));
    complete(&world, "one").await.unwrap();
    world.provider.say(Ok(word));
    let proposed = world.log.proposed().len();
    refused(
        complete(&world, "two").await,
        Code::PermissionDenied,
        "LOGIN_STALE",
    );
    assert_eq!(world.log.proposed().len(), proposed, "the log was not asked");
    hosts(&bea(&world, "one")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_provider_gives_nobody_the_name_of_a_local_login() {
    let world = bound().await;
    world.run(Action::CreateLogin {
        person: "ada".to_owned(),
        key: key_digest("ada"),
    });
    world.provider.say(Ok(world.provider.word("ada", "mallory", &[])));
    refused(
        complete(&world, "one").await,
        Code::PermissionDenied,
        "LOGIN_TAKEN",
    );
    hosts(&world.ada()).await.unwrap();
    // Unless the controllers' configuration says that it may.
    let mut word = world.provider.word("ada", "a-1", &[]);
    word.replaces = true;
    world.provider.say(Ok(word));
    complete(&world, "one").await.unwrap();
    let new = world.caller_with("person/ada", "one", start().as_second() + 86_400);
    hosts(&new).await.unwrap();
    refused(hosts(&world.ada()).await, Code::Unauthenticated, "LOGIN_REPLACED");
}

fn broken(world: &World) -> crate::world::Caller {
    world.run(Action::BreakGlass {
        person: "bea".to_owned(),
        reason: "nobody who may change roles can be reached".to_owned(),
        key: key_digest("glass"),
        ends: start() + SignedDuration::from_hours(1),
    });
    let day = start().as_second() + 86_400;
    world.caller_with("person/break-glass.bea", "glass", day)
}

#[tokio::test(start_paused = true)]
async fn broken_glass_has_every_power_past_roles_and_none_that_outlives_it() {
    let world = bound().await;
    world.give_login("bea", "bea");
    let usual = world.caller("person/bea");
    refused(hosts(&usual).await, Code::PermissionDenied, "ROLE_DENIED");
    let glass = broken(&world);
    hosts(&glass).await.unwrap();
    // It changes policy as an admin does: with a seal, which it does not give.
    let unsealed = ppb::ApplyRequest {
        seal: None,
        ..world.change(&[workload("web", "a", 1)], &[])
    };
    refused(
        glass.policy().apply(unsealed).await,
        Code::PermissionDenied,
        "SEAL_REFUSED",
    );
    let sealed = world.change(&[workload("web", "a", 1)], &[]);
    glass.policy().apply(sealed).await.unwrap();
    let last = world.log.proposed().pop().unwrap();
    assert_eq!(last.actor, "person/break-glass.bea");
    assert!(last.policies[0].contains("break-glass"), "{:?}", last.policies);
    let me = glass.certificates().who_am_i(pb::WhoAmIRequest {}).await.unwrap();
    assert!(me.into_inner().break_glass.contains("nobody who may"));
    let create = pb::CreateLoginRequest {
        request_id: world.request_id(),
        person: "mallory".to_owned(),
        csr: request_of("mallory"),
    };
    let created = glass.certificates().create_login(create).await;
    refused(created, Code::PermissionDenied, "ROLE_DENIED");
    let renew = pb::RenewCertificateRequest {
        csr: request_of("glass"),
    };
    let renewed = glass.certificates().renew_certificate(renew).await;
    refused(renewed, Code::PermissionDenied, "ROLE_DENIED");
    // The usual login has gained nothing.
    refused(hosts(&usual).await, Code::PermissionDenied, "ROLE_DENIED");
}

#[tokio::test(start_paused = true)]
async fn broken_glass_ends_whatever_its_certificate_says() {
    let world = bound().await;
    let end = start() + SignedDuration::from_hours(1);
    let glass = broken(&world);
    hosts(&glass).await.unwrap();
    let stolen = world.caller_with("person/break-glass.bea", "other", start().as_second() + 86_400);
    refused(hosts(&stolen).await, Code::Unauthenticated, "LOGIN_REPLACED");
    world.surroundings.pass(3_600);
    world.run(Action::Tick { until: end });
    refused(hosts(&glass).await, Code::Unauthenticated, "LOGIN_ENDED");
    let again = broken_until(&world, end + SignedDuration::from_hours(1));
    hosts(&again).await.unwrap();
    world.run(Action::EndBreakGlass {
        person: "bea".to_owned(),
    });
    refused(hosts(&again).await, Code::Unauthenticated, "LOGIN_ENDED");
    hosts(&world.ada()).await.unwrap();
}

fn broken_until(world: &World, ends: jiff::Timestamp) -> crate::world::Caller {
    world.run(Action::BreakGlass {
        person: "bea".to_owned(),
        reason: "again".to_owned(),
        key: key_digest("glass"),
        ends,
    });
    let day = start().as_second() + 86_400;
    world.caller_with("person/break-glass.bea", "glass", day)
}

#[tokio::test(start_paused = true)]
async fn before_any_role_is_bound_an_account_at_the_provider_gives_nothing_and_a_local_login_everything() {
    let world = World::founded();
    complete(&world, "one").await.unwrap();
    let bea = bea(&world, "one");
    refused(hosts(&bea).await, Code::PermissionDenied, "ROLE_DENIED");
    let before = world.log.state();
    // Nor does it bind itself, with a good seal; nor give itself a login that may.
    let myself = [binding("admins", "admin", "bea", "")];
    let change = world.change(&myself, &[]);
    let denied = refused(
        bea.policy().apply(change).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
    assert!(denied.message().contains("identity provider"), "{denied:?}");
    let create = pb::CreateLoginRequest {
        request_id: world.request_id(),
        person: "bea".to_owned(),
        csr: request_of("one"),
    };
    let created = bea.certificates().create_login(create).await;
    refused(created, Code::PermissionDenied, "ROLE_DENIED");
    let watch = bea.findings().watch(fpb::WatchRequest::default()).await.map(drop);
    refused(watch, Code::PermissionDenied, "ROLE_DENIED");
    assert!(world.log.state() == before);
    // It is told who it is, and that is all.
    bea.certificates().who_am_i(pb::WhoAmIRequest {}).await.unwrap();
    // The local twins may.
    for person in ["ada", "bob"] {
        hosts(&world.caller(&format!("person/{person}"))).await.unwrap();
    }
    // What is bound to it, it has from then on.
    let bindings = [
        binding("admins", "admin", "ada", ""),
        binding("viewers", "viewer", "bea", ""),
    ];
    world.apply(&bindings, &[]).await;
    hosts(&bea).await.unwrap();
    refused(
        hosts(&world.caller("person/bob")).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
    // And no longer when no role is bound again: also what it watches ends.
    let watch = bea.findings().watch(fpb::WatchRequest::default()).await;
    let mut stream = watch.unwrap().into_inner();
    world
        .apply(&[], &["RoleBinding/admins", "RoleBinding/viewers"])
        .await;
    let mut last = Ok(None);
    for _ in 0..4 {
        last = soon(stream.message()).await;
        if last.is_err() {
            break;
        }
    }
    refused(last, Code::PermissionDenied, "ROLE_DENIED");
    hosts(&world.ada()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_agent_is_told_of_a_login_what_it_is_now_and_nobody_else_is() {
    let world = bound().await;
    world.enrol(&["a"]);
    complete(&world, "one").await.unwrap();
    let look_up = |caller: crate::world::Caller, person: &str, key: &str| {
        let request = apb::LookUpPersonRequest {
            person: person.to_owned(),
            key: digest_bytes(&key_digest(key)),
            machine: Default::default(),
        };
        async move {
            caller
                .session()
                .look_up_person(request)
                .await
                .map(Response::into_inner)
        }
    };
    let told = look_up(world.caller("agent/a"), "bea", "one").await.unwrap();
    assert_eq!((told.groups, told.refused.as_str()), (vec!["sre".to_owned()], ""));
    for (person, key, says) in [
        ("bea", "another", "replaced"),
        ("zoe", "one", "knows no login"),
        ("break-glass.ada", "one", "over"),
        ("", "one", "knows no login"),
    ] {
        let told = look_up(world.caller("agent/a"), person, key).await.unwrap();
        assert!(
            told.groups.is_empty() && told.refused.contains(says),
            "{person}: {told:?}"
        );
    }
    refused(
        look_up(world.ada(), "bea", "one").await,
        Code::PermissionDenied,
        "NOT_AN_AGENT",
    );
    let stranger = world.caller("agent/b");
    refused(
        look_up(stranger, "bea", "one").await,
        Code::PermissionDenied,
        "UNKNOWN_AGENT",
    );
    let revoke = pb::RevokeLoginRequest {
        request_id: world.request_id(),
        person: "bea".to_owned(),
        reason: "left".to_owned(),
        lift: false,
    };
    world.ada().certificates().revoke_login(revoke).await.unwrap();
    let told = look_up(world.caller("agent/a"), "bea", "one").await.unwrap();
    assert!(
        told.groups.is_empty() && told.refused.contains("was revoked"),
        "{told:?}"
    );
}
