//! What a snapshot's file holds. Its bytes come from wherever somebody kept it: nothing of them is shown that was not read as what it is.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use bytes::{Buf, Bytes};
use jiff::Timestamp;
use prost::Message as _;
use verger_chunks::{ChunkError, ChunkSource, FORMAT_VERSION, SnapshotHeader, StreamKind};
use verger_controller_state::{ClusterVersion, DamagedRow, Host, Rebuild, State, Tree};
use verger_policy::digest::Digest;
use verger_policy::model::{printable, printable_within};
use verger_proto::stored::v1 as stored;

use crate::exit::{Exit, Failure};

/// The format of where Raft stood that this program knows.
const MARK_FORMAT: u32 = 1;
/// The only chunk of a state that has no rows yet.
const NO_ROWS: &[u8] = &[0];
/// The longest name that is shown, characters.
const NAME: usize = 100;

/// What a sound file holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Contents {
    /// Bytes of it.
    pub(super) size: u64,
    /// The SHA-256 that it ends with.
    pub(super) digest: Digest,
    pub(super) format: u8,
    /// The last entry of the log that is in it.
    pub(super) index: u64,
    pub(super) term: u64,
    /// Names of the members.
    pub(super) members: Vec<String>,
    /// The cluster's id.
    pub(super) cluster: String,
    /// Version of the trust root in force.
    pub(super) trust_root: u64,
    /// Epoch of the set in force.
    pub(super) epoch: u64,
    /// The cluster's time.
    pub(super) time: Timestamp,
    pub(super) objects: usize,
    /// Those that are not shut out.
    pub(super) hosts: usize,
    pub(super) logins: u64,
    pub(super) findings: usize,
    /// Rows of the audit that are there.
    pub(super) audit: u64,
    /// From which snapshot the cluster had been restored, if it had.
    pub(super) restored: Option<Digest>,
}

/// Reads all of a file, and says what it holds.
///
/// # Errors
/// When it cannot be read, is damaged in any way, holds nothing, or is of a newer program.
pub(super) fn read(file: &Path) -> anyhow::Result<Contents> {
    let name = printable(&file.display().to_string()).into_owned();
    let opened = File::open(file);
    let opened = opened.map_err(|error| Failure::input(format!("{name} cannot be opened: {error}")))?;
    contents(BufReader::with_capacity(256 << 10, opened)).map_err(|invalid| {
        let (exit, what) = match invalid {
            InvalidSnapshot::Unread(error) => (Exit::BadInput, format!("it cannot be read: {error}")),
            InvalidSnapshot::Newer(what) => (Exit::BadInput, what),
            InvalidSnapshot::Damaged(what) => (
                Exit::Violation,
                format!("{what}. Take another copy of this snapshot, or one that was saved at another time"),
            ),
        };
        Failure::new(exit, format!("{name}: {what}")).into()
    })
}

/// Why a file is no snapshot that anything can be made of.
#[derive(Debug)]
pub(super) enum InvalidSnapshot {
    /// The system does not give its bytes.
    Unread(std::io::Error),
    /// It is of a newer program.
    Newer(String),
    /// It is not what was written; what differs.
    Damaged(String),
}

impl From<ChunkError> for InvalidSnapshot {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Io { source, .. } => Self::Unread(source),
            ChunkError::Newer { .. } => Self::Newer(error.to_string()),
            ChunkError::Damaged(what) => Self::Damaged(what),
            ChunkError::TooLarge { .. } => Self::Damaged(error.to_string()),
        }
    }
}

