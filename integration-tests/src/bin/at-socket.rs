//! Sends its input to a unix socket and prints what comes back: how a process of somebody's own asks there. With `leave` it prints
//! the number that it has on the host, and ends without waiting for an answer.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

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
    let path = std::env::args_os()
        .nth(1)
        .ok_or_else(|| io::Error::other("name the socket"))?;
    let mut request = Vec::new();
    io::stdin().read_to_end(&mut request)?;
    let mut stream = UnixStream::connect(path)?;
    // Who refuses a request may not read all of it.
    let _ = stream.write_all(&request);
    if std::env::args_os().nth(2).is_some_and(|word| word == "leave") {
        // `/proc` is the host's, whichever namespace this runs in.
        let number = std::fs::read_link("/proc/self")?;
        return writeln!(io::stdout(), "{}", number.display());
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => return Err(error),
        _ => {}
    }
    io::stdout().write_all(&answer)
}
