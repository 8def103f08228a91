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
    files::create(&config.member_key_file(), files::vouch(&key.to_pem()).as_bytes())?;
    Ok(key)
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
        format!(
            "{}: damaged; restore it, or remove it, make another with `verger-controller member-key`, and put that into the trust \
             root with `verger trust rotate`",
            file.display()
        )
    };
    let pem = files::vouched(&pem).ok_or_else(|| anyhow::anyhow!(damaged()))?;
    Ok(Some(MemberKey::from_pem(pem).with_context(damaged)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_changed_byte_is_refused_by_name_or_gives_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("controller.toml");
        let text = format!(
            "data_dir = {:?}\nlisten = \"127.0.0.1:7400\"\nenrol_listen = \"127.0.0.1:7401\"\n",
            folder.path()
        );
        std::fs::write(&file, text).unwrap();
        let config = Config::load(&file).unwrap();
        let key = make(&config).unwrap().public();
        assert_eq!(load(&config).unwrap().unwrap().public(), key);
        let file = config.member_key_file();
        let whole = std::fs::read(&file).unwrap();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                std::fs::write(&file, bytes).unwrap();
                match load(&config) {
                    Ok(found) => assert_eq!(found.unwrap().public(), key, "byte {at}, bit {bit}"),
                    Err(error) => {
                        let error = format!("{error:#}");
                        assert!(error.contains("member-key.pem: damaged; restore it"), "{error}");
                    }
                }
            }
        }
    }
}
