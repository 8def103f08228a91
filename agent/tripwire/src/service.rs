//! Speaking with the daemon: HTTP/1.1 over a unix socket, two questions for each of its own requests.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use crate::judgement::{Stray, judge};
use crate::mark::Mark;
use crate::strays::Strays;

/// The most bytes of a question. The daemon tells of bodies up to 1 MiB, in base64.
const QUESTION_BYTES: usize = 4 << 20;

/// What the tripwire answers by.
#[derive(Debug)]
pub struct Tripwire {
    mark: Mark,
    strays: Mutex<Strays>,
    remedy: String,
}

impl Tripwire {
    /// Lets through what bears the mark, and keeps what does not in the record. `proxy` is the socket people are sent to.
    pub fn new(mark: Mark, strays: Strays, proxy: &Path) -> Self {
        let remedy = format!(
            "verger: this did not come by the runtime proxy, so nobody can say who asks; use unix://{}",
            proxy.display()
        );
        Self {
            mark,
            strays: Mutex::new(strays),
            remedy,
        }
    }

    fn answer(&self, path: &str, document: &[u8]) -> Option<Value> {
        match path {
            "/Plugin.Activate" => Some(json!({"Implements": ["authz"]})),
            "/AuthZPlugin.AuthZReq" => Some(match judge(document, &self.mark) {
                Ok(()) => json!({"Allow": true}),
                Err(stray) => {
                    self.note(stray);
                    json!({"Allow": false, "Msg": self.remedy})
                }
            }),
            // What was let in may answer.
            "/AuthZPlugin.AuthZRes" => Some(json!({"Allow": true})),
            _ => None,
        }
    }

    fn note(&self, stray: Stray) {
        tracing::warn!(
            method = stray.method,
            path = stray.path,
            user = stray.user,
            "a request did not come by the proxy, and is denied"
        );
        self.strays().note(stray, Timestamp::now());
    }

    fn strays(&self) -> std::sync::MutexGuard<'_, Strays> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is new in the record.
    pub fn keep(&self) {
        if let Err(error) = self.strays().keep() {
            tracing::error!(%error, "the record of strays was not kept; trying again");
        }
    }

    async fn serve(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let document = match path {
            // Longer than anything the daemon says of a request: not understood, and so denied.
            "/AuthZPlugin.AuthZReq" => match Limited::new(body, QUESTION_BYTES).collect().await {
                Ok(whole) => whole.to_bytes(),
                Err(_) => Bytes::new(),
            },
            // What the daemon answered is of no interest, and may be long: it is taken in, and not kept.
            _ => {
                let mut body = body;
                while let Some(Ok(_)) = body.frame().await {}
                Bytes::new()
            }
        };
        let (status, body) = match self.answer(path, &document) {
            Some(answer) => (StatusCode::OK, answer.to_string()),
            None => (StatusCode::NOT_FOUND, json!({"Err": "no such call"}).to_string()),
        };
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        let kind = hyper::header::HeaderValue::from_static("application/vnd.docker.plugins.v1.2+json");
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
        response
    }
}

/// Writes the record for ever, once a second where something is new.
pub async fn keep(tripwire: Arc<Tripwire>) -> Infallible {
    let mut every = tokio::time::interval(std::time::Duration::from_secs(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        tripwire.keep();
    }
}

/// Answers on a socket for ever.
pub async fn serve(listener: UnixListener, tripwire: Arc<Tripwire>) -> Infallible {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let tripwire = Arc::clone(&tripwire);
                tokio::spawn(async move {
                    let service =
                        service_fn(|request| async { Ok::<_, Infallible>(tripwire.serve(request).await) });
                    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    if let Err(error) = served.await {
                        tracing::debug!(%error, "a connection of the daemon ended");
                    }
                });
            }
            Err(error) => {
                tracing::error!(%error, "the daemon could not be let in");
                // Out of descriptors, most likely: others give theirs back.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}
