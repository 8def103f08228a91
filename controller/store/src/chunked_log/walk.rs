//! What the records of the chunks come to, one after the other, and whether each may follow the one before it. Pure.
//!
//! A commit is the records of one append, which count themselves; or new notes; or a truncation or purge, and the notes behind it.
//! A record that its checksum passes and that does not follow is damage: a chunk of another log, or of another time.

use raft_log::{RaftLogAction, RaftLogRecord, WALRecord};

use super::codec::{Format, Id, Notes};
use crate::bounds::Bounds;
use crate::log_db::{LogId, LogRecord};

/// A record of raft-log's.
pub(super) type Record = RaftLogRecord<Format>;

/// What there was after one commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Head {
    pub(super) commit: u64,
    pub(super) bounds: Bounds,
    pub(super) notes: Notes,
}

/// Which chunk a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    /// The first there ever was.
    TheLog,
    /// The first that is left: those before it went with a purge.
    WhatIsLeft,
    /// One that has another before it.
    Another,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    /// An append, of which this many records were read.
    Append { read: u32, of: u32 },
    /// A truncation or purge, whose notes are to come.
    Removal,
}

/// How far the records have been read.
#[derive(Debug, Clone, Default)]
pub(super) struct Walk {
    head: Head,
    /// A commit of which not all was read.
    begun: Option<Begun>,
    /// Whether the number of the last commit is known: at the start of what is left, only that of the last notes is.
    numbered: bool,
    /// Where the chunks that went ended.
    gone: Option<LogId>,
}

impl Walk {
    /// What there is, if the records end here; `None` in the middle of a commit.
    pub(super) fn rest(&self) -> Option<&Head> {
        self.begun.is_none().then_some(&self.head)
    }

    /// Whether the chunks that went were no longer needed.
    pub(super) fn gone_is_purged(&self) -> bool {
        let purged = self.head.bounds.purged.map(|id| id.index);
        self.gone.map(|id| id.index) <= purged
    }

    /// Takes the record that begins a chunk.
    pub(super) fn begin(&mut self, record: &Record, begins: Begins) -> Result<(), String> {
        let WALRecord::Checkpoint(state) = record else {
            return Err("the first record of a chunk is no checkpoint".to_owned());
        };
        let (last, purged) = (state.last().copied(), state.purged().copied());
        let notes = state.user_data.clone();
        match begins {
            Begins::TheLog if (last, purged, &notes) == (None, None, &None) => self.numbered = true,
            Begins::TheLog => return Err("the first chunk does not begin empty".to_owned()),
            Begins::WhatIsLeft => {
                let notes = notes.ok_or("a checkpoint has no notes")?;
                let purged = purged.map(|Id(id)| id);
                let bounds = Bounds {
                    first: purged.map_or(0, |id| id.index + 1),
                    last: last.map(|Id(id)| id).filter(|id| Some(*id) > purged),
                    purged,
                };
                self.gone = bounds.last;
                self.head = Head {
                    commit: notes.commit,
                    bounds,
                    notes,
                };
            }
            Begins::Another if notes.as_ref() != Some(&self.head.notes) => {
                return Err("a chunk begins with other notes than those before it".to_owned());
            }
            Begins::Another => self.is_stated(last, purged)?,
        }
        Ok(())
    }

    /// Takes any other record.
    pub(super) fn take(&mut self, record: &Record) -> Result<(), String> {
        match record {
            WALRecord::Action(RaftLogAction::Append(Id(id), payload)) => {
                match self.begun {
                    // What is left may begin in the middle of an append, whose beginning was purged.
                    None if payload.place == 0 || !self.numbered => self.follows(payload.commit)?,
                    Some(Begun::Append { read, of })
                        if (payload.place, payload.of) == (read, of)
                            && payload.commit == self.head.commit + 1 => {}
                    _ => return Err(format!("record {} is of another append", id.index)),
                }
                let record = LogRecord {
                    index: id.index,
                    term: id.term,
                    payload: bytes::Bytes::new(),
                };
                self.head.bounds = self
                    .head
                    .bounds
                    .after_append(&[record])
                    .map_err(|error| error.to_string())?;
                let read = payload.place + 1;
                if read == payload.of {
                    self.begun = None;
                    self.head.commit += 1;
                } else {
                    self.begun = Some(Begun::Append { read, of: payload.of });
                }
                Ok(())
            }
            WALRecord::Action(RaftLogAction::TruncateAfter(kept)) => {
                self.removes()?;
                let bounds = &self.head.bounds;
                let kept = kept.map(|Id(id)| id).filter(|id| Some(*id) > bounds.purged);
                if kept.is_some_and(|id| !bounds.indices().contains(&id.index)) {
                    return Err("it is cut back to a record that was not there".to_owned());
                }
                self.head.bounds = bounds.after_truncate(kept);
                Ok(())
            }
            WALRecord::Action(RaftLogAction::PurgeUpto(Id(upto))) => {
                self.removes()?;
                self.head.bounds = self
                    .head
                    .bounds
                    .after_purge(*upto)
                    .ok_or("it is purged to where it was already")?;
                Ok(())
            }
            WALRecord::Checkpoint(state) => {
                let notes = state.user_data.clone().ok_or("a checkpoint has no notes")?;
                let (last, purged) = (state.last().copied(), state.purged().copied());
                self.is_stated(last, purged)?;
                match (notes.hint, self.begun) {
                    (true, None) if !self.numbered && notes.commit >= self.head.commit => {
                        self.head.commit = notes.commit;
                        self.numbered = true;
                    }
                    (true, None) if notes.commit == self.head.commit => {}
                    (false, None | Some(Begun::Removal)) => {
                        self.follows(notes.commit)?;
                        self.head.commit = notes.commit;
                        self.begun = None;
                    }
                    _ => return Err("a checkpoint stands in the middle of a commit".to_owned()),
                }
                self.head.notes = notes;
                Ok(())
            }
            WALRecord::Action(RaftLogAction::SaveVote(_) | RaftLogAction::Commit(_)) => {
                Err("it holds a record that this program never writes".to_owned())
            }
        }
    }

    fn removes(&mut self) -> Result<(), String> {
        if self.begun.is_some() {
            return Err("a removal stands in the middle of a commit".to_owned());
        }
        self.begun = Some(Begun::Removal);
        Ok(())
    }

    /// Whether this commit is the next; the first of what is left may be any later one.
    fn follows(&mut self, commit: u64) -> Result<(), String> {
        let next = self.head.commit.saturating_add(1);
        if commit < next || (self.numbered && commit > next) {
            return Err(format!("commit {commit} stands where commit {next} would"));
        }
        self.numbered = true;
        self.head.commit = commit - 1;
        Ok(())
    }

    /// Whether a checkpoint says where the log begins and ends. Emptied by a purge it ends where that did, by raft-log's word.
    fn is_stated(&self, last: Option<Id>, purged: Option<Id>) -> Result<(), String> {
        let bounds = &self.head.bounds;
        let ends = bounds.last.or(bounds.purged).map(|id| id.index);
        if (last.map(|Id(id)| id.index), purged.map(|Id(id)| id)) == (ends, bounds.purged) {
            Ok(())
        } else {
            Err("a checkpoint says that the log begins or ends elsewhere".to_owned())
        }
    }
}
