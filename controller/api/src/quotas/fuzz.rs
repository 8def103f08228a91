//! Fuzz target: what comes as the body of a call.

use std::convert::Infallible;

use bolero::check;
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tonic::codegen::Bytes;
use verger_fuzz::Damaged;

use super::Key;
use super::places::{LARGE, Places, Turn};
use super::reading::{PREFIX, Reading};

/// A message as gRPC frames it.
fn framed(long: usize) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(long).expect("it is short").to_be_bytes());
    bytes.resize(PREFIX + long, 7);
    bytes
}

#[test]
fn bodies_go_on_as_they_came_and_large_ones_from_a_place() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    check!()
        .with_generator((
            Damaged::bytes([framed(0), framed(100), framed(LARGE), framed(LARGE + 1)]),
            1..20_000_usize,
        ))
        .with_iterations(2_000)
        .for_each(|(bytes, piece)| {
            let sent = bytes.to_vec();
            // A long one in pieces of a byte is mostly pieces: they would be what is measured.
            let piece = if sent.len() > 1_000 {
                (*piece).max(100)
            } else {
                *piece
            };
            let frames: Vec<_> = sent
                .chunks(piece)
                .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))))
                .collect();
            let turn = Turn::new(&Places::default(), Key::Others);
            let come = runtime.block_on(async {
                let body = StreamBody::new(stream::iter(frames));
                Reading::new(body, turn.clone()).collect().await
            });
            assert_eq!(come.expect("there is a place").to_bytes(), sent);
            let said = match sent.as_slice() {
                [_, a, b, c, d, ..] => u32::from_be_bytes([*a, *b, *c, *d]),
                _ => 0,
            };
            let is_large = said as usize > LARGE || sent.len() > LARGE + PREFIX;
            assert_eq!(turn.has_place(), is_large);
        });
}
