//! What a listener answers to bytes that are no TLS 1.3.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, peer};
use crate::listener::Listener;

/// Record types and messages of RFC 8446.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const PROTOCOL_VERSION: u8 = 70;
const FATAL: u8 = 2;

/// Puts the length, in so many bytes, in front.
fn sized(bytes: usize, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    [&length[length.len() - bytes..], content].concat()
}

fn extension(number: u16, content: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], &sized(2, content)].concat()
}

/// A ClientHello (RFC 8446, 4.1.2), with or without what makes it one of TLS 1.3.
fn client_hello(thirteen: bool) -> Vec<u8> {
    let suites: &[u8] = &[0x13, 0x01, 0xc0, 0x2b, 0xc0, 0x2f];
    let mut extensions = [
        extension(10, &sized(2, &[0x00, 0x1d, 0x00, 0x17])), // supported_groups: x25519, secp256r1
        extension(11, &sized(1, &[0])),                      // ec_point_formats
        extension(13, &sized(2, &[0x04, 0x03, 0x08, 0x04])), // signature_algorithms
        extension(16, &sized(2, &sized(1, b"h2"))),          // ALPN
        extension(23, &[]),                                  // extended_master_secret
    ]
    .concat();
    if thirteen {
        let share = [&[0x00, 0x1d][..], &sized(2, &[9; 32])].concat();
        extensions.extend(extension(43, &sized(1, &[0x03, 0x04]))); // supported_versions
        extensions.extend(extension(51, &sized(2, &share))); // key_share
    }
    let hello = [
        &[0x03, 0x03][..],
        &[5; 32], // random
        &sized(1, &[6; 32]),
        &sized(2, suites),
        &sized(1, &[0]),
        &sized(2, &extensions),
    ]
    .concat();
    let message = [&[CLIENT_HELLO][..], &sized(3, &hello)].concat();
    [&[HANDSHAKE, 0x03, 0x01][..], &sized(2, &message)].concat()
}

/// Sends these bytes and gives what comes back: up to `most` bytes, fewer if the listener hangs up.
async fn answer(address: SocketAddr, bytes: &[u8], most: u64) -> Vec<u8> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut back = Vec::new();
        // A reset is a way to hang up too.
        let _ = stream.take(most).read_to_end(&mut back).await;
        back
    };
    tokio::time::timeout(Duration::from_secs(20), exchange)
        .await
        .expect("the listener answers or hangs up")
}

#[tokio::test]
async fn tls_1_2_is_refused_on_both_listeners() {
    let cluster = Cluster::new('a');
    let server = cluster.server(&cluster.identity("controller/one"));
    for mutual in [true, false] {
        let mut listener = if mutual {
            Listener::mutual(&server).await
        } else {
            Listener::enrolment(&server).await
        };
        let refused = answer(listener.address, &client_hello(false), 64).await;
        assert_eq!(refused, [ALERT, 0x03, 0x03, 0, 2, FATAL, PROTOCOL_VERSION]);
        listener.says("peer is incompatible", "").await;

        let accepted = answer(listener.address, &client_hello(true), 6).await;
        assert_eq!((accepted[0], accepted[5]), (HANDSHAKE, SERVER_HELLO));
    }
}

#[tokio::test]
async fn plaintext_is_refused_and_the_listener_goes_on() {
    let cluster = Cluster::new('a');
    let mut listener = Listener::mutual(&cluster.server(&cluster.identity("controller/one"))).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for bytes in [
        &preface[..],
        b"GET / HTTP/1.1\r\nHost: verger\r\n\r\n",
        &[0; 64],
        &[0xff; 64],
    ] {
        let back = answer(listener.address, bytes, 64).await;
        // At most a TLS alert: nothing of HTTP, and nothing about the controller.
        assert!(
            back.is_empty() || (back[0] == ALERT && back.len() == 7),
            "{back:?}"
        );
        listener.says("corrupt message", &format!("{bytes:?}")).await;
    }
    let client = cluster.client(&cluster.identity("agent/web-1"));
    assert_eq!(listener.accepts(&client).await, Some(peer("agent/web-1")));
}
