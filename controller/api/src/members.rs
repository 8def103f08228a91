//! The members of the control plane: who they are, and changing that.

use std::sync::Arc;

use tonic::{Code, Request, Response, Status};
use verger_controller_state::{
    Action, Host, MemberRecord, MemberTurn, Response as Answer, Restored, SnapshotPlace, State,
};
use verger_policy::digest::Digest;
use verger_policy::model::{AgentId, Name, Resource, Verb};
use verger_proto::cluster::v1 as pb;
use verger_proto::cluster::v1::member_service_server::MemberService;
use verger_transport::{JoinToken, Label};
use verger_wire::{digest_bytes, parse, timestamp};

use crate::asking::request_id as valid_id;
use crate::authorizer::Authorizer;
use crate::fleet::Fleet;
use crate::ports::{Ambient, MemberChange, Membership, NotChanged, Replicated, Snapshots, read};
use crate::request_ids::Asked;
use crate::snapshots;
use crate::status::{answered_otherwise, invalid, with_reason};
use crate::watch::Stream;

/// Why a change is not made that was made before.
const ALREADY: &str = "ALREADY_SO";
/// Why nobody is removed who is none.
const NO_MEMBER: &str = "NO_SUCH_MEMBER";
/// The longest, and the usual, life of an invitation in seconds.
const INVITATION_SECONDS: u32 = 600;

/// The service.
pub struct Members {
    replicated: Arc<dyn Replicated>,
    ambient: Arc<dyn Ambient>,
    membership: Arc<dyn Membership>,
    snapshots: Arc<dyn Snapshots>,
    fleet: Arc<Fleet>,
    authorizer: Arc<Authorizer>,
}

impl Members {
    /// Serves from what this member knows of the others.
    pub fn new(
        replicated: Arc<dyn Replicated>,
        ambient: Arc<dyn Ambient>,
        membership: Arc<dyn Membership>,
        snapshots: Arc<dyn Snapshots>,
        fleet: Arc<Fleet>,
        authorizer: Arc<Authorizer>,
    ) -> Self {
        Self {
            replicated,
            ambient,
            membership,
            snapshots,
            fleet,
            authorizer,
        }
    }

    fn is_member(&self, name: &str) -> bool {
        let members = self.membership.standing().members;
        members.iter().any(|member| member.name == name)
    }

    fn has_answered(&self, request_id: &str) -> bool {
        read(&*self.replicated, |state| state.has_answered(request_id))
    }

    /// A change that is nothing but one of who votes and leads.
    async fn change<M: Asked + Sync>(
        &self,
        request: &Request<M>,
        (member, turn): (&str, MemberTurn),
        is_forced: bool,
    ) -> Result<(), Status> {
        let permit = self
            .authorizer
            .person(request)?
            .may(Verb::Update, Resource::Members)
            .await?;
        let id = request.get_ref().request_id();
        // Before anything is changed.
        valid_id(id)?;
        let noted = name(member)?;
        let change = match turn {
            MemberTurn::Promoted => MemberChange::Promote(member.to_owned()),
            MemberTurn::Demoted => MemberChange::Demote(member.to_owned()),
            MemberTurn::Leads => MemberChange::Lead(member.to_owned()),
        };
        // Whoever asks again is answered as the first time: what was done since then stays.
        if !self.has_answered(id) {
            match self.membership.change(change, is_forced).await {
                // It was done the first time, and that is not on record.
                Err(error) if error.reason == ALREADY => {}
                made => made.map_err(|error| not_changed(&error))?,
            }
        }
        let note = Action::NoteMember {
            member: noted,
            turn,
            forced: is_forced,
        };
        let asker = permit.asker();
        match asker.propose(&*self.replicated, &*self.ambient, id, note).await? {
            Answer::MemberNoted => Ok(()),
            other => Err(answered_otherwise(&other)),
        }
    }
}

