//! `exceptions`: what is lifted, for how long yet, and whether anything needs it.
//!
//! What an exception says comes from the sealed set, and who answers for its being there from the seal itself: never from what a
//! controller or the exception claims.

mod record;
mod usage;

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tonic::Code;
use verger_policy::model::{Exception, Name, Spec, Standing};
use verger_policy::set::PolicySet;
use verger_proto::cluster::v1 as pb;
use verger_proto::findings::v1 as findings_pb;

use super::{findings, hosts, instances};
use crate::args::{ExceptionsArgs, ExceptionsCommand, Format};
use crate::connect::Session;
use crate::exit::{Exit, Failure};
use crate::output::{Sheet, note, print};
use crate::sealed::{self, Held};
use record::COLUMNS;
use usage::{Place, Sealed, Usage, World};

/// The most instances whose checks are asked for one by one. Of exceptions that need more it cannot be told.
const MAX_ASKED: usize = 2_000;

pub(super) async fn exceptions(
    command: ExceptionsCommand,
    context: Option<&Path>,
    format: Format,
) -> anyhow::Result<Exit> {
    match command {
        ExceptionsCommand::List(which) => {
            let (_, held, at) = fetch(&which, context).await?;
            let mut sheet = Sheet::list(COLUMNS, "there are no exceptions: nothing is lifted");
            for exception in chosen(&held.set, &which)? {
                record::push(&mut sheet, exception, &held.sealed_by, at, None);
            }
            print(&sheet, format)?;
            Ok(Exit::Clean)
        }
        ExceptionsCommand::Expiring { within, which } => {
            let span = span(&within)?;
            let (_, held, at) = fetch(&which, context).await?;
            let mut sheet = Sheet::list(COLUMNS, "no exception ends so soon");
            let mut exit = Exit::Clean;
            for exception in chosen(&held.set, &which)? {
                if let Some(left) = left_within(exception.spec, at, span) {
                    exit = Exit::Violation;
                    let words = in_words(left);
                    let note = ("secondsLeft", words.as_str(), Value::from(left.as_secs()));
                    record::push(&mut sheet, exception, &held.sealed_by, at, Some(note));
                }
            }
            print(&sheet, format)?;
            Ok(exit)
        }
        ExceptionsCommand::Unused(which) => unused(&which, context, format).await,
    }
}

async fn unused(which: &ExceptionsArgs, context: Option<&Path>, format: Format) -> anyhow::Result<Exit> {
    let (session, held, at) = fetch(which, context).await?;
    let chosen: Vec<Sealed<'_>> = chosen(&held.set, which)?
        .into_iter()
        .filter(|exception| exception.spec.standing_at(at) != Standing::NotYet)
        .collect();
    let mut sheet = Sheet::list(COLUMNS, "every exception in force lifts something");
    let mut exit = Exit::Clean;
    let world = match chosen.is_empty() {
        true => World::default(),
        false => look(&session, &held.set, &chosen, at).await?,
    };
    for exception in chosen {
        let (word, why) = match world.usage(exception, at) {
            Usage::Lifts => continue,
            Usage::Idle(why) => {
                exit = Exit::Violation;
                ("unused", why)
            }
            Usage::Unknown(why) => {
                if exit == Exit::Clean {
                    exit = Exit::NotEvaluated;
                }
                ("cannot be told", why)
            }
        };
        let text = format!("{word}: {why}");
        let object =
            serde_json::json!({ "usage": if word == "unused" { "unused" } else { "unknown" }, "why": why });
        record::push(
            &mut sheet,
            exception,
            &held.sealed_by,
            at,
            Some(("use", &text, object)),
        );
    }
    print(&sheet, format)?;
    Ok(exit)
}

/// What the cluster says that is needed to tell.
async fn look<'s>(
    session: &Session,
    set: &'s PolicySet,
    exceptions: &[Sealed<'_>],
    at: Timestamp,
) -> anyhow::Result<World<'s>> {
    // Instances first: a host that goes away between the two is one that is away.
    let running = instances::all(session).await?;
    let mut world = World::of(set, hosts::all(session).await?, running);
    let filter = findings_pb::Filter {
        lifecycles: vec![findings_pb::Lifecycle::Suppressed.into()],
        ..Default::default()
    };
    findings::each(session, filter, |finding| world.take(&finding)).await?;
    let mut asked = 0;
    for exception in exceptions {
        for (agent, runtime, id) in world.open_questions(*exception, at) {
            if asked == MAX_ASKED {
                note(&format!(
                    "warning: more than {MAX_ASKED} instances would have to be asked for; name one workload with --workload"
                ));
                return Ok(world);
            }
            asked += 1;
            let told = checks(session, &agent, &id).await?;
            let place: Place = (agent, runtime, id);
            match told {
                Some(checks) => world.take_checks(place, checks),
                None => world.forget(&place),
            }
        }
    }
    Ok(world)
}

