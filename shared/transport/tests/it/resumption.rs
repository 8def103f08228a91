//! No session is resumed: a resumed one would skip the check of the certificates.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use verger_transport::{Identity, KeyPair, SpiffeId};

use crate::cluster::{Cluster, HOUR};
use crate::listener::Listener;

/// A controller that is also known by a host name, for callers that know no SPIFFE names.
fn controller(cluster: &Cluster) -> Identity {
    let key = KeyPair::generate().unwrap();
    let id = SpiffeId {
        cluster: cluster.id.clone(),
        peer: "controller/one".parse().unwrap(),
    };
    let issued = cluster
        .members
        .issue(&key.request().unwrap(), &id, HOUR, &["localhost".to_owned()])
        .unwrap();
    Identity::new(issued.chain, &key)
}

fn chain_and_key(identity: &Identity) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let pem = identity.chain_pem();
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    (
        chain,
        PrivateKeyDer::from_pem_slice(identity.key_pem().as_bytes()).unwrap(),
    )
}

/// A caller of the plain library, that resumes whatever it is let.
fn eager(cluster: &Cluster) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(cluster.members.certificate().to_vec().into()).unwrap();
    let (chain, key) = chain_and_key(&cluster.identity("agent/web-1"));
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Connects and reads the first bytes, with which tickets would have come.
async fn shake(connector: &TlsConnector, address: SocketAddr) -> HandshakeKind {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    stream.read_exact(&mut [0; 9]).await.unwrap();
    stream.get_ref().1.handshake_kind().unwrap()
}

#[tokio::test]
async fn a_caller_that_would_resume_has_to_show_its_certificate_again() {
    let cluster = Cluster::new('a');
    let server = cluster.server(&controller(&cluster));
    let (mutual, enrolment) = (
        Listener::mutual(&server).await,
        Listener::enrolment(&server).await,
    );
    for listener in [mutual, enrolment] {
        let caller = eager(&cluster);
        for _ in 0..3 {
            assert_eq!(shake(&caller, listener.address).await, HandshakeKind::Full);
        }
    }
}

#[tokio::test]
async fn the_same_caller_resumes_with_a_listener_of_the_plain_library() {
    let cluster = Cluster::new('a');
    let (chain, key) = chain_and_key(&controller(&cluster));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = acceptor.accept(stream).await.unwrap();
            stream.write_all(&[0; 9]).await.unwrap();
            stream.flush().await.unwrap();
            // Open until the caller leaves.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    let caller = eager(&cluster);
    assert_eq!(shake(&caller, address).await, HandshakeKind::Full);
    assert_eq!(shake(&caller, address).await, HandshakeKind::Resumed);
}
