//! Requests that are large.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http_body::Frame;
use http_body_util::{BodyExt as _, Empty};
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::codegen::{Bytes, http};
use tower::{Layer as _, Service, service_fn};

use super::super::places::{CALLS, LARGE, OWN, PEOPLE, WAIT};
use super::super::reading::RECEIVED;
use super::*;

const APPLY: &str = "/verger.policy.v1.PolicyService/Apply";
/// What attackers send of what they said they would.
const SENT: usize = 1 << 20;

/// The messages of a body, and what becomes of it after them.
pub(super) struct Script {
    frames: VecDeque<Bytes>,
    ends: bool,
    read: Arc<AtomicUsize>,
}

impl tonic::codegen::Body for Script {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.frames.pop_front() {
            Some(data) => {
                self.read.fetch_add(data.len(), Ordering::Relaxed);
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            None if self.ends => Poll::Ready(None),
            // Nobody wakes it: it says nothing any more.
            None => Poll::Pending,
        }
    }
}

/// A message that says it is so long, and comes in pieces.
fn message(said: usize, sent: usize, piece: usize) -> VecDeque<Bytes> {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(said).unwrap().to_be_bytes());
    bytes.resize(5 + sent, 7);
    bytes.chunks(piece).map(Bytes::copy_from_slice).collect()
}

/// Reads all of a request and answers nothing.
fn reader() -> impl Service<
    http::Request<Body>,
    Response = http::Response<Empty<Bytes>>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone {
    service_fn(|request: http::Request<Body>| async move {
        Ok(match request.into_body().collect().await {
            Ok(_) => http::Response::new(Empty::new()),
            Err(status) => status.into_http(),
        })
    })
}

pub(super) fn request<B>(from: &PeerInfo, rpc: &str, body: B) -> http::Request<B> {
    let mut request = http::Request::new(body);
    *request.uri_mut() = rpc.parse().unwrap();
    request.extensions_mut().insert(from.clone());
    request
}

/// A call that goes on by itself: how much was read of it, and how it ends.
struct Call {
    read: Arc<AtomicUsize>,
    ends: JoinHandle<String>,
}

impl Call {
    fn read(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }
}

