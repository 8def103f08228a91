//! `apply --propose`, `sign`, `proposals`: changes that several people sign, each on a machine of their own.
//!
//! What a proposal changes is worked out here from the set as its seal vouches for it, and must come to exactly what the
//! signatures are over; the controller's word is taken for nothing.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::Path;

use jiff::Timestamp;
use serde_json::json;
use tonic::Status;
use verger_policy::digest::Digest;
use verger_policy::model::{ObjectKey, PolicyObject};
use verger_proto::policy::v1 as pb;
use verger_seal::{PartialSeal, TrustRoot};
use verger_wire::{FromWire as _, IntoWire as _, instant};

use super::apply::{describe, refused, summary};
use crate::args::{Format, ProposalsArgs, SignArgs};
use crate::connect::{Session, call, request_id};
use crate::exit::{Exit, Failure};
use crate::output::{Column, Sheet, document, emit, for_people, note, print};
use crate::sealed::{self, Held, Next, Signer, distrust};
use crate::status::is_conflict;

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

/// A proposal that holds together: what it changes is what its signatures are over.
struct Checked {
    next: Next,
    seal: PartialSeal,
    actor: String,
}

impl Checked {
    fn of(held: &Held, proposal: pb::Proposal, now: Timestamp) -> anyhow::Result<Self> {
        let pb::Proposal {
            number,
            actor,
            created: _,
            expected_epoch,
            upserts,
            deletes,
            seal,
            overtaken: _,
        } = proposal;
        if expected_epoch != held.set.epoch() {
            return Err(Failure::new(
                Exit::Conflict,
                format!(
                    "proposal {number} was made on epoch {expected_epoch}, and the set is at epoch {} now: it can no longer \
                     be signed. Propose it again",
                    held.set.epoch()
                ),
            )
            .into());
        }
        let seal = seal.ok_or_else(|| distrust("the proposal has no signature"))?;
        let seal = PartialSeal::open(&held.trust_root, &seal.json, now)
            .map_err(|refusal| distrust(&format!("the proposal's signatures do not verify: {refusal}")))?;
        let objects = upserts
            .iter()
            .map(|body| PolicyObject::from_canonical(&body.canonical))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| distrust(&format!("the proposal cannot be read: {error}")))?;
        let deletes = deletes
            .into_iter()
            .map(ObjectKey::from_wire)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| distrust(&format!("the proposal cannot be read: {error}")))?;
        let set = held.set.change(objects, deletes).map_err(refused)?;
        seal.matches(set.epoch(), &set.root(), set.len() as u64)
            .map_err(|refusal| {
                distrust(&format!(
                    "what the proposal changes is not what was signed: {refusal}"
                ))
            })?;
        Ok(Self {
            next: Next::of(held, set),
            seal,
            actor,
        })
    }

    fn signers(&self, trust_root: &TrustRoot) -> String {
        signers(trust_root, &self.seal)
    }
}

fn signers(trust_root: &TrustRoot, seal: &PartialSeal) -> String {
    let names = trust_root.keys().iter();
    let names: Vec<&str> = names
        .filter(|key| seal.signers().contains(&key.public))
        .map(|key| key.name.as_str())
        .collect();
    names.join(", ")
}