/// The checks of an instance; none where it is there no more.
async fn checks(session: &Session, agent: &str, id: &str) -> anyhow::Result<Option<Vec<Value>>> {
    let request = pb::GetInstanceRequest {
        agent_id: agent.to_owned(),
        instance: id.to_owned(),
    };
    match session
        .ask(request, async |session, request| {
            session.cluster().get_instance(request).await
        })
        .await
    {
        Ok(answer) => {
            let instance = answer.into_inner().instance.unwrap_or_default();
            Ok((instance.id == id).then(|| instances::checks(&instance.checks_json)))
        }
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status.into()),
    }
}

/// The verified set, and the cluster's time.
async fn fetch(which: &ExceptionsArgs, context: Option<&Path>) -> anyhow::Result<(Session, Held, Timestamp)> {
    let session = Session::open(context).await?;
    let held = sealed::fetch(&session, &which.held).await?;
    let now = Timestamp::now();
    let at = held.time(now);
    if at != now {
        note(&format!(
            "warning: this machine's clock says {now}; told by what a majority of the members said last, {at}"
        ));
    }
    Ok((session, held, at))
}

/// The exceptions asked for, by name.
fn chosen<'s>(set: &'s PolicySet, which: &ExceptionsArgs) -> anyhow::Result<Vec<Sealed<'s>>> {
    let workload = match &which.workload {
        None => None,
        Some(text) => Some(
            text.parse::<Name>()
                .map_err(|error| Failure::input(format!("--workload `{text}`: {error}")))?,
        ),
    };
    let images = workload.as_ref().and_then(|name| {
        set.objects()
            .find(|object| object.metadata.name == *name && matches!(object.spec, Spec::Workload(_)))
            .and_then(|object| match &object.spec {
                Spec::Workload(workload) => Some(&workload.config.images),
                _ => None,
            })
    });
    let concerns = |spec: &Exception| match (&workload, &spec.scope.workload, &spec.scope.image) {
        (None, _, _) => true,
        (Some(wanted), Some(named), _) => wanted == named,
        (Some(_), None, Some(image)) => images.is_some_and(|images| images.contains(image)),
        (Some(_), None, None) => false,
    };
    let sealed = set
        .parts()
        .filter_map(|(entry, body)| match &body?.object().spec {
            Spec::Exception(spec) => Some(Sealed {
                key: &entry.key,
                spec,
                epoch: entry.epoch,
            }),
            _ => None,
        });
    Ok(sealed.filter(|exception| concerns(exception.spec)).collect())
}

/// How long it holds yet, where it is not over and that is no longer than `within`.
fn left_within(exception: &Exception, at: Timestamp, within: SignedDuration) -> Option<SignedDuration> {
    let left = exception.not_after.duration_since(at);
    (exception.standing_at(at) != Standing::Over && left <= within).then_some(left)
}

/// A span as people write it: whole days, or what has hours, minutes and seconds.
fn span(text: &str) -> Result<SignedDuration, Failure> {
    let days = text
        .strip_suffix('d')
        .and_then(|days| days.parse::<u16>().ok())
        .map(|days| SignedDuration::from_hours(24 * i64::from(days)));
    days.or_else(|| text.parse().ok())
        .filter(|span: &SignedDuration| !span.is_negative())
        .ok_or_else(|| Failure::input(format!("--within `{text}`: give a span such as 14d, 36h or 90m")))
}

/// A span in its two largest units.
fn in_words(left: SignedDuration) -> String {
    let minutes = left.as_secs() / 60;
    let (days, hours) = (minutes / (24 * 60), minutes / 60 % 24);
    match (days, hours) {
        (0, 0) => format!("in {minutes} min"),
        (0, hours) => format!("in {hours} h {} min", minutes % 60),
        (days, hours) => format!("in {days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests;
