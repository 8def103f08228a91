//! `audit watch`: rows as they are written, through lost connections and restarted controllers.

use tokio_stream::StreamExt as _;
use tonic::Status;
use verger_proto::cluster::v1 as pb;

use super::row::{self, Row};
use crate::args::Format;
use crate::connect::{Session, Waits};
use crate::exit::Exit;
use crate::output::{emit, note};
use crate::status::is_unreachable;

pub(super) async fn watch(
    mut session: Session,
    filter: pb::AuditFilter,
    after: Option<u64>,
    format: Format,
) -> anyhow::Result<Exit> {
    let mut position = match after {
        Some(after) => after,
        None => super::head(&session).await?.0.count,
    };
    let mut waits = Waits::new();
    if matches!(format, Format::Table | Format::Wide) {
        emit(&row::head(format == Format::Wide))?;
    }
    loop {
        let lost = follow(&mut session, &filter, &mut position, &mut waits, format).await?;
        note(&format!(
            "the stream was lost ({}); connecting again, from row {position}",
            lost.message(),
        ));
        session.insist_on_reconnecting(&mut waits).await?;
    }
}

/// Prints a stream until it is lost, and says how.
async fn follow(
    session: &mut Session,
    filter: &pb::AuditFilter,
    position: &mut u64,
    waits: &mut Waits,
    format: Format,
) -> anyhow::Result<Status> {
    let request = pb::WatchRequest {
        filter: Some(filter.clone()),
        after: *position,
    };
    let mut stream = match session.audit().watch(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if is_unreachable(&status) => return Ok(status),
        Err(status) => return Err(status.into()),
    };
    let mut renewals = Session::renewals();
    loop {
        let message = tokio::select! {
            message = stream.next() => message,
            _ = renewals.tick() => {
                session.keep_renewed().await;
                continue;
            }
        };
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(status)) if is_unreachable(&status) => return Ok(status),
            Some(Err(status)) => return Err(status.into()),
            None => return Ok(Status::unavailable("the stream ended")),
        };
        waits.reset();
        let pb::WatchResponse { row, position: now } = message;
        if let Some(row) = row {
            emit(&Row::from_wire(row)?.render(format)?)?;
        }
        *position = now.max(*position);
    }
}
