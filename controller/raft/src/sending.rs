//! Sending a snapshot to a peer, from the chunk on that it has not.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{NetworkError, StreamingError, Unreachable};
use openraft::raft::SnapshotResponse;
use openraft::{ErrorSubject, ErrorVerb, StorageError};
use tokio::sync::mpsc;
use verger_controller_store::{SnapshotDir, SnapshotReader, StoreError};
use verger_proto::peer::v1 as pb;

use crate::peers::{Peer, PeerError};
use crate::runtime::off_thread;
use crate::state_machine::SnapshotData;
use crate::transfer::{Contents, Offer, unfit, write_head};
use crate::types::{TypeConfig, Vote};
use crate::{codec, wire};

/// Parts of a snapshot that are read ahead of the peer.
const AHEAD: usize = 4;
/// How long a peer may take to say what it has of a snapshot: it reads that once after a start, or may be at work on it still.
const OFFER_WITHIN: Duration = Duration::from_secs(60);

type Failed = StreamingError<TypeConfig>;

/// Sends a snapshot of this folder, as far as the peer has not got it.
pub(crate) async fn transmit(
    peer: &dyn Peer,
    dir: &Arc<SnapshotDir>,
    vote: &Vote,
    snapshot: SnapshotData,
) -> Result<SnapshotResponse<TypeConfig>, Failed> {
    // One that is open stays, whatever newer ones are made meanwhile.
    let (offer, reader) = match opened(dir, vote, &snapshot).await {
        Ok(opened) => opened,
        // A newer one took its place: whoever asks again is given that.
        Err(error) if !snapshot.path().exists() => return Err(senseless(error)),
        Err(error) => return Err(unread(error)),
    };
    let request = pb::OfferSnapshotRequest {
        head: Some(write_head(&offer)),
    };
    let answer = peer.offer(request, OFFER_WITHIN).await.map_err(lost)?;
    let theirs = wire::vote(answer.vote).map_err(senseless)?;
    if theirs > *vote {
        return Ok(SnapshotResponse::new(theirs));
    }
    let from = answer.have;
    if from > offer.id.chunks {
        let what = format!("the peer has {from} chunks of {}", offer.id.chunks);
        return Err(senseless(unfit(&what)));
    }
    tracing::info!(
        to_index = offer.last.index,
        from,
        chunks = offer.id.chunks,
        "sending a snapshot"
    );
    let offer = Offer { from, ..offer };
    let (parts, sent) = mpsc::channel(AHEAD);
    let (read, answer) = tokio::join!(send(reader, &offer, parts), peer.install(sent));
    // What cannot be read here is no fault of the peer's.
    read.map_err(unread)?;
    let theirs = wire::vote(answer.map_err(lost)?.vote).map_err(senseless)?;
    Ok(SnapshotResponse::new(theirs))
}

fn unread(error: io::Error) -> Failed {
    StreamingError::StorageError(StorageError::from_io_error(
        ErrorSubject::Snapshot(None),
        ErrorVerb::Read,
        error,
    ))
}

fn lost(error: PeerError) -> Failed {
    match error {
        PeerError::Unreachable(_) => StreamingError::Unreachable(Unreachable::new(&error)),
        PeerError::Lost(_) | PeerError::Refused(_) => StreamingError::Network(NetworkError::new(&error)),
    }
}

fn senseless(error: io::Error) -> Failed {
    StreamingError::Network(NetworkError::new(&error))
}

async fn opened(
    dir: &Arc<SnapshotDir>,
    vote: &Vote,
    snapshot: &SnapshotData,
) -> io::Result<(Offer, SnapshotReader)> {
    let meta = snapshot.meta().clone();
    let last = codec::log_id(meta.last.term, meta.last.index);
    let (dir, snapshot) = (Arc::clone(dir), snapshot.clone());
    let opened = off_thread(move || Ok::<_, StoreError>((dir.id(&snapshot)?, dir.read(&snapshot)?)));
    let (id, reader) = opened.await?.map_err(io::Error::other)?;
    let offer = Offer {
        vote: *vote,
        last,
        meta,
        id,
        from: 0,
    };
    Ok((offer, reader))
}

/// Reads a snapshot and gives away what the peer has not, as fast as it is taken.
async fn send(
    mut reader: SnapshotReader,
    offer: &Offer,
    parts: mpsc::Sender<pb::InstallSnapshotRequest>,
) -> io::Result<()> {
    use pb::install_snapshot_request::Part;
    let part = |part| pb::InstallSnapshotRequest { part: Some(part) };
    let mut contents = Contents::of(&offer.meta.membership);
    let mut chunks = 0;
    // Who has had enough says why.
    let mut is_wanted = parts.send(part(Part::Head(write_head(offer)))).await.is_ok();
    while is_wanted {
        // What the peer has is read all the same: the digest is over all of it.
        let begin = offer.from.saturating_sub(chunks);
        let (back, so_far, read) = off_thread(move || {
            let mut read = Ok(None);
            for _ in 0..=begin {
                read = reader.next_chunk();
                match &read {
                    Ok(Some(chunk)) => contents.add(chunk),
                    _ => break,
                }
            }
            (reader, contents, read)
        })
        .await?;
        (reader, contents) = (back, so_far);
        let Some(chunk) = read.map_err(io::Error::other)? else {
            let digest = contents.digest();
            let chunks = offer.id.chunks;
            let _ = parts
                .send(part(Part::End(pb::SnapshotEnd { chunks, digest })))
                .await;
            break;
        };
        is_wanted = parts.send(part(Part::Chunk(chunk.into()))).await.is_ok();
        chunks += begin + 1;
    }
    Ok(())
}
