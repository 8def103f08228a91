//! Web servers are known by their names, and by the authorities of a file.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use verger_transport::{WebRoots, WebRootsError};

/// A server's certificate, as a file of authorities, and what it serves with.
fn server(folder: &tempfile::TempDir, file: &str) -> (PathBuf, TlsAcceptor) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let file = folder.path().join(file);
    std::fs::write(&file, certificate.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (file, TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn a_web_server_must_have_its_name_from_an_authority_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (known, acceptor) = server(&folder, "known.pem");
    let (unknown, _) = server(&folder, "unknown.pem");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Who does not like the certificate hangs up.
            let _ = acceptor.accept(stream).await;
        }
    });
    for (file, name, good) in [
        (&known, "localhost", true),
        (&known, "id.example.org", false),
        (&known, "", false),
        (&unknown, "localhost", false),
        (&known, "localhost", true),
    ] {
        let roots = WebRoots::load(file).unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(
            roots.secure(name, stream).await.is_ok(),
            good,
            "{name} by {file:?}"
        );
    }
    serving.abort();
}

#[test]
fn a_file_without_an_authority_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    assert!(matches!(WebRoots::load(&file), Err(WebRootsError::Read(..))));
    for text in [
        "",
        "no certificate",
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
    ] {
        std::fs::write(&file, text).unwrap();
        assert!(
            matches!(WebRoots::load(&file), Err(WebRootsError::Empty(_))),
            "{text}"
        );
    }
    // One that cannot be read among others leaves the others.
    let (good, _) = server(&folder, "good.pem");
    let mut both = std::fs::read_to_string(&file).unwrap();
    both.push_str(&std::fs::read_to_string(good).unwrap());
    std::fs::write(&file, both).unwrap();
    WebRoots::load(&file).map(drop).unwrap();
}
