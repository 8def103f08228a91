//! Where the browser comes back to: this machine alone, for one attempt (RFC 8252, 7.3).

use std::io::BufRead as _;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use verger_policy::model::printable_within;

use crate::exit::{Exit, Failure};
use crate::output::note;

/// How long a person may take at the provider.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a browser may take to ask.
const ASKING: Duration = Duration::from_secs(5);
/// The longest request of a browser, bytes.
const REQUEST_BYTES: usize = 16 << 10;

/// What is listened at.
pub(super) struct Callback {
    listener: TcpListener,
    port: u16,
}

/// What a browser came back with, or what keeps it from having anything.
#[derive(Debug, PartialEq, Eq)]
enum Back {
    Code(String),
    /// The provider's words.
    Refused(String),
    /// Of no attempt, or of another one.
    Stray,
}

impl Callback {
    /// Listens at a port, or at any where it is 0.
    ///
    /// # Errors
    /// When somebody else does.
    pub(super) async fn listen(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener
            .map_err(|error| Failure::input(format!("--port {port}: it cannot be listened at: {error}")))?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Waits for a browser that comes back from this attempt; with `paste`, also for a person who brings its address.
    ///
    /// # Errors
    /// When the provider refuses, or nobody comes.
    pub(super) async fn code(&self, state: &str, paste: bool) -> anyhow::Result<String> {
        let mut pasted = paste.then(lines);
        let come = async {
            loop {
                let back = tokio::select! {
                    back = self.browser(state) => back,
                    Some(line) = next(&mut pasted) => {
                        let back = read(line.trim(), state);
                        if back == Back::Stray {
                            note("that is no address that the browser ends at after this login; try again");
                        }
                        back
                    }
                };
                match back {
                    Back::Code(code) => return Ok(code),
                    Back::Refused(why) => {
                        let text = format!("the identity provider refused the login: {why}");
                        return Err(Failure::new(Exit::Violation, text).into());
                    }
                    Back::Stray => {}
                }
            }
        };
        match tokio::time::timeout(PATIENCE, come).await {
            Ok(done) => done,
            Err(_) => Err(Failure::new(
                Exit::Violation,
                format!(
                    "nobody logged in within {} min; try again",
                    PATIENCE.as_secs() / 60
                ),
            )
            .into()),
        }
    }

    async fn browser(&self, state: &str) -> Back {
        let Ok((stream, _)) = self.listener.accept().await else {
            tokio::task::yield_now().await;
            return Back::Stray;
        };
        tokio::time::timeout(ASKING, serve(stream, state))
            .await
            .unwrap_or(Back::Stray)
    }
}

/// Lines of standard input. The thread waits for the terminal, and goes with the program.
fn lines() -> mpsc::Receiver<String> {
    // A person pastes one line at a time.
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn next(pasted: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
    match pasted {
        Some(lines) => match lines.recv().await {
            Some(line) => Some(line),
            // Nothing more can be pasted; the browser may still come.
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Reads one request, and tells the browser in plain text what it came to. Nothing of the request is repeated.
async fn serve(mut stream: TcpStream, state: &str) -> Back {
    let mut request = Vec::new();
    let mut part = [0; 2_048];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_BYTES {
        match stream.read(&mut part).await {
            Ok(read) if read > 0 => request.extend(&part[..read]),
            _ => break,
        }
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).unwrap_or_default();
    let mut words = line.split(' ');
    let back = match (words.next(), words.next()) {
        (Some("GET"), Some(target)) => read(target, state),
        _ => Back::Stray,
    };
    let (status, text) = match &back {
        Back::Code(_) => ("200 OK", "You may close this, and go on in the terminal.\n"),
        Back::Refused(_) => ("200 OK", "You are not logged in; the terminal says why.\n"),
        Back::Stray => ("404 Not Found", "This is of no login that waits here.\n"),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    back
}

/// Reads the address that a browser came back to, whole or from its path on.
fn read(address: &str, state: &str) -> Back {
    let address = address.split('#').next().unwrap_or_default();
    let Some((path, query)) = address.split_once('?') else {
        return Back::Stray;
    };
    let (mut code, mut error, mut why, mut of) = (None, None, None, None);
    if !path.ends_with("/callback") {
        return Back::Stray;
    }
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match name {
            "code" => &mut code,
            "error" => &mut error,
            "error_description" => &mut why,
            "state" => &mut of,
            _ => continue,
        };
        // Said twice, it says nothing.
        if slot.is_some() {
            return Back::Stray;
        }
        *slot = Some(decoded(value));
    }
    // Whoever sends a browser here with a code of his own does not know it.
    if of.as_deref() != Some(state) {
        return Back::Stray;
    }
    match (code, error) {
        (Some(code), None) if !code.is_empty() => Back::Code(code),
        (None, Some(error)) => {
            let text = format!("{error} {}", why.unwrap_or_default());
            Back::Refused(printable_within(text.trim(), 300))
        }
        _ => Back::Stray,
    }
}

/// Undoes the encoding of a query. What is not encoded rightly stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut place = 0;
    while let Some(byte) = bytes.get(place) {
        let digit = |at: usize| bytes.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let value = digit(place + 1).zip(digit(place + 2));
        match (
            byte,
            value.and_then(|(high, low)| u8::try_from(16 * high + low).ok()),
        ) {
            (b'%', Some(value)) => {
                out.push(value);
                place += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*byte),
        }
        place += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_brings_the_code_of_this_attempt_and_nothing_else_counts() {
        let good = Back::Code("a/b c".to_owned());
        for address in [
            "/callback?code=a%2Fb+c&state=s",
            "/callback?state=s&code=a%2fb%20c&iss=x",
            "http://127.0.0.1:4000/callback?code=a%2Fb+c&state=s#x",
        ] {
            assert_eq!(read(address, "s"), good, "{address}");
        }
        for address in [
            "",
            "/callback",
            "/callback?",
            "/callback?code=c",
            "/callback?code=c&state=",
            "/callback?code=c&state=other",
            "/callback?code=c&code=d&state=s",
            "/callback?code=c&state=s&state=s",
            "/callback?code=&state=s",
            "/callback?code=c&error=e&state=s",
            "/favicon.ico?code=c&state=s",
            "/callback?error=access_denied&state=other",
        ] {
            assert_eq!(read(address, "s"), Back::Stray, "{address}");
        }
    }

    #[test]
    fn what_the_provider_says_is_told_escaped() {
        let said = read(
            "/callback?error=access_denied&error_description=no%1b%5B2J&state=s",
            "s",
        );
        assert_eq!(said, Back::Refused("access_denied no\\u{1b}[2J".to_owned()));
    }

    #[test]
    fn a_broken_encoding_stays_as_it_is() {
        assert_eq!(decoded("%"), "%");
        assert_eq!(decoded("%4"), "%4");
        assert_eq!(decoded("%zz%41"), "%zzA");
        assert_eq!(decoded("%+1"), "% 1");
    }
}
