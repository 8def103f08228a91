//! Sends its input to a unix socket and prints what comes back: how a process of somebody's own asks there.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use verger_integration_tests::runtime_proxy::said_at;

fn main() -> ExitCode {
    match ask() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "at-socket: {error}");
            ExitCode::FAILURE
        }
    }
}

fn ask() -> io::Result<()> {
    let mut words = std::env::args_os().skip(1);
    let path = words.next().ok_or_else(|| io::Error::other("name the socket"))?;
    // So long a quiet, in milliseconds, ends what is said.
    let quiet = words.next().and_then(|word| word.to_str()?.parse().ok());
    let mut request = Vec::new();
    io::stdin().read_to_end(&mut request)?;
    let stream = UnixStream::connect(path)?;
    let answer = said_at(stream, &request, quiet.map(Duration::from_millis))?;
    io::stdout().write_all(&answer)
}