/// The same of its bytes.
pub(super) fn contents(input: impl Read) -> Result<Contents, InvalidSnapshot> {
    let damaged = |what: &str| InvalidSnapshot::Damaged(what.to_owned());
    let (mut source, header) = ChunkSource::begin(input, StreamKind::Snapshot)?;
    let SnapshotHeader { index, term, mark } =
        SnapshotHeader::decode(&header).ok_or_else(|| damaged("its header does not decode"))?;
    let members = members(mark)?;
    let mut rows = Rows::at(index);
    while let Some(chunk) = source.next_chunk()? {
        rows.take(chunk.into());
    }
    // Damage of the file explains any of its rows.
    let digest = source.digest().ok_or_else(|| damaged("it has no end"))?;
    let (state, logins) = rows.finish()?;
    let cluster = state
        .cluster()
        .ok_or_else(|| damaged("it holds no cluster that was founded"))?;
    let audit = state.audit_head();
    Ok(Contents {
        size: source.bytes(),
        digest: Digest::from_bytes(digest),
        format: FORMAT_VERSION,
        index,
        term,
        members,
        cluster: cluster.id.hex(),
        trust_root: cluster.trust_root.version(),
        epoch: state.set().epoch(),
        time: state.clock(),
        objects: state.set().len(),
        hosts: state.hosts().filter(|(_, host)| Host::serves(host)).count(),
        logins,
        findings: state.findings_after_uid(None).count(),
        audit: audit.written.saturating_sub(audit.dropped),
        restored: state.restored().map(|restored| restored.from.digest),
    })
}

/// The names of the members, by where Raft stood.
fn members(mark: Bytes) -> Result<Vec<String>, InvalidSnapshot> {
    let stored::RaftMark {
        format, membership, ..
    } = stored::RaftMark::decode(mark)
        .map_err(|_| InvalidSnapshot::Damaged("where Raft stood cannot be read".to_owned()))?;
    if format != MARK_FORMAT {
        return Err(InvalidSnapshot::Newer(format!(
            "where Raft stood has format {format}; this program knows {MARK_FORMAT}: run the program that saved it, or a newer one"
        )));
    }
    let nodes = membership.map(|membership| membership.nodes).unwrap_or_default();
    let mut members: Vec<String> = nodes
        .into_values()
        .map(|node| printable_within(&node.name, NAME))
        .collect();
    members.sort();
    Ok(members)
}

/// The rows, as they come.
struct Rows {
    rebuild: Rebuild,
    count: u64,
    logins: u64,
    version: Option<ClusterVersion>,
    /// The first that is wrong.
    wrong: Option<String>,
}

impl Rows {
    fn at(revision: u64) -> Self {
        Self {
            rebuild: Rebuild::at(revision),
            count: 0,
            logins: 0,
            version: None,
            wrong: None,
        }
    }

    fn take(&mut self, mut chunk: Bytes) {
        if chunk == NO_ROWS {
            return;
        }
        while chunk.has_remaining() {
            let Ok(row) = stored::SnapshotRow::decode_length_delimited(&mut chunk) else {
                self.is_wrong("a row cannot be read".to_owned());
                return;
            };
            self.row(&row);
        }
    }

    fn row(&mut self, row: &stored::SnapshotRow) {
        let stored::SnapshotRow { tree, key, value } = row;
        let Some(tree) = Tree::of_name(tree) else {
            self.is_wrong("it holds rows of a kind that this program does not know".to_owned());
            return;
        };
        self.count += 1;
        self.logins += u64::from(tree == Tree::Logins);
        if (tree, &**key) == ClusterVersion::ROW {
            self.version = ClusterVersion::of_row(value);
        }
        // What is wrong may be so because the rest is of a newer program.
        if self.wrong.is_none()
            && let Err(DamagedRow { tree, what }) = self.rebuild.take(tree, key, value)
        {
            self.is_wrong(format!("a row of `{}` cannot be read: {what}", tree.name()));
        }
    }

    fn is_wrong(&mut self, what: String) {
        self.wrong.get_or_insert_with(|| printable(&what).into_owned());
    }

    fn finish(self) -> Result<(State, u64), InvalidSnapshot> {
        let Self {
            rebuild,
            count,
            logins,
            version,
            wrong,
        } = self;
        if let Some(found) = version.filter(|version| !version.is_known()) {
            return Err(InvalidSnapshot::Newer(format!(
                "it is of a cluster at version {found}, and this program knows versions up to {}: run the program that saved it, or a newer one",
                ClusterVersion::NEWEST
            )));
        }
        if let Some(what) = wrong {
            return Err(InvalidSnapshot::Damaged(what));
        }
        if count == 0 {
            return Err(InvalidSnapshot::Damaged("it holds no data".to_owned()));
        }
        let state = rebuild
            .finish()
            .map_err(|error| InvalidSnapshot::Damaged(printable(&error.to_string()).into_owned()))?;
        Ok((state, logins))
    }
}
