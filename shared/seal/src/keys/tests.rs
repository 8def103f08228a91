#![allow(clippy::unwrap_used)]
use ed25519_dalek::{Signature, VerifyingKey};

use super::*;

#[test]
fn keys_read_back() {
    let key = SealingKey::from_seed([9; 32]);
    assert_eq!(
        SealingKey::from_pem(&key.to_pem().unwrap()).unwrap().public(),
        key.public()
    );
    assert_eq!(
        PublicKey::from_hex(&key.public().to_string()).unwrap(),
        key.public()
    );
}

#[test]
fn keys_and_signatures_are_those_of_rfc_8032() {
    // Section 7.1, TEST 2.
    let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
    let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    let signature = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                     085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
    let key = SealingKey::from_seed(hex::decode(seed).unwrap().try_into().unwrap());
    assert_eq!(key.public().to_string(), public);
    assert_eq!(hex::encode(key.sign(&[0x72])), signature);
    assert!(key.public().verifies(&[0x72], &hex::decode(signature).unwrap()));
}

#[test]
fn a_signature_has_one_spelling_only() {
    let key = SealingKey::from_seed([9; 32]);
    let mut signature = key.sign(b"m");
    assert!(key.public().verifies(b"m", &signature));
    // S + L, the malleable twin that careless verifiers take.
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert!(!key.public().verifies(b"m", &signature));
    assert!(!key.public().verifies(b"m", &signature[..63]));
    assert!(!key.public().verifies(b"m", b""));
}

#[test]
fn a_signature_over_a_weak_point_is_refused() {
    // R is the identity and S = k·a: the equation holds, and only the strict rules refuse it.
    let signature = "0100000000000000000000000000000000000000000000000000000000000000\
                     4b48d3a236fc4c66506b2cd2f990a838fcbcc96223e5ac24eb8cce7c5888d106";
    let key = SealingKey::from_seed([9; 32]);
    let signature = Signature::from_slice(&hex::decode(signature).unwrap()).unwrap();
    let lenient =
        VerifyingKey::from_bytes(&hex::decode(key.public().encoded()).unwrap().try_into().unwrap()).unwrap();
    assert!(ed25519_dalek::Verifier::verify(&lenient, b"m", &signature).is_ok());
    assert!(!key.public().verifies(b"m", &signature.to_bytes()));
}

#[test]
fn weak_points_and_other_spellings_are_no_keys() {
    let mut identity = [0; 32];
    identity[0] = 1;
    // p + 3, which careless readers take for y = 3.
    let mut unreduced = [0xff; 32];
    (unreduced[0], unreduced[31]) = (0xf0, 0x7f);
    for bytes in [identity, [0; 32], unreduced, [0xff; 32]] {
        assert_eq!(PublicKey::from_bytes(bytes), Err(InvalidKey::Public), "{bytes:?}");
    }
    let public = SealingKey::from_seed([9; 32]).public().to_string();
    for text in [
        "",
        "00",
        &public.to_uppercase(),
        &format!("{public} "),
        &public[1..],
    ] {
        assert_eq!(PublicKey::from_hex(text), Err(InvalidKey::Public), "{text}");
    }
}

#[test]
fn other_texts_are_no_private_keys() {
    let key = SealingKey::from_seed([9; 32]);
    let pem = key.to_pem().unwrap();
    for text in [
        "",
        "-----BEGIN PRIVATE KEY-----",
        &pem.replace("PRIVATE", "PUBLIC"),
        &pem[..pem.len() / 2],
    ] {
        assert_eq!(SealingKey::from_pem(text).map(|_| ()), Err(InvalidKey::Private));
    }
}

#[test]
fn a_private_key_is_never_shown() {
    let key = SealingKey::from_seed([9; 32]);
    assert_eq!(format!("{key:?}"), format!("SealingKey({})", key.public().id()));
}

#[test]
fn the_forms_of_one_key_are_one_key() {
    let raw = SealingKey::from_seed([9; 32]).public();
    let ssh = SealingKey::ssh_ed25519([9; 32]).public();
    assert_ne!(raw, ssh);
    assert!(raw.is_same_key(&ssh) && ssh.is_same_key(&raw));
    let mut wire = Vec::new();
    let hardware = ["sk-ssh-ed25519@openssh.com", "ssh:"];
    crate::put_string(&mut wire, hardware[0].as_bytes());
    crate::put_string(&mut wire, &hex::decode(raw.encoded()).unwrap());
    crate::put_string(&mut wire, hardware[1].as_bytes());
    let hardware = PublicKey::from_ssh_wire(&wire).unwrap();
    assert!(hardware.is_same_key(&raw) && hardware.is_hardware() && !ssh.is_hardware());
    assert!(!raw.is_same_key(&SealingKey::from_seed([8; 32]).public()));
    let p256 = SealingKey::ssh_p256([9; 32]).unwrap().public();
    assert!(!p256.is_same_key(&raw));
    let ids = [raw, ssh, hardware, p256].map(|key| key.id());
    assert_eq!(std::collections::BTreeSet::from(ids).len(), 4);
}

#[test]
fn numbers_that_are_no_scalar_of_p256_are_no_keys() {
    assert_eq!(
        SealingKey::ssh_p256([0; 32]).map(|_| ()),
        Err(InvalidKey::Private)
    );
    assert_eq!(
        SealingKey::ssh_p256([0xff; 32]).map(|_| ()),
        Err(InvalidKey::Private)
    );
}

#[test]
fn ssh_keys_have_no_pem_of_vergers_own() {
    assert!(SealingKey::ssh_ed25519([9; 32]).to_pem().is_none());
    assert!(SealingKey::ssh_p256([9; 32]).unwrap().to_pem().is_none());
}
