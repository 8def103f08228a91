//! The audit as people read it: page by page, through filters, as it grows; and what is gone is not passed over in silence.

use bytes::Bytes;
use tonic::Code;
use verger_controller_state::Action;
use verger_policy::digest::Digest;
use verger_policy::finding::FindingUid;
use verger_proto::cluster::v1 as pb;
use verger_seal::{ChainCheck, ChainHead, ChainRow, KeptHead};
use verger_wire::audit::AuditEntry;

use crate::world::{Caller, World, host, refused, soon, start};

/// Leaves a row that says `NO_SUCH_FINDING`.
fn act(world: &World) {
    world.run(Action::AckFinding {
        uid: FindingUid(Digest::of(b"none")),
        note: "n".to_owned(),
    });
}

/// All rows, in pages of this size.
async fn all(caller: &Caller, request: pb::ListRequest) -> Vec<pb::AuditRow> {
    let mut rows = Vec::new();
    let mut request = request;
    for _ in 0..1_000 {
        let page = caller.audit().list(request.clone()).await.unwrap().into_inner();
        assert!(request.page_size == 0 || page.rows.len() <= request.page_size as usize);
        rows.extend(page.rows);
        if page.next_page_token.is_empty() {
            return rows;
        }
        request.page_token = page.next_page_token;
    }
    panic!("pages without end");
}

fn numbers(rows: &[pb::AuditRow]) -> Vec<u64> {
    rows.iter().map(|row| row.number).collect()
}

fn filtered(filter: pb::AuditFilter) -> pb::ListRequest {
    pb::ListRequest {
        filter: Some(filter),
        ..Default::default()
    }
}

#[tokio::test(start_paused = true)]
async fn pages_hold_every_row_once_either_way_and_the_chain_is_whole() {
    let world = World::founded();
    for _ in 0..9 {
        act(&world);
    }
    let ada = world.ada();
    for page_size in [0, 1, 3, 10] {
        for newest_first in [false, true] {
            let request = pb::ListRequest {
                page_size,
                newest_first,
                ..Default::default()
            };
            let mut rows = all(&ada, request).await;
            if newest_first {
                rows.reverse();
            }
            assert_eq!(numbers(&rows), (1..=10).collect::<Vec<_>>(), "{page_size}");
        }
    }
    let pb::HeadResponse {
        stamp: _,
        trust_roots: _,
        written,
        dropped,
        head,
    } = ada.audit().head(pb::HeadRequest {}).await.unwrap().into_inner();
    let head = ChainHead {
        count: written,
        digest: Digest::from_bytes(head[..].try_into().unwrap()),
    };
    let mut check = ChainCheck::begin(Some(head));
    for row in &all(&ada, pb::ListRequest::default()).await {
        let entry = AuditEntry::read(&row.value).unwrap();
        check
            .take(ChainRow {
                number: row.number,
                key: &row.key,
                value: &row.value,
                previous: entry.previous,
            })
            .unwrap();
    }
    assert_eq!(check.finish(head, dropped).unwrap().kept, KeptHead::Met);
}

#[tokio::test(start_paused = true)]
async fn rows_say_who_did_what_from_where_and_what_became_of_it() {
    let world = World::founded();
    world.apply(&[host("h1", "a")], &[]).await;
    let rows = all(&world.ada(), pb::ListRequest::default()).await;
    let entry = rows.last().unwrap().entry.clone().unwrap();
    assert_eq!(
        (
            entry.actor.as_str(),
            entry.action.as_str(),
            entry.outcome.as_str()
        ),
        ("person/ada", "apply-set", "ok")
    );
    assert_eq!(entry.from, "192.0.2.1:40000");
    let root = |root: &Digest| Bytes::copy_from_slice(root.as_bytes());
    assert_eq!(entry.before, root(&verger_policy::set::PolicySet::empty().root()));
    assert_eq!(entry.after, root(&world.log.state().set().root()));
    assert!(!entry.request_id.is_empty());
}

#[tokio::test(start_paused = true)]
async fn filters_let_through_what_they_name() {
    let world = World::founded();
    world.surroundings.pass(100);
    world.apply(&[host("h1", "a")], &[]).await;
    world.surroundings.pass(100);
    act(&world);
    let (ada, filter) = (world.ada(), pb::AuditFilter::default);
    let at = |seconds: i64| {
        let at = start() + jiff::SignedDuration::from_secs(seconds);
        Some(verger_wire::timestamp(at))
    };
    let person = pb::AuditFilter {
        actor: "person/ada".to_owned(),
        ..filter()
    };
    let founded = pb::AuditFilter {
        action: "found".to_owned(),
        ..filter()
    };
    let refused = pb::AuditFilter {
        outcome: "NO_SUCH_FINDING".to_owned(),
        ..filter()
    };
    let between = pb::AuditFilter {
        since: at(100),
        until: at(200),
        ..filter()
    };
    let both = pb::AuditFilter {
        since: at(101),
        ..person.clone()
    };
    for (filter, wanted) in [
        (filter(), vec![1, 2, 3]),
        (person, vec![2]),
        (founded, vec![1]),
        (refused, vec![3]),
        (between, vec![2]),
        (both, vec![]),
    ] {
        for (page_size, newest_first) in [(0, false), (1, false), (1, true)] {
            let request = pb::ListRequest {
                page_size,
                newest_first,
                ..filtered(filter.clone())
            };
            let mut found = numbers(&all(&ada, request).await);
            found.sort_unstable();
            assert_eq!(found, wanted, "{filter:?}");
        }
    }
    let beyond = pb::AuditFilter {
        since: Some(prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        }),
        ..filter()
    };
    refused_argument(&ada, filtered(beyond)).await;
    let foreign = pb::ListRequest {
        page_token: "x".to_owned(),
        ..Default::default()
    };
    refused_argument(&ada, foreign).await;
}

