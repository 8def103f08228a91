//! Our own stored forms of Raft's entry, vote, membership and applied mark (`verger.stored.v1`, format 1).
//!
//! openraft's types change between versions; these bytes must not. The frozen-bytes tests hold them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use openraft::{EntryPayload, Membership};
use prost::Message as _;
use verger_controller_store::LogId as StoredId;
use verger_proto::stored::v1 as stored;

use crate::chain::{Chain, Checkpoint, Link};
use crate::types::{Batch, Entry, LogId, MemberId, Node, Origin, StoredMembership, Vote};

const FORMAT: u32 = 1;

fn damaged(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a stored Raft record cannot be read: {what}"),
    )
}

fn check_format(found: u32) -> io::Result<()> {
    if found == FORMAT {
        return Ok(());
    }
    Err(damaged(&format!(
        "its format is {found}, this program knows {FORMAT}; run the version that wrote it"
    )))
}

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(term.into(), index)
}

pub(crate) fn encode_origin(origin: &Origin) -> stored::RaftOrigin {
    let Origin {
        member,
        start,
        number,
    } = *origin;
    stored::RaftOrigin {
        member,
        start,
        number,
    }
}

pub(crate) fn decode_origin(origin: &stored::RaftOrigin) -> Origin {
    let stored::RaftOrigin {
        member,
        start,
        number,
    } = *origin;
    Origin {
        member,
        start,
        number,
    }
}

pub(crate) fn stored_id(id: &LogId) -> StoredId {
    StoredId {
        index: id.index,
        term: id.leader_id.term,
    }
}

pub(crate) fn encode_log_id(id: &LogId) -> stored::RaftLogId {
    stored::RaftLogId {
        term: id.leader_id.term,
        index: id.index,
    }
}

pub(crate) fn decode_log_id(id: &stored::RaftLogId) -> LogId {
    let stored::RaftLogId { term, index } = *id;
    log_id(term, index)
}

pub(crate) fn encode_payload(payload: &EntryPayload<Batch, MemberId, Node>) -> Bytes {
    use stored::raft_entry::Payload;
    let payload = match payload {
        EntryPayload::Blank => Payload::Blank(stored::RaftBlank {}),
        EntryPayload::Normal(Batch { commands, origin }) => Payload::Batch(stored::RaftBatch {
            commands: commands.clone(),
            origin: origin.as_ref().map(encode_origin),
        }),
        EntryPayload::Membership(membership) => Payload::Membership(encode_membership(membership)),
    };
    stored::RaftEntry {
        format: FORMAT,
        payload: Some(payload),
    }
    .encode_to_vec()
    .into()
}

pub(crate) fn decode_entry(term: u64, index: u64, payload: &Bytes) -> io::Result<Entry> {
    use stored::raft_entry::Payload;
    let stored::RaftEntry { format, payload } =
        stored::RaftEntry::decode(payload.clone()).map_err(|error| damaged(&error.to_string()))?;
    check_format(format)?;
    let payload = match payload.ok_or_else(|| damaged("an entry without payload"))? {
        Payload::Blank(stored::RaftBlank {}) => EntryPayload::Blank,
        Payload::Batch(stored::RaftBatch { commands, origin }) => EntryPayload::Normal(Batch {
            commands,
            origin: origin.as_ref().map(decode_origin),
        }),
        Payload::Membership(membership) => EntryPayload::Membership(decode_membership(membership)?),
    };
    Ok(Entry {
        log_id: log_id(term, index),
        payload,
    })
}

fn encode_membership(membership: &Membership<MemberId, Node>) -> stored::RaftMembership {
    let voters = |ids: &BTreeSet<MemberId>| stored::RaftVoters {
        ids: ids.iter().copied().collect(),
    };
    stored::RaftMembership {
        configs: membership.get_joint_config().iter().map(voters).collect(),
        nodes: membership
            .nodes()
            .map(|(id, node)| (*id, encode_node(node)))
            .collect(),
    }
}

