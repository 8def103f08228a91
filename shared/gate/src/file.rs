//! Reading a file that somebody else may have put there.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

/// A file, whole.
///
/// # Errors
/// When it cannot be read, is a symbolic link or no regular file, or is longer than the limit.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // NONBLOCK: opening a pipe that somebody put there must not wait for its writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is bigger than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_folders_and_what_is_too_big_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), b"1234").unwrap();
        symlink(at("file"), at("link")).unwrap();
        assert_eq!(read(&at("file"), 4).unwrap(), b"1234");
        assert!(
            read(&at("file"), 3)
                .unwrap_err()
                .to_string()
                .contains("bigger than 3")
        );
        assert!(read(&at("link"), 4).is_err());
        assert!(read(dir.path(), 4).is_err());
        assert!(read(&at("absent"), 4).is_err());
    }
}
