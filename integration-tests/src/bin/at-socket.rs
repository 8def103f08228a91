//! Sends its input to a unix socket and prints what comes back: how a process of somebody's own asks there. With `leave` it prints
//! the number that it has on the host, and ends without waiting for an answer.

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
    let how = words.next();
    let mut request = Vec::new();
    io::stdin().read_to_end(&mut request)?;
    let mut stream = UnixStream::connect(path)?;
    if how.as_ref().is_some_and(|word| word == "leave") {
        // Who refuses a request may not read all of it.
        let _ = stream.write_all(&request);
        // `/proc` is the host's, whichever namespace this runs in.
        let number = std::fs::read_link("/proc/self")?;
        return writeln!(io::stdout(), "{}", number.display());
    }
    // So long a quiet, in milliseconds, ends what is said.
    let quiet = how.and_then(|word| word.to_str()?.parse().ok());
    let answer = said_at(stream, &request, quiet.map(Duration::from_millis))?;
    io::stdout().write_all(&answer)
}
