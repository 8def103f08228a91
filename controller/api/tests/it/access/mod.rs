//! Who may call what. The table is written by hand and must name every rpc that the protos have.

mod calls;
mod matrix;
mod roles;

use std::collections::BTreeSet;
use std::fmt;

use prost::Message as _;
use tonic::Code;

use crate::world::{World, reason, start};
use calls::{Call, Prepared};

/// A kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Without a certificate.
    Nobody,
    Person,
    /// Enrolled.
    Agent,
    /// Holds an agent's certificate, and is not enrolled (any more).
    StrayAgent,
    Member,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Nobody,
        Self::Person,
        Self::Agent,
        Self::StrayAgent,
        Self::Member,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "",
            Self::Person => "person/ada",
            Self::Agent => "agent/h1",
            Self::StrayAgent => "agent/h9",
            Self::Member => "controller/c2",
        }
    }
}

/// What a kind of caller is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Allowed,
    /// With this reason.
    Denied(&'static str),
}

use Answer::{Allowed, Denied};

/// Nobody, person, agent, stray agent, member.
type Answers = [Answer; 5];

const PEOPLE: Answers = [
    Denied("NOT_A_PERSON"),
    Allowed,
    Denied("NOT_A_PERSON"),
    Denied("NOT_A_PERSON"),
    Denied("NOT_A_PERSON"),
];
const AGENTS: Answers = [
    Denied("NOT_AN_AGENT"),
    Denied("NOT_AN_AGENT"),
    Allowed,
    Denied("UNKNOWN_AGENT"),
    Denied("NOT_AN_AGENT"),
];
/// The token is the proof, or what the identity provider says, whoever brings it.
const TOKEN: Answers = [Allowed; 5];

/// An rpc, who may call it, whether it changes the replicated state, and a call of it that is good but for the caller.
struct Row {
    rpc: &'static str,
    answers: Answers,
    changes: bool,
    call: Call,
}

const fn row(rpc: &'static str, answers: Answers, changes: bool, call: Call) -> Row {
    Row {
        rpc,
        answers,
        changes,
        call,
    }
}

const READS: bool = false;
const CHANGES: bool = true;

