//! Fuzz targets: names, tokens, certificates, keys and files, from callers and from disk.

#![allow(clippy::unwrap_used)]

use std::fmt::{Debug, Display};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use bolero::check;
use serde::Deserialize;
use verger_fuzz::Damaged;

use crate::certificate::spiffe_id;
use crate::{
    Authority, Identity, JoinCommand, JoinToken, KeyPair, Label, Peer, Purpose, SpiffeId, config_file, files,
    spki_pin,
};

/// A message that a terminal shows as it is, and that is not longer for longer bytes.
#[track_caller]
fn assert_shown(message: &str) {
    let obeyed = |c: char| {
        c.is_control()
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}'..='\u{2029}')
    };
    assert!(!message.contains(obeyed), "{message:?}");
    assert!(message.len() < 4 << 10, "{} bytes: {message:.200}", message.len());
}

fn cluster() -> String {
    "ab".repeat(32)
}

fn id() -> SpiffeId {
    SpiffeId {
        cluster: cluster(),
        peer: "agent/edge-1".parse().unwrap(),
    }
}

fn authority() -> (tempfile::TempDir, Authority) {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::create(dir.path(), Purpose::Agents, &cluster()).unwrap();
    (dir, authority)
}

/// A request and the identity it was answered with.
fn issued() -> (Authority, Vec<u8>, Identity) {
    let (_dir, authority) = authority();
    let key = KeyPair::generate().unwrap();
    let request = key.request().unwrap();
    let issued = authority
        .issue(&request, &id(), Duration::from_secs(60), &[])
        .unwrap();
    (authority, request, Identity::new(issued.chain, &key))
}

fn parse<T: FromStr<Err: Display> + Display + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string(), text),
        Err(error) => assert_shown(&error.to_string()),
    }
}

#[test]
fn hostile_peers_are_refused_or_written_back_the_same() {
    let seeds = [
        id().to_string(),
        id().peer.to_string(),
        "controller/c1".to_owned(),
        "edge-1.eu".to_owned(),
    ];
    check!()
        .with_generator(Damaged::bytes(seeds))
        .with_iterations(20_000)
        .for_each(|input| {
            let text = input.text();
            parse::<SpiffeId>(&text);
            parse::<Peer>(&text);
            parse::<Label>(&text);
        });
}

#[test]
fn hostile_join_commands_are_refused_or_reveal_their_token_alone() {
    let token = JoinToken::from_random([7; 40]);
    let pin = format!("sha256:{}", cluster());
    check!()
        .with_generator((
            Damaged::bytes([token.reveal().as_bytes()]),
            Damaged::bytes([cluster()]),
            Damaged::bytes([pin.as_bytes()]),
        ))
        .with_iterations(10_000)
        .for_each(|(token, cluster, pin)| {
            let (token, cluster, pin) = (token.text(), cluster.text(), pin.text());
            match token.parse::<JoinToken>() {
                Ok(read) => {
                    assert_eq!(read.reveal().as_str(), token);
                    let secret = token.split_once('.').unwrap().1;
                    assert!(!format!("{read:?}").contains(secret));
                }
                Err(error) => assert_shown(&error.to_string()),
            }
            match JoinCommand::check("a:1", "a:2", &cluster, &pin, "edge-1", &token) {
                Ok(command) => {
                    assert_eq!((cluster.len(), pin.len()), (64, 71));
                    assert!(command.reveal().ends_with(&token) && !command.to_string().contains(&token));
                }
                Err(error) => assert_shown(&error.to_string()),
            }
        });
}

/// Whether the outermost value is a whole sequence (X.690, 8.1.3).
fn is_der(bytes: &[u8]) -> bool {
    match bytes {
        [0x30, 0x81, length, rest @ ..] => rest.len() == usize::from(*length),
        [0x30, 0x82, high, low, rest @ ..] => rest.len() == usize::from(u16::from_be_bytes([*high, *low])),
        _ => false,
    }
}

#[test]
fn hostile_certificates_name_nobody_or_one_peer() {
    let (authority, _, identity) = issued();
    let leaf = rustls_pki_types::pem::PemObject::from_pem_slice(identity.chain_pem().as_bytes());
    let leaf: rustls_pki_types::CertificateDer<'static> = leaf.unwrap();
    assert_eq!(spiffe_id(&leaf), Some(id()));
    check!()
        .with_generator(Damaged::bytes([&*leaf, authority.certificate()]).framed(is_der))
        .with_iterations(5_000)
        .for_each(|bytes| {
            if let Some(found) = spiffe_id(bytes) {
                assert_eq!(found.to_string().parse(), Ok(found));
            }
            if let Some(pin) = spki_pin(bytes) {
                assert_eq!(pin.len(), 71);
            }
        });
}

