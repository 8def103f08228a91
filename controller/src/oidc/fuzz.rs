//! Fuzz targets: what a provider, or who is between, may answer.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use bolero::check;
use openidconnect::core::CoreProviderMetadata;
use openidconnect::http::{Request, Response};
use openidconnect::{HttpRequest, HttpResponse, IssuerUrl};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::runtime::{Builder, Runtime};
use verger_fuzz::Damaged;
use verger_policy::model::printable;

use super::web::{ANSWER_BYTES, WebError, exchange};
use super::{SHOWN, discovery};

const ISSUER: &str = "http://127.0.0.1:8080";

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn request() -> HttpRequest {
    let request = Request::get(format!("{ISSUER}/.well-known/openid-configuration"));
    request.body(Vec::new()).unwrap()
}

#[test]
fn a_hostile_answer_ends_as_a_bounded_body_or_in_words_that_can_be_shown() {
    let seeds = [
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"issuer\":1}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{\"issu\r\n6\r\ner\":1}\r\n0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 Not Found\r\n\r\nnone",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nfar less",
    ];
    let runtime = runtime();
    check!()
        .with_generator(Damaged::bytes(seeds).framed(|bytes| bytes.starts_with(b"HTTP/1.")))
        .with_iterations(2_000)
        .for_each(|bytes| {
            let (ours, mut theirs) = tokio::io::duplex(64 << 10);
            let answer = runtime.block_on(async {
                theirs.write_all(bytes).await.unwrap();
                theirs.shutdown().await.unwrap();
                let asked = request();
                let uri = asked.uri().clone();
                exchange(ours, &uri, "127.0.0.1", asked).await
            });
            match answer {
                Ok(answer) => assert!(answer.body().len() <= ANSWER_BYTES.min(bytes.len())),
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.starts_with("127.0.0.1: "), "{text:?}");
                    assert_eq!(printable(&text), text);
                }
            }
        });
}

#[test]
fn hostile_metadata_and_keys_are_those_of_the_issuer_or_are_refused_in_words_that_can_be_shown() {
    let metadata = json!({
        "issuer": ISSUER,
        "authorization_endpoint": format!("{ISSUER}/authorize"),
        "token_endpoint": format!("{ISSUER}/token"),
        "jwks_uri": format!("{ISSUER}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA", "RS256"],
    });
    let keys = json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "kid": "a", "use": "sig", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" },
        { "kty": "RSA", "kid": "b", "alg": "RS256", "n": "0vx7agoebGcQ", "e": "AQAB" },
    ]});
    let runtime = runtime();
    check!()
        .with_generator((
            Damaged::json([metadata.to_string()]),
            Damaged::json([keys.to_string()]),
        ))
        .with_iterations(2_000)
        .for_each(|(metadata, keys)| {
            let asked = AtomicUsize::new(0);
            let client = |_: HttpRequest| {
                let bytes = match asked.fetch_add(1, Ordering::Relaxed) {
                    0 => metadata.to_vec(),
                    _ => keys.to_vec(),
                };
                let answer = Response::builder().header("content-type", "application/json");
                let answer: HttpResponse = answer.body(bytes).unwrap();
                std::future::ready(Ok::<_, WebError>(answer))
            };
            let issuer = IssuerUrl::new(ISSUER.to_owned()).unwrap();
            match runtime.block_on(CoreProviderMetadata::discover_async(issuer, &client)) {
                Ok(found) => assert_eq!(found.issuer().as_str(), ISSUER),
                Err(error) => {
                    let text = discovery(&error);
                    assert_eq!(printable(&text), text);
                    assert!(text.chars().count() <= 10 * SHOWN, "{text:?}");
                }
            }
        });
}
