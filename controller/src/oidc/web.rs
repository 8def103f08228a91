//! Asking a web server: one request, one bounded answer, no redirect.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use openidconnect::http::header::HOST;
use openidconnect::http::{Request, Uri};
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use verger_transport::WebRoots;

/// The largest answer, bytes: of keys, mostly.
pub(super) const ANSWER_BYTES: usize = 1 << 20;
/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Why a server was not asked, or gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    /// It may not be asked.
    #[error(transparent)]
    Address(#[from] NotAllowed),
    /// There is no file of authorities, since the issuer needs none.
    #[error("{0} is https, and the issuer is not")]
    Mixed(String),
    /// The connection.
    #[error("{host}: {what}")]
    Connection {
        /// Which host.
        host: String,
        /// What is wrong.
        what: String,
    },
    /// It takes too long.
    #[error("{0} does not answer within {limit} s", limit = LIMIT.as_secs())]
    Late(String),
}

/// An address that may not be asked: what it says would not be the provider's word.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not https: only this machine itself is asked without")]
pub(super) struct NotAllowed(String);

/// Whether a URL may be asked: by TLS, or on this machine.
///
/// # Errors
/// When it may not.
pub(super) fn allowed(uri: &Uri) -> Result<(), NotAllowed> {
    let host = uri.host().unwrap_or_default();
    let loopback = matches!(host, "127.0.0.1" | "[::1]" | "localhost");
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(()),
        Some("http") if loopback => Ok(()),
        _ => Err(NotAllowed(uri.to_string())),
    }
}

/// Asks.
pub(super) struct Web(Option<WebRoots>);

impl Web {
    /// Servers are believed by these authorities. Without them, only this machine is asked.
    pub(super) const fn new(roots: Option<WebRoots>) -> Self {
        Self(roots)
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, WebError> {
        let uri = request.uri().clone();
        allowed(&uri)?;
        let host = uri.host().unwrap_or_default().to_owned();
        match tokio::time::timeout(LIMIT, self.talk(&uri, &host, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(WebError::Late(host)),
        }
    }

    async fn talk(&self, uri: &Uri, host: &str, request: HttpRequest) -> Result<HttpResponse, WebError> {
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let failed = |error: std::io::Error| WebError::Connection {
            host: host.to_owned(),
            what: error.to_string(),
        };
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port))
            .await
            .map_err(failed)?;
        if !secure {
            return exchange(stream, uri, host, request).await;
        }
        let roots = self.0.as_ref().ok_or_else(|| WebError::Mixed(uri.to_string()))?;
        let stream = roots.secure(host, stream).await.map_err(failed)?;
        exchange(stream, uri, host, request).await
    }
}

pub(super) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uri: &Uri,
    host: &str,
    request: HttpRequest,
) -> Result<HttpResponse, WebError> {
    let failed = |error: &dyn std::fmt::Display| WebError::Connection {
        host: host.to_owned(),
        what: error.to_string(),
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let (mut parts, body) = request.into_parts();
    // A server is named in a header, and asked for the path alone (RFC 9112, 3.2.1).
    parts.uri = uri
        .path_and_query()
        .map_or_else(|| Uri::from_static("/"), |path| Uri::from(path.clone()));
    if let Some(authority) = uri.authority() {
        let name = authority.as_str().parse().map_err(|error| failed(&error))?;
        parts.headers.insert(HOST, name);
    }
    let request = Request::from_parts(parts, Full::new(Bytes::from(body)));
    let answer = async move {
        let (parts, body) = sender
            .send_request(request)
            .await
            .map_err(|error| failed(&error))?
            .into_parts();
        let body = Limited::new(body, ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| failed(&error))?;
        Ok(HttpResponse::from_parts(parts, body.to_bytes().to_vec()))
    };
    // The connection is driven beside the question, and goes with it: nothing is left behind by who gives up.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    let mut open = true;
    loop {
        tokio::select! {
            done = &mut answer => return done,
            _ = &mut connection, if open => open = false,
        }
    }
}

impl<'c> AsyncHttpClient<'c> for Web {
    type Error = WebError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, WebError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_tls_and_this_machine_are_asked() {
        for (url, good) in [
            ("https://id.example.org/realm", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080/x", true),
            ("http://localhost", true),
            ("http://id.example.org", false),
            ("http://127.0.0.1.example.org", false),
            ("http://169.254.169.254/latest", false),
            ("ftp://127.0.0.1", false),
            ("/path", false),
        ] {
            assert_eq!(allowed(&url.parse().unwrap()).is_ok(), good, "{url}");
        }
    }
}