#[rustfmt::skip]
const TABLE: &[Row] = &[
    row("verger.policy.v1.PolicyService/GetSet",            PEOPLE, READS,   calls::get_set),
    row("verger.policy.v1.PolicyService/Apply",             PEOPLE, CHANGES, calls::apply),
    row("verger.policy.v1.PolicyService/Get",               PEOPLE, READS,   calls::get),
    row("verger.policy.v1.PolicyService/List",              PEOPLE, READS,   calls::list),
    row("verger.policy.v1.PolicyService/Delete",            PEOPLE, CHANGES, calls::delete),
    row("verger.policy.v1.PolicyService/RotateTrustRoot",   PEOPLE, CHANGES, calls::rotate_trust_root),
    row("verger.policy.v1.PolicyService/Watch",             PEOPLE, READS,   calls::watch),
    row("verger.policy.v1.ProposalService/Propose",         PEOPLE, CHANGES, calls::propose),
    row("verger.policy.v1.ProposalService/Sign",            PEOPLE, CHANGES, calls::sign),
    row("verger.policy.v1.ProposalService/Withdraw",        PEOPLE, CHANGES, calls::withdraw),
    row("verger.policy.v1.ProposalService/GetProposal",     PEOPLE, READS,   calls::get_proposal),
    row("verger.policy.v1.ProposalService/ListProposals",   PEOPLE, READS,   calls::list_proposals),
    row("verger.cluster.v1.ClusterService/GetStatus",       PEOPLE, READS,   calls::get_status),
    row("verger.cluster.v1.ClusterService/CreateJoinToken", PEOPLE, CHANGES, calls::create_join_token),
    row("verger.cluster.v1.ClusterService/ListHosts",       PEOPLE, READS,   calls::list_hosts),
    row("verger.cluster.v1.ClusterService/GetHost",         PEOPLE, READS,   calls::get_host),
    row("verger.cluster.v1.ClusterService/ListInstances",   PEOPLE, READS,   calls::list_instances),
    row("verger.cluster.v1.ClusterService/GetInstance",     PEOPLE, READS,   calls::get_instance),
    row("verger.cluster.v1.ClusterService/RemoveHost",      PEOPLE, CHANGES, calls::remove_host),
    row("verger.cluster.v1.ClusterService/ApproveHost",     PEOPLE, CHANGES, calls::approve_host),
    row("verger.cluster.v1.ClusterService/RejectHost",      PEOPLE, CHANGES, calls::reject_host),
    row("verger.cluster.v1.ClusterService/EvictHost",       PEOPLE, CHANGES, calls::evict_host),
    row("verger.cluster.v1.ClusterService/BanHost",         PEOPLE, CHANGES, calls::ban_host),
    row("verger.cluster.v1.ClusterService/UnbanHost",       PEOPLE, CHANGES, calls::unban_host),
    row("verger.cluster.v1.MemberService/ListMembers",      PEOPLE, READS,   calls::list_members),
    row("verger.cluster.v1.MemberService/InviteMember",     PEOPLE, CHANGES, calls::invite_member),
    row("verger.cluster.v1.MemberService/PromoteMember",    PEOPLE, CHANGES, calls::promote_member),
    row("verger.cluster.v1.MemberService/DemoteMember",     PEOPLE, CHANGES, calls::demote_member),
    row("verger.cluster.v1.MemberService/RemoveMember",     PEOPLE, CHANGES, calls::remove_member),
    row("verger.cluster.v1.MemberService/TransferLeader",   PEOPLE, CHANGES, calls::transfer_leader),
    row("verger.cluster.v1.MemberService/SaveSnapshot",     PEOPLE, CHANGES, calls::save_snapshot),
    row("verger.cluster.v1.JoinService/Join",               TOKEN,  CHANGES, calls::join),
    row("verger.cluster.v1.CertificateService/CreateLogin", PEOPLE, CHANGES, calls::create_login),
    row("verger.cluster.v1.CertificateService/RevokeLogin", PEOPLE, CHANGES, calls::revoke_login),
    row("verger.cluster.v1.CertificateService/RenewCertificate", PEOPLE, CHANGES, calls::renew_certificate),
    row("verger.cluster.v1.CertificateService/WhoAmI",      PEOPLE, READS,   calls::who_am_i),
    row("verger.cluster.v1.LoginService/BeginLogin",        TOKEN,  READS,   calls::begin_login),
    row("verger.cluster.v1.LoginService/CompleteLogin",     TOKEN,  CHANGES, calls::complete_login),
    row("verger.cluster.v1.AuditService/List",              PEOPLE, READS,   calls::list_audit),
    row("verger.cluster.v1.AuditService/Watch",             PEOPLE, READS,   calls::watch_audit),
    row("verger.cluster.v1.AuditService/Head",              PEOPLE, READS,   calls::audit_head),
    row("verger.findings.v1.FindingsService/List",          PEOPLE, READS,   calls::list_findings),
    row("verger.findings.v1.FindingsService/Get",           PEOPLE, READS,   calls::get_finding),
    row("verger.findings.v1.FindingsService/Watch",         PEOPLE, READS,   calls::watch_findings),
    row("verger.findings.v1.FindingsService/Account",       PEOPLE, READS,   calls::account),
    row("verger.findings.v1.FindingsService/Ack",           PEOPLE, CHANGES, calls::ack_finding),
    row("verger.agent.v1.SessionService/Connect",           AGENTS, READS,   calls::connect),
    row("verger.agent.v1.SessionService/Report",            AGENTS, CHANGES, calls::report),
    row("verger.agent.v1.SessionService/Renew",             AGENTS, READS,   calls::renew),
    row("verger.agent.v1.SessionService/LookUpPerson",      AGENTS, READS,   calls::look_up_person),
    row("verger.agent.v1.EnrolmentService/Enrol",           TOKEN,  CHANGES, calls::enrol),
];

/// Served where members listen for each other, by another crate; the point `rpc-access` calls it there.
const ELSEWHERE: &str = "verger.peer.v1.PeerService/";

