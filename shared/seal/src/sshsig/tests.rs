#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::keys::{PublicKey, SealingKey};

// What `ssh-keygen -Y sign -n verger` of OpenSSH 9.2 made of the bytes `hello`.
const ED25519: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILt0u+O+2cpVssxNoBzAnym56TZiR9Q6qD46LtbYzEyX ann@host";
const BY_ED25519: &str = "U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgu3S7477ZylWyzE2gHMCfKbnpNmJH1DqoPjou1tjMTJcAAAAGdmVyZ2VyAAAAAAAAAAZzaGE1MTIAAABTAAAAC3NzaC1lZDI1NTE5AAAAQHx5joQq8tH5glz2yaRf0bUuL4uHneeaeSeNJgo2LLfI5SOnqP0x3VDb4melfKTWaNsTjCJaLmv5b0ZNez/0NAg=";
const P256: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGhN37FZgSA+oCThIYu0QGTQ3BH3/HX9ZT/9pq/mWT9S9eUqqbwrpNs/5Caz7L7LOHLideCkQfX56DQywcbAFzU=";
const BY_P256: &str = "U1NIU0lHAAAAAQAAAGgAAAATZWNkc2Etc2hhMi1uaXN0cDI1NgAAAAhuaXN0cDI1NgAAAEEEaE3fsVmBID6gJOEhi7RAZNDcEff8df1lP/2mr+ZZP1L15SqpvCuk2z/kJrPsvss4cuJ14KRB9fnoNDLBxsAXNQAAAAZ2ZXJnZXIAAAAAAAAABnNoYTUxMgAAAGMAAAATZWNkc2Etc2hhMi1uaXN0cDI1NgAAAEgAAAAgW7BcZn1PyqJGsaBB4i3i2V5+J6ixdm4j/cZgg/7LgkoAAAAgdxnw8qqmqa8zLTemE41PJWn0lFCSk4h5ChamsfE0eGQ=";

// Of a real security key: the key, and its signature over `testing` in the namespace `example` (tests of the crate ssh-key 0.6.7).
const SK_ED25519: &str = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAINSoElFleH+nN83FoLqqepJjN+y7Gs5lrn7qXjBqQZyuAAAABHNzaDo=";
const BY_SK_ED25519: &str = "U1NIU0lHAAAAAQAAAEoAAAAac2stc3NoLWVkMjU1MTlAb3BlbnNzaC5jb20AAAAg1KgSUWV4f6c3zcWguqp6kmM37LsazmWufupeMGpBnK4AAAAEc3NoOgAAAAdleGFtcGxlAAAAAAAAAAZzaGE1MTIAAABnAAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAQC9WcLb5NGXRdCOHinQIS/MxdnAx7SQMYnyOt5q4+huTWh/Zk/UvWhP+wXl/ikNPlDpgliRq6o3VyKqSLLo9lQYBAAAACQ==";

// Another one, and its signature proper over the bytes `testing` (of the same tests).
const SK_P256: &str = "sk-ecdsa-sha2-nistp256@openssh.com AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAAIbmlzdHAyNTYAAABBBNdo6XfhTK080uz5UbGyOcNMo+R3nPXMBxurwH2M1bDtQYbDT6qBE7EdQGkcy/EJDXbzT0KlU9rROjcX+JsgtGAAAAAEc3NoOg==";
const PROPER_BY_SK_P256: &str = "00000022736b2d65636473612d736861322d6e69737470323536406f70656e7373682e636f6d00000049000000201b35a1c6469a43a3d09d490d6ff8ca1bc2486a2edeb8aa7d119e4c70b9c1811000000021009724a2a4449a90357485ed1df0161274d20083342b02756794bc3f068fcdc15e01000000ec";

fn bytes(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap()
}

fn ssh(text: &str) -> SshKey {
    let wire = text.parse::<PublicKey>().unwrap().ssh_wire().unwrap();
    SshKey::from_wire(&wire).unwrap()
}

/// A key in software that signs as a FIDO key does.
struct Token {
    key: SealingKey,
    public: SshKey,
}

