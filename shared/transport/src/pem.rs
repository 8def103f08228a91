//! PEM (RFC 7468): written and read. What cannot be read is never quoted: it may be a key, and as long as its writer pleased.

use rustls_pki_types::pem::{Error, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::identity::IdentityError;

/// A certificate as PEM.
pub fn certificate_pem(der: &[u8]) -> String {
    encode("CERTIFICATE", der)
}

/// Every certificate in a PEM text, in its order; what else stands there is passed over.
///
/// # Errors
/// When one cannot be read, or there is none.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable("a certificate", &error))?;
    if found.is_empty() {
        return Err(IdentityError::Content("there is no certificate in it".to_owned()));
    }
    Ok(found)
}

/// The first private key in a PEM text.
pub(crate) fn key(pem: &str) -> Result<PrivateKeyDer<'static>, IdentityError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| unreadable("the key", &error))
}

/// The first private key in a PEM text, as PEM of its own.
///
/// # Errors
/// When it cannot be read, or there is none.
pub(crate) fn key_text(pem: &str) -> Result<Zeroizing<String>, IdentityError> {
    let key = key(pem)?;
    let label = match &key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    Ok(Zeroizing::new(encode(label, key.secret_der())))
}

/// Wraps DER in PEM.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}

fn unreadable(what: &str, error: &Error) -> IdentityError {
    let why = match error {
        Error::MissingSectionEnd { .. } => "its \"-----END\" line is missing",
        Error::IllegalSectionStart { .. } => "its \"-----BEGIN\" line is not one",
        Error::Base64Decode(_) => "what stands in it is not base64",
        Error::NoItemsFound => "there is none in it",
        _ => "it is not PEM",
    };
    IdentityError::Content(format!("{what} cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let pem = [
            certificate_pem(&[1; 100]),
            encode("OTHER", &[2]),
            certificate_pem(&[3]),
        ]
        .concat();
        assert_eq!(
            certificates(pem.as_bytes()).unwrap(),
            [vec![1; 100].into(), vec![3].into()]
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_and_never_quoted() {
        let secret = "c2VjcmV0".repeat(1_000);
        let cases = [
            (
                format!("-----BEGIN {secret}-----\nAAAA\n"),
                "\"-----END\" line is missing",
            ),
            (
                format!("-----BEGIN {secret}\nAAAA\n"),
                "\"-----BEGIN\" line is not one",
            ),
            (
                format!("-----BEGIN PRIVATE KEY-----\n{secret}?\n-----END PRIVATE KEY-----\n"),
                "not base64",
            ),
            (secret.clone(), "there is none in it"),
        ];
        for (pem, told) in cases {
            let error = key(&pem).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
            assert!(error.len() < 100, "{error}");
        }
        let error = certificates(secret.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "there is no certificate in it");
    }
}
