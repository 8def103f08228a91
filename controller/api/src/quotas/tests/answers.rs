//! Answers that are large.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::{BodyExt as _, Full};
use tonic::body::Body;
use tonic::codegen::{Bytes, http};
use tower::{Layer as _, Service, service_fn};

use super::super::places::{LARGE, OWN, Turn, WAIT};
use super::super::sending::SENT;
use super::large::request;
use super::*;

const GET_SET: &str = "/verger.policy.v1.PolicyService/GetSet";
const LONG: usize = 1 << 20;

/// Memory that tells when it is free.
struct Memory(Vec<u8>, Arc<AtomicBool>);

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

fn bytes(long: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(long).collect()
}

/// Answers with so many bytes, and says when they are free.
async fn answer(layer: &QuotasLayer, from: &str, long: usize) -> (Body, Arc<AtomicBool>) {
    let is_free = Arc::new(AtomicBool::new(false));
    let memory = Bytes::from_owner(Memory(bytes(long), Arc::clone(&is_free)));
    let mut service = layer.layer(service_fn(move |_: http::Request<Body>| {
        let answer = http::Response::new(Full::new(memory.clone()));
        async move { Ok::<_, Infallible>(answer) }
    }));
    let asked = request(&peer(from), GET_SET, Full::new(Bytes::new()));
    let answer = service.call(asked).await.unwrap();
    (answer.into_body(), is_free)
}

/// What trailers say.
async fn next_reason(body: &mut Body) -> String {
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    let status = Status::from_header_map(&trailers).unwrap();
    status.get_details_error_info().unwrap().reason
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_is_sent_in_pieces_and_whole() {
    let layer = layer();
    for long in [0, 10, LARGE, LARGE + 1, LONG, LONG + 1] {
        let (mut body, _) = answer(&layer, "person/ada", long).await;
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= LARGE);
            all.extend(data);
        }
        assert_eq!(all, bytes(long));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_reader_does_not_take_is_let_go_of_in_time() {
    let layer = layer();
    let (mut body, is_free) = answer(&layer, "person/eve", LONG).await;
    drop(body.frame().await.unwrap().unwrap());
    tokio::time::sleep(SENT - Duration::from_secs(1)).await;
    assert!(!is_free.load(Ordering::Relaxed), "there is time still");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(is_free.load(Ordering::Relaxed));
    assert_eq!(next_reason(&mut body).await, "TOO_SLOW");
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_nothing_of_an_answer_holds_its_place_no_longer() {
    let layer = layer();
    let service = layer.layer(service_fn(|request: http::Request<Body>| async move {
        let turn: Turn = request.extensions().get::<Turn>().unwrap().clone();
        turn.take_place().await.unwrap();
        Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(bytes(10)))))
    }));
    let call = || {
        let asked = request(&peer("person/eve"), GET_SET, Full::new(Bytes::new()));
        service.clone().call(asked)
    };
    let mut untaken = Vec::new();
    for _ in 0..OWN {
        untaken.push(call().await.unwrap());
    }
    let start = Instant::now();
    tokio::time::sleep(SENT / 2).await;
    // It waits for those, and is served.
    call().await.unwrap();
    assert!(start.elapsed() <= SENT + Duration::from_secs(1));
    assert_eq!(next_reason(untaken[0].body_mut()).await, "TOO_SLOW");
}

#[tokio::test(start_paused = true)]
async fn slow_readers_hold_so_many_large_answers_and_others_get_theirs() {
    let layer = layer();
    let mut slow = VecDeque::new();
    for _ in 0..OWN {
        let (mut body, _) = answer(&layer, "person/eve", LONG).await;
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap().len(),
            LARGE
        );
        slow.push_back(body);
    }
    let start = Instant::now();
    let (mut over, _) = answer(&layer, "person/eve", LONG).await;
    assert_eq!(next_reason(&mut over).await, "TOO_MANY_LARGE_CALLS");
    assert_eq!(start.elapsed(), WAIT);
    let whole = |body: Body| async { body.collect().await.unwrap().to_bytes().len() };
    let (small, _) = answer(&layer, "person/eve", LARGE).await;
    assert_eq!(whole(small).await, LARGE);
    let (other, _) = answer(&layer, "person/ada", LONG).await;
    assert_eq!(whole(other).await, LONG);
    // Whoever goes makes room.
    slow.pop_front();
    let (next, _) = answer(&layer, "person/eve", LONG).await;
    assert_eq!(whole(next).await, LONG);
}
