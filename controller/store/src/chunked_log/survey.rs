//! Reads all chunks before raft-log does, tells what a power cut left half written from damage, and cuts the former off.
//!
//! raft-log takes whatever it cannot read at the end for a write that was cut short, and removes a last chunk that it cannot read the start
//! of. So does damage end. Here nothing is cut off but what nobody was told is durable: the records behind the last whole
//! commit, where that is not before the watermark, and where nothing of a later commit stands behind them: of two
//! commits the second is written once the first is on stable storage.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use chunked_wal::{ChunkId, ChunkedWal, Config};
use codeq::Decode as _;
use raft_log::{RaftLogAction, RaftWalTypes, WALRecord};

use super::codec::Format;
use super::engine::{self, ChunkSize, damaged};
pub(super) use super::walk::Record;
use super::walk::{Begins, Head, Walk};
use crate::StoreError;

/// The types of raft-log's records.
const TYPES: std::ops::RangeInclusive<u8> = 0..=5;
/// Bytes that may be decoded in search of a record, for each chunk: what is meant to be slow is damage.
const SEARCH_BYTES: u64 = 1 << 30;

/// A chunk's file, and at which byte of the whole log it begins.
struct Chunk {
    path: PathBuf,
    start: u64,
}

/// Up to where the log is whole.
struct Whole {
    /// The chunk it ends in, counted from the oldest.
    chunk: usize,
    /// So many bytes of it.
    bytes: usize,
    head: Head,
}

/// Where it cannot be read any further.
struct Broken {
    chunk: usize,
    at: usize,
    why: String,
}

/// Settles what is in `dir`, reads it, cuts off what no commit up to `upto` needs, and says what is left. `acknowledged` is the commit that the
/// watermark has.
pub(super) fn survey(dir: &Path, acknowledged: u64, upto: u64) -> Result<Head, StoreError> {
    let config = engine::config(dir, ChunkSize::default())?.wal;
    if !dir.is_dir() {
        return Err(damaged(dir, "the folder of the log is missing"));
    }
    // A log that somebody writes to has half of a record at its end, and nothing is wrong with it.
    let _lock = ChunkedWal::<RaftWalTypes<Format>>::acquire_lock(&config)
        .map_err(|error| engine::fault(dir, error))?;
    // Nobody writes to it any more, and whoever did may have been ended before it was synced.
    verger_durable::settle(dir)?;
    let chunks = chunks(dir)?;
    let Read { whole, broken, end } = read(&chunks, upto)?;
    let file = |chunk: usize| chunks[chunk].path.as_path();
    if let Some(broken) = &broken {
        for chunk in broken.chunk..chunks.len() {
            let bytes = contents(file(chunk))?;
            let found = if chunk == broken.chunk {
                beyond(&bytes, broken.at + 1, whole.head.commit)
            } else if decode(&bytes).1.is_ok() {
                // It is begun once those before it are on stable storage.
                Some(Found::Chunk)
            } else {
                beyond(&bytes, 0, whole.head.commit)
            };
            if let Some(found) = found {
                let what = match found {
                    Found::Chunk => format!("{:?} was begun behind it", file(chunk)),
                    Found::Commit(commit) => format!("commit {commit} stands behind it"),
                    Found::TooMuch => "what stands behind it takes too long to read".to_owned(),
                };
                let (at, why) = (broken.at, broken.why.escape_debug());
                return Err(damaged(
                    file(broken.chunk),
                    format!("it does not read on at byte {at} ({why}), and {what}"),
                ));
            }
        }
    }
    if whole.head.commit < acknowledged {
        let at = broken.as_ref().map_or(end.0, |broken| broken.chunk);
        let why = broken.map_or_else(String::new, |broken| {
            format!(
                ": byte {} of it does not read ({})",
                broken.at,
                broken.why.escape_debug()
            )
        });
        return Err(damaged(
            file(at),
            format!(
                "the log ends at commit {}, but commit {acknowledged} was acknowledged{why}",
                whole.head.commit
            ),
        ));
    }
    if (whole.chunk, whole.bytes) != end {
        cut(dir, &chunks, &whole)?;
    }
    Ok(whole.head)
}

/// The chunks, oldest first.
fn chunks(dir: &Path) -> Result<Vec<Chunk>, StoreError> {
    let unreadable = |error| StoreError::io(dir, "read", error);
    let mut chunks = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if name == "LOCK" {
            continue;
        }
        let path = dir.join(&name);
        let start = name
            .to_str()
            .and_then(|name| Config::parse_chunk_file_name(name).ok())
            .filter(|start| *Config::chunk_file_name(ChunkId(*start)) == *name)
            .ok_or_else(|| damaged(&path, "no chunk of the log is called so"))?;
        chunks.push(Chunk { path, start });
    }
    if chunks.is_empty() {
        return Err(damaged(dir, "the folder of the log has no chunk"));
    }
    chunks.sort_by_key(|chunk| chunk.start);
    Ok(chunks)
}

fn contents(path: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(|error| StoreError::io(path, "read", error))
}

