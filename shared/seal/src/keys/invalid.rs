//! Why something is no key.

use std::fmt;

/// A key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKey {
    /// Not a public key in any form that is taken.
    Public,
    /// Not a private key file.
    Private,
    /// An SSH key whose bytes are not exactly one.
    Malformed,
    /// An RSA key.
    Rsa,
    /// A DSA key.
    Dsa,
    /// A certificate.
    Certificate,
    /// An elliptic curve other than NIST P-256.
    Curve,
    /// Another kind of SSH key.
    Kind,
    /// A FIDO key that was made for something else.
    Application,
}

impl InvalidKey {
    /// What is wrong and what to do, as a sentence without its end.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Public => {
                "not a public key: write the 64 lower-case hex digits of an Ed25519 key, or an SSH key (ssh-ed25519 AAAA…)"
            }
            Self::Private => {
                "not a private key: neither Ed25519 in PEM (PKCS #8), as `verger keys generate` writes it, nor in OpenSSH's form"
            }
            Self::Malformed => {
                "not an SSH public key: its base64 is damaged, or not of the kind that stands before it"
            }
            Self::Rsa => "RSA keys do not seal: make an Ed25519 key with `ssh-keygen -t ed25519`",
            Self::Dsa => "DSA keys are too weak to seal: make an Ed25519 key with `ssh-keygen -t ed25519`",
            Self::Certificate => {
                "SSH certificates do not seal, as whoever issues them could: name the key itself (the .pub without -cert)"
            }
            Self::Curve => {
                "of the ECDSA keys only those of nistp256 seal: make one with `ssh-keygen -t ecdsa -b 256`"
            }
            Self::Kind => {
                "this kind of SSH key does not seal; ssh-ed25519, ecdsa-sha2-nistp256 and their FIDO kinds (sk-) do"
            }
            Self::Application => {
                "a FIDO key seals only if its application begins with `ssh:` (up to 64 printable ASCII characters)"
            }
        }
    }
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for InvalidKey {}
