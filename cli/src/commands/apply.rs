//! `apply`, `delete`, `diff`: fetch the set, show the change, sign, submit.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tonic::Status;
use verger_controller_state::limits::EPOCHS_LEFT_OUT;
use verger_policy::set::{ObjectChange, SetError};
use verger_proto::policy::v1 as pb;
use verger_seal::SetStatement;
use verger_wire::IntoWire as _;

use super::{objects, proposals, unseen};
use crate::args::{ApplyArgs, DeleteArgs, DiffArgs, Format, SealArgs};
use crate::connect::{Session, call, request_id};
use crate::exit::{Exit, Failure};
use crate::files;
use crate::output::{document, emit, for_people, note};
use crate::sealed::{self, Held, Next, Signing};
use crate::status::is_conflict;

/// What is submitted.
enum Change {
    Apply,
    Delete(pb::ObjectKey),
}

pub(super) async fn apply(args: ApplyArgs, context: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let ApplyArgs {
        files,
        above_epoch,
        dry_run,
        unseen_images,
        seal,
        held: seen,
    } = args;
    let now = Timestamp::now();
    let objects = match files.is_empty() {
        true => Vec::new(),
        false => files::objects(&files, Some(now))?,
    };
    let mut session = Session::open(context).await?;
    let held = sealed::fetch(&session, &seen).await?;
    let epoch = epoch_above(held.set.epoch(), above_epoch)?;
    let next = Next::of(&held, held.set.change_to(epoch, objects, []).map_err(refused)?);
    if above_epoch.is_none() && next.diff.is_empty() && !is_due(&held, &seal, now) {
        emit(&summary(&held, &next, format, false, "nothing to change")?)?;
        return Ok(Exit::Clean);
    }
    if !unseen_images {
        unseen::refuse(&session, &held, &next).await?;
    }
    submit(
        &mut session,
        &held,
        &next,
        Change::Apply,
        &seal,
        dry_run,
        format,
        now,
    )
    .await
}

pub(super) async fn delete(args: DeleteArgs, context: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let DeleteArgs {
        object,
        dry_run,
        seal,
        held: seen,
    } = args;
    let key = objects::key(&object)?;
    let mut session = Session::open(context).await?;
    let held = sealed::fetch(&session, &seen).await?;
    let next = Next::of(&held, held.set.change([], [key.clone()]).map_err(refused)?);
    let change = Change::Delete((&key).into_wire());
    submit(
        &mut session,
        &held,
        &next,
        change,
        &seal,
        dry_run,
        format,
        Timestamp::now(),
    )
    .await
}

pub(super) async fn diff(args: DiffArgs, context: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let objects = files::objects(&args.files, Some(Timestamp::now()))?;
    let session = Session::open(context).await?;
    let held = sealed::fetch(&session, &args.held).await?;
    let next = Next::of(&held, held.set.change(objects, []).map_err(refused)?);
    emit(&summary(&held, &next, format, false, "no difference")?)?;
    Ok(if next.diff.is_empty() {
        Exit::Clean
    } else {
        Exit::Violation
    })
}

/// The epoch of the next set: the one after that in force, or the first above another.
fn epoch_above(in_force: u64, above: Option<u64>) -> Result<u64, Failure> {
    let next = in_force.saturating_add(1);
    let Some(above) = above else { return Ok(next) };
    if above < in_force {
        return Err(Failure::input(format!(
            "--above-epoch {above}: the set in force has epoch {in_force}, which is above it already"
        )));
    }
    let left_out = above - in_force;
    if left_out > EPOCHS_LEFT_OUT {
        return Err(Failure::input(format!(
            "--above-epoch {above}: at most {EPOCHS_LEFT_OUT} epochs are left out at once, and that is {left_out} above {in_force}: is it \
             the number that `verger cluster status` says?"
        )));
    }
    Ok(above.saturating_add(1))
}

pub(super) fn refused(error: SetError) -> Failure {
    let exit = match error {
        SetError::NoSuchObject(_) => Exit::Violation,
        _ => Exit::BadInput,
    };
    Failure::new(exit, format!("{error}; nothing was changed"))
}

/// Whether less than half of the seal's time is left, so that an unchanged set is worth sealing again.
fn is_due(held: &Held, args: &SealArgs, now: Timestamp) -> bool {
    let half = SignedDuration::from_hours(12 * i64::from(args.valid_days));
    held.not_after.is_some_and(|end| end.duration_since(now) < half)
}

#[allow(clippy::too_many_arguments)]
async fn submit(
    session: &mut Session,
    held: &Held,
    next: &Next,
    change: Change,
    args: &SealArgs,
    dry_run: bool,
    format: Format,
    now: Timestamp,
) -> anyhow::Result<Exit> {
    for warning in next.warnings(now) {
        note(&warning);
    }
    if let Some(end) = held.not_after.filter(|end| *end <= now) {
        note(&format!(
            "warning: the seal of the set in force ended at {end}; this change seals it again"
        ));
    }
    if for_people(format) {
        emit(&summary(
            held,
            next,
            format,
            false,
            "no object changes; the set is sealed again",
        )?)?;
    }
    let seal = if dry_run {
        None
    } else {
        let signing = Signing::prepare(session, held, next, args, now)?;
        if for_people(format) {
            emit(&describe(&signing.signer.name, &signing.statement))?;
        }
        Some(pb::Envelope {
            json: signing.seal()?.to_json().into(),
        })
    };
    if let Some(seal) = seal.clone().filter(|_| args.propose) {
        return proposals::propose(session, held, next, seal, format).await;
    }
    match offer(session, held, next, change, seal, dry_run).await {
        Ok((epoch, root)) if root == next.set.root().as_bytes() && epoch == next.set.epoch() => {}
        Ok(_) => {
            return Err(Failure::new(
                Exit::Violation,
                "the cluster answered with another set than the one signed",
            )
            .into());
        }
        Err(error) => {
            return Err(match error.downcast::<Status>() {
                Ok(status) if is_conflict(&status) => sealed::conflict(session, held, status).await,
                Ok(status) => status.into(),
                Err(other) => other,
            });
        }
    }
    emit(&match (for_people(format), dry_run) {
        (true, true) => "checked by the cluster; nothing was changed\n".to_owned(),
        (true, false) => format!("applied as epoch {}\n", next.set.epoch()),
        (false, _) => summary(held, next, format, !dry_run, "")?,
    })?;
    if !dry_run {
        sealed::remember(session, &next.set)?;
    }
    Ok(Exit::Clean)
}

