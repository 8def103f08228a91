//! Logins that are revoked or replaced: nobody is served from the acknowledgement on, and open streams are cut.

use tonic::{Code, Status};
use verger_proto::cluster::v1 as cpb;
use verger_proto::findings::v1 as fpb;
use verger_proto::policy::v1 as pb;

use crate::world::{Caller, World, binding, fields, refused, request_of, soon, start};

async fn revoke(world: &World, person: &str, reason: &str) -> Result<(), Status> {
    let request = cpb::RevokeLoginRequest {
        request_id: world.request_id(),
        person: person.to_owned(),
        reason: reason.to_owned(),
        lift: false,
    };
    world.ada().certificates().revoke_login(request).await.map(drop)
}

async fn give(world: &World, person: &str, key: &str) {
    let request = cpb::CreateLoginRequest {
        request_id: world.request_id(),
        person: person.to_owned(),
        csr: request_of(key),
    };
    world.ada().certificates().create_login(request).await.unwrap();
}

async fn status(caller: &Caller) -> Result<(), Status> {
    caller
        .cluster()
        .get_status(cpb::GetStatusRequest {})
        .await
        .map(drop)
}

/// Every stream that people have, open.
struct Streams {
    objects: tonic::Streaming<pb::WatchResponse>,
    findings: tonic::Streaming<fpb::WatchResponse>,
    audit: tonic::Streaming<cpb::WatchResponse>,
}

impl Streams {
    async fn open(caller: &Caller) -> Self {
        let objects = caller.policy().watch(pb::WatchRequest::default()).await;
        let findings = caller.findings().watch(fpb::WatchRequest::default()).await;
        let audit = caller.audit().watch(cpb::WatchRequest::default()).await;
        let mut streams = Self {
            objects: objects.unwrap().into_inner(),
            findings: findings.unwrap().into_inner(),
            audit: audit.unwrap().into_inner(),
        };
        // All have said where they stand: they wait for what comes.
        while soon(streams.objects.message())
            .await
            .unwrap()
            .unwrap()
            .object
            .is_some()
        {}
        while soon(streams.findings.message())
            .await
            .unwrap()
            .unwrap()
            .finding
            .is_some()
        {}
        while soon(streams.audit.message())
            .await
            .unwrap()
            .unwrap()
            .row
            .is_some()
        {}
        streams
    }

    /// How each ends; what was on the way before does not count.
    async fn ends(mut self) -> [Status; 3] {
        let objects = loop {
            if let Err(status) = soon(self.objects.message()).await {
                break status;
            }
        };
        let findings = loop {
            if let Err(status) = soon(self.findings.message()).await {
                break status;
            }
        };
        let audit = loop {
            if let Err(status) = soon(self.audit.message()).await {
                break status;
            }
        };
        [objects, findings, audit]
    }
}

