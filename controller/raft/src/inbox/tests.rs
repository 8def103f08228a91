//! Snapshots whose way breaks off, and who lies about them.

#![allow(clippy::unwrap_used)]

mod fuzz;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use openraft::error::StreamingError;
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _};
use prost::Message as _;
use tempfile::TempDir;
use verger_controller_store::Row;
use verger_proto::stored::v1 as stored;

use super::*;
use crate::codec::{Mark, encode_mark, log_id};
use crate::log_store::LogStore;
use crate::member::{MemberConfig, Stores};
use crate::peers::{NoPeers, Peer, PeerError, Peers as _};
use crate::sending::transmit;
use crate::transfer::write_head;
use crate::types::{Entry, Node};

const CHUNKS: u64 = 12;
/// Where the snapshots go to.
const INDEX: u64 = 50;

fn vote() -> Vote {
    Vote::new_committed(3, 9)
}

fn meta() -> SnapshotMeta {
    let last = log_id(2, INDEX);
    let mark = Mark {
        applied: Some(last),
        ..Mark::default()
    };
    SnapshotMeta {
        last: codec::stored_id(&last),
        membership: encode_mark(&mark).into(),
    }
}

/// One row of a tree that no state knows.
fn chunk(number: u64, word: &str) -> Bytes {
    let row = stored::SnapshotRow {
        tree: "others".to_owned(),
        key: number.to_be_bytes().to_vec().into(),
        value: word.as_bytes().to_vec().into(),
    };
    row.encode_length_delimited_to_vec().into()
}

/// A leader's snapshot.
struct Source {
    dir: Arc<SnapshotDir>,
    snapshot: DurableSnapshot,
    id: SnapshotId,
    word: &'static str,
    _folder: TempDir,
}

impl Source {
    fn new(word: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = Arc::new(SnapshotDir::open(folder.path()).unwrap());
        let mut writer = dir.begin(meta()).unwrap();
        for number in 0..CHUNKS {
            writer.chunk(&chunk(number, word)).unwrap();
        }
        let snapshot = writer.finish().unwrap();
        Self {
            id: dir.id(&snapshot).unwrap(),
            dir,
            snapshot,
            word,
            _folder: folder,
        }
    }

    fn offer(&self, from: u64) -> Offer {
        Offer {
            vote: vote(),
            last: log_id(2, INDEX),
            meta: meta(),
            id: self.id,
            from,
        }
    }

    fn request(&self) -> pb::OfferSnapshotRequest {
        pb::OfferSnapshotRequest {
            head: Some(write_head(&self.offer(0))),
        }
    }

    fn head(&self, from: u64) -> Part {
        Part::Head(write_head(&self.offer(from)))
    }

    fn chunks(&self, range: std::ops::Range<u64>) -> impl Iterator<Item = Part> {
        range.map(|number| Part::Chunk(chunk(number, self.word)))
    }

    fn end(&self) -> Part {
        let mut contents = Contents::of(&meta().membership);
        (0..CHUNKS).for_each(|number| contents.add(&chunk(number, self.word)));
        Part::End(pb::SnapshotEnd {
            chunks: CHUNKS,
            digest: contents.digest(),
        })
    }
}

use pb::install_snapshot_request::Part;

/// A member that has nothing yet.
async fn open(dir: &Path) -> Arc<Member> {
    let config = MemberConfig {
        id: 1,
        node: Node::default(),
        is_first: false,
        start: 1,
    };
    Arc::new(
        Member::open(config, dir.to_owned(), Arc::new(NoPeers))
            .await
            .unwrap(),
    )
}

async fn fresh() -> (TempDir, Arc<Member>) {
    let dir = tempfile::tempdir().unwrap();
    Member::create(dir.path()).unwrap();
    let member = open(dir.path()).await;
    (dir, member)
}