impl Token {
    fn new(key: SealingKey, application: &str) -> Self {
        let point = ssh(&key.public().to_string()).material;
        let mut wire = Vec::new();
        let kind = match point {
            Material::Ed25519(_) => "sk-ssh-ed25519@openssh.com",
            Material::P256(_) => "sk-ecdsa-sha2-nistp256@openssh.com",
        };
        put_string(&mut wire, kind.as_bytes());
        match point {
            Material::Ed25519(point) => put_string(&mut wire, &point),
            Material::P256(point) => {
                put_string(&mut wire, b"nistp256");
                put_string(&mut wire, &point);
            }
        }
        put_string(&mut wire, application.as_bytes());
        let public = SshKey::from_wire(&wire).unwrap();
        Self { key, public }
    }

    fn sign(&self, message: &[u8], flags: u8, counter: u32) -> Vec<u8> {
        let mut signed = Digest::of(self.public.application.unwrap().as_bytes())
            .as_bytes()
            .to_vec();
        signed.push(flags);
        signed.extend(counter.to_be_bytes());
        signed.extend(Digest::of(&sshsig_signed_data(message)).as_bytes());
        // The bytes that the software key signs as they are.
        let made = self.key.sign_data(&signed);
        let mut reader = Reader::new(&made);
        let _ = reader.string().unwrap();
        let mut proper = Vec::new();
        put_string(&mut proper, self.public.algorithm().as_bytes());
        put_string(&mut proper, reader.string().unwrap());
        proper.push(flags);
        proper.extend(counter.to_be_bytes());
        wrap(&self.public, &proper)
    }
}

fn tokens() -> [Token; 2] {
    [
        Token::new(SealingKey::ssh_ed25519([1; 32]), "ssh:"),
        Token::new(SealingKey::ssh_p256([1; 32]).unwrap(), "ssh:verger"),
    ]
}

fn software() -> [SealingKey; 2] {
    [
        SealingKey::ssh_ed25519([1; 32]),
        SealingKey::ssh_p256([1; 32]).unwrap(),
    ]
}

#[test]
fn signatures_of_ssh_keygen_verify_over_what_was_signed_only() {
    for (key, signature) in [(ED25519, BY_ED25519), (P256, BY_P256)] {
        let (key, signature) = (ssh(key), bytes(signature));
        assert_eq!(check(&key, b"hello", &signature), Ok(()));
        assert_eq!(check(&key, b"hallo", &signature), Err(InvalidSignature::Forged));
    }
}

#[test]
fn the_signature_of_a_real_security_key_verifies() {
    let (key, signature) = (ssh(SK_ED25519), bytes(BY_SK_ED25519));
    assert_eq!(check_for("example", &key, b"testing", &signature), Ok(()));
    assert_eq!(
        check_for("example", &key, b"tasting", &signature),
        Err(InvalidSignature::Forged)
    );
    // What it signed for another namespace does not seal, whatever namespace it is said to be for.
    assert_eq!(check(&key, b"testing", &signature), Err(InvalidSignature::Form));
    let mut renamed = beginning(&key, SSHSIG_NAMESPACE);
    renamed.extend(&signature[beginning(&key, "example").len()..]);
    assert_eq!(check(&key, b"testing", &renamed), Err(InvalidSignature::Forged));
}

#[test]
fn the_signature_proper_of_a_real_security_key_with_ecdsa_verifies() {
    let (key, proper) = (ssh(SK_P256), hex::decode(PROPER_BY_SK_P256).unwrap());
    assert_eq!(check_proper(&key, b"testing".to_vec(), &proper), Ok(()));
    assert_eq!(
        check_proper(&key, b"tasting".to_vec(), &proper),
        Err(InvalidSignature::Forged)
    );
}

#[test]
fn keys_in_software_sign_what_ssh_takes() {
    for key in software() {
        let public = ssh(&key.public().to_string());
        let signature = key.sign(b"hello");
        assert_eq!(check(&public, b"hello", &signature), Ok(()));
        assert_eq!(signature, key.sign(b"hello"), "no randomness");
    }
}