#[tokio::test(start_paused = true)]
async fn the_account_of_a_host_ends_for_whose_login_is_revoked_meanwhile() {
    let world = World::founded();
    world.enrol(&["h1"]);
    for part in 0..5 {
        let faults = (0..512).map(|number| world.fault(&format!("{part}-{number}")));
        world.log.run(&world.ingestion("h1", faults.collect()));
    }
    let account = async |of: &str| {
        let request = fpb::AccountRequest {
            agent_id: "h1".to_owned(),
        };
        let answer = world.caller(of).findings().account(request).await;
        answer.unwrap().into_inner()
    };
    // He reads slowly.
    let (mut cut, mut twin) = (account("person/bob").await, account("person/carl").await);
    soon(cut.message()).await.unwrap().unwrap();
    revoke(&world, "bob", "left the team").await.unwrap();
    let end = loop {
        match soon(cut.message()).await {
            Ok(part) => assert!(part.is_some(), "he was given all of it"),
            Err(status) => break status,
        }
    };
    refused(Err::<(), _>(end), Code::Unauthenticated, "LOGIN_REVOKED");
    let mut parts = 0;
    while soon(twin.message()).await.unwrap().is_some() {
        parts += 1;
    }
    assert_eq!(parts, 1 + 5 * 512 / 256);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_login_serves_nobody_and_its_streams_are_cut_at_once() {
    let world = World::founded();
    let (bob, carl) = (world.caller("person/bob"), world.caller("person/carl"));
    let (cut, twin) = (Streams::open(&bob).await, Streams::open(&carl).await);
    status(&bob).await.unwrap();
    let began = tokio::time::Instant::now();
    revoke(&world, "bob", "left the team").await.unwrap();
    refused(status(&bob).await, Code::Unauthenticated, "LOGIN_REVOKED");
    for end in cut.ends().await {
        refused(Err::<(), _>(end), Code::Unauthenticated, "LOGIN_REVOKED");
    }
    assert!(began.elapsed().as_secs() < 1, "{:?}", began.elapsed());
    // Not with another certificate of the same name either, nor to renew it.
    let other = world.caller_with("person/bob", "other", start().as_second() + 60);
    refused(status(&other).await, Code::Unauthenticated, "LOGIN_REVOKED");
    let csr = request_of("bob");
    let renewed = bob
        .certificates()
        .renew_certificate(cpb::RenewCertificateRequest { csr })
        .await;
    refused(renewed, Code::Unauthenticated, "LOGIN_REVOKED");
    status(&carl).await.unwrap();
    let Streams { mut audit, .. } = twin;
    let row = soon(audit.message())
        .await
        .unwrap()
        .unwrap()
        .row
        .unwrap()
        .entry
        .unwrap();
    assert_eq!(
        (&*row.action, &*row.outcome, &*row.detail),
        ("revoke-login", "ok", "of person/bob: left the team")
    );

    give(&world, "bob", "new").await;
    let back = world.caller_with("person/bob", "new", start().as_second() + 60);
    status(&back).await.unwrap();
    refused(status(&bob).await, Code::Unauthenticated, "LOGIN_REPLACED");
}

#[tokio::test(start_paused = true)]
async fn a_login_that_was_replaced_takes_its_open_streams_with_it() {
    let world = World::founded();
    give(&world, "bob", "first").await;
    let end = start().as_second() + 60;
    let first = world.caller_with("person/bob", "first", end);
    let cut = Streams::open(&first).await;
    give(&world, "bob", "second").await;
    for end in cut.ends().await {
        refused(Err::<(), _>(end), Code::Unauthenticated, "LOGIN_REPLACED");
    }
    let second = world.caller_with("person/bob", "second", end);
    Streams::open(&second).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_revokes_himself_or_without_a_reason() {
    let world = World::founded();
    let before = world.log.state();
    for (person, reason, field) in [
        ("ada", "x", "person"),
        ("", "x", "person"),
        ("a/b", "x", "person"),
        ("bob", " ", "reason"),
        ("bob", &*"x".repeat(513), "reason"),
    ] {
        let status = refused(
            revoke(&world, person, reason).await,
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        );
        assert_eq!(fields(&status), [field], "{person:?} {reason:?}");
    }
    assert_eq!(world.log.state(), before);
    revoke(&world, "bob", "x").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_revocation_takes_a_right_of_its_own() {
    let world = World::founded();
    let bindings = [
        binding("admins", "admin", "ada", ""),
        binding("operators", "operator", "otto", ""),
    ];
    world.apply(&bindings, &[]).await;
    let request = cpb::RevokeLoginRequest {
        request_id: world.request_id(),
        person: "bob".to_owned(),
        reason: "x".to_owned(),
        lift: false,
    };
    let otto = world.caller("person/otto");
    refused(
        otto.certificates().revoke_login(request).await,
        Code::PermissionDenied,
        "ROLE_DENIED",
    );
    revoke(&world, "bob", "x").await.unwrap();
}
