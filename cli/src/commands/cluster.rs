//! `cluster`: the members of the control plane.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Request, Status};
use verger_policy::model::printable;
use verger_proto::cluster::v1 as pb;
use verger_proto::cluster::v1::member_service_client::MemberServiceClient;
use verger_transport::{Label, MemberJoin, files};
use verger_wire::instant;

use super::token::{address, trusted_status};
use crate::args::{ClusterCommand, Format, MemberChange};
use crate::connect::{Session, call, request_id};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Column, Sheet, document, emit, for_people, note, print};

const MEMBERS: &[Column] = &[
    Column::new("MEMBER"),
    Column::new("PART"),
    Column::new("HEARD"),
    Column::new("BEHIND"),
    Column::new("ADDRESS"),
    Column::wide("PEERS"),
    Column::wide("ENROLMENT"),
    Column::wide("NUMBER"),
    Column::wide("KNOWS VERSION"),
];

const STATUS: &[Column] = &[
    Column::new("ANSWERED BY"),
    Column::new("LEADER"),
    Column::new("VOTERS"),
    Column::new("LEARNERS"),
    Column::new("TERM"),
    Column::new("LAST"),
    Column::new("APPLIED"),
    Column::wide("SNAPSHOT"),
    Column::wide("PURGED"),
    Column::new("VERSION"),
];

pub(super) async fn cluster(
    command: ClusterCommand,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    match command {
        ClusterCommand::Status { stale_ok } => status(context, stale_ok, format).await,
        ClusterCommand::Members { stale_ok } => members(context, stale_ok, format).await,
        ClusterCommand::Snapshot(command) => super::snapshot::snapshot(command, context, format).await,
        ClusterCommand::Add { name, ttl } => add(context, &name, ttl, format).await,
        ClusterCommand::Change(change) => {
            let mut session = Session::open(context).await?;
            made(&mut session, change).await
        }
    }
}

async fn standing(session: &Session, stale_ok: bool) -> anyhow::Result<pb::ListMembersResponse> {
    let request = pb::ListMembersRequest { stale_ok };
    let answer = session.ask(request, async |session, request| {
        session.members().list_members(request).await
    });
    Ok(answer.await?.into_inner())
}

async fn status(context: Option<&Path>, stale_ok: bool, format: Format) -> anyhow::Result<Exit> {
    let session = Session::open(context).await?;
    let standing = standing(&session, stale_ok).await?;
    let voters = standing.members.iter().filter(|member| member.voter).count();
    let learners = standing.members.len() - voters;
    let leader = match standing.leader.as_str() {
        "" => "none known".to_owned(),
        leader => leader.to_owned(),
    };
    let restored = standing.restored.as_ref().map(restoration).transpose()?;
    let mut sheet = Sheet::one(STATUS);
    let cells = vec![
        standing.answered_by.clone(),
        leader,
        voters.to_string(),
        learners.to_string(),
        standing.term.to_string(),
        standing.last.to_string(),
        standing.applied.to_string(),
        standing.snapshot.to_string(),
        standing.purged.to_string(),
        standing.cluster_version.to_string(),
    ];
    let object = json!({
        "answeredBy": standing.answered_by,
        "leader": standing.leader,
        "voters": voters,
        "learners": learners,
        "term": standing.term,
        "last": standing.last,
        "applied": standing.applied,
        "snapshot": standing.snapshot,
        "purged": standing.purged,
        "changing": standing.changing,
        "version": standing.cluster_version,
        "epoch": standing.epoch,
        "highestLedgerEpoch": standing.highest_ledger_epoch,
        "restored": restored.as_ref().map(|(at, digest)| json!({ "at": at, "digest": digest })),
    });
    sheet.push(standing.answered_by.clone(), cells, object);
    print(&sheet, format)?;
    if for_people(format) && standing.changing {
        note("a change of members is under way");
    }
    if for_people(format) {
        told_restored(&standing, restored);
        full(&standing).iter().for_each(|line| note(line));
    }
    Ok(Exit::Clean)
}

/// When it was restored, and the digest of the snapshot.
fn restoration(restored: &pb::Restoration) -> anyhow::Result<(String, String)> {
    let at = restored.at.map(|at| instant("restored.at", at)).transpose()?;
    let digest = verger_wire::digest("restored.digest", &restored.digest)?;
    Ok((at.unwrap_or_default().to_string(), digest.to_string()))
}

