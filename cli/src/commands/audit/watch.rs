//! `audit watch`: rows as they are written.

use tonic::{Response, Status, Streaming};
use verger_proto::cluster::v1 as pb;

use super::row::{self, Row};
use crate::args::Format;
use crate::connect::Session;
use crate::exit::Exit;
use crate::following::{Followed, follow};
use crate::output::emit;

/// The rows that are asked for, and up to which they were printed.
struct Rows {
    filter: pb::AuditFilter,
    position: u64,
    /// The key of the row there, where it is known: another cluster, made of an older snapshot, may have another one there.
    key: bytes::Bytes,
    format: Format,
}

impl Followed for Rows {
    type Message = pb::WatchResponse;

    async fn open(&self, session: &Session) -> Result<Response<Streaming<Self::Message>>, Status> {
        let request = pb::WatchRequest {
            filter: Some(self.filter.clone()),
            after: self.position,
            after_key: self.key.clone(),
        };
        session.audit().watch(request).await
    }

    fn take(&mut self, message: Self::Message) -> anyhow::Result<()> {
        let pb::WatchResponse {
            row,
            position,
            position_key,
        } = message;
        if let Some(row) = row {
            emit(&Row::from_wire(row)?.render(self.format)?)?;
        }
        if position >= self.position {
            self.position = position;
            self.key = position_key;
        }
        Ok(())
    }

    fn place(&self) -> String {
        format!("row {}", self.position)
    }
}

pub(super) async fn watch(
    session: Session,
    filter: pb::AuditFilter,
    after: Option<u64>,
    format: Format,
) -> anyhow::Result<Exit> {
    let position = match after {
        Some(after) => after,
        None => super::said(&session).await?.head.count,
    };
    if matches!(format, Format::Table | Format::Wide) {
        emit(&row::head(format == Format::Wide))?;
    }
    let rows = Rows {
        filter,
        position,
        key: bytes::Bytes::new(),
        format,
    };
    follow(session, rows).await
}
