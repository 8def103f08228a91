//! Files that hold secrets: made 0600, never overwritten by accident, refused when others can read them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The largest secret file that is read, bytes.
const MOST: u64 = 1 << 20;

/// Why a secret file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It is there already.
    #[error("{0:?} exists; remove it by hand if it may be replaced")]
    Exists(PathBuf),
    /// It is not there.
    #[error("{0:?} does not exist")]
    Missing(PathBuf),
    /// Others can read it.
    #[error("{file:?} can be read by others (mode {mode:03o}); run `chmod 600 {file:?}`")]
    Open {
        /// Which file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Too large for what it should be.
    #[error("{0:?} is larger than a key or certificate can be")]
    TooLarge(PathBuf),
    /// The system refused.
    #[error("cannot {action} {file:?}")]
    Io {
        /// Which file.
        file: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

fn failed(file: &Path, action: &'static str) -> impl FnOnce(io::Error) -> SecretFileError {
    move |source| match source.kind() {
        io::ErrorKind::AlreadyExists => SecretFileError::Exists(file.to_owned()),
        io::ErrorKind::NotFound => SecretFileError::Missing(file.to_owned()),
        _ => SecretFileError::Io {
            file: file.to_owned(),
            action,
            source,
        },
    }
}

/// Writes a new file, 0600 and on stable storage.
///
/// # Errors
/// When it exists, or cannot be written.
pub fn create(file: &Path, bytes: &[u8]) -> Result<(), SecretFileError> {
    let mut handle = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map_err(failed(file, "create"))?;
    handle
        .write_all(bytes)
        .and_then(|()| handle.sync_all())
        .map_err(failed(file, "write"))?;
    sync_folder(file)
}

/// Replaces a file in one step, 0600 and on stable storage.
///
/// # Errors
/// When it cannot be written.
pub fn replace(file: &Path, bytes: &[u8]) -> Result<(), SecretFileError> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&draft, "remove")(error)),
        _ => {}
    }
    create(&draft, bytes)?;
    fs::rename(&draft, file).map_err(failed(file, "replace"))?;
    sync_folder(file)
}

fn sync_folder(file: &Path) -> Result<(), SecretFileError> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed(folder, "sync"))
}

/// What stands before the digest of a file's text.
const DIGEST: &str = "sha256: ";

/// A text of PEM with its digest in a line of its own before it, where who reads PEM passes it over. A key of which a bit is lost is
/// another key, and a certificate another one than everybody knows.
pub fn vouch(text: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{DIGEST}{}\n{text}", hex::encode(Sha256::digest(text))))
}

/// The text, as [`vouch`] was given it; `None` where it was changed since. Files of earlier versions have no digest, and are taken as they
/// are.
pub fn vouched(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let Some((digest, rest)) = text.strip_prefix(DIGEST).and_then(|text| text.split_once('\n')) else {
        return Some(text);
    };
    (digest == hex::encode(Sha256::digest(rest))).then_some(rest)
}

/// Reads a secret file.
///
/// # Errors
/// When others can read it, it is too large, or it cannot be read.
pub fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let handle = File::open(file).map_err(failed(file, "open"))?;
    let metadata = handle.metadata().map_err(failed(file, "look at"))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Open {
            file: file.to_owned(),
            mode,
        });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    handle
        .take(MOST + 1)
        .read_to_end(&mut bytes)
        .map_err(failed(file, "read"))?;
    if bytes.len() as u64 > MOST {
        return Err(SecretFileError::TooLarge(file.to_owned()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_secret_is_private_and_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        create(&file, b"one").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create(&file, b"two"), Err(SecretFileError::Exists(_))));
        replace(&file, b"three").unwrap();
        assert_eq!(read(&file).unwrap().as_slice(), b"three");
    }

    #[test]
    fn a_text_that_is_vouched_for_is_given_back_and_no_other() {
        let whole = vouch("-----BEGIN X-----\nAAAA\n-----END X-----\n");
        let text = vouched(whole.as_bytes()).unwrap();
        assert!(text.starts_with("-----BEGIN X") && whole.ends_with(text));
        assert_eq!(vouched(text.as_bytes()), Some(text));
        for at in 0..whole.len() {
            let mut bytes = whole.as_bytes().to_vec();
            bytes[at] ^= 1 << (at % 7);
            // A digest that is none any more says nothing of what is behind it.
            assert!(
                vouched(&bytes).is_none_or(|found| found.ends_with(text)),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        create(&file, b"one").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&file).unwrap_err().to_string().contains("chmod 600"));
    }
}