fn told_restored(standing: &pb::ListMembersResponse, restored: Option<(String, String)>) {
    if let Some((at, digest)) = restored {
        note(&format!("restored at {at} from snapshot {digest}"));
    }
    let (epoch, highest) = (standing.epoch, standing.highest_ledger_epoch);
    if highest > epoch {
        note(&format!(
            "warning: a host has epoch {highest}, and the set in force has epoch {epoch}: hosts take nothing before it is sealed above theirs: \
             `verger apply --above-epoch {highest}`"
        ));
    }
}

/// Whose disks are full, as far as the member that answered knows: a line for each.
fn full(standing: &pb::ListMembersResponse) -> Vec<String> {
    let full = standing.members.iter().filter(|member| !member.full.is_empty());
    full.map(|pb::Member { name, full, .. }| {
        format!("warning: at member {} {}", printable(name), printable(full))
    })
    .collect()
}

async fn members(context: Option<&Path>, stale_ok: bool, format: Format) -> anyhow::Result<Exit> {
    let session = Session::open(context).await?;
    let standing = standing(&session, stale_ok).await?;
    let mut sheet = Sheet::list(MEMBERS, "there is no member");
    for member in &standing.members {
        push(&mut sheet, member, &standing);
    }
    print(&sheet, format)?;
    if for_people(format) {
        for pb::Invitation { name, expires } in &standing.invitations {
            let expires = expires.map(|at| instant("expires", at)).transpose()?;
            let until = expires.map(|at| format!(" before {at}")).unwrap_or_default();
            note(&format!("{name} is invited, and can join{until}"));
        }
        full(&standing).iter().for_each(|line| note(line));
    }
    match remember(&session, &standing) {
        Ok(0) => {}
        Ok(count) => note(&format!("your context knows {count} members to ask now")),
        Err(error) => note(&format!("where the members are called was not kept: {error:#}")),
    }
    Ok(Exit::Clean)
}

fn push(sheet: &mut Sheet, member: &pb::Member, standing: &pb::ListMembersResponse) {
    let is_leader = standing.leader == member.name;
    let part = match member {
        _ if is_leader => "leader",
        pb::Member { voter: true, .. } => "voter",
        pb::Member { voter: false, .. } => "learner",
    };
    // Only the leader knows.
    let heard = match member.heard_millis_ago {
        _ if is_leader => "-".to_owned(),
        Some(millis) => format!(
            "{:.1} s ago",
            std::time::Duration::from_millis(millis).as_secs_f64()
        ),
        None if standing.answered_by == standing.leader => "never".to_owned(),
        None => "?".to_owned(),
    };
    let behind = match member.matched {
        _ if is_leader => "0".to_owned(),
        Some(matched) => standing.last.saturating_sub(matched).to_string(),
        None => "?".to_owned(),
    };
    let newest = match member.newest_version {
        0 => "?".to_owned(),
        version => version.to_string(),
    };
    let cells = vec![
        member.name.clone(),
        part.to_owned(),
        heard,
        behind,
        member.address.clone(),
        member.peer_address.clone(),
        member.enrol_address.clone(),
        member.number.to_string(),
        newest,
    ];
    let object: Value = json!({
        "member": member.name,
        "part": part,
        "number": member.number,
        "address": member.address,
        "peerAddress": member.peer_address,
        "enrolAddress": member.enrol_address,
        "matched": member.matched,
        "heardMillisAgo": member.heard_millis_ago,
        "newestVersion": member.newest_version,
        "full": member.full,
    });
    sheet.push(member.name.clone(), cells, object);
}

/// Has the context know where all members are called; says how many it knows now, or 0 where nothing was new.
fn remember(session: &Session, standing: &pb::ListMembersResponse) -> anyhow::Result<usize> {
    let known = &session.context().addresses;
    let mut addresses: Vec<String> = Vec::new();
    for member in &standing.members {
        // It goes into a file that other programs read.
        if !member.address.is_empty() && !addresses.contains(&member.address) {
            addresses.push(address("address", &member.address)?.to_owned());
        }
    }
    // Whoever was asked first is asked first.
    addresses.sort_by_key(|address| {
        known
            .iter()
            .position(|other| other == address)
            .unwrap_or(usize::MAX)
    });
    if addresses.is_empty() || addresses == *known {
        return Ok(0);
    }
    // As it is now: another run may have renewed its certificate.
    let mut context = Context::load(session.place())?;
    let count = addresses.len();
    context.addresses = addresses;
    files::replace(session.place(), &context.to_json()).context("writing the context")?;
    Ok(count)
}