fn decode_membership(membership: stored::RaftMembership) -> io::Result<Membership<MemberId, Node>> {
    let stored::RaftMembership { configs, nodes } = membership;
    let configs = configs
        .into_iter()
        .map(|stored::RaftVoters { ids }| ids.into_iter().collect())
        .collect();
    let nodes: BTreeMap<MemberId, Node> = nodes
        .into_iter()
        .map(|(id, node)| (id, decode_node(node)))
        .collect();
    Membership::new(configs, nodes).map_err(|error| damaged(&error.to_string()))
}

pub(crate) fn encode_node(node: &Node) -> stored::RaftNode {
    stored::RaftNode {
        address: node.address.clone(),
        name: node.name.clone(),
        api_address: node.api.clone(),
        enrol_address: node.enrol.clone(),
    }
}

pub(crate) fn decode_node(node: stored::RaftNode) -> Node {
    let stored::RaftNode {
        address,
        name,
        api_address: api,
        enrol_address: enrol,
    } = node;
    Node {
        name,
        address,
        api,
        enrol,
    }
}

pub(crate) fn encode_vote(vote: &Vote) -> Vec<u8> {
    write_vote(vote).encode_to_vec()
}

pub(crate) fn decode_vote(bytes: &[u8]) -> io::Result<Vote> {
    read_vote(stored::RaftVote::decode(bytes).map_err(|error| damaged(&error.to_string()))?)
}

pub(crate) fn write_vote(vote: &Vote) -> stored::RaftVote {
    stored::RaftVote {
        format: FORMAT,
        term: vote.leader_id.term,
        voted_for: Some(vote.leader_id.voted_for),
        committed: vote.committed,
    }
}

pub(crate) fn read_vote(vote: stored::RaftVote) -> io::Result<Vote> {
    let stored::RaftVote {
        format,
        term,
        voted_for,
        committed,
    } = vote;
    check_format(format)?;
    let voted_for = voted_for.ok_or_else(|| damaged("a vote for nobody"))?;
    Ok(if committed {
        Vote::new_committed(term, voted_for)
    } else {
        Vote::new(term, voted_for)
    })
}

pub(crate) fn encode_committed(id: &LogId) -> Vec<u8> {
    encode_log_id(id).encode_to_vec()
}

pub(crate) fn decode_committed(bytes: &[u8]) -> io::Result<LogId> {
    let id = stored::RaftLogId::decode(bytes).map_err(|error| damaged(&error.to_string()))?;
    Ok(decode_log_id(&id))
}

pub(crate) fn encode_checkpoint(checkpoint: &Checkpoint) -> stored::RaftCheckpoint {
    let Checkpoint { index, from, chain } = checkpoint;
    stored::RaftCheckpoint {
        index: *index,
        from: *from,
        chain: Bytes::copy_from_slice(chain),
    }
}

pub(crate) fn decode_checkpoint(checkpoint: &stored::RaftCheckpoint) -> io::Result<Checkpoint> {
    let stored::RaftCheckpoint { index, from, chain } = checkpoint;
    Ok(Checkpoint {
        index: *index,
        from: *from,
        chain: decode_chain(chain)?,
    })
}

fn decode_chain(chain: &[u8]) -> io::Result<[u8; 32]> {
    chain.try_into().map_err(|_| damaged("a chain is not 32 bytes"))
}

/// The applied position, the membership at it, and the chain up to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Mark {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) chain: Chain,
}

pub(crate) fn encode_mark(mark: &Mark) -> Vec<u8> {
    let Mark {
        applied,
        membership,
        chain: Chain { now, ended },
    } = mark;
    stored::RaftMark {
        format: FORMAT,
        applied: applied.as_ref().map(encode_log_id),
        membership_log_id: membership.log_id().as_ref().map(encode_log_id),
        membership: Some(encode_membership(membership.membership())),
        chain: now.map_or_else(Bytes::new, |link| Bytes::copy_from_slice(&link.chain)),
        chain_from: now.map_or(0, |link| link.from),
        ended: ended.as_ref().map(encode_checkpoint),
    }
    .encode_to_vec()
}

