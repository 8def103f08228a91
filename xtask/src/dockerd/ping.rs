//! Asks a Docker socket whether the daemon behind it answers.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The reply to `/_ping` is some 300 bytes; more than this is not a daemon.
const REPLY_LIMIT: u64 = 64 * 1024;

/// Tells whether a daemon answers `GET /_ping` with 200. Any failure counts as "not yet".
pub(super) fn answers(socket: &Path) -> bool {
    status(socket).is_some_and(|line| line.starts_with("HTTP/1.") && line.contains(" 200 "))
}

fn status(socket: &Path) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.set_write_timeout(Some(Duration::from_secs(5))).ok()?;
    stream
        .write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
        .ok()?;
    let mut reply = Vec::new();
    stream.take(REPLY_LIMIT).read_to_end(&mut reply).ok()?;
    Some(String::from_utf8_lossy(&reply).lines().next()?.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::net::UnixListener;

    fn served(reply: &'static [u8]) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0u8];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(reply).unwrap();
        });
        let answered = answers(&path);
        server.join().unwrap();
        answered
    }

    #[test]
    fn only_a_200_counts_as_an_answer() {
        assert!(served(b"HTTP/1.0 200 OK\r\n\r\nOK"));
        assert!(!served(b"HTTP/1.0 503 Service Unavailable\r\n\r\n"));
        assert!(!served(b""));
        assert!(!answers(Path::new("/nonexistent/docker.sock")));
    }
}
