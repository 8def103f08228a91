//! How members, agents and people reach each other: TLS 1.3, mutual, with SPIFFE names; and what every binary needs beside it.
//!
//! There is no plaintext mode, not even for tests. The crate knows no policy and no message.

mod acceptor;
mod admission;
mod authority;
mod certificate;
pub mod config_file;
mod connect;
pub mod files;
#[cfg(test)]
mod fuzz;
mod identity;
mod join;
mod pem;
mod people;
mod spiffe_id;
pub mod telemetry;
mod tls;
mod token;
mod unix_socket;
mod web;

pub use acceptor::{
    Accepted, PeerInfo, accept, accept_enrolments, accept_known, accept_members, certificate_of, peer_info,
};
pub use authority::{Authority, AuthorityError, Issued, Purpose, spki_pin};
pub use certificate::{PeerCertificate, RENEWAL_GRACE};
pub use connect::{ConnectError, Connector, channel, channel_from, is_address};
pub use identity::{Identity, IdentityError, KeyPair};
pub use join::{InvalidJoinCommand, JoinCommand, MemberJoin};
pub use pem::{certificate_pem, certificates};
pub use people::PeopleDoor;
pub use spiffe_id::{InvalidPeer, Label, Peer, SpiffeId};
pub use tls::{Client, Own, Server, TlsError, install_crypto_provider};
pub use token::{InvalidToken, JoinToken};
pub use unix_socket::listen_at;
pub use web::{WebRoots, WebRootsError};
