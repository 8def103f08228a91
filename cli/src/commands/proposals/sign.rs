//! `sign`: the change is shown, meant, signed and sent.

use std::path::Path;

use jiff::Timestamp;
use serde_json::json;
use verger_policy::model::printable;
use verger_proto::policy::v1 as pb;

use super::super::apply::{describe, summary};
use super::{Checked, UNCHANGED, fetch, overtaken};
use crate::args::{Format, SignArgs};
use crate::connect::{Session, call, request_id};
use crate::consent::{Matter, named};
use crate::exit::{Exit, Failure};
use crate::output::{document, emit, for_people, note};
use crate::sealed::{self, Signer, distrust};

pub(in super::super) async fn sign(
    args: SignArgs,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    let SignArgs {
        number,
        root,
        key,
        held: seen,
    } = args;
    let look = format!("verger proposals {number}");
    let root = named("--root", root.as_deref(), &look)?;
    let now = Timestamp::now();
    let mut session = Session::open(context).await?;
    let held = sealed::fetch(&session, &seen).await?;
    let signer = Signer::find(&session, &held.trust_root, key.as_ref())?;
    let mut checked = Checked::of(&held, fetch(&session, number).await?, now)?;
    for warning in checked.next.warnings(now) {
        note(&warning);
    }
    if for_people(format) {
        emit(&summary(&held, &checked.next, format, false, UNCHANGED)?)?;
        emit(&format!(
            "proposed by {}, signed by {}\n{}",
            printable(&checked.actor),
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
    let matter = Matter {
        what: &format!("proposal {number}"),
        of: "root",
        found: checked.next.set.root(),
        flag: "--root",
        look: &look,
    };
    matter.consent(root, format)?;
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
    let other = applied.as_ref().is_some_and(|applied| {
        let pb::ApplyResponse {
            epoch,
            root,
            revision: _,
        } = applied;
        *epoch != set.epoch() || root != set.root().as_bytes().as_slice()
    });
    if other {
        return Err(distrust("it made another set than the one signed").into());
    }
    let in_force = applied.is_some();
    emit(&match (for_people(format), in_force) {
        (true, true) => format!("applied as epoch {}\n", set.epoch()),
        (true, false) => format!("signed; {wanting} more must sign: verger sign {number}\n"),
        (false, _) => document(
            &json!({ "number": number, "applied": in_force, "wanting": wanting, "epoch": set.epoch(), "root": set.root() }),
            format,
        )?,
    })?;
    // Last: what cannot be remembered is in force all the same.
    if in_force {
        sealed::remember(&session, set)?;
    }
    Ok(Exit::Clean)
}