/// Offers the change under one request id, and gives the epoch and root it made.
async fn offer(
    session: &mut Session,
    held: &Held,
    next: &Next,
    change: Change,
    seal: Option<pb::Envelope>,
    dry_run: bool,
) -> anyhow::Result<(u64, Vec<u8>)> {
    let (request_id, expected_epoch) = (request_id(), held.set.epoch());
    match change {
        Change::Apply => {
            let upserts = next.upserts();
            let request = pb::ApplyRequest {
                request_id,
                expected_epoch,
                upserts,
                deletes: Vec::new(),
                seal,
                dry_run,
            };
            let answer = session
                .insist(|session| {
                    let (mut client, request) = (session.policy(), call(request.clone()));
                    async move { client.apply(request).await }
                })
                .await?;
            let pb::ApplyResponse {
                epoch,
                root,
                revision: _,
            } = answer.into_inner();
            Ok((epoch, root.to_vec()))
        }
        Change::Delete(key) => {
            let request = pb::DeleteRequest {
                request_id,
                expected_epoch,
                key: Some(key),
                seal,
                dry_run,
            };
            let answer = session
                .insist(|session| {
                    let (mut client, request) = (session.policy(), call(request.clone()));
                    async move { client.delete(request).await }
                })
                .await?;
            let pb::DeleteResponse {
                epoch,
                root,
                revision: _,
            } = answer.into_inner();
            Ok((epoch, root.to_vec()))
        }
    }
}

/// What is signed, and as whom.
pub(super) fn describe(signer: &str, statement: &SetStatement) -> String {
    format!(
        "signing as {}: cluster {}, epoch {}, root {}, {} objects, until {}\n",
        verger_policy::model::printable(signer),
        statement.cluster_id.hex(),
        statement.epoch,
        statement.root,
        statement.entry_count,
        statement.not_after
    )
}

/// The change as text for people, or as one document.
pub(super) fn summary(
    held: &Held,
    next: &Next,
    format: Format,
    applied: bool,
    unchanged: &str,
) -> anyhow::Result<String> {
    let Next {
        set,
        diff,
        changes,
        locks_out: _,
    } = next;
    if for_people(format) {
        if diff.is_empty() {
            return Ok(format!(
                "{unchanged} (epoch {}, root {})\n",
                held.set.epoch(),
                held.set.root()
            ));
        }
        let mut text: String = changes.iter().map(|change| format!("{change}\n")).collect();
        text.push_str(&format!(
            "epoch {} -> {}, root {} -> {}\n",
            held.set.epoch(),
            set.epoch(),
            held.set.root(),
            set.root()
        ));
        return Ok(text);
    }
    if format == Format::Name {
        return Ok(changes
            .iter()
            .map(|change| format!("{}\n", parts(change).1))
            .collect());
    }
    document(&self::change(held, next, applied), format)
}

/// The change as one object, for programs.
pub(super) fn change(held: &Held, next: &Next, applied: bool) -> Value {
    let Next {
        set,
        diff,
        changes,
        locks_out: _,
    } = next;
    let changes: Vec<Value> = changes.iter().map(|change| parts(change).2).collect();
    let unchanged = diff.is_empty() && !applied;
    let (epoch, root) = if unchanged {
        (held.set.epoch(), held.set.root())
    } else {
        (set.epoch(), set.root())
    };
    json!({ "epoch": epoch, "root": root, "applied": applied, "changes": changes })
}

fn parts(change: &ObjectChange) -> (&'static str, String, Value) {
    let (word, key, fields) = match change {
        ObjectChange::Added(key, fields) => ("added", key, Some(fields)),
        ObjectChange::Changed(key, fields) => ("changed", key, fields.as_ref()),
        ObjectChange::Removed(key) => ("removed", key, None),
    };
    let fields: Vec<Value> = fields
        .into_iter()
        .flatten()
        .map(|field| json!({ "field": field.field, "before": field.before, "after": field.after }))
        .collect();
    (
        word,
        key.to_string(),
        json!({ "change": word, "kind": key.kind, "name": key.name, "fields": fields }),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_set_is_sealed_above_where_hosts_are_and_not_at_the_end_of_epochs() {
        let above = |in_force, above| epoch_above(in_force, above).map_err(|failure| failure.message);
        assert_eq!(above(7, None), Ok(8));
        assert_eq!(above(7, Some(7)), Ok(8));
        assert_eq!(above(7, Some(41)), Ok(42));
        assert_eq!(above(7, Some(7 + EPOCHS_LEFT_OUT)), Ok(8 + EPOCHS_LEFT_OUT));
        for (number, told) in [
            (6, "above it already"),
            (8 + EPOCHS_LEFT_OUT, "epochs are left out at once"),
            (u64::MAX, "epochs are left out at once"),
        ] {
            let refused = above(7, Some(number)).unwrap_err();
            assert!(refused.contains(told), "{refused}");
        }
    }
}