async fn refused_argument(caller: &Caller, request: pb::ListRequest) {
    refused(
        caller.audit().list(request).await,
        Code::InvalidArgument,
        "INVALID_ARGUMENT",
    );
}

#[tokio::test(start_paused = true)]
async fn a_watcher_gets_each_row_once_and_resumes_by_position() {
    let world = World::founded();
    act(&world);
    let ada = world.ada();
    let watch = async |after| {
        ada.audit()
            .watch(pb::WatchRequest {
                after,
                ..Default::default()
            })
            .await
    };
    let mut stream = watch(0).await.unwrap().into_inner();
    let mut seen = Vec::new();
    let mut position = 0;
    for round in 0..3 {
        loop {
            let message = soon(stream.message()).await.unwrap().unwrap();
            position = message.position;
            match message.row {
                Some(row) => seen.push(row.number),
                None => break,
            }
        }
        assert_eq!((seen.len() as u64, position), (round + 2, round + 2));
        act(&world);
    }
    assert_eq!(seen, [1, 2, 3, 4]);
    drop(stream);
    let mut stream = watch(position).await.unwrap().into_inner();
    let message = soon(stream.message()).await.unwrap().unwrap();
    assert_eq!(message.row.unwrap().number, 5);
    refused(watch(6).await, Code::OutOfRange, "RESUME_TOKEN_EXPIRED");
}

#[tokio::test(start_paused = true)]
async fn a_watcher_whose_row_is_another_by_now_is_told_so() {
    let world = World::founded();
    act(&world);
    let ada = world.ada();
    let mut stream = ada
        .audit()
        .watch(pb::WatchRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut keys = Vec::new();
    let bookmark = loop {
        let message = soon(stream.message()).await.unwrap().unwrap();
        match message.row {
            Some(row) => {
                assert_eq!(row.key, message.position_key);
                keys.push(row.key);
            }
            None => break message,
        }
    };
    assert_eq!(bookmark.position, 2);
    assert_eq!(bookmark.position_key, keys[1]);
    let after = async |after, after_key: &bytes::Bytes| {
        let after_key = after_key.clone();
        let request = pb::WatchRequest {
            filter: None,
            after,
            after_key,
        };
        ada.audit().watch(request).await
    };
    // As after a restoration: there is a row of the number, and it is not the one that was seen.
    refused(after(1, &keys[1]).await, Code::OutOfRange, "RESUME_TOKEN_EXPIRED");
    let mut stream = after(1, &keys[0]).await.unwrap().into_inner();
    let message = soon(stream.message()).await.unwrap().unwrap();
    assert_eq!(message.row.unwrap().number, 2);
    after(1, &bytes::Bytes::new()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_watcher_through_a_filter_is_told_where_it_is() {
    let world = World::founded();
    act(&world);
    let filter = pb::AuditFilter {
        action: "apply-set".to_owned(),
        ..Default::default()
    };
    let request = pb::WatchRequest {
        filter: Some(filter),
        ..Default::default()
    };
    let mut stream = world.ada().audit().watch(request).await.unwrap().into_inner();
    let message = soon(stream.message()).await.unwrap().unwrap();
    assert_eq!((message.row, message.position), (None, 2));
    act(&world);
    world.apply(&[host("h1", "a")], &[]).await;
    let message = soon(stream.message()).await.unwrap().unwrap();
    assert_eq!(message.row.unwrap().number, 4);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_gone_from_the_store_is_no_empty_answer() {
    let world = World::founded();
    act(&world);
    world.log.lose_audit_row();
    let answer = world.ada().audit().list(pb::ListRequest::default()).await;
    refused(answer, Code::DataLoss, "AUDIT_ROW_DAMAGED");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_behind_what_was_dropped_is_told_so() {
    let world = World::founded();
    act(&world);
    world.run(tick(&world));
    let ada = world.ada();
    let first = pb::ListRequest {
        page_size: 1,
        ..Default::default()
    };
    let token = ada
        .audit()
        .list(first.clone())
        .await
        .unwrap()
        .into_inner()
        .next_page_token;
    for _ in 0..401 * 24 {
        world.surroundings.pass(3_600);
        world.run(tick(&world));
    }
    act(&world);
    let head = ada.audit().head(pb::HeadRequest {}).await.unwrap().into_inner();
    assert_eq!((head.written, head.dropped), (3, 2));
    let behind = pb::ListRequest {
        page_token: token,
        ..first.clone()
    };
    refused(
        ada.audit().list(behind).await,
        Code::OutOfRange,
        "RESUME_TOKEN_EXPIRED",
    );
    assert_eq!(numbers(&all(&ada, first).await), [3], "those there are");
    let watch = async |after| {
        let request = pb::WatchRequest {
            after,
            ..Default::default()
        };
        let mut stream = ada.audit().watch(request).await.unwrap().into_inner();
        soon(stream.message())
            .await
            .map(|message| message.unwrap().row.unwrap().number)
    };
    refused(watch(1).await, Code::OutOfRange, "RESUME_TOKEN_EXPIRED");
    assert_eq!((watch(0).await.unwrap(), watch(2).await.unwrap()), (3, 3));
}

fn tick(world: &World) -> Action {
    use verger_controller_api::ports::Ambient as _;
    Action::Tick {
        until: world.surroundings.now(),
    }
}