/// Every rpc of every service that the crate of protos exposes and this crate serves.
fn rpcs() -> BTreeSet<String> {
    let set = prost_types::FileDescriptorSet::decode(verger_proto::DESCRIPTORS).unwrap();
    let mut rpcs = BTreeSet::new();
    for file in &set.file {
        for service in &file.service {
            let path = format!("{}.{}", file.package(), service.name());
            rpcs.extend(
                service
                    .method
                    .iter()
                    .map(|method| format!("{path}/{}", method.name())),
            );
        }
    }
    rpcs.retain(|rpc| !rpc.starts_with(ELSEWHERE));
    rpcs
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rpc)
    }
}

#[test]
fn every_rpc_has_a_row_and_every_row_an_rpc() {
    let rows: BTreeSet<String> = TABLE.iter().map(ToString::to_string).collect();
    assert_eq!(rows.len(), TABLE.len(), "no rpc has two rows");
    assert_eq!(rows, rpcs(), "say in the table who may call a new rpc");
}

#[tokio::test(start_paused = true)]
async fn callers_get_what_the_table_says_and_whoever_is_denied_changes_nothing() {
    for row in TABLE {
        for (kind, answer) in Kind::ALL.into_iter().zip(row.answers) {
            let prepared = Prepared::new().await;
            judge(row, kind, answer, &prepared).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_proposed_is_in_the_name_of_the_certificate() {
    for row in TABLE.iter().filter(|row| row.changes) {
        let actors: Vec<String> = match row.answers {
            PEOPLE => vec!["person/ada".to_owned(), "person/bob".to_owned()],
            AGENTS => vec!["agent/h1".to_owned()],
            // Whoever enrols or logs in has no name yet but the one that the token was made for.
            _ => vec![String::new()],
        };
        for actor in actors {
            let prepared = Prepared::new().await;
            // People with one key: a certificate is renewed with its own.
            let caller = match row.answers {
                PEOPLE => {
                    let end = start().as_second() + 86_400;
                    prepared
                        .world
                        .give_login(actor.trim_start_matches("person/"), "ada");
                    prepared.world.caller_with(&actor, "ada", end)
                }
                _ => prepared.world.caller(&actor),
            };
            (row.call)(&prepared, caller).await.unwrap();
            let last = prepared.world.log.proposed().pop().unwrap();
            let wanted = match actor.as_str() {
                "" if row.rpc.ends_with("/CompleteLogin") => "person/bea",
                "" if row.rpc.ends_with("/Join") => "controller/c9",
                "" => "agent/h2",
                actor => actor,
            };
            assert_eq!(last.actor, wanted, "{row}");
        }
    }
}

async fn judge(row: &Row, kind: Kind, answer: Answer, prepared: &Prepared) {
    let world: &World = &prepared.world;
    let (before, proposed) = (world.log.state(), world.log.proposed().len());
    let called = (row.call)(prepared, world.caller(kind.name())).await;
    let changed = world.log.state() != before;
    match answer {
        Allowed => {
            assert_eq!(
                called.map_err(|status| status.to_string()),
                Ok(()),
                "{row} by {kind:?}"
            );
            assert_eq!(changed, row.changes, "{row} by {kind:?}");
        }
        Denied(why) => {
            let status = called.expect_err("denied");
            let denied = matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated);
            assert!(denied, "{row} by {kind:?}: {status:?}");
            assert_eq!(reason(&status), why, "{row} by {kind:?}");
            assert!(!changed, "{row} by {kind:?}");
            assert_eq!(world.log.proposed().len(), proposed, "{row} by {kind:?}");
            let noted = world.denials.due(tokio::time::Instant::now());
            let [denied] = noted.as_slice() else {
                panic!("{row} by {kind:?}: {noted:?}")
            };
            let actor = Some(kind.name()).filter(|name| !name.is_empty());
            assert_eq!(denied.first.actor, actor.unwrap_or("nobody"), "{row}");
            let said = (denied.first.rpc.as_str(), denied.first.reason.as_str());
            assert_eq!((said, denied.attempts), ((row.rpc, why), 1), "for the audit");
        }
    }
}