pub(crate) fn decode_mark(bytes: &[u8]) -> io::Result<Mark> {
    let stored::RaftMark {
        format,
        applied,
        membership_log_id,
        membership,
        chain,
        chain_from: from,
        ended,
    } = stored::RaftMark::decode(bytes).map_err(|error| damaged(&error.to_string()))?;
    check_format(format)?;
    let membership = membership.ok_or_else(|| damaged("a mark without membership"))?;
    Ok(Mark {
        applied: applied.as_ref().map(decode_log_id),
        membership: StoredMembership::new(
            membership_log_id.as_ref().map(decode_log_id),
            decode_membership(membership)?,
        ),
        chain: Chain {
            now: match chain.is_empty() {
                true => None,
                false => Some(Link {
                    from,
                    chain: decode_chain(&chain)?,
                }),
            },
            ended: ended.as_ref().map(decode_checkpoint).transpose()?,
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn node(name: &str, address: &str) -> Node {
        Node {
            name: name.to_owned(),
            address: address.to_owned(),
            ..Node::default()
        }
    }

    fn membership() -> Membership<MemberId, Node> {
        let nodes: BTreeMap<_, _> = [(1, node("a", "a:1")), (2, node("b", "b:2"))].into();
        Membership::new(vec![[1].into()], nodes).unwrap()
    }

    fn chain() -> Chain {
        Chain {
            now: Some(Link {
                from: 600,
                chain: [0xab; 32],
            }),
            ended: Some(Checkpoint {
                index: 600,
                from: 1,
                chain: [0xcd; 32],
            }),
        }
    }

    fn batch(commands: &[&'static str], origin: Option<Origin>) -> EntryPayload<Batch, MemberId, Node> {
        EntryPayload::Normal(Batch {
            commands: commands
                .iter()
                .map(|command| Bytes::from_static(command.as_bytes()))
                .collect(),
            origin,
        })
    }

    const ORIGIN: Origin = Origin {
        member: 2,
        start: 7,
        number: 300,
    };

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn stored_bytes_of_format_1_never_change() {
        assert_eq!(
            hex(&encode_payload(&batch(&["ab", "c"], None))),
            "08011a070a0261620a0163"
        );
        assert_eq!(
            hex(&encode_payload(&batch(&["c"], Some(ORIGIN)))),
            "08011a130a0163120e080211070000000000000018ac02"
        );
        assert_eq!(hex(&encode_payload(&EntryPayload::Blank)), "08011200");
        assert_eq!(hex(&encode_vote(&Vote::new_committed(7, 2))), "0801100718022001");
        assert_eq!(hex(&encode_committed(&log_id(3, 300))), "080310ac02");
        let mark = Mark {
            applied: Some(log_id(3, 4)),
            membership: StoredMembership::new(
                Some(log_id(1, 1)),
                Membership::new(vec![[1].into()], BTreeMap::from([(1, node("", "a:1"))])).unwrap(),
            ),
            chain: Chain::default(),
        };
        let before = "08011204080310041a040801100122100a030a01011209080112050a03613a31";
        assert_eq!(hex(&encode_mark(&mark)), before);
        let chained = Mark {
            chain: chain(),
            ..mark
        };
        let (now, ended) = ("ab".repeat(32), "cd".repeat(32));
        assert_eq!(
            hex(&encode_mark(&chained)),
            format!("{before}2a20{now}30d8043a2708d80410011a20{ended}")
        );
    }

    /// A member of which everything is known.
    fn known(name: &str) -> Node {
        Node {
            name: name.to_owned(),
            address: format!("{name}:1"),
            api: format!("{name}:2"),
            enrol: format!("{name}:3"),
        }
    }

    /// The stored node of [`known`]: address, name, where agents and people call it, where they enrol.
    fn frozen_node(name: &str) -> String {
        let name = hex(name.as_bytes());
        format!("1212 0a03{name}3a31 1201{name} 1a03{name}3a32 2203{name}3a33")
    }

    #[track_caller]
    fn assert_frozen(membership: Membership<MemberId, Node>, frozen: &str) {
        let (payload, frozen) = (EntryPayload::Membership(membership), frozen.replace(' ', ""));
        let bytes = encode_payload(&payload);
        assert_eq!(hex(&bytes), frozen);
        // The bytes as they are written here, and not those that were just made.
        let stored: Vec<u8> = (0..frozen.len())
            .step_by(2)
            .map(|place| u8::from_str_radix(&frozen[place..place + 2], 16).unwrap())
            .collect();
        let entry = decode_entry(3, 4, &stored.into()).unwrap();
        assert_eq!((entry.log_id, entry.payload), (log_id(3, 4), payload));
    }

    /// Two voter sets while a change is under way, and a learner; then the voters alone.
    #[test]
    fn stored_bytes_of_a_change_of_members_never_change() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(frozen_node);
        let voters = [(1, known("a")), (2, known("b")), (3, known("c"))];
        let with_a_learner = voters.iter().cloned().chain([(300, known("d"))]);
        assert_frozen(
            Membership::new(
                vec![[1, 2].into(), [2, 3].into()],
                with_a_learner.collect::<BTreeMap<_, _>>(),
            )
            .unwrap(),
            // Format; the two sets; the nodes by their numbers.
            &format!(
                "0801 226d 0a04 0a020102 0a04 0a020203 1216 0801{a} 1216 0802{b} 1216 0803{c} 1217 08ac02{d}"
            ),
        );
        assert_frozen(
            Membership::new(vec![[1, 2, 3].into()], BTreeMap::from(voters)).unwrap(),
            &format!("0801 224f 0a05 0a03010203 1216 0801{a} 1216 0802{b} 1216 0803{c}"),
        );
    }

    #[test]
    fn everything_reads_back() {
        for payload in [
            EntryPayload::Blank,
            batch(&["x"], None),
            batch(&["x", "y"], Some(ORIGIN)),
            EntryPayload::Membership(membership()),
        ] {
            let entry = decode_entry(2, 9, &encode_payload(&payload)).unwrap();
            assert_eq!(entry.log_id, log_id(2, 9));
            assert_eq!(encode_payload(&entry.payload), encode_payload(&payload));
        }
        let vote = Vote::new(5, 1);
        assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
        let mark = Mark {
            applied: None,
            membership: StoredMembership::new(None, membership()),
            chain: chain(),
        };
        let bytes = encode_mark(&mark);
        assert_eq!(decode_mark(&bytes).unwrap(), mark);
        assert!(
            (0..20).all(|_| encode_mark(&mark) == bytes),
            "the members have one order"
        );
    }

    #[test]
    fn an_unknown_format_and_damage_are_named() {
        let newer = stored::RaftVote {
            format: 2,
            term: 1,
            voted_for: Some(1),
            committed: false,
        }
        .encode_to_vec();
        assert!(
            decode_vote(&newer)
                .unwrap_err()
                .to_string()
                .contains("its format is 2")
        );
        assert!(decode_entry(1, 1, &Bytes::from_static(b"\xff\xff")).is_err());
        assert!(decode_mark(b"").is_err());
        let short = stored::RaftMark {
            format: FORMAT,
            membership: Some(encode_membership(&membership())),
            chain: Bytes::from_static(b"short"),
            ..Default::default()
        };
        let error = decode_mark(&short.encode_to_vec()).unwrap_err().to_string();
        assert!(error.ends_with("a chain is not 32 bytes"), "{error}");
    }
}
