//! Giving a snapshot of everything to somebody who keeps it elsewhere.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use verger_proto::cluster::v1 as pb;

use crate::authorizer::Permit;
use crate::ports::{NotSaved, Replicated, SnapshotStream, read};
use crate::status::{unavailable, with_reason};
use crate::watch::Stream;

/// Messages that wait for a slow reader.
const READY: usize = 4;

pub(crate) fn not_saved(error: NotSaved) -> Status {
    match error {
        NotSaved::Busy(why) => with_reason(Code::ResourceExhausted, "SNAPSHOT_BUSY", why),
        NotSaved::Unavailable(error) => unavailable(&error),
    }
}

/// Sends it piece by piece, as fast as it is taken, for as long as that is allowed.
pub(crate) fn stream(
    replicated: Arc<dyn Replicated>,
    permit: Permit,
    snapshot: SnapshotStream,
) -> Stream<pb::SaveSnapshotResponse> {
    let SnapshotStream { size, mut pieces } = snapshot;
    let (ready, messages) = mpsc::channel(READY);
    tokio::spawn(async move {
        let mut size = Some(size);
        while let Some(piece) = pieces.recv().await {
            let message = read(&*replicated, |state| permit.holds(state))
                .and_then(|()| piece.map_err(|error| unavailable(&error)))
                .map(|data: Bytes| pb::SaveSnapshotResponse {
                    size: size.take().unwrap_or_default(),
                    data,
                });
            let is_over = message.is_err();
            if ready.send(message).await.is_err() || is_over {
                return;
            }
        }
    });
    Box::pin(ReceiverStream::new(messages))
}
