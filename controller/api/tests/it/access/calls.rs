//! One good call of every rpc.

use std::pin::Pin;

use tonic::Status;
use verger_controller_state::Action;
use verger_policy::model::PolicyObject;
use verger_proto::agent::v1 as apb;
use verger_proto::cluster::v1 as cpb;
use verger_proto::findings::v1 as fpb;
use verger_proto::policy::v1 as pb;
use verger_seal::{Envelope, Rotation, SetStatement};
use verger_wire::{IntoWire as _, digest_bytes};

use crate::world::{Caller, World, host, instance, key_digest, key_of, request_of, soon, workload};

/// A member with something of everything: objects, an agent `h1` with a finding and an instance, a join token, a host `h4` that waits
/// for approval and one `h5` that is banned.
pub(super) struct Prepared {
    pub(super) world: World,
    token: String,
    /// By which member `c9` joins.
    invitation: String,
    uid: String,
}

impl Prepared {
    pub(super) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// The same, with more objects in the set.
    pub(super) async fn with(more: &[PolicyObject]) -> Self {
        let world = World::founded_of(2);
        let objects = [&[host("h1", "a"), workload("web", "a", 1)], more].concat();
        world.apply(&objects, &[]).await;
        world.enrol(&["h1"]);
        let fault = world.fault("user");
        world.log.run(&world.ingestion("h1", vec![fault.clone()]));
        world.note_instances("h1", vec![instance("i1", "web-1")]);
        let proposal = proposal(&world, "kept");
        world.ada().proposals().propose(proposal).await.unwrap();
        let token = cpb::CreateJoinTokenRequest {
            request_id: world.request_id(),
            agent_id: "h2".to_owned(),
            ttl_seconds: 0,
            approval: false,
        };
        let token = world.ada().cluster().create_join_token(token).await.unwrap();
        let invitation = cpb::InviteMemberRequest {
            request_id: world.request_id(),
            name: "c9".to_owned(),
            ttl_seconds: 0,
        };
        let invitation = world.ada().members().invite_member(invitation).await.unwrap();
        world.wait("h4", "h4");
        world.enrol(&["h5"]);
        world.run(Action::BanHost {
            agent: "h5".parse().unwrap(),
            reason: "hostile".to_owned(),
        });
        Self {
            world,
            token: token.into_inner().token,
            invitation: invitation.into_inner().token,
            uid: fault.uid.to_string(),
        }
    }
}

type Outcome<'a> = Pin<Box<dyn Future<Output = Result<(), Status>> + 'a>>;

/// A call; an answer of the right kind, and the first message of a stream, count as success.
pub(super) type Call = fn(&Prepared, Caller) -> Outcome<'_>;

/// Makes a [`Call`] of the request for a unary rpc.
macro_rules! unary {
    ($name:ident, $service:ident . $rpc:ident, |$prepared:ident| $request:expr) => {
        pub(super) fn $name($prepared: &Prepared, caller: Caller) -> Outcome<'_> {
            Box::pin(async move { caller.$service().$rpc($request).await.map(drop) })
        }
    };
}

/// The same for an rpc that answers with a stream.
macro_rules! streaming {
    ($name:ident, $service:ident . $rpc:ident, |$prepared:ident| $request:expr) => {
        pub(super) fn $name($prepared: &Prepared, caller: Caller) -> Outcome<'_> {
            Box::pin(async move {
                let mut stream = caller.$service().$rpc($request).await?.into_inner();
                soon(stream.message()).await?.expect("a first message");
                Ok(())
            })
        }
    };
}

fn web() -> Option<pb::ObjectKey> {
    Some((&key_of("Workload/web")).into_wire())
}

unary!(get_set, policy.get_set, |_prepared| pb::GetSetRequest {
    with_bodies: true
});
unary!(apply, policy.apply, |prepared| prepared
    .world
    .change(&[workload("db", "a", 1)], &[]));
unary!(get, policy.get, |_prepared| pb::GetRequest { key: web() });
unary!(list, policy.list, |_prepared| pb::ListRequest::default());
unary!(delete, policy.delete, |prepared| {
    let pb::ApplyRequest {
        request_id,
        expected_epoch,
        seal,
        ..
    } = prepared.world.change(&[], &["Workload/web"]);
    pb::DeleteRequest {
        request_id,
        expected_epoch,
        key: web(),
        seal,
        dry_run: false,
    }
});
unary!(rotate_trust_root, policy.rotate_trust_root, |prepared| {
    let world = &prepared.world;
    let current = world.log.state().cluster().unwrap().trust_root.clone();
    let envelope = current.succeed(current.terms(), &[]).unwrap();
    let (root, _) = current.read_successor(&envelope.to_json()).unwrap();
    let next = world.next_set(&[], &[]);
    let end = crate::world::start() + jiff::SignedDuration::from_hours(1);
    let statement = SetStatement::new(&root, next.epoch(), next.root(), next.len() as u64, end);
    let mut rotation = Rotation::new(&current, &envelope, statement).unwrap();
    for key in [&world.key, &world.second] {
        rotation.sign(&current, key).unwrap();
    }
    let (trust_root, seal) = rotation.envelopes();
    let wire = |envelope: &Envelope| {
        Some(pb::Envelope {
            json: envelope.to_json().into(),
        })
    };
    pb::RotateTrustRootRequest {
        request_id: world.request_id(),
        trust_root: wire(trust_root),
        seal: wire(seal),
    }
});
streaming!(watch, policy.watch, |_prepared| pb::WatchRequest::default());