async fn add(context: Option<&Path>, name: &str, ttl: u32, format: Format) -> anyhow::Result<Exit> {
    let _: Label = name
        .parse()
        .map_err(|error| Failure::input(format!("NAME `{name}`: {error}")))?;
    let mut session = Session::open(context).await?;
    let (status, pin) = trusted_status(&session).await?;
    let request = pb::InviteMemberRequest {
        request_id: request_id(),
        name: name.to_owned(),
        ttl_seconds: ttl,
    };
    let answer = insisted(&mut session, &request, async |mut members, request| {
        members.invite_member(request).await
    });
    let pb::InviteMemberResponse { token, expires } = answer.await?.into_inner();
    let expires = expires.map(|at| instant("expires", at)).transpose()?;
    let enrol = address("enrol_address", &status.enrol_address)?;
    let command = MemberJoin::check(enrol, &session.context().cluster_id, &pin, &token)?.reveal();
    if for_people(format) {
        if let Some(expires) = expires {
            note(&format!(
                "run this on the new member's host before {expires}, with `member = \"{name}\"` and `peer_listen` in its configuration; it works once:"
            ));
        }
        emit(&format!("{}\n", command.as_str()))?;
    } else if format == Format::Name {
        emit(&format!("{token}\n"))?;
    } else {
        let expires = expires.map(|at| at.to_string());
        let object = json!({ "member": name, "command": command.as_str(), "expires": expires });
        emit(&document(&object, format)?)?;
    }
    Ok(Exit::Clean)
}

/// Has a change made, and says that it is.
async fn made(session: &mut Session, change: MemberChange) -> anyhow::Result<Exit> {
    let request_id = request_id();
    let said = match change {
        MemberChange::Promote { name, force } => {
            let said = format!("{name} votes");
            let request = pb::PromoteMemberRequest {
                request_id,
                name,
                force,
            };
            insisted(session, &request, async |mut members, request| {
                members.promote_member(request).await.map(drop)
            })
            .await?;
            said
        }
        MemberChange::Demote { name, force } => {
            let said = format!("{name} votes no more");
            let request = pb::DemoteMemberRequest {
                request_id,
                name,
                force,
            };
            insisted(session, &request, async |mut members, request| {
                members.demote_member(request).await.map(drop)
            })
            .await?;
            said
        }
        MemberChange::Remove { name, force } => {
            let said = format!("{name} is no member any more; stop it there, and remove its files");
            let request = pb::RemoveMemberRequest {
                request_id,
                name,
                force,
            };
            insisted(session, &request, async |mut members, request| {
                members.remove_member(request).await.map(drop)
            })
            .await?;
            said
        }
        MemberChange::TransferLeader { name } => {
            let said = format!("{name} leads");
            let request = pb::TransferLeaderRequest { request_id, name };
            insisted(session, &request, async |mut members, request| {
                members.transfer_leader(request).await.map(drop)
            })
            .await?;
            said
        }
    };
    note(&said);
    Ok(Exit::Clean)
}

/// Offers a request until somebody answers.
async fn insisted<M: Clone, T>(
    session: &mut Session,
    request: &M,
    offer: impl AsyncFn(MemberServiceClient<Channel>, Request<M>) -> Result<T, Status>,
) -> anyhow::Result<T> {
    session
        .insist(|session| offer(session.members(), call(request.clone())))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_full_disk_is_one_line_whatever_a_member_says_of_it() {
        let member = |name: &str, full: &str| pb::Member {
            name: name.to_owned(),
            full: full.to_owned(),
            ..pb::Member::default()
        };
        let standing = pb::ListMembersResponse {
            members: vec![
                member("c1", ""),
                member("c2", "the disk is full: free some space"),
                member("c3", "full\nwarning: \u{1b}[31mat member c1"),
            ],
            ..pb::ListMembersResponse::default()
        };
        let lines = full(&standing);
        assert_eq!(
            lines[0],
            "warning: at member c2 the disk is full: free some space"
        );
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("warning: at member c3 full"), "{lines:?}");
        assert!(!lines[1].contains(['\n', '\u{1b}']), "{lines:?}");
    }
}