async fn fetch(session: &Session, number: u64) -> anyhow::Result<pb::Proposal> {
    let answer = session
        .proposals()
        .get_proposal(call(pb::GetProposalRequest { number }))
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

pub(super) async fn sign(args: SignArgs, context: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let SignArgs {
        number,
        root,
        key,
        held: seen,
    } = args;
    let root: Option<Digest> = root
        .map(|text| text.parse())
        .transpose()
        .map_err(|error| Failure::input(format!("--root: {error}; `verger proposals {number}` prints it")))?;
    let now = Timestamp::now();
    let mut session = Session::open(context).await?;
    let held = sealed::fetch(&session, &seen).await?;
    let signer = Signer::find(&session, &held.trust_root, key.as_ref())?;
    let mut checked = Checked::of(&held, fetch(&session, number).await?, now)?;
    for warning in checked.next.warnings(now) {
        note(&warning);
    }
    if for_people(format) {
        emit(&summary(
            &held,
            &checked.next,
            format,
            false,
            "no object changes; the set is sealed again",
        )?)?;
        emit(&format!(
            "proposed by {}, signed by {}\n{}",
            verger_policy::model::printable(&checked.actor),
            checked.signers(&held.trust_root),
            describe(&signer.name, checked.seal.statement())
        ))?;
    }
    if checked.seal.signers().contains(&signer.public()) {
        return Err(Failure::input(format!(
            "{} has signed proposal {number} already; somebody else must",
            signer.name
        ))
        .into());
    }
    consent(number, root, &checked)?;
    let signature = signer.sign(checked.seal.statement())?.to_json();
    checked
        .seal
        .merge(&held.trust_root, &signature, now)
        .map_err(|refusal| Failure::input(refusal.to_string()))?;
    let request = pb::SignRequest {
        request_id: request_id(),
        number,
        seal: Some(pb::Envelope {
            json: signature.into(),
        }),
    };
    let answer = session
        .insist(|session| {
            let (mut client, request) = (session.proposals(), call(request.clone()));
            async move { client.sign(request).await }
        })
        .await;
    let pb::SignResponse { wanting, applied } = match answer {
        Ok(answer) => answer.into_inner(),
        Err(error) => return Err(overtaken(&session, &held, error).await),
    };
    let set = &checked.next.set;
    if let Some(pb::ApplyResponse {
        epoch,
        root,
        revision: _,
    }) = &applied
    {
        if *epoch != set.epoch() || root != set.root().as_bytes().as_slice() {
            return Err(distrust("it made another set than the one signed").into());
        }
        sealed::remember(&session, set)?;
    }
    emit(&match (for_people(format), applied.is_some()) {
        (true, true) => format!("applied as epoch {}\n", set.epoch()),
        (true, false) => format!("signed; {wanting} more must sign: verger sign {number}\n"),
        (false, applied) => document(
            &json!({ "number": number, "applied": applied, "wanting": wanting, "epoch": set.epoch(), "root": set.root() }),
            format,
        )?,
    })?;
    Ok(Exit::Clean)
}

/// Whether the person means this change: by its root, or by word of mouth after it was shown.
fn consent(number: u64, root: Option<Digest>, checked: &Checked) -> anyhow::Result<()> {
    let found = checked.next.set.root();
    let refuse = |what: String| Err(Failure::input(format!("{what}; nothing was signed")).into());
    if let Some(root) = root {
        if root == found {
            return Ok(());
        }
        return refuse(format!(
            "proposal {number} makes the root {found}, and you looked at {root}"
        ));
    }
    if !std::io::stdin().is_terminal() {
        return refuse(format!(
            "look at the change with `verger proposals {number}`, then name what you looked at: --root {found}"
        ));
    }
    note(&format!("sign this as root {found}? Type `yes`:"));
    let mut answer = String::new();
    std::io::stdin().lock().take(16).read_line(&mut answer)?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => refuse("you did not say `yes`".to_owned()),
    }
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
    emit(&summary(
        &held,
        &checked.next,
        format,
        false,
        "no object changes; the set is sealed again",
    )?)?;
    if for_people(format) {
        emit(&format!(
            "proposed by {}, signed by {}; {} more must sign: verger sign {number} --root {}\n",
            verger_policy::model::printable(&checked.actor),
            checked.signers(&held.trust_root),
            checked.seal.wanting(&held.trust_root),
            checked.next.set.root()
        ))?;
    }
    Ok(Exit::Clean)
}

async fn list(session: &Session, seen: &crate::args::SetArgs, format: Format) -> anyhow::Result<Exit> {
    let held = sealed::fetch(session, seen).await?;
    let answer = session
        .proposals()
        .list_proposals(call(pb::ListProposalsRequest {}))
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
            .ok_or(verger_seal::Refusal::WrongKey)
            .and_then(|seal| PartialSeal::open(&held.trust_root, &seal.json, now));
        let (signers, wanting, state) = match &seal {
            _ if overtaken || expected_epoch != held.set.epoch() => {
                (String::new(), String::new(), "overtaken")
            }
            Ok(seal) => (
                signers(&held.trust_root, seal),
                seal.wanting(&held.trust_root).to_string(),
                "open",
            ),
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
