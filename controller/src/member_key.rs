//! The key that a member signs the cluster's freshness with. The trust root names its public half.

use std::io::Write as _;

use anyhow::Context as _;
use verger_controller_api::ports::Ambient as _;
use verger_seal::MemberKey;
use verger_transport::files::{self, SecretFileError};
use zeroize::Zeroizing;

use crate::adapters::SystemAmbient;
use crate::config::Config;
use crate::init::make_private_dir;

/// What stands before the key's public half in its file.
const PUBLIC: &str = "public: ";

/// Prints the public half of this member's key, as a trust root takes it; makes the key where there is none.
///
/// # Errors
/// When the key cannot be read, or made.
pub(crate) fn print(config: &Config) -> anyhow::Result<()> {
    let key = match load(config)? {
        Some(key) => key,
        None => make(config)?,
    };
    writeln!(std::io::stdout(), "{}={}", config.member, key.public())?;
    Ok(())
}

fn make(config: &Config) -> anyhow::Result<MemberKey> {
    make_private_dir(&config.data_dir)?;
    let mut seed = Zeroizing::new([0; 32]);
    SystemAmbient.random(&mut *seed);
    let key = MemberKey::from_seed(*seed);
    files::create(&config.member_key_file(), written(&key).as_bytes())?;
    Ok(key)
}

/// What the file holds: the public half before the key, which any 32 bytes would be.
fn written(key: &MemberKey) -> Zeroizing<String> {
    Zeroizing::new(format!("{PUBLIC}{}\n{}", key.public(), key.to_pem().as_str()))
}

/// The key in it; `None` where there is none, or it is not the one that was written. What stands before a key is not there in files of
/// earlier versions.
fn read(text: &str) -> Option<MemberKey> {
    let Some((public, pem)) = text.strip_prefix(PUBLIC).and_then(|rest| rest.split_once('\n')) else {
        return MemberKey::from_pem(text).ok();
    };
    MemberKey::from_pem(pem).ok().filter(|key| key.public().to_string() == public)
}

/// This member's key; `None` where none was ever made.
///
/// # Errors
/// When the file cannot be read: names it.
pub(crate) fn load(config: &Config) -> anyhow::Result<Option<MemberKey>> {
    let file = config.member_key_file();
    let pem = match files::read(&file) {
        Ok(pem) => pem,
        Err(SecretFileError::Missing(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let damaged = || {
        anyhow::anyhow!(
            "{}: damaged; restore it, or remove it, make another with `verger-controller member-key`, and put that into the trust \
             root with `verger trust rotate`",
            file.display()
        )
    };
    let key = std::str::from_utf8(&pem).ok().and_then(read);
    key.map(Some).ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_refused_or_gives_the_same_key() {
        let key = MemberKey::from_seed([7; 32]);
        let whole = written(&key);
        assert_eq!(read(&whole).map(|key| key.public()), Some(key.public()));
        for at in 0..whole.len() {
            for bit in 0..7 {
                let mut bytes = whole.as_bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let found = std::str::from_utf8(&bytes).ok().and_then(read);
                assert!(found.is_none_or(|found| found.public() == key.public()), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_key_of_an_earlier_version_is_read() {
        let key = MemberKey::from_seed([7; 32]);
        assert_eq!(read(&key.to_pem()).map(|key| key.public()), Some(key.public()));
    }
}
