//! The members of one cluster and each other: over TLS, under their names.

mod calling;
mod service;

pub(crate) use calling::TlsPeers;
pub(crate) use service::{PeerDoor, serve};

use std::time::Duration;

/// The largest message between members, bytes: entries with a few commands, of which one may be a whole policy set.
const MESSAGE_BYTES: usize = 64 << 20;
/// A silent connection is asked this often whether it lives, and given up after as long again.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// Bytes on their way on one stream, and on all of a connection: a snapshot's parts, or a few messages of entries.
const WINDOW: u32 = 4 << 20;
