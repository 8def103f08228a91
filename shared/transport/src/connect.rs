//! Calling controllers.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use crate::tls::Client;

/// A connection that is not made within this is given up.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A silent connection is asked this often whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Why no controller could be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No address was given.
    #[error("no controller address is given")]
    NoAddress,
    /// An address is none.
    #[error("`{0}` is not an address; write HOST:PORT")]
    Address(String),
    /// None answered; the last one's error.
    #[error("no controller can be reached at {addresses}: {last}")]
    Unreachable {
        /// The addresses tried.
        addresses: String,
        /// What the last one said.
        last: String,
    },
}

/// The longest address, bytes: a name of DNS in brackets, and a port.
const ADDRESS_BYTES: usize = 262;

/// Whether a text is `HOST:PORT` as it can be called, and no more: it may come from others, and go into a file or a command line.
pub fn is_address(text: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-' | b'_' | b'[' | b']');
    let is_called = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
    is_called && text.len() <= ADDRESS_BYTES && !text.starts_with('-') && text.bytes().all(plain)
}

/// Connects one address, with TLS.
#[derive(Clone)]
pub struct Connector {
    client: Arc<Client>,
    /// The address of this machine to call from; any where there is none.
    from: Option<IpAddr>,
    /// Whether it calls from no other, also where the host has no address of that kind.
    is_strict: bool,
}

impl Connector {
    /// Connects whatever address it is given, as this client; from this address of the machine, where it is of the same kind.
    pub const fn new(client: Arc<Client>, from: Option<IpAddr>) -> Self {
        Self {
            client,
            from,
            is_strict: false,
        }
    }
}

async fn connect(host: &str, port: u16, from: Option<IpAddr>, is_strict: bool) -> io::Result<TcpStream> {
    let Some(from) = from else {
        return TcpStream::connect((host, port)).await;
    };
    let mut last = io::Error::other("the host has no address of the kind to call from");
    let found: Vec<_> = lookup_host((host, port)).await?.collect();
    let of_the_kind = || found.iter().copied().filter(|to| to.is_ipv4() == from.is_ipv4());
    if !is_strict && of_the_kind().next().is_none() {
        return TcpStream::connect(found.as_slice()).await;
    }
    for to in of_the_kind() {
        let socket = if from.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        socket.bind((from, 0).into())?;
        match socket.connect(to).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (config, from, is_strict) = (Arc::clone(&self.client.config), self.from, self.is_strict);
        Box::pin(async move {
            let authority = uri
                .authority()
                .ok_or_else(|| io::Error::other("an address without host"))?;
            let stream = connect(
                authority.host(),
                authority.port_u16().unwrap_or(443),
                from,
                is_strict,
            )
            .await?;
            stream.set_nodelay(true)?;
            // Only a label for session resumption: controllers are known by their SPIFFE names.
            let name = ServerName::try_from(authority.host().trim_matches(['[', ']']).to_owned())
                .map_err(io::Error::other)?;
            Ok(TokioIo::new(
                TlsConnector::from(config).connect(name, stream).await?,
            ))
        })
    }
}

/// Connects to the first address that answers.
///
/// # Errors
/// When an address is malformed, or none answers.
pub async fn channel(client: Arc<Client>, addresses: &[String]) -> Result<Channel, ConnectError> {
    channel_from(client, addresses, None).await
}

/// The same, calling from an address of this machine.
///
/// # Errors
/// When an address is malformed, or none answers.
pub async fn channel_from(
    client: Arc<Client>,
    addresses: &[String],
    from: Option<IpAddr>,
) -> Result<Channel, ConnectError> {
    let mut last = None;
    for address in addresses {
        let endpoint = Endpoint::from_shared(format!("https://{address}"))
            .map_err(|_| ConnectError::Address(address.clone()))?
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true);
        match endpoint
            .connect_with_connector(Connector {
                client: Arc::clone(&client),
                from,
                is_strict: true,
            })
            .await
        {
            Ok(channel) => return Ok(channel),
            Err(error) => last = Some(chain(&error)),
        }
    }
    let last = last.ok_or(ConnectError::NoAddress)?;
    Err(ConnectError::Unreachable {
        addresses: addresses.join(", "),
        last,
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::is_address;

    #[test]
    fn an_address_is_a_host_and_a_port_and_nothing_that_a_shell_would_act_on() {
        for text in ["h2:7402", "10.0.0.2:1", "[fd00::2]:7402", "c2.example.org:65535"] {
            assert!(is_address(text), "{text}");
        }
        for text in [
            "",
            "h2",
            ":7402",
            "h2:",
            "h2:0",
            "h2:99999",
            "h 2:1",
            "h2/x:1",
            "user@h2:1",
            "a;rm -rf /:1",
            "$(x):1",
            "-x:1",
        ] {
            assert!(!is_address(text), "{text}");
        }
        assert!(!is_address(&format!("{}:1", "a".repeat(262))));
    }
}
