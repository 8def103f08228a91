#![allow(clippy::unwrap_used)]

use std::pin::Pin;

use bytes::Bytes;
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::Request;
use tonic::transport::{Channel, Endpoint, Server};
use tonic_types::{ErrorDetails, StatusExt as _};
use verger_proto::agent::v1 as pb;
use verger_proto::agent::v1::session_service_client::SessionServiceClient;
use verger_proto::agent::v1::session_service_server::{SessionService, SessionServiceServer};

use super::*;

fn busy(retry: Duration) -> Status {
    let mut details = ErrorDetails::new();
    details.set_retry_info(Some(retry));
    Status::with_error_details(Code::Unavailable, "not leading", details)
}

#[test]
fn what_a_controller_asks_for_is_read_and_has_a_limit() {
    for (asked, wanted) in [
        (Duration::from_millis(500), 500),
        (Duration::ZERO, 0),
        (Duration::from_secs(60), LONGEST_RETRY),
        (Duration::from_secs(86_400 * 365), LONGEST_RETRY),
        (Duration::from_secs(u64::MAX >> 1), LONGEST_RETRY),
    ] {
        let got = retry_after(&busy(asked));
        // What protobuf's own range cannot hold may also be left out.
        assert!(
            got == Some(wanted) || (asked.as_secs() > 1 << 40 && got.is_none()),
            "{asked:?}: {got:?}"
        );
    }
    assert_eq!(retry_after(&Status::unavailable("away")), None);
    let garbage = Status::with_details(Code::Unavailable, "away", Bytes::from_static(b"\xff\xff\xff"));
    assert_eq!(retry_after(&garbage), None);
}

/// A controller that refuses `Connect` and ends `Report` after one answer, both asking for time.
struct Busy;

type Answers<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

#[tonic::async_trait]
impl SessionService for Busy {
    type ConnectStream = Answers<pb::ConnectResponse>;
    type ReportStream = Answers<pb::ReportResponse>;

    async fn connect(
        &self,
        _: Request<Streaming<pb::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        Err(busy(Duration::from_secs(7)))
    }

    async fn report(
        &self,
        request: Request<Streaming<pb::ReportRequest>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.unwrap();
        let answer = pb::ReportResponse {
            acknowledged: first.first_sequence,
            chain: Default::default(),
        };
        Ok(Response::new(Box::pin(tokio_stream::iter([
            Ok(answer),
            Err(busy(Duration::from_secs(8))),
        ]))))
    }

    async fn look_up_person(
        &self,
        _: Request<pb::LookUpPersonRequest>,
    ) -> Result<Response<pb::LookUpPersonResponse>, Status> {
        Err(Status::unimplemented("nobody asks here"))
    }

    async fn renew(&self, _: Request<pb::RenewRequest>) -> Result<Response<pb::RenewResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

async fn serve() -> SessionServiceClient<Channel> {
    serve_with(Busy).await
}

async fn serve_with(service: impl SessionService) -> SessionServiceClient<Channel> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Endpoint = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let server = Server::builder().add_service(SessionServiceServer::new(service));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    SessionServiceClient::new(address.connect().await.unwrap())
}

const ADDRESS: &str = "c1:7402";

fn opened<In>(answer: Result<Response<Streaming<In>>, Status>) -> Result<Opened<In>, Lost> {
    match answer {
        Ok(answer) => Ok(Opened {
            address: ADDRESS.to_owned(),
            answer,
        }),
        Err(status) => Err(Lost::refused(ADDRESS.to_owned(), status)),
    }
}

#[tokio::test]
async fn a_refused_link_tells_how_long_to_stay_away() {
    let mut client = serve().await;
    let mut link: Link<pb::ConnectRequest, _> =
        Link::open(0, move |queue| async move { opened(client.connect(queue).await) });
    let Heard::Lost(lost) = link.next().await else {
        panic!("it is refused");
    };
    assert_eq!(lost.retry_after, Some(7_000));
    assert_eq!(lost.to_string(), "Unavailable: not leading");
    assert_eq!(lost.unserved.as_deref(), Some(ADDRESS));
    assert!(matches!(link, Link::Down));
}

#[tokio::test]
async fn a_link_that_ends_tells_how_long_to_stay_away_after_what_came_before() {
    let mut client = serve().await;
    let mut link = Link::open(0, move |queue: ReceiverStream<pb::ReportRequest>| async move {
        // The answer comes after the first request only, as the controller of this test wants it.
        let requests = tokio_stream::StreamExt::chain(tokio_stream::iter([request(5)]), queue);
        opened(client.report(requests).await)
    });
    assert!(matches!(link.next().await, Heard::Connected));
    link.send(|| request(6));
    let Heard::Message(pb::ReportResponse { acknowledged, .. }) = link.next().await else {
        panic!("an answer comes first");
    };
    assert_eq!(acknowledged, 5);
    let Heard::Lost(lost) = link.next().await else {
        panic!("then it ends");
    };
    assert_eq!((lost.retry_after, lost.unserved), (Some(8_000), None));
    assert!(matches!(link, Link::Down));
    // Down, it takes nothing and makes no message.
    link.send(|| panic!("nobody would send it"));
}

