//! Fuzz targets: key files that a person was given, and what answers in an agent's place.

#![allow(clippy::unwrap_used)]

use bolero::check;
use verger_fuzz::Damaged;

use super::agent::messages::{self, Answer};
use super::{foreign, openssh};

/// The bytes inside a private key file.
fn inside(text: &str) -> Vec<u8> {
    let key = ssh_key::PrivateKey::from_openssh(text).unwrap();
    key.to_bytes().unwrap().to_vec()
}

fn assert_sound(text: &str) {
    foreign(text);
    match openssh::read(text) {
        Ok(openssh::Stored::Open(key)) => {
            assert!(key.public().ssh_wire().is_some() && !key.public().is_hardware());
        }
        Ok(openssh::Stored::Locked(locked)) => assert!(!locked.public().is_hardware()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

#[test]
fn hostile_private_keys_are_refused_or_the_key_that_stands_before_them() {
    let files = openssh::tests::FILES.map(|(file, _)| file);
    let insides = files.map(inside);
    check!()
        .with_generator((Damaged::lines(files), Damaged::bytes(insides)))
        .with_iterations(5_000)
        .for_each(|(file, inside)| {
            assert_sound(&file.text());
            assert_sound(&openssh::tests::armoured(inside));
        });
}

#[test]
fn hostile_answers_of_an_agent_are_read_whole_or_refused() {
    let key = |text: &str| {
        text.parse::<verger_seal::PublicKey>()
            .unwrap()
            .ssh_wire()
            .unwrap()
    };
    let mut keys = vec![12, 0, 0, 0, 2];
    for (_, public) in &openssh::tests::FILES[..2] {
        verger_seal::put_string(&mut keys, &key(public));
        verger_seal::put_string(&mut keys, b"ada@host");
    }
    let mut signature = vec![14];
    verger_seal::put_string(&mut signature, b"\0\0\0\x0bssh-ed25519\0\0\0\x01s");
    let limit = Damaged::bytes([[0, 0, 1, 0]]);
    check!()
        .with_generator((Damaged::bytes([keys, signature, vec![5]]), limit))
        .with_iterations(5_000)
        .for_each(|(bytes, first)| {
            match messages::read(bytes) {
                Ok(Answer::Keys(keys)) => {
                    let most: usize = keys.iter().map(|key| key.len() + 8).sum();
                    assert!(bytes[0] == 12 && most + 5 <= bytes.len());
                    for wire in keys {
                        if let Ok(public) = verger_seal::PublicKey::from_ssh_wire(&wire) {
                            assert_eq!(public.ssh_wire(), Some(wire));
                        }
                    }
                }
                Ok(Answer::Signature(signature)) => assert_eq!(signature.len() + 5, bytes.len()),
                Ok(Answer::Failure) => assert_eq!(bytes[0], 5),
                Err(messages::Unreadable) => {}
            }
            if let Ok(first) = (**first).try_into()
                && let Ok(length) = messages::length(first)
            {
                assert!((1..=256 << 10).contains(&length));
            }
        });
}
