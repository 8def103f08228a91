//! Giving a snapshot of everything to somebody who keeps it elsewhere.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use verger_proto::cluster::v1 as pb;

use crate::authorizer::Permit;
use crate::ports::{NotSaved, Replicated, SnapshotStream, read};
use crate::status::{unavailable, with_reason};
use crate::watch::Stream;

/// Messages that wait for a slow reader.
const READY: usize = 4;
/// How often it is looked, while a reader takes nothing, whether it may still have any.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A reader that takes nothing for so many looks is given up, 120 s: the file is let go, and somebody else may have one.
const LOOKS: u32 = 60;

pub(crate) fn not_saved(error: NotSaved) -> Status {
    match error {
        NotSaved::Busy(why) => with_reason(Code::ResourceExhausted, "SNAPSHOT_BUSY", why),
        NotSaved::Unavailable(error) => unavailable(&error),
    }
}

/// Waits for room for a message.
///
/// # Errors
/// What the reader is told last: that it may have no more, or was too slow. Nothing where there is no reader any more.
async fn room<'a, T>(
    ready: &'a mpsc::Sender<T>,
    may: impl Fn() -> Result<(), Status>,
) -> Result<mpsc::Permit<'a, T>, Option<Status>> {
    for _ in 0..LOOKS {
        if let Ok(room) = timeout(LOOK_EVERY, ready.reserve()).await {
            let room = room.map_err(|_| None)?;
            may()?;
            return Ok(room);
        }
        may()?;
    }
    let what = format!(
        "nothing of the snapshot was taken for {} s, and it was given up: begin anew, from a place that takes it faster",
        (LOOK_EVERY * LOOKS).as_secs()
    );
    Err(Some(with_reason(
        Code::DeadlineExceeded,
        "SNAPSHOT_NOT_TAKEN",
        what,
    )))
}

/// Sends it piece by piece, as fast as it is taken, for as long as that is allowed.
pub(crate) fn stream(
    replicated: Arc<dyn Replicated>,
    permit: Permit,
    snapshot: SnapshotStream,
) -> Stream<pb::SaveSnapshotResponse> {
    let SnapshotStream { size, mut pieces } = snapshot;
    let (ready, messages) = mpsc::channel(READY + 1);
    tokio::spawn(async move {
        // What goes wrong is said also to who has taken nothing: there is always room for that.
        let Ok(last) = ready.clone().reserve_owned().await else {
            return;
        };
        let may = || read(&*replicated, |state| permit.holds(state));
        let mut size = Some(size);
        while let Some(piece) = pieces.recv().await {
            let given = async {
                let data: Bytes = piece.map_err(|error| unavailable(&error))?;
                let room = room(&ready, may).await?;
                let size = size.take().unwrap_or_default();
                room.send(Ok(pb::SaveSnapshotResponse { size, data }));
                Ok::<(), Option<Status>>(())
            };
            if let Err(why) = given.await {
                if let Some(why) = why {
                    last.send(Err(why));
                }
                return;
            }
        }
    });
    Box::pin(ReceiverStream::new(messages))
}