/// Whether the member has exactly the rows of that source.
async fn has(member: &Member, source: &Source) -> bool {
    let mut rows = Vec::new();
    member
        .db()
        .visit_all(&mut |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
    let meant: Vec<Row> = (0..CHUNKS)
        .map(|number| Row {
            tree: "others".to_owned(),
            key: number.to_be_bytes().to_vec().into(),
            value: Bytes::from_static(source.word.as_bytes()),
        })
        .collect();
    rows == meant && member.read(State::revision) == INDEX
}

async fn told(
    member: &Member,
    parts: impl IntoIterator<Item = Part>,
) -> Result<pb::InstallSnapshotResponse, PeerRefused> {
    let parts: Vec<_> = parts.into_iter().collect();
    let (sender, receiver) = mpsc::channel(parts.len().max(1));
    for part in parts {
        let part = Some(part);
        sender.send(pb::InstallSnapshotRequest { part }).await.unwrap();
    }
    drop(sender);
    member.install(receiver).await
}

/// How a way breaks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Break {
    /// The member hears no more.
    Closed,
    /// Whoever serves the call is dropped at it.
    Dropped,
}

/// A way to a member that breaks after so many chunks.
struct Breaking {
    member: Arc<Member>,
    after: u64,
    how: Break,
    /// What the member is said to have.
    claims: Option<u64>,
    sent: AtomicU64,
    calls: AtomicU64,
    nobody: Arc<dyn Peer>,
}

