//! openraft's messages as members say them to each other.

use std::io;

use openraft::entry::RaftEntry as _;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use verger_proto::peer::v1 as pb;
use verger_proto::stored::v1 as stored;

use crate::codec;
use crate::types::{LogId, TypeConfig, Vote};

fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a peer's message is malformed: {what}"),
    )
}

fn id_of(id: Option<&LogId>) -> Option<stored::RaftLogId> {
    id.map(codec::encode_log_id)
}

fn id(id: Option<&stored::RaftLogId>) -> Option<LogId> {
    id.map(codec::decode_log_id)
}

pub(crate) fn vote(vote: Option<stored::RaftVote>) -> io::Result<Vote> {
    codec::read_vote(vote.ok_or_else(|| malformed("it has no vote"))?)
}

pub(crate) fn write_append(request: &AppendEntriesRequest<TypeConfig>) -> pb::AppendRequest {
    let AppendEntriesRequest {
        vote,
        prev_log_id,
        entries,
        leader_commit,
    } = request;
    let entry = |entry: &crate::types::Entry| pb::Entry {
        id: Some(codec::encode_log_id(&entry.log_id())),
        payload: codec::encode_payload(&entry.payload),
    };
    pb::AppendRequest {
        leader: Some(codec::write_vote(vote)),
        previous: id_of(prev_log_id.as_ref()),
        entries: entries.iter().map(entry).collect(),
        committed: id_of(leader_commit.as_ref()),
    }
}

pub(crate) fn read_append(request: pb::AppendRequest) -> io::Result<AppendEntriesRequest<TypeConfig>> {
    let pb::AppendRequest {
        leader,
        previous,
        entries,
        committed,
    } = request;
    let entry = |entry: pb::Entry| {
        let id = entry.id.ok_or_else(|| malformed("an entry has no place"))?;
        codec::decode_entry(id.term, id.index, &entry.payload)
    };
    let request = AppendEntriesRequest::<TypeConfig> {
        vote: vote(leader)?,
        prev_log_id: id(previous.as_ref()),
        entries: entries.into_iter().map(entry).collect::<io::Result<_>>()?,
        leader_commit: id(committed.as_ref()),
    };
    let first = request.prev_log_id.map_or(0, |id: LogId| id.index + 1);
    if (first..)
        .zip(&request.entries)
        .any(|(index, entry)| entry.log_id.index != index)
    {
        return Err(malformed("its entries do not follow each other"));
    }
    Ok(request)
}

pub(crate) fn write_appended(response: &AppendEntriesResponse<TypeConfig>) -> pb::AppendResponse {
    use pb::append_response::Outcome;
    let outcome = match response {
        AppendEntriesResponse::Success => Outcome::Done(pb::AppendDone {}),
        AppendEntriesResponse::PartialSuccess(last) => Outcome::Part(pb::AppendPart {
            last: id_of(last.as_ref()),
        }),
        AppendEntriesResponse::Conflict => Outcome::Conflict(pb::AppendConflict {}),
        AppendEntriesResponse::HigherVote(vote) => Outcome::Higher(codec::write_vote(vote)),
    };
    pb::AppendResponse {
        outcome: Some(outcome),
    }
}

pub(crate) fn read_appended(response: pb::AppendResponse) -> io::Result<AppendEntriesResponse<TypeConfig>> {
    use pb::append_response::Outcome;
    Ok(
        match response.outcome.ok_or_else(|| malformed("it says nothing"))? {
            Outcome::Done(pb::AppendDone {}) => AppendEntriesResponse::Success,
            Outcome::Part(pb::AppendPart { last }) => {
                AppendEntriesResponse::PartialSuccess(id(last.as_ref()))
            }
            Outcome::Conflict(pb::AppendConflict {}) => AppendEntriesResponse::Conflict,
            Outcome::Higher(vote) => AppendEntriesResponse::HigherVote(codec::read_vote(vote)?),
        },
    )
}

pub(crate) fn write_ballot(request: &VoteRequest<TypeConfig>) -> pb::Ballot {
    let VoteRequest {
        vote,
        last_log_id,
        leadership_transfer,
    } = request;
    pb::Ballot {
        vote: Some(codec::write_vote(vote)),
        last: id_of(last_log_id.as_ref()),
        transferred: *leadership_transfer,
    }
}

