//! Changes of the policy set that wait for more signatures.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use verger_controller_state::{Action, Proposal, Refused, Response as Answer, State};
use verger_policy::model::{Resource, Verb};
use verger_proto::policy::v1 as pb;
use verger_proto::policy::v1::proposal_service_server::ProposalService;
use verger_wire::{IntoWire as _, digest_bytes, timestamp};

use crate::authorizer::{Authorizer, Change, Way};
use crate::policy::{fits, key_in, seal_in};
use crate::ports::{Ambient, Replicated, read};
use crate::quotas::take_place;
use crate::status::{answered_otherwise, refused};

/// The service.
pub struct Proposals {
    replicated: Arc<dyn Replicated>,
    ambient: Arc<dyn Ambient>,
    authorizer: Arc<Authorizer>,
}

impl Proposals {
    /// Serves from the replicated state.
    pub fn new(
        replicated: Arc<dyn Replicated>,
        ambient: Arc<dyn Ambient>,
        authorizer: Arc<Authorizer>,
    ) -> Self {
        Self {
            replicated,
            ambient,
            authorizer,
        }
    }

    /// Looks at the state as it is here, which was brought up to date when the caller was let in.
    fn now<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        read(&*self.replicated, look)
    }
}

fn in_wire(number: u64, proposal: &Proposal, epoch: u64, with_bodies: bool) -> pb::Proposal {
    let Proposal {
        actor,
        created,
        expected_epoch,
        upserts,
        deletes,
        seal,
        not_after: _,
    } = proposal;
    let upserts = upserts.iter().filter(|_| with_bodies);
    pb::Proposal {
        number,
        actor: actor.clone(),
        created: Some(timestamp(*created)),
        expected_epoch: *expected_epoch,
        // The bytes say of which object they are.
        upserts: upserts
            .map(|canonical| pb::Body {
                key: None,
                canonical: canonical.clone(),
            })
            .collect(),
        deletes: deletes.iter().map(|key| key.into_wire()).collect(),
        seal: Some(pb::Envelope { json: seal.clone() }),
        overtaken: *expected_epoch != epoch,
    }
}

#[tonic::async_trait]
impl ProposalService for Proposals {
    async fn propose(
        &self,
        request: Request<pb::ProposeRequest>,
    ) -> Result<Response<pb::ProposeResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::ProposeRequest {
            request_id,
            expected_epoch,
            upserts,
            deletes,
            seal,
        } = request.into_inner();
        let upserts: Vec<_> = upserts.into_iter().map(|body| body.canonical).collect();
        let deletes = deletes
            .into_iter()
            .enumerate()
            .map(|(index, key)| key_in(&format!("deletes[{index}]"), Some(key)))
            .collect::<Result<Vec<_>, _>>()?;
        let seal = seal_in(seal);
        fits(&upserts, &deletes, &seal)?;
        let change = Change {
            expected_epoch,
            upserts,
            deletes,
        };
        let permit = caller.may_change(Way::Propose, &change, &request_id).await?;
        let asker = permit.asker();
        let Change {
            expected_epoch,
            upserts,
            deletes,
        } = change;
        let action = Action::Propose {
            expected_epoch,
            upserts,
            deletes,
            seal,
        };
        match asker
            .propose(&*self.replicated, &*self.ambient, &request_id, action)
            .await?
        {
            Answer::Proposed(number) => Ok(Response::new(pb::ProposeResponse { number })),
            other => Err(answered_otherwise(&other)),
        }
    }

    async fn sign(&self, request: Request<pb::SignRequest>) -> Result<Response<pb::SignResponse>, Status> {
        let caller = self.authorizer.person(&request)?;
        let pb::SignRequest {
            request_id,
            number,
            seal,
        } = request.into_inner();
        let seal = seal_in(seal);
        fits(&[], &[], &seal)?;
        let asker = caller.may_sign(number, &request_id).await?.asker();
        let action = Action::SignProposal { number, seal };
        match asker
            .propose(&*self.replicated, &*self.ambient, &request_id, action)
            .await?
        {
            Answer::Signed { number: _, wanting } => Ok(Response::new(pb::SignResponse {
                wanting,
                applied: None,
            })),
            Answer::SetApplied {
                epoch,
                root,
                revision,
            } => Ok(Response::new(pb::SignResponse {
                wanting: 0,
                applied: Some(pb::ApplyResponse {
                    epoch,
                    root: digest_bytes(&root),
                    revision,
                }),
            })),
            other => Err(answered_otherwise(&other)),
        }
    }

    async fn withdraw(
        &self,
        request: Request<pb::WithdrawRequest>,
    ) -> Result<Response<pb::WithdrawResponse>, Status> {
        let permit = self
            .authorizer
            .person(&request)?
            .may(Verb::Withdraw, Resource::Proposals);
        let asker = permit.await?.asker();
        let pb::WithdrawRequest { request_id, number } = request.into_inner();
        // A number is given once: what is not there is gone, or not proposed yet, and need not be asked of the log.
        if self.now(|state| state.proposal(number).is_none() && !state.has_answered(&request_id)) {
            return Err(refused(&Refused::NoSuchProposal(number)));
        }
        let action = Action::WithdrawProposal { number };
        match asker
            .propose(&*self.replicated, &*self.ambient, &request_id, action)
            .await?
        {
            Answer::Withdrawn(_) => Ok(Response::new(pb::WithdrawResponse {})),
            other => Err(answered_otherwise(&other)),
        }
    }

    async fn get_proposal(
        &self,
        request: Request<pb::GetProposalRequest>,
    ) -> Result<Response<pb::GetProposalResponse>, Status> {
        self.authorizer
            .person(&request)?
            .may(Verb::Get, Resource::Proposals)
            .await?;
        take_place(&request).await?;
        let pb::GetProposalRequest { number } = request.into_inner();
        let proposal = self.now(|state| {
            let epoch = state.set().epoch();
            state
                .proposal(number)
                .map(|proposal| in_wire(number, proposal, epoch, true))
        });
        let proposal = proposal.ok_or_else(|| refused(&Refused::NoSuchProposal(number)))?;
        Ok(Response::new(pb::GetProposalResponse {
            proposal: Some(proposal),
        }))
    }

    async fn list_proposals(
        &self,
        request: Request<pb::ListProposalsRequest>,
    ) -> Result<Response<pb::ListProposalsResponse>, Status> {
        self.authorizer
            .person(&request)?
            .may(Verb::List, Resource::Proposals)
            .await?;
        take_place(&request).await?;
        let pb::ListProposalsRequest {} = request.into_inner();
        let proposals = self.now(|state| {
            let epoch = state.set().epoch();
            let proposals = state.proposals();
            proposals
                .map(|(number, proposal)| in_wire(number, proposal, epoch, false))
                .collect()
        });
        Ok(Response::new(pb::ListProposalsResponse { proposals }))
    }
}
