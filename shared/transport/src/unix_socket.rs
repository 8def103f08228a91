//! Listening at a path (unix(7)).

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tokio::net::UnixListener;

/// Listens at a path, in the place of what is there. Nobody reaches the socket before it has its mode. Needs a tokio runtime.
///
/// # Errors
/// When it cannot be made there.
pub fn listen_at(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&draft)?;
    fs::set_permissions(&draft, Permissions::from_mode(mode))?;
    fs::rename(&draft, path)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn what_was_there_makes_room_and_the_mode_is_the_one_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        for mode in [0o600, 0o666] {
            let listener = listen_at(&path, mode).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
            let (called, heard) = tokio::join!(UnixStream::connect(&path), listener.accept());
            called.unwrap();
            heard.unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(listen_at(&folder.path().join("absent/a.sock"), 0o600).is_err());
    }
}