/// Has a member count for nothing. Another may have done so by now.
pub(crate) async fn take_out(
    membership: &dyn Membership,
    member: &Name,
    is_forced: bool,
) -> Result<(), Status> {
    let removal = MemberChange::Remove(member.to_string());
    match membership.change(removal, is_forced).await {
        Err(error) if error.reason == NO_MEMBER => Ok(()),
        made => made.map_err(|error| not_changed(&error)),
    }
}

/// Says why the members were not changed.
pub(crate) fn not_changed(error: &NotChanged) -> Status {
    let code = match error.is_passing {
        true => Code::Unavailable,
        false => Code::FailedPrecondition,
    };
    with_reason(code, &error.reason, error.detail.clone())
}

/// A member's name: one label, as in its certificate.
pub(crate) fn name(text: &str) -> Result<Name, Status> {
    let _: Label = parse("name", text).map_err(invalid)?;
    parse("name", text).map_err(invalid)
}

fn invitations(state: &State) -> Vec<pb::Invitation> {
    let invited = state.members().filter_map(|(name, record)| match record {
        MemberRecord::Invited { expires, .. } => Some(pb::Invitation {
            name: name.to_string(),
            expires: Some(timestamp(*expires)),
        }),
        MemberRecord::Admitted { .. } | MemberRecord::Removed { .. } => None,
    });
    invited.collect()
}

fn restoration(restored: &Restored) -> pb::Restoration {
    let Restored {
        from: SnapshotPlace { digest, index, .. },
        at,
        revision: _,
    } = restored;
    pb::Restoration {
        digest: digest_bytes(digest),
        index: *index,
        at: Some(timestamp(*at)),
    }
}

#[tonic::async_trait]
impl MemberService for Members {
    type SaveSnapshotStream = Stream<pb::SaveSnapshotResponse>;

    async fn save_snapshot(
        &self,
        request: Request<pb::SaveSnapshotRequest>,
    ) -> Result<Response<Self::SaveSnapshotStream>, Status> {
        let may = || async {
            let caller = self.authorizer.person(&request)?;
            caller.may(Verb::Create, Resource::Snapshots).await
        };
        // One for the record, and one that the stream goes on by.
        let (asker, permit) = (may().await?.asker(), may().await?);
        let id = &request.get_ref().request_id;
        // On record before anybody has any of it; so that is in it, too. Who asks again is given another, and has another row.
        match asker
            .propose_anew(&*self.replicated, &*self.ambient, id, Action::SaveSnapshot)
            .await?
        {
            Answer::SnapshotNoted => {}
            other => return Err(answered_otherwise(&other)),
        }
        let snapshot = self.snapshots.save().await.map_err(snapshots::not_saved)?;
        let stream = snapshots::stream(Arc::clone(&self.replicated), permit, snapshot);
        Ok(Response::new(stream))
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        match request.get_ref().stale_ok {
            true => caller.may_as_known_here(Verb::Get, Resource::Status).await?,
            false => caller.may(Verb::Get, Resource::Status).await?,
        };
        let standing = self.membership.standing();
        let fleet = &self.fleet;
        Ok(Response::new(read(&*self.replicated, |state| {
            let known = |agent: &AgentId| state.host(agent).is_some_and(Host::serves);
            pb::ListMembersResponse {
                invitations: invitations(state),
                epoch: state.set().epoch(),
                highest_ledger_epoch: fleet.highest_epoch(known),
                restored: state.restored().map(restoration),
                ..standing
            }
        })))
    }

