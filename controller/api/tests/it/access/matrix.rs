//! What each built-in role may call. Written by hand, and held against the protos: every rpc is here.
//!
//! The point `rpc-access` holds it against a controller that runs, too.

/// Who may call an rpc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// People of these roles.
    Roles(&'static str),
    /// Agents; no role helps.
    Agents,
    /// Whoever has a token; no role matters.
    TokenHolders,
}

use Who::{Agents, Roles, TokenHolders};

#[rustfmt::skip]
pub(crate) const MATRIX: &[(&str, Who)] = &[
    ("verger.policy.v1.PolicyService/GetSet",            Roles("voapx")),
    ("verger.policy.v1.PolicyService/Apply",             Roles("ax")),
    ("verger.policy.v1.PolicyService/Get",               Roles("voapx")),
    ("verger.policy.v1.PolicyService/List",              Roles("voapx")),
    ("verger.policy.v1.PolicyService/Delete",            Roles("ax")),
    ("verger.policy.v1.PolicyService/RotateTrustRoot",   Roles("x")),
    ("verger.policy.v1.PolicyService/Watch",             Roles("voapx")),
    ("verger.policy.v1.ProposalService/Propose",         Roles("ax")),
    ("verger.policy.v1.ProposalService/Sign",            Roles("px")),
    ("verger.policy.v1.ProposalService/Withdraw",        Roles("apx")),
    ("verger.policy.v1.ProposalService/GetProposal",     Roles("voapx")),
    ("verger.policy.v1.ProposalService/ListProposals",   Roles("voapx")),
    ("verger.cluster.v1.ClusterService/GetStatus",       Roles("voapx")),
    ("verger.cluster.v1.ClusterService/CreateJoinToken", Roles("ox")),
    ("verger.cluster.v1.ClusterService/ListHosts",       Roles("voapx")),
    ("verger.cluster.v1.ClusterService/GetHost",         Roles("voapx")),
    ("verger.cluster.v1.ClusterService/ListInstances",   Roles("voapx")),
    ("verger.cluster.v1.ClusterService/GetInstance",     Roles("voapx")),
    ("verger.cluster.v1.ClusterService/RemoveHost",      Roles("x")),
    ("verger.cluster.v1.ClusterService/ApproveHost",     Roles("ox")),
    ("verger.cluster.v1.ClusterService/RejectHost",      Roles("ox")),
    ("verger.cluster.v1.ClusterService/EvictHost",       Roles("ox")),
    ("verger.cluster.v1.ClusterService/BanHost",         Roles("x")),
    ("verger.cluster.v1.ClusterService/UnbanHost",       Roles("x")),
    ("verger.cluster.v1.MemberService/ListMembers",      Roles("voapx")),
    ("verger.cluster.v1.MemberService/InviteMember",     Roles("x")),
    ("verger.cluster.v1.MemberService/PromoteMember",    Roles("x")),
    ("verger.cluster.v1.MemberService/DemoteMember",     Roles("x")),
    ("verger.cluster.v1.MemberService/RemoveMember",     Roles("x")),
    ("verger.cluster.v1.MemberService/TransferLeader",   Roles("x")),
    ("verger.cluster.v1.MemberService/SaveSnapshot",     Roles("x")),
    ("verger.cluster.v1.JoinService/Join",               TokenHolders),
    ("verger.cluster.v1.CertificateService/CreateLogin", Roles("x")),
    ("verger.cluster.v1.CertificateService/RevokeLogin", Roles("x")),
    ("verger.cluster.v1.CertificateService/RenewCertificate", Roles("voapx")),
    ("verger.cluster.v1.CertificateService/WhoAmI",      Roles("-voapx")),
    ("verger.cluster.v1.LoginService/BeginLogin",        TokenHolders),
    ("verger.cluster.v1.LoginService/CompleteLogin",     TokenHolders),
    ("verger.cluster.v1.AuditService/List",              Roles("opx")),
    ("verger.cluster.v1.AuditService/Watch",             Roles("opx")),
    ("verger.cluster.v1.AuditService/Head",              Roles("opx")),
    ("verger.findings.v1.FindingsService/List",          Roles("voapx")),
    ("verger.findings.v1.FindingsService/Get",           Roles("voapx")),
    ("verger.findings.v1.FindingsService/Watch",         Roles("voapx")),
    ("verger.findings.v1.FindingsService/Account",       Roles("voapx")),
    ("verger.findings.v1.FindingsService/Ack",           Roles("ox")),
    ("verger.agent.v1.SessionService/Connect",           Agents),
    ("verger.agent.v1.SessionService/Report",            Agents),
    ("verger.agent.v1.SessionService/Renew",             Agents),
    ("verger.agent.v1.SessionService/LookUpPerson",      Agents),
    ("verger.agent.v1.EnrolmentService/Enrol",           TokenHolders),
];
