#![allow(clippy::unwrap_used)]

use super::*;
use crate::keys::PublicKey;

const SSH_ED25519: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILt0u+O+2cpVssxNoBzAnym56TZiR9Q6qD46LtbYzEyX ann@host";
const SSH_P256: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGhN37FZgSA+oCThIYu0QGTQ3BH3/HX9ZT/9pq/mWT9S9eUqqbwrpNs/5Caz7L7LOHLideCkQfX56DQywcbAFzU=";
const SSH_SK_ED25519: &str = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAINSoElFleH+nN83FoLqqepJjN+y7Gs5lrn7qXjBqQZyuAAAABHNzaDo=";

fn ssh(text: &str) -> SshKey {
    let wire = text.parse::<PublicKey>().unwrap().ssh_wire().unwrap();
    SshKey::from_wire(&wire).unwrap()
}

#[test]
fn keys_that_do_not_seal_are_refused_with_their_reason() {
    let cases = [
        ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDaK+tT", InvalidKey::Rsa),
        ("ssh-dss AAAAB3NzaC1kc3MAAACBALh0", InvalidKey::Dsa),
        (
            "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29t",
            InvalidKey::Certificate,
        ),
        (
            "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBPeaoyYJma0ikisv/5751BE6jS3vaF7YqEg/EBPMUWPrZ+J9Urk2scnUJkpAw6VQG8Rp1//XUwkWwEo7Rqs7AsdKEEW2ISD16b/04NbgXtqgUUsMlBX9UShGv45rONjXzw==",
            InvalidKey::Curve,
        ),
        ("ssh-xmss@openssh.com AAAA", InvalidKey::Kind),
        // The kind in front is not that inside.
        (
            "ecdsa-sha2-nistp256 AAAAC3NzaC1lZDI1NTE5AAAAILt0u+O+2cpVssxNoBzAnym56TZiR9Q6qD46LtbYzEyX",
            InvalidKey::Malformed,
        ),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", InvalidKey::Malformed),
        ("ssh-ed25519 ?", InvalidKey::Malformed),
        (
            "ed25519 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
            InvalidKey::Public,
        ),
        ("", InvalidKey::Public),
    ];
    for (text, wanted) in cases {
        let error = text.parse::<PublicKey>().unwrap_err();
        assert_eq!(error, wanted, "{text}");
        assert!(!error.reason().is_empty());
    }
    assert_eq!(
        format!("{SSH_ED25519}\n{SSH_ED25519}").parse::<PublicKey>(),
        Err(InvalidKey::Public),
        "one key only"
    );
}

#[test]
fn keys_on_the_wire_have_one_spelling() {
    for text in [SSH_ED25519, SSH_P256, SSH_SK_ED25519] {
        let key: PublicKey = text.parse().unwrap();
        assert!(text.starts_with(&key.to_string()));
        assert_eq!(key.to_string().parse(), Ok(key));
        let wire = key.ssh_wire().unwrap();
        assert_eq!(PublicKey::from_ssh_wire(&wire), Ok(key));
        let mut longer = wire.clone();
        longer.push(0);
        assert_eq!(PublicKey::from_ssh_wire(&longer), Err(InvalidKey::Malformed));
        for cut in 0..wire.len() {
            assert!(PublicKey::from_ssh_wire(&wire[..cut]).is_err(), "{text} {cut}");
        }
    }
    // A point that is compressed, off the curve, or weak.
    let wire = |kind: &str, parts: &[&[u8]]| {
        let mut out = Vec::new();
        put_string(&mut out, kind.as_bytes());
        for part in parts {
            put_string(&mut out, part);
        }
        PublicKey::from_ssh_wire(&out)
    };
    let Material::P256(point) = ssh(SSH_P256).material else {
        panic!("a P-256 key")
    };
    let mut compressed = [0; 33];
    compressed.copy_from_slice(&point[..33]);
    compressed[0] = 2 + (point[64] & 1);
    let mut off = point;
    off[64] ^= 1;
    let kind = "ecdsa-sha2-nistp256";
    wire(kind, &[b"nistp256", &point]).unwrap();
    for refused in [
        wire(kind, &[b"nistp256", &compressed]),
        wire(kind, &[b"nistp256", &off]),
        wire(kind, &[b"nistp256", &[0]]),
        wire(kind, &[b"nistp384", &point]),
        wire("ssh-ed25519", &[&[0; 32]]),
        wire("ssh-ed25519", &[&[1; 31]]),
    ] {
        assert_eq!(refused, Err(InvalidKey::Malformed));
    }
    // A FIDO key that was made for a web site signs what the site asks for.
    let Material::Ed25519(point) = ssh(SSH_ED25519).material else {
        panic!("an Ed25519 key")
    };
    let kind = "sk-ssh-ed25519@openssh.com";
    let long = format!("ssh:{}", "a".repeat(61));
    wire(kind, &[&point, &long.as_bytes()[..64]]).unwrap();
    for application in [
        "",
        "ssh",
        "example.org",
        "https://ssh:",
        "ssh:\u{e9}",
        "ssh: a",
        &long,
    ] {
        assert_eq!(
            wire(kind, &[&point, application.as_bytes()]),
            Err(InvalidKey::Application),
            "{application}"
        );
    }
}

#[test]
fn ids_of_ssh_keys_are_what_ssh_keygen_prints() {
    let key: PublicKey = SSH_ED25519.parse().unwrap();
    assert_eq!(key.id(), "SHA256:QSjv+yJP3+TXK/ZGh5YRNrMlWvkgj727OtpCyhJwmNg");
}
