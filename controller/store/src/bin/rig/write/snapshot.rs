//! Writes one snapshot file after another and removes the old ones, as a member does.

use verger_controller_store::SnapshotDir;

use crate::snapshot_content::{chunks, meta};
use crate::{Failure, Wish, say};

pub(crate) fn write(
    Wish {
        dir,
        barrier,
        mut dice,
        ..
    }: Wish,
) -> Result<(), Failure> {
    let dir = dir.join("snapshots");
    let snapshots = if barrier {
        SnapshotDir::open(&dir)?
    } else {
        // With its name alone synced a snapshot is there and torn, else it is not there.
        SnapshotDir::open_without_syncs(&dir, dice.roll(2) == 0)?
    };
    let mut at = snapshots.latest()?.map_or(0, |latest| latest.meta().last.index);
    loop {
        at += 1 + dice.roll(50);
        say("begin", at)?;
        let mut writer = snapshots.begin(meta(at))?;
        for chunk in chunks(at) {
            writer.chunk(&chunk)?;
        }
        writer.finish()?;
        // From here on the log up to it may be purged.
        say("ack", at)?;
        snapshots.prune()?;
    }
}
