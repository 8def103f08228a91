//! One request at a socket, whatever it is.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long an answer may take once all has been said.
const ANSWER: Duration = Duration::from_secs(10);

/// Sends bytes, and gives what comes back until the other side ends. Who waits for more than comes is told, after so long a quiet, that
/// nothing does; without one it is waited for.
///
/// # Errors
/// When nothing can be read.
pub fn said_at(mut stream: UnixStream, request: &[u8], quiet: Option<Duration>) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(quiet)?;
    // Who refuses a request may not read all of it.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let mut part = [0; 1 << 16];
    let mut is_ended = false;
    loop {
        match stream.read(&mut part) {
            Ok(0) => return Ok(answer),
            Ok(length) => answer.extend_from_slice(&part[..length]),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) && !is_ended =>
            {
                is_ended = true;
                stream.set_read_timeout(Some(ANSWER))?;
                // It may have ended meanwhile.
                let _ = stream.shutdown(Shutdown::Write);
            }
            Err(error) if answer.is_empty() && !is_ended => return Err(error),
            Err(_) => return Ok(answer),
        }
    }
}