    async fn invite_member(
        &self,
        request: Request<pb::InviteMemberRequest>,
    ) -> Result<Response<pb::InviteMemberResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::InviteMemberRequest {
            request_id,
            name: member,
            ttl_seconds,
        } = request.into_inner();
        let member = name(&member)?;
        let permit = caller.may(Verb::Create, Resource::Members).await?;
        if self.is_member(member.as_str()) {
            let what = format!("there is a member {member} already; a new one has another name");
            return Err(with_reason(Code::AlreadyExists, "MEMBER_NAME_TAKEN", what));
        }
        let seconds = match ttl_seconds {
            0 => INVITATION_SECONDS,
            seconds => seconds.min(INVITATION_SECONDS),
        };
        let mut random = [0; 40];
        self.ambient.random(&mut random);
        let token = JoinToken::from_random(random);
        // By the cluster's time, where that is ahead of this member's clock.
        let begins = read(&*self.replicated, State::clock).max(self.ambient.now());
        let expires = begins + jiff::SignedDuration::from_secs(seconds.into());
        let action = Action::InviteMember {
            member,
            id: token.id().to_owned(),
            secret_hash: Digest::from_bytes(token.secret_hash()),
            expires,
        };
        let asker = permit.asker();
        match asker
            .propose(&*self.replicated, &*self.ambient, &request_id, action)
            .await?
        {
            Answer::MemberInvited(_) => Ok(Response::new(pb::InviteMemberResponse {
                token: token.reveal().to_string(),
                expires: Some(timestamp(expires)),
            })),
            other => Err(answered_otherwise(&other)),
        }
    }

    async fn promote_member(
        &self,
        request: Request<pb::PromoteMemberRequest>,
    ) -> Result<Response<pb::PromoteMemberResponse>, Status> {
        let pb::PromoteMemberRequest { name, force, .. } = request.get_ref().clone();
        self.change(&request, (&name, MemberTurn::Promoted), force)
            .await?;
        Ok(Response::new(pb::PromoteMemberResponse {}))
    }

    async fn demote_member(
        &self,
        request: Request<pb::DemoteMemberRequest>,
    ) -> Result<Response<pb::DemoteMemberResponse>, Status> {
        let pb::DemoteMemberRequest { name, force, .. } = request.get_ref().clone();
        self.change(&request, (&name, MemberTurn::Demoted), force).await?;
        Ok(Response::new(pb::DemoteMemberResponse {}))
    }

    async fn remove_member(
        &self,
        request: Request<pb::RemoveMemberRequest>,
    ) -> Result<Response<pb::RemoveMemberResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::RemoveMemberRequest {
            request_id,
            name: member,
            force,
        } = request.into_inner();
        let member = name(&member)?;
        let permit = caller.may(Verb::Delete, Resource::Members).await?;
        // Before anything is changed.
        valid_id(&request_id)?;
        let is_recorded = read(&*self.replicated, |state| state.member(&member).is_some());
        if self.has_answered(&request_id) {
            // What is proposed is answered as the first time.
        } else if self.is_member(member.as_str()) {
            // First it counts for nothing, and then it is nobody: the other way round a cluster might be left without a quorum.
            take_out(&*self.membership, &member, force).await?;
        } else if !is_recorded && !force {
            // One that joined after the snapshot that a cluster was restored from is known to nobody.
            let what = format!(
                "there is no member {member}, and none is on record: look at the names with `verger cluster members`. To have the name used \
                 all the same, such as that of a member that joined after the snapshot that the cluster was restored from, say `--force`"
            );
            return Err(with_reason(Code::NotFound, "NOT_FOUND", what));
        }
        let asker = permit.asker();
        match asker
            .propose(
                &*self.replicated,
                &*self.ambient,
                &request_id,
                Action::RemoveMember {
                    member: member.clone(),
                },
            )
            .await?
        {
            Answer::MemberRemoved => {
                // Who was let in and not yet a learner may be one by now. Whoever lets it in looks at the record after that.
                let is_nobody =
                    |state: &State| matches!(state.member(&member), Some(MemberRecord::Removed { .. }));
                if read(&*self.replicated, is_nobody) && self.is_member(member.as_str()) {
                    take_out(&*self.membership, &member, force).await?;
                }
                Ok(Response::new(pb::RemoveMemberResponse {}))
            }
            other => Err(answered_otherwise(&other)),
        }
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        let pb::TransferLeaderRequest { name, .. } = request.get_ref().clone();
        self.change(&request, (&name, MemberTurn::Leads), false).await?;
        Ok(Response::new(pb::TransferLeaderResponse {}))
    }
}