#[test]
fn a_security_key_signs_with_a_touch_and_over_flags_and_counter() {
    for token in tokens() {
        let key = &token.public;
        for flags in [1, 5] {
            assert_eq!(check(key, b"m", &token.sign(b"m", flags, 7)), Ok(()));
        }
        for flags in [0, 4] {
            assert_eq!(
                check(key, b"m", &token.sign(b"m", flags, 7)),
                Err(InvalidSignature::Untouched)
            );
        }
        let signature = token.sign(b"m", 1, 7);
        let end = signature.len();
        for at in end - 4..end {
            let mut counted = signature.clone();
            counted[at] ^= 1;
            assert_eq!(check(key, b"m", &counted), Err(InvalidSignature::Forged));
        }
        // Without a touch, and then said to be with one; and a flag more than was signed.
        let mut touched = token.sign(b"m", 0, 7);
        let flags = touched.len() - 5;
        touched[flags] = 1;
        assert_eq!(check(key, b"m", &touched), Err(InvalidSignature::Forged));
        let mut verified = signature.clone();
        verified[end - 5] = 5;
        assert_eq!(check(key, b"m", &verified), Err(InvalidSignature::Forged));
    }
}

#[test]
fn a_security_key_of_another_application_is_another_key() {
    let make = |application| Token::new(SealingKey::ssh_ed25519([1; 32]), application);
    let (one, other) = (make("ssh:"), make("ssh:other"));
    let signature = one.sign(b"m", 1, 7);
    assert_eq!(
        check(&other.public, b"m", &signature),
        Err(InvalidSignature::Form)
    );
    // Said to be the other's, it is over the wrong application.
    let mut renamed = beginning(&other.public, SSHSIG_NAMESPACE);
    renamed.extend(&signature[beginning(&one.public, SSHSIG_NAMESPACE).len()..]);
    assert_eq!(
        check(&other.public, b"m", &renamed),
        Err(InvalidSignature::Forged)
    );
}

#[test]
fn what_says_anything_else_of_itself_is_refused_though_it_is_signed_so() {
    for key in software() {
        let public = ssh(&key.public().to_string());
        let other = ssh(ED25519);
        // Signed over the altered description, as a client set to another namespace or hash would.
        let described = |parts: [&[u8]; 3]| {
            let mut description = Vec::new();
            for part in parts {
                put_string(&mut description, part);
            }
            let mut data = [MAGIC, &description].concat();
            put_string(&mut data, &Sha512::digest(b"m"));
            let mut out = MAGIC.to_vec();
            out.extend(VERSION.to_be_bytes());
            put_string(&mut out, &public.wire());
            out.extend(description);
            put_string(&mut out, &key.sign_data(&data));
            check(&public, b"m", &out)
        };
        let name = SSHSIG_NAMESPACE.as_bytes();
        assert_eq!(
            described([name, b"", HASH]),
            Ok(()),
            "the edit alone is what is refused"
        );
        for edited in [
            [&b"file"[..], b"", HASH],
            [&b"verger\0"[..], b"", HASH],
            [&b""[..], b"", HASH],
            [name, b"x", HASH],
            [name, b"", b"sha256"],
        ] {
            assert_eq!(described(edited), Err(InvalidSignature::Form));
        }
        // The same signature under another key's name, and held to another key.
        let signature = key.sign(b"m");
        assert_eq!(check(&other, b"m", &signature), Err(InvalidSignature::Form));
        let mut renamed = beginning(&other, SSHSIG_NAMESPACE);
        renamed.extend(&signature[beginning(&public, SSHSIG_NAMESPACE).len()..]);
        assert!(check(&other, b"m", &renamed).is_err());
        assert_eq!(check(&public, b"m", &renamed), Err(InvalidSignature::Form));
    }
}