/// Reads a log that is open, of which all is written: whether it is whole still, and ends with this commit.
pub(super) fn verify(dir: &Path, commit: u64) -> Result<(), StoreError> {
    let chunks = chunks(dir)?;
    let Read { whole, broken, end } = read(&chunks, commit)?;
    let file = &chunks[end.0].path;
    match broken {
        Some(Broken { at, why, .. }) => Err(damaged(
            file,
            format!("it does not read on at byte {at}: {}", why.escape_debug()),
        )),
        None if (whole.chunk, whole.bytes) != end || whole.head.commit != commit => {
            Err(damaged(file, format!("the log does not end at commit {commit}")))
        }
        None => Ok(()),
    }
}

/// What one record takes, and what it is.
pub(super) fn decode(bytes: &[u8]) -> (usize, Result<Record, std::io::Error>) {
    let mut rest = bytes;
    let record = Record::decode(&mut rest);
    (bytes.len() - rest.len(), record)
}

/// What was read.
struct Read {
    whole: Whole,
    broken: Option<Broken>,
    /// The last chunk that was read, and its length.
    end: (usize, usize),
}

/// Reads on until it ends or breaks.
fn read(chunks: &[Chunk], upto: u64) -> Result<Read, StoreError> {
    let mut walk = Walk::default();
    let mut whole: Option<Whole> = None;
    let mut broken = None;
    let mut end = (0, 0);
    'chunks: for (number, chunk) in chunks.iter().enumerate() {
        let bytes = contents(&chunk.path)?;
        if number > 0 {
            let expected = chunks[number - 1].start + end.1 as u64;
            // raft-log makes the file of a chunk before all of the one before it is written.
            if chunk.start > expected && bytes.iter().all(|byte| *byte == 0) {
                broken = Some(Broken {
                    chunk: number - 1,
                    at: end.1,
                    why: format!("{:?} was to begin at byte {} of the log", chunk.path, chunk.start),
                });
                break;
            }
            if chunk.start != expected {
                return Err(damaged(
                    &chunk.path,
                    format!("the chunk before it ends at byte {expected} of the log"),
                ));
            }
        }
        end = (number, bytes.len());
        let mut at = 0;
        while at < bytes.len() || at == 0 {
            let (taken, record) = decode(&bytes[at..]);
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let why = error.to_string();
                    broken = Some(Broken {
                        chunk: number,
                        at,
                        why,
                    });
                    break 'chunks;
                }
            };
            let follows = match (at, number, chunk.start) {
                (0, 0, 0) => walk.begin(&record, Begins::TheLog),
                (0, 0, _) => walk.begin(&record, Begins::WhatIsLeft),
                (0, ..) => walk.begin(&record, Begins::Another),
                _ => walk.take(&record),
            };
            follows.map_err(|what| damaged(&chunk.path, format!("at byte {at}, {what}")))?;
            at += taken;
            if let Some(head) = walk.rest().filter(|head| head.commit <= upto) {
                let (head, bytes) = (head.clone(), at);
                whole = Some(Whole {
                    chunk: number,
                    bytes,
                    head,
                });
            }
        }
    }
    let Some(whole) = whole else {
        return Err(damaged(&chunks[0].path, "no commit of the log is whole"));
    };
    if !walk.gone_is_purged() {
        return Err(damaged(
            &chunks[0].path,
            "the chunks before it are missing, and their records were not purged",
        ));
    }
    Ok(Read { whole, broken, end })
}

/// What stands behind a place where the log breaks.
enum Found {
    Chunk,
    Commit(u64),
    TooMuch,
}

/// Looks from a byte on for something that was written after all of commit `known + 1` was on stable storage.
fn beyond(bytes: &[u8], from: usize, known: u64) -> Option<Found> {
    let mut left = SEARCH_BYTES;
    for at in from..bytes.len().saturating_sub(4) {
        if bytes[at..at + 3] != [0; 3] || !TYPES.contains(&bytes[at + 3]) {
            continue;
        }
        let (taken, record) = decode(&bytes[at..]);
        left = left.saturating_sub(taken as u64);
        if left == 0 {
            return Some(Found::TooMuch);
        }
        let later = match record {
            // A record of the commit that was being written.
            Ok(WALRecord::Action(RaftLogAction::Append(_, payload))) => {
                (payload.commit > known + 1).then_some(payload.commit)
            }
            Ok(WALRecord::Checkpoint(state)) => state.user_data.and_then(|notes| {
                let after = if notes.hint { known } else { known + 1 };
                (notes.commit > after).then_some(notes.commit)
            }),
            _ => None,
        };
        if let Some(commit) = later {
            return Some(Found::Commit(commit));
        }
    }
    None
}

/// Takes away what is behind the last whole commit, the newest first: stopped in between, it is begun again.
fn cut(dir: &Path, chunks: &[Chunk], whole: &Whole) -> Result<(), StoreError> {
    for chunk in chunks[whole.chunk + 1..].iter().rev() {
        fs::remove_file(&chunk.path).map_err(|error| StoreError::io(&chunk.path, "remove", error))?;
        verger_durable::sync_dir(dir)?;
    }
    let path = &chunks[whole.chunk].path;
    tracing::warn!(file = ?path, bytes = whole.bytes, "cut off what was being written when the log was stopped");
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file| {
            file.set_len(whole.bytes as u64)?;
            file.sync_all()
        })
        .map_err(|error| StoreError::io(path, "cut", error))
}
