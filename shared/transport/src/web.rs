//! Calling web servers, such as an identity provider: by the host names in their certificates, and by public authorities, or
//! those of a file. Members, agents and people are never reached this way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The longest file of authorities that is read, bytes. Debian's is 220 KiB.
const FILE_BYTES: u64 = 4 << 20;

/// Why a file of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebRootsError {
    /// It cannot be read.
    #[error("{0:?} cannot be read")]
    Read(PathBuf, #[source] std::io::Error),
    /// It holds none.
    #[error("{0:?} holds no certificate of an authority: name a PEM file of them")]
    Empty(PathBuf),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// Whom web servers are believed by.
#[derive(Clone)]
pub struct WebRoots(Arc<ClientConfig>);

impl WebRoots {
    /// Reads a PEM file of authorities. What in it is no certificate that can be used is left out.
    ///
    /// # Errors
    /// When the file cannot be read, or nothing in it can be used.
    pub fn load(file: &Path) -> Result<Self, WebRootsError> {
        let read = |error| WebRootsError::Read(file.to_owned(), error);
        let size = std::fs::metadata(file).map_err(read)?.len();
        if size > FILE_BYTES {
            return Err(read(std::io::Error::other(format!(
                "it has {size} bytes, and {FILE_BYTES} are the most"
            ))));
        }
        let pem = std::fs::read(file).map_err(read)?;
        let found = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok);
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(found);
        if usable == 0 {
            return Err(WebRootsError::Empty(file.to_owned()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// Makes a connection to this host a private one.
    ///
    /// # Errors
    /// When the name is none, or the server is not who it should be.
    pub async fn secure(&self, host: &str, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(std::io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.0))
            .connect(name, stream)
            .await
    }
}