fn request(first_sequence: u64) -> pb::ReportRequest {
    pb::ReportRequest {
        machine: Default::default(),
        anew: false,
        first_sequence,
        transitions: Vec::new(),
        head: None,
        chain_before: Default::default(),
    }
}

#[test]
fn who_cannot_write_is_left_and_who_says_anything_else_is_not() {
    let status = |code, reason: &str| {
        let details = ErrorDetails::with_error_info(reason, "verger", [] as [(String, String); 0]);
        Status::with_error_details(code, "away", details)
    };
    for (status, is_left) in [
        (status(Code::Unavailable, "CANNOT_WRITE"), true),
        (status(Code::Unavailable, "NOT_LEADING"), false),
        (status(Code::PermissionDenied, "CANNOT_WRITE"), false),
        (Status::unavailable("away"), false),
    ] {
        let lost = Lost::ended(ADDRESS.to_owned(), status);
        assert_eq!(lost.unserved.is_some(), is_left, "{lost}");
    }
}

/// A controller whose only message says this much of nothing.
struct Long(usize);

#[tonic::async_trait]
impl SessionService for Long {
    type ConnectStream = Answers<pb::ConnectResponse>;
    type ReportStream = Answers<pb::ReportResponse>;

    async fn connect(
        &self,
        _: Request<Streaming<pb::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let update = pb::SetUpdate {
            trust_roots: vec![verger_proto::policy::v1::Envelope {
                json: vec![0; self.0].into(),
            }],
            ..Default::default()
        };
        let message = pb::ConnectResponse {
            nonce: 1,
            message: Some(pb::connect_response::Message::Set(update)),
        };
        Ok(Response::new(Box::pin(tokio_stream::iter([Ok(message)]))))
    }

    async fn report(
        &self,
        _: Request<Streaming<pb::ReportRequest>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        // What a controller says of its own troubles is not about a message.
        Err(Status::internal("the state machine answered another command"))
    }

    async fn look_up_person(
        &self,
        _: Request<pb::LookUpPersonRequest>,
    ) -> Result<Response<pb::LookUpPersonResponse>, Status> {
        Err(Status::unimplemented("nobody asks here"))
    }

    async fn renew(&self, _: Request<pb::RenewRequest>) -> Result<Response<pb::RenewResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_told_apart_from_a_lost_link() {
    const LIMIT: usize = 64 << 10;
    for (bytes, fits) in [(LIMIT / 2, true), (2 * LIMIT, false)] {
        let mut client = serve_with(Long(bytes)).await.max_decoding_message_size(LIMIT);
        let mut link: Link<pb::ConnectRequest, _> =
            Link::open(0, move |queue| async move { opened(client.connect(queue).await) });
        assert!(matches!(link.next().await, Heard::Connected));
        match link.next().await {
            Heard::Message(_) => assert!(fits),
            Heard::Lost(lost) => assert!(!fits && lost.unreadable, "{lost}"),
            Heard::Connected => panic!("it was"),
        }
    }
    let mut client = serve_with(Long(0)).await;
    let mut link: Link<pb::ReportRequest, _> =
        Link::open(0, move |queue| async move { opened(client.report(queue).await) });
    assert!(matches!(link.next().await, Heard::Lost(lost) if !lost.unreadable));
}

#[test]
fn bytes_that_are_no_message_are_told_apart_too() {
    use prost::Message as _;
    let error = pb::ConnectResponse::decode(&b"\xff\xff"[..]).unwrap_err();
    assert!(is_unreadable(&Status::internal(error.to_string())), "{error}");
}

/// A controller that hears everything and says nothing.
struct Ear(mpsc::Sender<u64>);

#[tonic::async_trait]
impl SessionService for Ear {
    type ConnectStream = Answers<pb::ConnectResponse>;
    type ReportStream = Answers<pb::ReportResponse>;

    async fn connect(
        &self,
        _: Request<Streaming<pb::ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn report(
        &self,
        request: Request<Streaming<pb::ReportRequest>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let (mut requests, heard) = (request.into_inner(), self.0.clone());
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                heard.send(request.first_sequence).await.unwrap();
            }
        });
        Ok(Response::new(Box::pin(tokio_stream::pending())))
    }

    async fn look_up_person(
        &self,
        _: Request<pb::LookUpPersonRequest>,
    ) -> Result<Response<pb::LookUpPersonResponse>, Status> {
        Err(Status::unimplemented("nobody asks here"))
    }

    async fn renew(&self, _: Request<pb::RenewRequest>) -> Result<Response<pb::RenewResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

#[tokio::test]
async fn what_was_said_last_arrives_when_the_link_is_left() {
    let (hear, mut heard) = mpsc::channel(16);
    let mut client = serve_with(Ear(hear)).await;
    let mut link: Link<_, pb::ReportResponse> =
        Link::open(0, move |queue| async move { opened(client.report(queue).await) });
    assert!(matches!(link.next().await, Heard::Connected));
    for number in 1..=9 {
        link.send(|| request(number));
    }
    let left = link.leave();
    assert!(left.is_some() && matches!(link, Link::Down));
    for number in 1..=9 {
        assert_eq!(heard.recv().await, Some(number));
    }
}