#[test]
fn hostile_requests_are_refused_or_get_the_name_they_were_given() {
    let (authority, request, _) = issued();
    let authority = AssertUnwindSafe(authority);
    let key = Authority::key_digest(&request).unwrap();
    check!()
        .with_generator(Damaged::bytes([&request]).framed(is_der))
        .with_iterations(1_000)
        .for_each(|bytes| match Authority::key_digest(bytes) {
            Ok(digest) => {
                // Whoever has not the key cannot make a request of another.
                assert_eq!(digest, key);
                let issued = authority
                    .issue(bytes, &id(), Duration::from_secs(60), &[])
                    .unwrap();
                assert_eq!(spiffe_id(&issued.chain[0]), Some(id()));
            }
            Err(error) => {
                assert_shown(&error.to_string());
                assert!(
                    authority
                        .issue(bytes, &id(), Duration::from_secs(60), &[])
                        .is_err()
                );
            }
        });
}

#[test]
fn hostile_identity_files_are_refused_or_read_back_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (_, _, identity) = issued();
    let text = format!("{}{}", identity.chain_pem(), identity.key_pem());
    let (file, copy) = (dir.path().join("identity.pem"), dir.path().join("copy.pem"));
    check!()
        .with_generator(Damaged::lines([text.as_bytes()]))
        .with_iterations(400)
        .for_each(|bytes| {
            fs::write(&file, &**bytes).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            let identity = match Identity::load(&file) {
                Ok(identity) => identity,
                Err(error) => return assert_shown(&error.to_string()),
            };
            if let Err(error) = identity.not_after() {
                assert_shown(&error.to_string());
            }
            let usable = identity
                .certified()
                .map_err(|error| assert_shown(&error.to_string()))
                .is_ok();
            match identity.key() {
                Ok(key) => {
                    let clean = Identity::from_pem(&identity.chain_pem(), &key.to_pem()).unwrap();
                    clean.save(&copy).unwrap();
                    let again = Identity::load(&copy).unwrap();
                    assert_eq!(again.chain_pem(), identity.chain_pem());
                    assert!(!usable || again.certified().is_ok());
                }
                Err(error) => assert_shown(&error.to_string()),
            }
        });
}

#[test]
fn hostile_files_of_an_authority_are_refused_or_hold_one() {
    let (dir, authority) = authority();
    let file = dir.path().join("ca-agents.pem");
    let text = files::read(&file).unwrap();
    let request = KeyPair::generate().unwrap().request().unwrap();
    check!()
        .with_generator(Damaged::lines([text.as_slice()]))
        .with_iterations(500)
        .for_each(|bytes| {
            fs::write(&file, &**bytes).unwrap();
            match Authority::load(dir.path(), Purpose::Agents) {
                Ok(read) => {
                    let issued = read.issue(&request, &id(), Duration::from_secs(60), &[]).unwrap();
                    assert_eq!(spiffe_id(&issued.chain[0]), Some(id()));
                    assert_eq!(issued.chain[1], read.certificate());
                }
                Err(error) => assert_shown(&error.to_string().replace(&dir.path().display().to_string(), "")),
            }
        });
    drop(authority);
}

/// What the configuration files of agents and controllers are made of.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    data_dir: std::path::PathBuf,
    listen: Option<std::net::SocketAddr>,
    #[serde(default)]
    oci_roots: Vec<std::path::PathBuf>,
    scan_seconds: Option<u64>,
    #[serde(default)]
    log: crate::telemetry::LogFormat,
}

#[test]
fn hostile_configuration_files_are_refused_at_their_line() {
    let seeds = [
        "# of a host\ndata_dir = \"/var/lib/verger/agent\"\nlog = \"json\"\noci_roots = [\"/run/a\", '/run/b']\nscan_seconds = 4\n",
        "data_dir = \"/d\"\nlisten = \"0.0.0.0:7400\"\n[table]\nkey = 1979-05-27T07:32:00Z\n",
    ];
    check!()
        .with_generator(Damaged::lines(seeds))
        .with_iterations(4_000)
        .for_each(|input| {
            let text = input.text();
            match config_file::parse::<Config>(Path::new("c.toml"), &text) {
                Ok(config) => assert!(text.contains("data_dir") || !config.data_dir.as_os_str().is_empty()),
                Err(error) => {
                    assert_shown(&error.to_string());
                    let config_file::ConfigError::Content { line, column, .. } = error else {
                        panic!("{error}")
                    };
                    let place = text.split('\n').nth(line - 1).unwrap();
                    assert!(column <= place.chars().count() + 1, "{line}:{column}");
                }
            }
        });
}