/// A change that Ada has signed.
fn proposal(world: &World, name: &str) -> pb::ProposeRequest {
    let object = workload(name, "a", 1);
    let next = world.next_set(std::slice::from_ref(&object), &[]);
    let pb::ApplyRequest {
        request_id,
        expected_epoch,
        upserts,
        ..
    } = world.change(&[object], &[]);
    pb::ProposeRequest {
        request_id,
        expected_epoch,
        upserts,
        deletes: Vec::new(),
        seal: Some(world.seal(&next, &world.key)),
    }
}

unary!(propose, proposals.propose, |prepared| proposal(
    &prepared.world,
    "new"
));
unary!(sign, proposals.sign, |prepared| {
    let world = &prepared.world;
    let next = world.next_set(&[workload("kept", "a", 1)], &[]);
    pb::SignRequest {
        request_id: world.request_id(),
        number: 1,
        seal: Some(world.seal(&next, &world.second)),
    }
});
unary!(withdraw, proposals.withdraw, |prepared| pb::WithdrawRequest {
    request_id: prepared.world.request_id(),
    number: 1,
});
unary!(get_proposal, proposals.get_proposal, |_prepared| {
    pb::GetProposalRequest { number: 1 }
});
unary!(list_proposals, proposals.list_proposals, |_prepared| {
    pb::ListProposalsRequest {}
});

unary!(get_status, cluster.get_status, |_prepared| {
    cpb::GetStatusRequest::default()
});
unary!(create_join_token, cluster.create_join_token, |prepared| {
    cpb::CreateJoinTokenRequest {
        request_id: prepared.world.request_id(),
        agent_id: "h3".to_owned(),
        ttl_seconds: 0,
        approval: false,
    }
});
unary!(remove_host, cluster.remove_host, |prepared| {
    cpb::RemoveHostRequest {
        request_id: prepared.world.request_id(),
        agent_id: "h1".to_owned(),
    }
});
unary!(approve_host, cluster.approve_host, |prepared| {
    cpb::ApproveHostRequest {
        request_id: prepared.world.request_id(),
        agent_id: "h4".to_owned(),
        key: digest_bytes(&key_digest("h4")),
    }
});
unary!(reject_host, cluster.reject_host, |prepared| {
    cpb::RejectHostRequest {
        request_id: prepared.world.request_id(),
        agent_id: "h4".to_owned(),
        key: digest_bytes(&key_digest("h4")),
    }
});
unary!(evict_host, cluster.evict_host, |prepared| cpb::EvictHostRequest {
    request_id: prepared.world.request_id(),
    agent_id: "h1".to_owned(),
    reason: String::new(),
});
unary!(ban_host, cluster.ban_host, |prepared| cpb::BanHostRequest {
    request_id: prepared.world.request_id(),
    agent_id: "h1".to_owned(),
    reason: "hostile".to_owned(),
});
unary!(unban_host, cluster.unban_host, |prepared| cpb::UnbanHostRequest {
    request_id: prepared.world.request_id(),
    agent_id: "h5".to_owned(),
});
unary!(revoke_login, certificates.revoke_login, |prepared| {
    cpb::RevokeLoginRequest {
        request_id: prepared.world.request_id(),
        person: "leaver".to_owned(),
        reason: "left".to_owned(),
        lift: false,
    }
});
unary!(list_members, members.list_members, |_prepared| {
    cpb::ListMembersRequest { stale_ok: false }
});
unary!(invite_member, members.invite_member, |prepared| {
    cpb::InviteMemberRequest {
        request_id: prepared.world.request_id(),
        name: "c8".to_owned(),
        ttl_seconds: 60,
    }
});
unary!(promote_member, members.promote_member, |prepared| {
    cpb::PromoteMemberRequest {
        request_id: prepared.world.request_id(),
        name: "c2".to_owned(),
        force: false,
    }
});
unary!(demote_member, members.demote_member, |prepared| {
    cpb::DemoteMemberRequest {
        request_id: prepared.world.request_id(),
        name: "c2".to_owned(),
        force: false,
    }
});
unary!(remove_member, members.remove_member, |prepared| {
    cpb::RemoveMemberRequest {
        request_id: prepared.world.request_id(),
        name: "c2".to_owned(),
        force: false,
    }
});
unary!(transfer_leader, members.transfer_leader, |prepared| {
    cpb::TransferLeaderRequest {
        request_id: prepared.world.request_id(),
        name: "c2".to_owned(),
    }
});
streaming!(save_snapshot, members.save_snapshot, |prepared| {
    cpb::SaveSnapshotRequest {
        request_id: prepared.world.request_id(),
    }
});
unary!(join, joining.join, |prepared| joining(&prepared.invitation));