/// Calls, and says how it ended: the reason of the refusal.
fn call<S, A>(service: &S, from: &PeerInfo, frames: VecDeque<Bytes>, ends: bool) -> Call
where
    S: Service<http::Request<Body>, Response = http::Response<A>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
    A: Send,
{
    let read = Arc::new(AtomicUsize::new(0));
    let script = Script {
        frames,
        ends,
        read: Arc::clone(&read),
    };
    let (mut service, request) = (service.clone(), request(from, APPLY, Body::new(script)));
    let ends = tokio::spawn(async move {
        let answer = service.call(request).await.unwrap();
        let status = Status::from_header_map(answer.headers());
        let info = status.and_then(|status| status.get_details_error_info());
        info.map(|info| info.reason).unwrap_or_default()
    });
    Call { read, ends }
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn attack() -> VecDeque<Bytes> {
    message(20 << 20, SENT, 16 << 10)
}

#[tokio::test(start_paused = true)]
async fn of_unfinished_bodies_of_one_peer_four_are_read_and_everybody_else_is_served() {
    let service = layer().layer(reader());
    let (eve, ada) = (peer("person/eve"), peer("person/ada"));
    let flood: Vec<Call> = (0..40).map(|_| call(&service, &eve, attack(), false)).collect();
    settle().await;
    let read = flood.iter().filter(|call| call.read() > LARGE).count();
    assert_eq!(read, OWN);
    // Others with large messages, and her own with small ones.
    let large = call(&service, &ada, message(SENT, SENT, 16 << 10), true);
    let small = call(&service, &eve, message(100, 100, 16 << 10), true);
    settle().await;
    assert!(large.ends.is_finished() && small.ends.is_finished());
    assert_eq!(
        (large.ends.await.unwrap(), small.ends.await.unwrap()),
        (String::new(), String::new())
    );
    let mut ended = Vec::new();
    for call in flood {
        ended.push(call.ends.await.unwrap());
    }
    let count = |reason: &str| ended.iter().filter(|end| *end == reason).count();
    assert_eq!(
        (count("TOO_SLOW"), count("TOO_MANY_LARGE_CALLS")),
        (OWN, 40 - OWN)
    );
    settle().await;
    let again = call(&service, &eve, message(SENT, SENT, 16 << 10), true);
    assert_eq!(again.ends.await.unwrap(), "", "what is over is forgotten");
}

/// What the others are measured by.
#[tokio::test(start_paused = true)]
async fn without_places_all_unfinished_bodies_are_read() {
    let (service, eve) = (reader(), peer("person/eve"));
    let flood: Vec<Call> = (0..40).map(|_| call(&service, &eve, attack(), false)).collect();
    settle().await;
    assert!(flood.iter().all(|call| call.read() > SENT));
}

#[tokio::test(start_paused = true)]
async fn of_all_people_sixteen_are_read_and_hosts_are_not_in_their_way() {
    let service = layer().layer(reader());
    let hosts: Vec<Call> = (0..40)
        .map(|host| call(&service, &peer(&format!("agent/h{host}")), attack(), false))
        .collect();
    let people: Vec<Call> = (0..40)
        .map(|person| call(&service, &peer(&format!("person/p{person}")), attack(), false))
        .collect();
    settle().await;
    let read = |calls: &[Call]| calls.iter().filter(|call| call.read() > LARGE).count();
    assert_eq!((read(&hosts), read(&people)), (4, PEOPLE));
    let start = Instant::now();
    let last = people.into_iter().next_back().unwrap();
    assert_eq!(last.ends.await.unwrap(), "MEMBER_BUSY");
    assert!(start.elapsed() <= WAIT);
}

#[tokio::test(start_paused = true)]
async fn so_many_wait_and_one_more_is_refused_at_once() {
    let service = layer().layer(reader());
    let eve = peer("person/eve");
    let start = Instant::now();
    let waiting: Vec<Call> = (0..CALLS)
        .map(|_| call(&service, &eve, attack(), false))
        .collect();
    settle().await;
    let more = call(&service, &eve, attack(), false);
    assert_eq!(more.ends.await.unwrap(), "TOO_MANY_LARGE_CALLS");
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(waiting.iter().all(|call| !call.ends.is_finished()));
}

#[tokio::test(start_paused = true)]
async fn a_length_that_comes_byte_by_byte_and_one_that_is_a_lie_are_large_too() {
    let service = layer().layer(reader());
    let eve = peer("person/eve");
    let split = |said, sent| {
        let mut frames = message(said, sent, 1 << 10);
        let first = frames.pop_front().unwrap();
        for byte in first.iter().rev() {
            frames.push_front(Bytes::copy_from_slice(&[*byte]));
        }
        frames
    };
    let flood: Vec<Call> = (0..20)
        .map(|_| call(&service, &eve, split(20 << 20, SENT), false))
        .collect();
    settle().await;
    assert_eq!(flood.iter().filter(|call| call.read() > 5).count(), OWN);
    drop(
        flood
            .into_iter()
            .map(|call| call.ends.abort())
            .collect::<Vec<_>>(),
    );
    settle().await;
    let lies: Vec<Call> = (0..20)
        .map(|_| call(&service, &eve, split(10, SENT), false))
        .collect();
    settle().await;
    assert_eq!(
        lies.iter().filter(|call| call.read() > LARGE + (2 << 10)).count(),
        OWN
    );
}

#[tokio::test(start_paused = true)]
async fn a_small_request_is_waited_for_half_a_minute() {
    let service = layer().layer(reader());
    let (start, ada) = (Instant::now(), peer("person/ada"));
    let slow = call(&service, &ada, message(100, 50, 10), false);
    assert_eq!(slow.ends.await.unwrap(), "TOO_SLOW");
    assert_eq!(start.elapsed(), RECEIVED);
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_many_large_requests_at_once_is_served_with_all_of_them() {
    let service = layer().layer(reader());
    let ada = peer("person/ada");
    let calls: Vec<Call> = (0..CALLS)
        .map(|_| call(&service, &ada, message(SENT, SENT, 16 << 10), true))
        .collect();
    for call in calls {
        assert_eq!(call.ends.await.unwrap(), "");
    }
}