pub(crate) fn read_ballot(ballot: Option<pb::Ballot>) -> io::Result<VoteRequest<TypeConfig>> {
    let pb::Ballot {
        vote: of,
        last,
        transferred,
    } = ballot.ok_or_else(|| malformed("it has no ballot"))?;
    Ok(VoteRequest {
        vote: vote(of)?,
        last_log_id: id(last.as_ref()),
        leadership_transfer: transferred,
    })
}

pub(crate) fn write_result(response: &VoteResponse<TypeConfig>) -> pb::VoteResult {
    let VoteResponse {
        vote,
        vote_granted,
        last_log_id,
    } = response;
    pb::VoteResult {
        vote: Some(codec::write_vote(vote)),
        granted: *vote_granted,
        last: id_of(last_log_id.as_ref()),
    }
}

pub(crate) fn read_result(result: Option<pb::VoteResult>) -> io::Result<VoteResponse<TypeConfig>> {
    let pb::VoteResult {
        vote: of,
        granted,
        last,
    } = result.ok_or_else(|| malformed("it has no result"))?;
    Ok(VoteResponse::new(vote(of)?, id(last.as_ref()), granted))
}

pub(crate) fn write_transfer(request: &TransferLeaderRequest<TypeConfig>) -> pb::TransferLeaderRequest {
    pb::TransferLeaderRequest {
        leader: Some(codec::write_vote(request.from_leader())),
        to: *request.to_node_id(),
        last: id_of(request.last_log_id()),
    }
}

pub(crate) fn read_transfer(
    request: pb::TransferLeaderRequest,
) -> io::Result<TransferLeaderRequest<TypeConfig>> {
    let pb::TransferLeaderRequest { leader, to, last } = request;
    Ok(TransferLeaderRequest::new(vote(leader)?, to, id(last.as_ref())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use openraft::EntryPayload;

    use super::*;
    use crate::codec::log_id;
    use crate::types::{Batch, Entry};

    #[test]
    fn what_is_said_reads_back() {
        let entry = |index| Entry {
            log_id: log_id(3, index),
            payload: EntryPayload::Normal(Batch::default()),
        };
        let append = AppendEntriesRequest {
            vote: Vote::new_committed(3, 1),
            prev_log_id: Some(log_id(2, 6)),
            entries: vec![entry(7), entry(8)],
            leader_commit: Some(log_id(2, 5)),
        };
        let read = read_append(write_append(&append)).unwrap();
        assert_eq!(write_append(&read), write_append(&append));
        for response in [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(Some(log_id(1, 2))),
            AppendEntriesResponse::PartialSuccess(None),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(Vote::new(9, 2)),
        ] {
            assert_eq!(read_appended(write_appended(&response)).unwrap(), response);
        }
        let ballot = VoteRequest {
            vote: Vote::new(4, 2),
            last_log_id: None,
            leadership_transfer: true,
        };
        assert_eq!(read_ballot(Some(write_ballot(&ballot))).unwrap(), ballot);
        let result = VoteResponse::new(Vote::new(4, 2), Some(log_id(1, 1)), true);
        assert_eq!(read_result(Some(write_result(&result))).unwrap(), result);
        let transfer = TransferLeaderRequest::new(Vote::new_committed(4, 2), 3, Some(log_id(1, 1)));
        assert_eq!(read_transfer(write_transfer(&transfer)).unwrap(), transfer);
    }

    #[test]
    fn entries_with_a_gap_are_refused() {
        let entry = |index| pb::Entry {
            id: Some(stored::RaftLogId { term: 1, index }),
            payload: codec::encode_payload(&EntryPayload::Blank),
        };
        let request = |entries| pb::AppendRequest {
            leader: Some(codec::write_vote(&Vote::new_committed(1, 1))),
            previous: Some(stored::RaftLogId { term: 1, index: 4 }),
            entries,
            committed: None,
        };
        assert!(read_append(request(vec![entry(5), entry(6)])).is_ok());
        for entries in [vec![entry(6)], vec![entry(5), entry(7)], vec![entry(5), entry(5)]] {
            let error = read_append(request(entries)).unwrap_err().to_string();
            assert!(error.contains("do not follow each other"), "{error}");
        }
        let nobody = pb::AppendRequest {
            leader: None,
            ..request(Vec::new())
        };
        assert!(read_append(nobody).is_err());
    }
}
