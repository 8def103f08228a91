//! `apply --propose`, `sign`, `proposals`: changes that several people sign, each on a machine of their own.
//!
//! What a proposal changes is worked out here from the set as its seal vouches for it, and must come to exactly what the
//! signatures are over; the controller's word is taken for nothing.

mod checked;
mod sign;

use std::path::Path;

use jiff::Timestamp;
use serde_json::json;
use tonic::Status;
use verger_policy::model::printable;
use verger_proto::policy::v1 as pb;
use verger_seal::{PartialSeal, Refusal};
use verger_wire::{IntoWire as _, instant};

use super::apply::{change, summary};
use crate::args::{Format, ProposalsArgs};
use crate::connect::{Session, call, request_id};
use crate::exit::Exit;
use crate::output::{Column, Sheet, document, emit, for_people, note, print};
use crate::sealed::{self, Held, Next, distrust};
use crate::status::is_conflict;
use checked::{Checked, signers};
pub(super) use sign::sign;

/// What is said of a change in which no object changes.
const UNCHANGED: &str = "no object changes; the set is sealed again";

const COLUMNS: &[Column] = &[
    Column::new("NUMBER"),
    Column::new("BY"),
    Column::new("CREATED"),
    Column::new("EPOCH"),
    Column::new("SIGNED BY"),
    Column::new("WANTING"),
    Column::new("STATE"),
];

/// Leaves a change with the cluster.
pub(super) async fn propose(
    session: &mut Session,
    held: &Held,
    next: &Next,
    seal: pb::Envelope,
    format: Format,
) -> anyhow::Result<Exit> {
    let request = pb::ProposeRequest {
        request_id: request_id(),
        expected_epoch: held.set.epoch(),
        upserts: next.upserts(),
        deletes: next.diff.deletes.iter().map(|key| key.into_wire()).collect(),
        seal: Some(seal),
    };
    let answer = session
        .insist(|session| {
            let (mut client, request) = (session.proposals(), call(request.clone()));
            async move { client.propose(request).await }
        })
        .await;
    let number = match answer {
        Ok(answer) => answer.into_inner().number,
        Err(error) => return Err(overtaken(session, held, error).await),
    };
    let wanting = held.trust_root.threshold().saturating_sub(1);
    if for_people(format) {
        emit(&format!(
            "proposed as number {number}; nothing is in force yet. {wanting} more must sign: verger sign {number}\n"
        ))?;
    } else if format == Format::Name {
        emit(&format!("{number}\n"))?;
    } else {
        emit(&document(
            &json!({ "number": number, "wanting": wanting }),
            format,
        )?)?;
    }
    Ok(Exit::Clean)
}

async fn overtaken(session: &Session, held: &Held, error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Status>() {
        Ok(status) if is_conflict(&status) => sealed::conflict(session, held, status).await,
        Ok(status) => status.into(),
        Err(other) => other,
    }
}

async fn fetch(session: &Session, number: u64) -> anyhow::Result<pb::Proposal> {
    let answer = session
        .ask(pb::GetProposalRequest { number }, async |session, request| {
            session.proposals().get_proposal(request).await
        })
        .await?
        .into_inner();
    let proposal = answer
        .proposal
        .ok_or_else(|| distrust("it answers with no proposal"))?;
    if proposal.number != number {
        return Err(distrust("it answers with another proposal").into());
    }
    Ok(proposal)
}

pub(super) async fn proposals(
    args: ProposalsArgs,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let ProposalsArgs {
        number,
        withdraw,
        held: seen,
    } = args;
    let mut session = Session::open(context).await?;
    let Some(number) = number else {
        return list(&session, &seen, format).await;
    };
    if withdraw {
        let request = pb::WithdrawRequest {
            request_id: request_id(),
            number,
        };
        session
            .insist(|session| {
                let (mut client, request) = (session.proposals(), call(request.clone()));
                async move { client.withdraw(request).await }
            })
            .await?;
        note(&format!("proposal {number} was taken back"));
        return Ok(Exit::Clean);
    }
    let held = sealed::fetch(&session, &seen).await?;
    let checked = Checked::of(&held, fetch(&session, number).await?, Timestamp::now())?;
    if for_people(format) {
        emit(&summary(&held, &checked.next, format, false, UNCHANGED)?)?;
        emit(&format!(
            "proposed by {}, signed by {}; {} more must sign: verger sign {number} --root {}\n",
            printable(&checked.actor),
            checked.signers(&held.trust_root),
            checked.seal.wanting(&held.trust_root),
            checked.next.set.root()
        ))?;
    } else if format == Format::Name {
        emit(&summary(&held, &checked.next, format, false, UNCHANGED)?)?;
    } else {
        let mut object = change(&held, &checked.next, false);
        object["number"] = json!(number);
        object["actor"] = json!(checked.actor);
        object["signers"] = json!(signers(&held.trust_root, &checked.seal));
        object["wanting"] = json!(checked.seal.wanting(&held.trust_root));
        object["sealEnds"] = json!(checked.seal.statement().not_after);
        emit(&document(&object, format)?)?;
    }
    Ok(Exit::Clean)
}

async fn list(session: &Session, seen: &crate::args::SetArgs, format: Format) -> anyhow::Result<Exit> {
    let held = sealed::fetch(session, seen).await?;
    let answer = session
        .ask(pb::ListProposalsRequest {}, async |session, request| {
            session.proposals().list_proposals(request).await
        })
        .await?
        .into_inner();
    let now = Timestamp::now();
    let mut sheet = Sheet::list(COLUMNS, "no proposals");
    for proposal in answer.proposals {
        let pb::Proposal {
            number,
            actor,
            created,
            expected_epoch,
            seal,
            upserts: _,
            deletes: _,
            overtaken,
        } = proposal;
        let created = created.map(|at| instant("created", at)).transpose()?;
        let created = created.map_or_else(String::new, |at| at.to_string());
        let seal = seal
            .ok_or(Refusal::WrongKey)
            .and_then(|seal| PartialSeal::open(&held.trust_root, &seal.json, now));
        let (signers, wanting, state) = match &seal {
            _ if overtaken || expected_epoch != held.set.epoch() => {
                (String::new(), String::new(), "overtaken")
            }
            Ok(seal) => (
                signers(&held.trust_root, seal).join(", "),
                seal.wanting(&held.trust_root).to_string(),
                "open",
            ),
            Err(Refusal::Expired { .. }) => (String::new(), String::new(), "expired"),
            Err(_) => (String::new(), String::new(), "invalid"),
        };
        let object = json!({
            "number": number, "actor": actor, "created": created, "epoch": expected_epoch,
            "signers": signers, "wanting": wanting, "state": state,
        });
        let cells = vec![
            number.to_string(),
            actor,
            created,
            expected_epoch.to_string(),
            signers,
            wanting,
            state.to_owned(),
        ];
        sheet.push(number.to_string(), cells, object);
    }
    print(&sheet, format)?;
    Ok(Exit::Clean)
}