unary!(create_login, certificates.create_login, |prepared| {
    cpb::CreateLoginRequest {
        request_id: prepared.world.request_id(),
        person: "new".to_owned(),
        csr: request_of("new"),
    }
});
unary!(renew_certificate, certificates.renew_certificate, |_prepared| {
    cpb::RenewCertificateRequest {
        csr: request_of("ada"),
    }
});
unary!(who_am_i, certificates.who_am_i, |_prepared| {
    cpb::WhoAmIRequest {}
});
unary!(begin_login, login.begin_login, |_prepared| {
    cpb::BeginLoginRequest {
        csr: request_of("bea"),
        port: 40_000,
        state: "state".to_owned(),
        code_challenge: "challenge".to_owned(),
    }
});
unary!(complete_login, login.complete_login, |_prepared| {
    cpb::CompleteLoginRequest {
        csr: request_of("bea"),
        port: 40_000,
        code: "code".to_owned(),
        code_verifier: "verifier".to_owned(),
    }
});
unary!(list_hosts, cluster.list_hosts, |_prepared| {
    cpb::ListHostsRequest::default()
});
unary!(get_host, cluster.get_host, |_prepared| cpb::GetHostRequest {
    agent_id: "h1".to_owned()
});
unary!(list_instances, cluster.list_instances, |_prepared| {
    cpb::ListInstancesRequest::default()
});
unary!(get_instance, cluster.get_instance, |_prepared| {
    cpb::GetInstanceRequest {
        agent_id: "h1".to_owned(),
        instance: "web-1".to_owned(),
    }
});

unary!(list_audit, audit.list, |_prepared| cpb::ListRequest::default());
streaming!(watch_audit, audit.watch, |_prepared| cpb::WatchRequest::default());
unary!(audit_head, audit.head, |_prepared| cpb::HeadRequest {});

unary!(list_findings, findings.list, |_prepared| {
    fpb::ListRequest::default()
});
unary!(get_finding, findings.get, |prepared| fpb::GetRequest {
    uid: prepared.uid.clone()
});
streaming!(watch_findings, findings.watch, |_prepared| {
    fpb::WatchRequest::default()
});
streaming!(account, findings.account, |_prepared| fpb::AccountRequest {
    agent_id: "h1".to_owned(),
});
unary!(ack_finding, findings.ack, |prepared| fpb::AckRequest {
    request_id: prepared.world.request_id(),
    uid: prepared.uid.clone(),
    note: "known, the image is due".to_owned(),
});

unary!(renew, session.renew, |_prepared| apb::RenewRequest {
    csr: request_of("h1"),
    machine: Default::default(),
});
unary!(look_up_person, session.look_up_person, |_prepared| {
    apb::LookUpPersonRequest {
        person: "ada".to_owned(),
        key: digest_bytes(&key_digest("ada")),
        machine: Default::default(),
    }
});
unary!(enrol, enrolment.enrol, |prepared| apb::EnrolRequest {
    token: prepared.token.clone(),
    csr: request_of("h2"),
    agent_id: "h2".to_owned(),
    machine: Default::default(),
});

pub(super) fn connect(_: &Prepared, caller: Caller) -> Outcome<'_> {
    Box::pin(async move {
        let mut talk = caller.connect().await?;
        talk.hello((0, Default::default())).await;
        talk.set().await;
        Ok(())
    })
}

pub(super) fn report(prepared: &Prepared, caller: Caller) -> Outcome<'_> {
    Box::pin(async move {
        let mut reporter = caller.report().await?;
        reporter.tell(2, &[prepared.world.fault("group")]).await.map(drop)
    })
}

/// What member `c9` asks for.
fn joining(token: &str) -> cpb::JoinRequest {
    cpb::JoinRequest {
        token: token.to_owned(),
        name: "c9".to_owned(),
        peer_address: "c9.example:7402".to_owned(),
        address: "c9.example:7443".to_owned(),
        enrol_address: "c9.example:7444".to_owned(),
        csrs: Some(cpb::Authorities {
            members: request_of("c9 members"),
            agents: request_of("c9 agents"),
            people: request_of("c9 people"),
        }),
        newest_version: 1,
    }
}