#[test]
fn another_hash_said_to_be_sha512_is_forged() {
    let key = SealingKey::ssh_ed25519([1; 32]);
    let public = ssh(&key.public().to_string());
    let mut data = MAGIC.to_vec();
    describe(&mut data, SSHSIG_NAMESPACE);
    put_string(&mut data, Digest::of(b"m").as_bytes());
    let signature = wrap(&public, &key.sign_data(&data));
    assert_eq!(check(&public, b"m", &signature), Err(InvalidSignature::Forged));
}

#[test]
fn a_raw_signature_is_none_of_an_ssh_key_and_the_reverse() {
    let (raw, ssh_key) = (SealingKey::from_seed([1; 32]), SealingKey::ssh_ed25519([1; 32]));
    let (by_raw, by_ssh) = (raw.sign(b"m"), ssh_key.sign(b"m"));
    assert!(raw.public().is_same_key(&ssh_key.public()));
    assert_eq!(raw.public().check(b"m", &by_raw), Ok(()));
    assert_eq!(ssh_key.public().check(b"m", &by_ssh), Ok(()));
    assert_eq!(ssh_key.public().check(b"m", &by_raw), Err(InvalidSignature::Form));
    assert_eq!(raw.public().check(b"m", &by_ssh), Err(InvalidSignature::Form));
    // The bytes inside, taken out of their wrapping or put into it.
    let inside: &[u8] = &by_ssh[by_ssh.len() - 64..];
    assert_eq!(raw.public().check(b"m", inside), Err(InvalidSignature::Forged));
    let public = ssh(&ssh_key.public().to_string());
    let wrapped = wrap(&public, &proper(&public, by_raw.as_slice().try_into().unwrap()));
    assert_eq!(check(&public, b"m", &wrapped), Err(InvalidSignature::Forged));
    // What an SSH key signs for SSHSIG is no message that a key of Verger's own signs: DSSE's encoding begins otherwise.
    assert!(!sshsig_signed_data(b"m").starts_with(b"DSSEv1"));
}

#[test]
fn every_altered_or_added_byte_is_refused() {
    let mut cases: Vec<(SshKey, Vec<u8>)> = software()
        .iter()
        .map(|key| (ssh(&key.public().to_string()), key.sign(b"m")))
        .collect();
    cases.extend(
        tokens()
            .iter()
            .map(|token| (token.public, token.sign(b"m", 1, 7))),
    );
    for (key, signature) in cases {
        for bit in 0..signature.len() * 8 {
            let mut altered = signature.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&key, b"m", &altered).is_err(), "bit {bit}");
        }
        for cut in 0..signature.len() {
            assert_eq!(check(&key, b"m", &signature[..cut]), Err(InvalidSignature::Form));
        }
        let mut longer = signature.clone();
        longer.push(0);
        assert_eq!(check(&key, b"m", &longer), Err(InvalidSignature::Form));
        // Bytes that are added inside, with every length right.
        let mut reader = Reader::new(&signature[beginning(&key, SSHSIG_NAMESPACE).len()..]);
        let mut inner = reader.string().unwrap().to_vec();
        inner.push(0);
        assert_eq!(
            check(&key, b"m", &wrap(&key, &inner)),
            Err(InvalidSignature::Form)
        );
    }
}

#[test]
fn integers_of_ecdsa_have_one_spelling() {
    let mut most = vec![0];
    most.extend([0xff; 32]);
    assert_eq!(integer(&most), Some([0xff; 32]));
    assert_eq!(integer(&[1]).unwrap()[31], 1);
    let mut padded = [0; 33];
    padded[32] = 1;
    let long = [1; 33];
    for bytes in [&[][..], &[0], &[0, 1], &[0x80], &padded, &long, &[0, 0x80, 0]] {
        let wanted = (bytes == [0, 0x80, 0]).then(|| integer(bytes).unwrap());
        assert_eq!(integer(bytes), wanted, "{bytes:?}");
    }
    for number in [[0x80; 32], [1; 32], padded[1..].try_into().unwrap()] {
        let mut spelled = Vec::new();
        put_integer(&mut spelled, &number);
        assert_eq!(integer(Reader::new(&spelled).string().unwrap()), Some(number));
    }
}