impl Breaking {
    fn new(member: &Arc<Member>, after: u64, how: Break) -> Self {
        Self {
            member: Arc::clone(member),
            after,
            how,
            claims: None,
            sent: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            nobody: NoPeers.peer("c9", ""),
        }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Sends it until all of it is there; says how often it broke.
    async fn insist(&self, source: &Source) -> u64 {
        for breaks in 0..1_000 {
            match transmit(self, &source.dir, &vote(), source.snapshot.clone()).await {
                Ok(answer) => {
                    assert_eq!(answer.vote, vote());
                    return breaks;
                }
                Err(StreamingError::Network(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("it does not get there");
    }
}

fn lost() -> PeerError {
    PeerError::Lost("the way broke".to_owned())
}

#[async_trait]
impl Peer for Breaking {
    async fn append(
        &self,
        request: pb::AppendRequest,
        within: Duration,
    ) -> Result<pb::AppendResponse, PeerError> {
        self.nobody.append(request, within).await
    }

    async fn vote(&self, request: pb::VoteRequest, within: Duration) -> Result<pb::VoteResponse, PeerError> {
        self.nobody.vote(request, within).await
    }

    async fn pre_vote(
        &self,
        request: pb::PreVoteRequest,
        within: Duration,
    ) -> Result<pb::PreVoteResponse, PeerError> {
        self.nobody.pre_vote(request, within).await
    }

    async fn transfer_leader(
        &self,
        request: pb::TransferLeaderRequest,
        within: Duration,
    ) -> Result<pb::TransferLeaderResponse, PeerError> {
        self.nobody.transfer_leader(request, within).await
    }

    async fn offer(
        &self,
        request: pb::OfferSnapshotRequest,
        _within: Duration,
    ) -> Result<pb::OfferSnapshotResponse, PeerError> {
        let answer = self.member.offered(request).await;
        let mut answer = answer.map_err(|error| PeerError::Refused(error.to_string()))?;
        answer.have = self.claims.unwrap_or(answer.have);
        Ok(answer)
    }

    async fn install(
        &self,
        mut parts: mpsc::Receiver<pb::InstallSnapshotRequest>,
    ) -> Result<pb::InstallSnapshotResponse, PeerError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (sender, receiver) = mpsc::channel(1);
        let mut taken = std::pin::pin!(self.member.install(receiver));
        let forward = async {
            let mut chunks = 0;
            while let Some(part) = parts.recv().await {
                if matches!(part.part, Some(Part::Chunk(_))) {
                    if chunks == self.after {
                        return true;
                    }
                    chunks += 1;
                    self.sent.fetch_add(1, Ordering::SeqCst);
                }
                if sender.send(part).await.is_err() {
                    break;
                }
            }
            drop(sender);
            false
        };
        // What is taken is taken as it comes, and nothing more after the way broke.
        let mut forward = Box::pin(forward);
        let answer = tokio::select! {
            biased;
            answer = &mut taken => Some(answer),
            is_broken = &mut forward => match (is_broken, self.how) {
                (true, Break::Dropped) => return Err(lost()),
                _ => None,
            },
        };
        drop(forward);
        let answer = match answer {
            Some(answer) => answer,
            None => taken.await,
        };
        answer.map_err(|error| PeerError::Refused(error.to_string()))
    }

    async fn read_index(&self, within: Duration) -> Result<pb::ReadIndexResponse, PeerError> {
        self.nobody.read_index(within).await
    }

    async fn propose(
        &self,
        request: pb::ProposeRequest,
        within: Duration,
    ) -> Result<pb::ProposeResponse, PeerError> {
        self.nobody.propose(request, within).await
    }

    async fn change_members(
        &self,
        request: pb::ChangeMembersRequest,
        within: Duration,
    ) -> Result<pb::ChangeMembersResponse, PeerError> {
        self.nobody.change_members(request, within).await
    }

    async fn compare_state(&self, within: Duration) -> Result<pb::CompareStateResponse, PeerError> {
        self.nobody.compare_state(within).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_that_breaks_at_every_so_many_chunks_brings_each_of_them_once() {
    let source = Source::new("a");
    for after in 1..=CHUNKS {
        let (_dir, member) = fresh().await;
        let way = Breaking::new(&member, after, Break::Closed);
        let breaks = way.insist(&source).await;
        assert_eq!(breaks, (CHUNKS - 1) / after, "every {after}");
        assert_eq!(way.sent(), CHUNKS, "every {after}");
        assert!(has(&member, &source).await, "every {after}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_dropped_while_he_takes_chunks_loses_those_on_their_way_alone() {
    let source = Source::new("a");
    // Fewer are on their way than come in one call.
    for after in 4..=CHUNKS {
        let (_dir, member) = fresh().await;
        let way = Breaking::new(&member, after, Break::Dropped);
        let breaks = way.insist(&source).await;
        assert!(breaks >= (CHUNKS - 1) / after, "every {after}: {breaks}");
        let (sent, most) = (way.sent(), CHUNKS + breaks * 3);
        assert!(sent <= most, "every {after}: {sent} sent, {most} at most");
        assert!(has(&member, &source).await, "every {after}");
    }
}

#[tokio::test]
async fn what_has_come_stays_when_the_member_is_started_again() {
    let source = Source::new("a");
    let (dir, mut member) = fresh().await;
    let mut sent = 0;
    for come in [5, 10, 12] {
        let way = Breaking::new(&member, 5, Break::Closed);
        let done = transmit(&way, &source.dir, &vote(), source.snapshot.clone()).await;
        assert_eq!(done.is_ok(), come == CHUNKS);
        sent += way.sent();
        assert_eq!(sent, come);
        drop(way);
        Arc::into_inner(member).unwrap().stop().await;
        member = open(dir.path()).await;
    }
    assert!(has(&member, &source).await);
    // Nothing of it is left but the snapshot.
    let names = std::fs::read_dir(dir.path().join("snapshots")).unwrap();
    assert_eq!(names.count(), 1);
}

/// A member that has so many entries of a leader's, none of which are committed.
async fn written_by(term: u64, entries: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    Member::create(dir.path()).unwrap();
    let Stores { log, .. } = Stores::open(dir.path()).unwrap();
    let mut log = LogStore(Arc::new(log));
    let blank = |index| Entry {
        log_id: log_id(term, index),
        payload: openraft::EntryPayload::Blank,
    };
    log.save_vote(&Vote::new_committed(term, 8)).await.unwrap();
    log.blocking_append((0..entries).map(blank)).await.unwrap();
    dir
}

#[tokio::test]
async fn who_is_ended_before_its_log_begins_behind_a_snapshot_goes_on_behind_it() {
    let source = Source::new("a");
    // Of before what is in it, and of after: a leader's whom nobody else heard.
    for term in [1, 5] {
        let dir = written_by(term, INDEX - 10).await;
        // It is taken in, and that is all.
        let place = dir.path().join("snapshots");
        let name = source.snapshot.path().file_name().unwrap();
        std::fs::copy(source.snapshot.path(), place.join(name)).unwrap();
        for _ in 0..2 {
            let member = open(dir.path()).await;
            assert!(has(&member, &source).await, "of term {term}");
            assert_eq!(member.standing().last, INDEX, "of term {term}");
            Arc::into_inner(member).unwrap().stop().await;
        }
        let Stores { log, .. } = Stores::open(dir.path()).unwrap();
        let mut log = LogStore(Arc::new(log));
        let next = Entry {
            log_id: log_id(6, INDEX + 1),
            payload: openraft::EntryPayload::Blank,
        };
        log.blocking_append([next]).await.unwrap();
    }
}

#[tokio::test]
async fn what_has_come_whole_is_no_snapshot_of_a_member_whose_log_does_not_fit_it_yet() {
    let source = Source::new("a");
    // A leader that was cut off wrote more than the others ever knew of.
    let dir = written_by(1, INDEX + 3).await;
    let member = open(dir.path()).await;
    let (sender, mut parts) = mpsc::channel(32);
    for part in source.chunks(0..CHUNKS).chain([source.end()]) {
        let part = Some(part);
        sender.send(pb::InstallSnapshotRequest { part }).await.unwrap();
    }
    let (held, _) = member
        .inbox()
        .receive(&source.offer(0), &mut parts)
        .await
        .unwrap();
    // It is ended before Raft is given it.
    drop(held);
    Arc::into_inner(member).unwrap().stop().await;
    let member = open(dir.path()).await;
    let last = member.standing().last;
    assert_eq!(last, INDEX + 2);
    told(&member, [source.head(CHUNKS), source.end()]).await.unwrap();
    assert!(has(&member, &source).await);
    // What did not fit is gone from its log, also at the next start.
    Arc::into_inner(member).unwrap().stop().await;
    let member = open(dir.path()).await;
    assert!(has(&member, &source).await);
    assert_eq!(member.standing().last, INDEX);
}

#[tokio::test]
async fn what_has_come_of_one_leader_is_not_gone_on_with_by_another_whose_file_is_another() {
    let (one, other) = (Source::new("a"), Source::new("b"));
    let (_dir, member) = fresh().await;
    let way = Breaking::new(&member, 5, Break::Closed);
    transmit(&way, &one.dir, &vote(), one.snapshot.clone())
        .await
        .unwrap_err();
    assert_eq!(member.offered(one.request()).await.unwrap().have, 5);
    let way = Breaking::new(&member, CHUNKS, Break::Closed);
    assert_eq!((way.insist(&other).await, way.sent()), (0, CHUNKS));
    assert!(has(&member, &other).await);
}

#[tokio::test]
async fn what_is_applied_already_or_is_an_old_leaders_is_not_sent() {
    let source = Source::new("a");
    let (_dir, member) = fresh().await;
    let way = Breaking::new(&member, CHUNKS, Break::Closed);
    way.insist(&source).await;
    way.insist(&source).await;
    assert_eq!((way.sent(), way.calls.load(Ordering::SeqCst)), (CHUNKS, 2));
    let (_dir, member) = fresh().await;
    let request = pb::VoteRequest {
        ballot: Some(pb::Ballot {
            vote: Some(codec::write_vote(&Vote::new(4, 8))),
            last: None,
            transferred: true,
        }),
    };
    member.vote(request).await.unwrap();
    let way = Breaking::new(&member, CHUNKS, Break::Closed);
    let answer = transmit(&way, &source.dir, &vote(), source.snapshot.clone())
        .await
        .unwrap();
    assert_eq!(
        (answer.vote, way.calls.load(Ordering::SeqCst)),
        (Vote::new(4, 8), 0)
    );
    let answer = told(&member, [source.head(0)]).await.unwrap();
    assert_eq!(answer.vote, Some(codec::write_vote(&Vote::new(4, 8))));
}

#[tokio::test]
async fn who_sends_it_again_does_not_wait_for_a_call_that_hangs() {
    let source = Source::new("a");
    let (_dir, member) = fresh().await;
    let (sender, receiver) = mpsc::channel(16);
    for part in std::iter::once(source.head(0)).chain(source.chunks(0..3)) {
        let part = Some(part);
        sender.send(pb::InstallSnapshotRequest { part }).await.unwrap();
    }
    let hanging = tokio::spawn({
        let member = Arc::clone(&member);
        async move { member.install(receiver).await }
    });
    // All that it was sent is taken first.
    while sender.capacity() < 16 {
        tokio::task::yield_now().await;
    }
    assert_eq!(member.offered(source.request()).await.unwrap().have, 3);
    let error = hanging.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("is sent again by another call"), "{error}");
    let rest = std::iter::once(source.head(3)).chain(source.chunks(3..CHUNKS));
    told(&member, rest.chain([source.end()])).await.unwrap();
    assert!(has(&member, &source).await);
}

#[tokio::test]
async fn who_lies_about_a_snapshot_is_refused_and_the_honest_one_gets_through() {
    let source = Source::new("a");
    let (_dir, member) = fresh().await;
    let all = |from: u64| std::iter::once(source.head(from)).chain(source.chunks(from..CHUNKS));
    let end = |chunks, digest: &'static [u8]| {
        let digest = Bytes::from_static(digest);
        Part::End(pb::SnapshotEnd { chunks, digest })
    };
    let own = Offer {
        vote: Vote::new_committed(3, 1),
        ..source.offer(0)
    };
    let cases: [(Vec<Part>, &str, u64); 10] = [
        (vec![], "it does not begin with its head", 0),
        (
            source.chunks(0..1).collect(),
            "it does not begin with its head",
            0,
        ),
        (vec![Part::Head(write_head(&own))], "this member's own", 0),
        (vec![source.head(4)], "it goes on from chunk 4, and 0 are here", 0),
        (vec![source.head(0), source.head(0)], "it has two heads", 0),
        (
            vec![source.head(0), Part::Chunk(Bytes::new())],
            "a chunk holds no data",
            0,
        ),
        (vec![source.head(0), source.end()], "chunks are missing", 0),
        // Those that came in order are kept.
        (
            all(0).chain(source.chunks(0..1)).collect(),
            "it has more chunks than it should",
            CHUNKS,
        ),
        (
            vec![source.head(CHUNKS), end(CHUNKS + 1, b"")],
            "chunks are missing",
            CHUNKS,
        ),
        // What is not what was sent is not.
        (
            vec![source.head(CHUNKS), end(CHUNKS, b"other")],
            "its digest is not that of what came",
            0,
        ),
    ];
    for (parts, refusal, have) in cases {
        let error = told(&member, parts).await.unwrap_err();
        assert!(matches!(error, PeerRefused::Malformed(_)), "{error}");
        assert!(error.to_string().contains(refusal), "{error}");
        assert_eq!(
            member.offered(source.request()).await.unwrap().have,
            have,
            "{refusal}"
        );
    }
    let far = Offer {
        meta: SnapshotMeta {
            membership: Bytes::from_static(b"none"),
            ..meta()
        },
        ..source.offer(0)
    };
    let error = told(&member, [Part::Head(write_head(&far))]).await.unwrap_err();
    assert!(matches!(error, PeerRefused::Malformed(_)), "{error}");
    told(&member, all(0).chain([source.end()])).await.unwrap();
    assert!(has(&member, &source).await);
}

#[test]
fn what_contradicts_what_is_committed_is_told() {
    let committed = Some(log_id(2, 50));
    for (last, is_so) in [
        (log_id(2, 50), false),
        (log_id(2, 51), false),
        (log_id(3, 51), false),
        (log_id(1, 40), false),
        (log_id(3, 50), true),
        (log_id(3, 49), true),
    ] {
        assert_eq!(contradicts(committed, last), is_so, "{last}");
        assert!(!contradicts(None, last));
    }
}

#[tokio::test]
async fn a_peer_that_claims_what_it_has_not_is_sent_nothing_that_leaves_a_gap() {
    let source = Source::new("a");
    let (_dir, member) = fresh().await;
    for (claims, refusal, calls) in [
        (CHUNKS + 1, "the peer has 13 chunks of 12", 0),
        (u64::MAX, "chunks of 12", 0),
        (CHUNKS, "it goes on from chunk 12, and 0 are here", 1),
        (7, "it goes on from chunk 7, and 0 are here", 1),
    ] {
        let way = Breaking {
            claims: Some(claims),
            ..Breaking::new(&member, CHUNKS, Break::Closed)
        };
        let sent = transmit(&way, &source.dir, &vote(), source.snapshot.clone()).await;
        let error = sent.unwrap_err();
        let StreamingError::Network(error) = error else {
            panic!("{error}");
        };
        assert!(error.to_string().contains(refusal), "{error}");
        assert_eq!(way.calls.load(Ordering::SeqCst), calls);
    }
}
