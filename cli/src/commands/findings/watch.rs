//! `findings watch`: findings as they change.

use std::collections::BTreeMap;

use tonic::{Response, Status, Streaming};
use verger_policy::finding::Finding;
use verger_proto::findings::v1 as pb;
use verger_proto::findings::v1::watch_response::Type;
use verger_wire::FromWire as _;

use super::record;
use crate::args::Format;
use crate::connect::Session;
use crate::exit::Exit;
use crate::following::{Followed, follow};
use crate::output::{Sheet, ascii_json, emit, note};

/// Where a stream stands: what to ask for next, and what not to print twice.
#[derive(Debug, PartialEq, Eq)]
struct Position {
    /// Everything up to this revision has been printed.
    complete: u64,
    /// Printed since by their uids, with their revisions: a batch may be cut in two by a lost connection.
    printed: BTreeMap<Vec<u8>, u64>,
    /// Nothing has been heard yet, and what is known already is not wanted.
    only_new: bool,
}

impl Position {
    fn request(&self, filter: &pb::Filter) -> pb::WatchRequest {
        pb::WatchRequest {
            filter: Some(filter.clone()),
            after_revision: self.complete,
            only_new: self.only_new,
        }
    }

    /// Takes in a bookmark: everything before it has been sent.
    fn bookmark(&mut self, revision: u64) {
        self.complete = self.complete.max(revision);
        self.printed.clear();
        self.only_new = false;
    }

    /// Whether what a revision made of a finding is to be printed.
    fn is_fresh(&mut self, uid: &[u8], revision: u64) -> bool {
        let before = self.printed.insert(uid.to_vec(), revision);
        before.is_none_or(|printed| printed < revision)
    }
}

/// The findings that are asked for, and how far they were printed.
struct Changes {
    filter: pb::Filter,
    position: Position,
    format: Format,
}

impl Followed for Changes {
    type Message = pb::WatchResponse;

    async fn open(&self, session: &Session) -> Result<Response<Streaming<Self::Message>>, Status> {
        let request = self.position.request(&self.filter);
        session.findings().watch(request).await
    }

    fn take(&mut self, message: Self::Message) -> anyhow::Result<()> {
        let kind = message.r#type();
        let pb::WatchResponse {
            finding,
            revision,
            r#type: _,
        } = message;
        match finding {
            None => self.position.bookmark(revision),
            Some(finding) if kind == Type::Deleted => {
                if self.position.is_fresh(&finding.uid, revision) {
                    note(&gone(&finding));
                }
            }
            Some(finding) => {
                let finding = Finding::from_wire(finding)?;
                if self.position.is_fresh(finding.uid.0.as_bytes(), finding.revision) {
                    emit(&render(&finding, self.format)?)?;
                }
            }
        }
        Ok(())
    }

    fn place(&self) -> String {
        format!("revision {}", self.position.complete)
    }
}

pub(super) async fn watch(
    session: Session,
    filter: pb::Filter,
    after: u64,
    only_new: bool,
    format: Format,
) -> anyhow::Result<Exit> {
    if matches!(format, Format::Table | Format::Wide) {
        emit(&record::head(format == Format::Wide))?;
    }
    let changes = Changes {
        filter,
        position: Position {
            complete: after,
            printed: BTreeMap::new(),
            only_new,
        },
        format,
    };
    follow(session, changes).await
}

/// What is said of a finding that the controllers hold no more, or that the filter no longer lets through. Its uid is all that
/// is sure to be known.
fn gone(finding: &pb::Finding) -> String {
    let uid = finding
        .uid
        .iter()
        .take(32)
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    format!("finding {uid} is gone, or no longer as asked for")
}

fn render(finding: &Finding, format: Format) -> anyhow::Result<String> {
    Ok(match format {
        Format::Table | Format::Wide => record::line(finding, format == Format::Wide),
        Format::Json | Format::Jsonl => ascii_json(&record::object(finding), false)? + "\n",
        Format::Yaml | Format::Name => {
            let mut sheet = Sheet::one(record::COLUMNS);
            record::push(&mut sheet, finding);
            sheet.render(format)?
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::tell::tests::finding;
    use super::*;

    #[test]
    fn a_batch_cut_in_two_is_neither_lost_nor_printed_twice() {
        let mut position = Position {
            complete: 3,
            printed: BTreeMap::new(),
            only_new: false,
        };
        assert!(position.is_fresh(b"1", 7));
        // The connection is lost between two findings of one revision: the whole batch is asked for again.
        assert_eq!(position.request(&pb::Filter::default()).after_revision, 3);
        assert!(!position.is_fresh(b"1", 7));
        assert!(position.is_fresh(b"2", 7));
        position.bookmark(7);
        assert_eq!(position.request(&pb::Filter::default()).after_revision, 7);
        assert!(position.is_fresh(b"1", 8));
    }

    #[test]
    fn only_new_holds_until_something_was_heard() {
        let mut position = Position {
            complete: 0,
            printed: BTreeMap::new(),
            only_new: true,
        };
        assert!(position.request(&pb::Filter::default()).only_new);
        position.bookmark(5);
        let request = position.request(&pb::Filter::default());
        assert!(!request.only_new && request.after_revision == 5);
    }

    #[test]
    fn every_format_is_one_flushable_piece_of_lines() {
        for format in [
            Format::Table,
            Format::Wide,
            Format::Json,
            Format::Jsonl,
            Format::Name,
        ] {
            let text = render(&finding(1, 7), format).unwrap_or_default();
            assert_eq!(text.matches('\n').count(), 1, "{format:?}: {text}");
        }
    }
}
