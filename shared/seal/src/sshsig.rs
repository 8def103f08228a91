//! Signatures by SSH keys (PROTOCOL.sshsig of OpenSSH): what `ssh-keygen -Y sign -n verger` makes, without its armour.
//!
//! All that such a signature says of itself is known beforehand: version, key, namespace and hash. So it is compared and
//! not read, and only the signature proper is taken apart. A signature for another namespace, by another hash or that names
//! another key has another beginning, whatever follows.

use sha2::{Digest as _, Sha512};
use verger_policy::digest::Digest;

use crate::keys::{Material, SshKey};
use crate::wire::{Reader, put_string};

/// The namespace: no signature made for git, for files or for logging in serves here.
pub const SSHSIG_NAMESPACE: &str = "verger";
const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;
/// The only hash that is taken; what `ssh-keygen` uses.
const HASH: &[u8] = b"sha512";
/// The flag of a FIDO signature that says a person touched the key (WebAuthn, section 6.1).
const USER_PRESENT: u8 = 1;

/// A signature that does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSignature {
    /// Not a signature of this form: made by another key, for another namespace or by another hash, or damaged.
    #[error("it is not a signature by this key for the namespace `{SSHSIG_NAMESPACE}` with SHA-512")]
    Form,
    /// Made by a FIDO key that nobody touched.
    #[error(
        "nobody touched the security key: make a key that asks for it (`ssh-keygen -t ed25519-sk` without `no-touch-required`)"
    )]
    Untouched,
    /// Of the right form, and not over these bytes by this key.
    #[error("it does not verify: what was signed, or the signature, was altered")]
    Forged,
}

/// What an SSH key signs of a message: the key proper, `ssh-agent` or the FIDO key is given these bytes.
pub fn sshsig_signed_data(message: &[u8]) -> Vec<u8> {
    signed_data(SSHSIG_NAMESPACE, message)
}

fn signed_data(namespace: &str, message: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    describe(&mut out, namespace);
    put_string(&mut out, &Sha512::digest(message));
    out
}

/// Namespace, reserved and hash.
fn describe(out: &mut Vec<u8>, namespace: &str) {
    put_string(out, namespace.as_bytes());
    put_string(out, b"");
    put_string(out, HASH);
}

/// Everything before the signature proper.
fn beginning(key: &SshKey, namespace: &str) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_be_bytes());
    put_string(&mut out, &key.wire());
    describe(&mut out, namespace);
    out
}

/// Puts together the signature of `key` from the signature proper, as `ssh-agent` gives it.
pub(crate) fn wrap(key: &SshKey, proper: &[u8]) -> Vec<u8> {
    let mut out = beginning(key, SSHSIG_NAMESPACE);
    put_string(&mut out, proper);
    out
}

/// The signature proper of a key that is no FIDO key: `R || S`, or `r || s`.
pub(crate) fn proper(key: &SshKey, signature: &[u8; 64]) -> Vec<u8> {
    let mut out = Vec::new();
    put_string(&mut out, key.algorithm().as_bytes());
    match key.material {
        Material::Ed25519(_) => put_string(&mut out, signature),
        Material::P256(_) => {
            let mut both = Vec::new();
            put_integer(&mut both, &signature[..32]);
            put_integer(&mut both, &signature[32..]);
            put_string(&mut out, &both);
        }
    }
    out
}

/// Whether `signature` is this key's over the message.
pub(crate) fn check(key: &SshKey, message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
    check_for(SSHSIG_NAMESPACE, key, message, signature)
}

fn check_for(
    namespace: &str,
    key: &SshKey,
    message: &[u8],
    signature: &[u8],
) -> Result<(), InvalidSignature> {
    let beginning = beginning(key, namespace);
    let rest = signature.strip_prefix(beginning.as_slice());
    let mut reader = rest.map(Reader::new).ok_or(InvalidSignature::Form)?;
    let proper = reader.string().filter(|_| reader.is_done());
    let proper = proper.ok_or(InvalidSignature::Form)?;
    check_proper(key, signed_data(namespace, message), proper)
}

/// Whether the signature proper is this key's over `data`.
fn check_proper(key: &SshKey, data: Vec<u8>, proper: &[u8]) -> Result<(), InvalidSignature> {
    let Proper { both, trailer } = Proper::read(key, proper).ok_or(InvalidSignature::Form)?;
    let signed = match (trailer, &key.application) {
        (None, _) => data,
        (Some([flags, ..]), _) if flags & USER_PRESENT == 0 => return Err(InvalidSignature::Untouched),
        // What a FIDO key signs: PROTOCOL.u2f, "SSH U2F Signatures".
        (Some(trailer), application) => {
            let application = application.as_ref().map_or(&b""[..], |name| name.as_bytes());
            let mut signed = Digest::of(application).as_bytes().to_vec();
            signed.extend(trailer);
            signed.extend(Digest::of(&data).as_bytes());
            signed
        }
    };
    if key.material.verifies(&signed, &both) {
        Ok(())
    } else {
        Err(InvalidSignature::Forged)
    }
}

/// The signature proper, taken apart.
struct Proper {
    both: [u8; 64],
    /// Of FIDO keys: flags and counter.
    trailer: Option<[u8; 5]>,
}

impl Proper {
    fn read(key: &SshKey, bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.string()? != key.algorithm().as_bytes() {
            return None;
        }
        let both = reader.string()?;
        let both = match key.material {
            Material::Ed25519(_) => both.try_into().ok()?,
            Material::P256(_) => {
                let mut integers = Reader::new(both);
                let (r, s) = (integer(integers.string()?)?, integer(integers.string()?)?);
                if !integers.is_done() {
                    return None;
                }
                let mut both = [0; 64];
                both[..32].copy_from_slice(&r);
                both[32..].copy_from_slice(&s);
                both
            }
        };
        // Empty for a key that is no FIDO key, exactly five bytes for one that is.
        let trailer = match &key.application {
            None => reader.is_done().then_some(None)?,
            Some(_) => Some(reader.rest().try_into().ok()?),
        };
        Some(Self { both, trailer })
    }
}

/// A positive `mpint` (RFC 4251, section 5) of at most 32 bytes, in its only spelling.
fn integer(bytes: &[u8]) -> Option<[u8; 32]> {
    let digits = match bytes {
        [] => return None,
        [0, rest @ ..] if rest.first()? & 0x80 != 0 => rest,
        [first, ..] if *first == 0 || first & 0x80 != 0 => return None,
        digits => digits,
    };
    let mut out = [0; 32];
    let at = out.len().checked_sub(digits.len())?;
    out[at..].copy_from_slice(digits);
    Some(out)
}

/// Appends a positive `mpint`.
fn put_integer(out: &mut Vec<u8>, bytes: &[u8]) {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = &bytes[zeros..];
    let mut spelled = Vec::new();
    if digits.first().is_some_and(|first| first & 0x80 != 0) {
        spelled.push(0);
    }
    spelled.extend(digits);
    put_string(out, &spelled);
}

#[cfg(test)]
mod tests;
